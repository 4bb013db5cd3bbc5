"""The demo: a lakehouse of handwritten digits, on which SQL trains, predicts and evaluates."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .lakehouse import Lake, open
from .lakehouse.schema import quote_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class Step:
    """One statement of the demo, and the Delta table that takes its result."""

    title: str
    sql: str
    table: str
    mode: Literal["append", "overwrite"] = "overwrite"


def steps(data: Path) -> list[Step]:
    """List the steps, reading the images from the Parquet file `data`."""
    return [
        Step(
            "Load 1,797 images of 8 x 8 pixels; every fifth one is for the test",
            f"""\
SELECT id, list_transform(pixels, lambda p: p / 16)::FLOAT[64] AS image,
       digit::INTEGER AS digit,
       CASE WHEN id % 5 = 4 THEN 'test' ELSE 'train' END AS split
FROM read_parquet({quote_text(str(data))})
ORDER BY id""",
            "digits",
        ),
        Step(
            "Train ten models in one GROUP BY: each digit against the rest",
            """\
SELECT 'is ' || class AS name, class::INTEGER AS digit,
       logistic_fit(digits.digit = class, image,
                    {'epochs': 20, 'l2': 1e-4}) AS model
FROM digits, range(10) AS classes(class)
WHERE split = 'train'
GROUP BY class
ORDER BY class""",
            "models",
        ),
        Step(
            "Train one more on all images: is the digit odd?",
            """\
SELECT 'is odd' AS name, NULL::INTEGER AS digit,
       logistic_fit(digit % 2 = 1, image, {'epochs': 20}) AS model
FROM digits
WHERE split = 'train'""",
            "models",
            "append",
        ),
        Step(
            "Predict each test image: the digit whose model is surest",
            """\
SELECT id, digits.digit,
       arg_max(models.digit, predict_proba(model, image)) AS predicted,
       max(predict_proba(model, image)) AS probability
FROM digits, models
WHERE split = 'test' AND models.digit IS NOT NULL
GROUP BY id, digits.digit
ORDER BY id""",
            "predictions",
        ),
        Step(
            "Evaluate each model on the test images",
            """\
SELECT name, any_value(model.loss) AS train_loss,
       binary_metrics(
           CASE WHEN name = 'is odd' THEN digits.digit % 2 = 1
                ELSE digits.digit = models.digit END,
           predict_proba(model, image)) AS metrics
FROM digits, models
WHERE split = 'test'
GROUP BY name
ORDER BY name""",
            "evaluation",
        ),
    ]


def run(directory: str | Path, force: bool, console: Console) -> Lake:
    """Build the demo's lakehouse and report on the way.

    Parameters
    ----------
    directory : str or pathlib.Path
        Where to build it. A lakehouse of an earlier run is built again: its tables get new versions.
    force : bool
        Build it even if the directory holds other files; they stay as they are.
    console : rich.console.Console
        Where to report.

    Returns
    -------
    Lake
        With the tables digits, models, predictions and evaluation.

    Raises
    ------
    FileExistsError
        The directory holds files of another kind and `force` is False.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
    from rich.syntax import Syntax

    lake = open(directory)
    if not force:
        _refuse_other_files(lake)
    started = time.perf_counter()
    with (
        as_file(files("ironlake") / "data" / "digits.parquet") as data,
        Progress(
            SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), console=console
        ) as progress,
    ):
        plan = steps(data)
        console.print("[dim]The first run compiles the functions that it uses, and keeps them for later.[/dim]")
        task = progress.add_task("", total=len(plan))
        for number, step in enumerate(plan, 1):
            progress.update(task, description=step.title)
            console.print(f"\n[bold]{number}. {step.title}[/bold]\n[dim]-- the result becomes table {step.table}[/dim]")
            console.print(Syntax(step.sql, "sql", background_color="default", word_wrap=True))
            lake.write(step.table, lake.sql(step.sql), mode=step.mode)
            progress.advance(task)
        progress.update(task, description="done")
    _report(lake, time.perf_counter() - started, console)
    return lake


def _refuse_other_files(lake: Lake) -> None:
    """Keep away from a directory that holds anything but an earlier demo."""
    root = Path(lake.root)
    entries = sorted(child.name for child in root.iterdir()) if root.is_dir() else []
    ours = {step.table for step in steps(Path())} & set(lake.tables())
    if others := [name for name in entries if name not in ours]:
        raise FileExistsError(
            f"ironlake demo: the directory {str(lake.root)!r} holds {others[0]!r}, which is not the demo's; "
            "name an empty or new directory, or pass --force"
        )


def _report(lake: Lake, seconds: float, console: Console) -> None:
    """Show how good the models are, what the lake holds, and what to try next."""
    from rich.markup import escape

    right, count = lake.sql("SELECT count(*) FILTER (digit = predicted), count(*) FROM predictions").fetchall()[0]
    console.print()
    console.print(_evaluation(lake))
    console.print(f"[bold]{right} of {count} test images recognised ({right / count:.1%})[/bold] in {seconds:.1f} s\n")
    console.print(lake)
    console.print("\nTry next:")
    shown = _shown(Path(lake.root))
    for query in (
        "SELECT digit, predicted, count(*) FROM predictions WHERE digit <> predicted GROUP BY ALL ORDER BY ALL",
        "SELECT name, model.n, model.epochs, model.loss FROM models",
    ):
        console.print(f'  [cyan]ironlake sql "{escape(query)}" --lake {escape(shown)}[/cyan]', soft_wrap=True)


def _evaluation(lake: Lake) -> Table:
    from rich.table import Table

    table = Table("model", title="Test images", title_justify="left")
    columns = ["train_loss", "accuracy", "precision", "recall", "roc_auc"]
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    numbers = ", ".join(["train_loss", *(f"metrics.{column}" for column in columns[1:])])
    for name, *values in lake.sql(f"SELECT name, {numbers} FROM evaluation ORDER BY name").fetchall():
        table.add_row(name, *(f"{value:.3f}" for value in values))
    return table


def _shown(root: Path) -> str:
    """The path as the user would type it."""
    path = root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root
    return f"'{path}'" if " " in str(path) else str(path)

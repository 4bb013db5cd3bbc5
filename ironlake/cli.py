"""The command line: ``ironlake demo``, ``sql``, ``run``, ``functions``, ``reproduce`` and ``version``."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import duckdb
import typer
from rich.console import Console
from rich.markup import escape

import ironlake

from . import published
from .output import Format, show

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from rich.table import Table

app = typer.Typer(
    help="Machine-learning systems as functions over tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

LakeOption = Annotated[
    str | None, typer.Option("--lake", metavar="DIR", help="Directory or URL of Delta tables; each becomes a view.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result.")]


def main() -> None:
    """Run the command line; the entry point of the ``ironlake`` program."""
    app()


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to build the lakehouse.")] = Path(
        "ironlake-demo"
    ),
    force: Annotated[
        bool, typer.Option("--force", help="Build it even among other files; nothing but the demo's tables is touched.")
    ] = False,
) -> None:
    """Build a lakehouse from real images of digits, train on it in SQL, predict and evaluate."""
    from .demo import run

    with _one_line_errors():
        run(directory, force=force, console=Console())


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SQL statement, or several; each result is printed.")],
    lake: LakeOption = None,
    form: FormatOption = Format.table,
) -> None:
    """Run SQL in DuckDB with all of Ironlake's functions."""
    with _one_line_errors():
        _run_statements(query, lake, form)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE.sql", help="SQL statements; each result is printed.")],
    lake: LakeOption = None,
    form: FormatOption = Format.table,
) -> None:
    """Run a file of SQL statements in one session."""
    with _one_line_errors():
        _run_statements(file.read_text(encoding="utf-8"), lake, form, f"{file}, ")


def _run_statements(text: str, lake: str | None, form: Format, place: str | None = None) -> None:
    """Run SQL statements in a new database; errors name the statement by `place` and its number."""
    connection = _connect(lake)
    for number, statement in enumerate(connection.extract_statements(text), 1):
        with _one_line_errors(f"{place}statement {number}: " if place else ""):
            result = connection.sql(_bare(statement.query))
            # Statements that only change something have a result too: the number of rows, which nobody asked for.
            if duckdb.ExpectedResultType.QUERY_RESULT in statement.expected_result_type and result.columns != ["Count"]:
                show(result, form)


def _bare(statement: str) -> str:
    """Cut off what follows a statement's last word; DuckDB puts its relations in brackets, semicolon and all."""
    text = statement.encode()
    for start, kind in reversed(duckdb.tokenize(statement)):
        if kind != duckdb.token_type.comment and text[start : start + 1] != b";":
            break
        text = text[:start]
    return text.decode()


@app.command()
def functions(
    pattern: Annotated[str, typer.Argument(help="Show only functions with this text in their name.")] = "",
) -> None:
    """List the SQL functions; one function alone is shown with its documentation."""
    with _one_line_errors():
        rows = (
            ironlake.connect()
            .execute(
                "SELECT name, kind, signature, description FROM ironlake_functions() WHERE contains(name, lower(?))",
                [pattern],
            )
            .fetchall()
        )
        if not rows:
            raise ValueError(f"no function has {pattern!r} in its name; `ironlake functions` lists them all")
        rows = [row for row in rows if row[0] == pattern.lower()] or rows
        console = Console()
        console.print(_list(rows) if len(rows) > 1 else escape(ironlake.functions[rows[0][0]].__doc__ or ""))


def _list(rows: list[tuple[str, str, str, str]]) -> Table:
    """Functions as a table: signatures without the fields of structs, the first sentence of descriptions."""
    from rich.table import Table

    table = Table("name", "kind", "signature", "description", show_lines=True)
    for name, kind, signature, description in rows:
        short = re.sub(r"\{[^{}]*\}", "{options}", signature)
        while short != (shorter := re.sub(r"STRUCT\([^()]*\)", "STRUCT", short)):
            short = shorter
        table.add_row(name, kind, escape(short), escape(description.split(". ")[0]))
    return table


@app.command()
def reproduce(
    family: Annotated[str, typer.Argument(help="A family of functions, such as distributed-training.")],
    form: FormatOption = Format.table,
) -> None:
    """Hold what a family of functions computes against what its papers published."""
    with _one_line_errors():
        result = ironlake.connect().sql("FROM published_results(?)", params=[family])
        if form is Format.table:
            Console().print(published.table_of(result))
        else:
            show(result, form)


@app.command()
def version() -> None:
    """Print the versions of Ironlake, DuckDB and Python."""
    python = ".".join(map(str, sys.version_info[:3]))
    typer.echo(f"ironlake {ironlake.__version__}, duckdb {duckdb.__version__}, python {python}")


def _connect(lake: str | None) -> DuckDBPyConnection:
    """A new database, with the views of a lake if one is given."""
    if lake is None:
        return ironlake.connect()
    if "://" not in lake and not Path(lake).exists():
        raise FileNotFoundError(f"--lake: the directory {lake!r} does not exist")
    return ironlake.open(lake).connect()


@contextlib.contextmanager
def _one_line_errors(place: str = "") -> Iterator[None]:
    """Report what the user can mend as one red line and exit code 1; a bug of ours keeps its traceback."""
    try:
        yield
    except BrokenPipeError:
        # The reader of our output (`head`, a pager) has seen enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except Exception as error:
        from deltalake.exceptions import DeltaError

        known = (duckdb.Error, DeltaError, OSError, ValueError, TypeError, RuntimeError)
        if isinstance(error, typer.Exit) or not isinstance(error, known):
            raise
        # DuckDB adds the query with a caret under the place, deltalake a stack of its own.
        message = " ".join(re.split(r"\n\nLINE |\n +0: ", str(error))[0].split())
        Console(stderr=True, soft_wrap=True).print(f"[red]{escape(place + message)}[/red]", highlight=False)
        raise typer.Exit(1) from None

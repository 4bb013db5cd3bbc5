"""``train``: many passes over a query or a table, in Python and as a table function."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ironlake.udf.engine import Database, table
from ironlake.udf.engine.database import as_query
from ironlake.udf.engine.declaration import closest

from ..tasks.model import LinearModel
from .orders import Order
from .rows import collect
from .run import TrainingRun, known, model_type
from .settings import Parallel, Settings, check, find_task
from .source import open_source, tables_of
from .steps import Rule
from .trainer import Epoch, Trainer

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from ironlake.lakehouse import Lake


def train(
    data: Any,
    model: str = "logistic",
    *,
    label: str = "label",
    features: str | Sequence[str] = "features",
    sample_weight: str | None = None,
    on_null: Literal["error", "skip"] = "error",
    lake: Lake | None = None,
    save_as: str | None = None,
    connection: duckdb.DuckDBPyConnection | None = None,
    progress: bool = True,
    **settings: Any,
) -> TrainingRun:
    """Train a linear model in many passes over rows that may be larger than memory.

    Parameters
    ----------
    data : str or object with ``__arrow_c_stream__``
        The rows: a query or the name of a table, a DuckDB relation, a PyArrow table or reader, a data frame.
    model : str
        The task: ``logistic``, ``svm``, ``least_squares`` ... or one declared with `ironlake.task`.
    label : str
        The column with the label: numbers, or booleans for two classes.
    features : str or sequence of str
        The column with a list or an array of numbers, or several columns of numbers.
    sample_weight : str, optional
        The column with the weight of each row.
    on_null : {'error', 'skip'}
        What to do with rows that have a NULL.
    lake : Lake, optional
        The lake that a query is about. The run is logged in its table ``training_runs``, with the version of the table
        that it trained on; later commits do not disturb it.
    save_as : str, optional
        Table of that lake that gets a row with the model.
    connection : duckdb.DuckDBPyConnection, optional
        Where to run a query; by default DuckDB's own connection.
    progress : bool
        Whether to show a progress bar, on a terminal or in a notebook.
    **settings
        How to train; see `ironlake.udf.training.settings.Settings` for all of them: ``epochs``, ``step_size``,
        ``step_rule``, ``order``, ``parallel``, ``l1``, ``l2``, ``tolerance``, ``validation_fraction`` ...

    Returns
    -------
    TrainingRun
        With the ``model``, what each epoch came to, and ``plot()``.

    Raises
    ------
    ValueError
        If an argument is not valid, or a row cannot be trained on.
    DivergenceError
        If training diverges with ever smaller step sizes too.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012; Xu et al.: In-Database
    Machine Learning with CorgiPile, SIGMOD 2022.

    Examples
    --------
    >>> run = ironlake.train("SELECT y AS label, x AS features FROM rows", "svm", epochs=5, order="shuffle_once")
    >>> run.model.coefficients
    """
    try:
        chosen = _settings(settings)
        if save_as is not None and lake is None:
            raise ValueError("save_as names a table of a lake; pass lake too")
        source = open_source(data, lake, connection)
        rows = collect(source.batches, label, features, sample_weight, on_null == "skip", chosen.buffer_mb * 1e6)
        run = TrainingRun(Trainer(model, rows, chosen), source.table, source.version)
        for epoch in _shown(run, progress):
            run.add(epoch)
    except ValueError as error:
        raise type(error)(f"train: {error}") from None
    if lake is not None:
        run.log(lake, save_as)
    return run


def _settings(given: dict[str, Any]) -> Settings:
    names = [field.name for field in dataclasses.fields(Settings)]
    for name in given:
        if name not in names:
            raise ValueError(f"unknown argument {name!r}{closest(name, names)}")
    if isinstance(given.get("init"), dict):
        given = {**given, "init": LinearModel(**given["init"])}
    return Settings(**given)


def _shown(run: TrainingRun, progress: bool) -> Iterator[Epoch]:
    """The epochs of a run, with a progress bar while they are made."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    name, epochs = run.trainer.task.name, run.trainer.settings.epochs
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=not progress) as shown:
        bar = shown.add_task(f"train {name}", total=epochs)
        for epoch in run.trainer.epochs():
            speed = epoch.rows / max(epoch.seconds, 1e-9) / 1e6
            shown.update(bar, advance=1, description=f"train {name}: loss {epoch.loss:.5g}, {speed:.1f} M rows/s")
            yield epoch


# -------------------------------------------------------------------------------------------------------------- in SQL


def _train_in_sql(
    database: Database,
    query: str,
    model: str = "logistic",
    label: str = "label",
    features: str = "features",
    sample_weight: str | None = None,
    on_null: Literal["error", "skip"] = "error",
    lake: str | None = None,
    save_as: str | None = None,
    **settings: Any,
) -> pa.RecordBatchReader:
    """Train a linear model in many passes over a query whose rows may be larger than memory; a row for each epoch.

    Parameters
    ----------
    query : the rows, or the name of a table.
    model : the task: ``logistic``, ``svm``, ``least_squares`` ... or one that was declared with ``ironlake.task``.
    label : column with the label.
    features : column with a list or an array of numbers, or several columns of numbers, separated by commas.
    sample_weight : column with the weight of each row.
    on_null : what to do with rows that have a NULL: ``'skip'`` them, or refuse them with an ``'error'``.
    lake : directory of a lake, in whose table ``training_runs`` the run is logged.
    save_as : table of that lake that gets a row with the model.
    {settings}

    Returns
    -------
    TABLE
        ``epoch``, ``step``, ``loss`` (mean per row, during the epoch), ``val_loss``, ``step_size``,
        ``gradient_norm``, ``rows``, ``seconds``, ``rows_per_second``, ``stop_reason`` (NULL but in the last row) and
        ``model`` (after the epoch), which `predict` takes.

    Raises
    ------
    InvalidInputException
        If an argument is not valid, a row cannot be trained on, or training diverges.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, sections 3.3, 3.4;
    Xu et al.: In-Database Machine Learning with CorgiPile, SIGMOD 2022.

    Examples
    --------
    SELECT epoch, loss, stop_reason
    FROM train('SELECT i % 3 = 0 AS label, [sin(i), cos(i)] AS features FROM range(1000) t(i)',
               epochs := 3, "order" := 'shuffle_once');
    """
    import pyarrow as pa

    try:
        parameters = json.loads(settings.get("parameters") or "{}")
    except json.JSONDecodeError:
        raise ValueError("argument parameters is not JSON; expected a text such as '{\"delta\": 2}'") from None
    chosen = _settings({**settings, "parameters": parameters})
    check(find_task(model), chosen)
    schema = _schema()

    def epochs() -> Iterator[pa.RecordBatch]:
        opened, source = _opened(lake, query)
        names = [name.strip() for name in features.split(",")]
        columns = names if len(names) > 1 else features
        with contextlib.closing(database.stream(as_query(query))) as batches:
            rows = collect(batches, label, columns, sample_weight, on_null == "skip", chosen.buffer_mb * 1e6)
        run = TrainingRun(Trainer(model, rows, chosen), *source)
        for epoch in run.trainer.epochs():
            run.add(epoch)
            values = {**epoch._asdict(), "rows_per_second": epoch.rows / max(epoch.seconds, 1e-9)}
            values |= {name: known(values[name]) for name in ("val_loss", "gradient_norm")}
            values |= {"stop_reason": epoch.stop_reason or None, "model": epoch.model._asdict()}
            yield pa.RecordBatch.from_pylist([values], schema)
        if opened is not None:
            run.log(opened, save_as)

    if save_as is not None and lake is None:
        raise ValueError("save_as names a table of a lake; pass lake too")
    return pa.RecordBatchReader.from_batches(schema, epochs())


def _opened(path: str | None, query: str) -> tuple[Lake | None, tuple[str | None, int | None]]:
    """The lake to log in, and which of its tables a query reads, at which version."""
    from ironlake import lakehouse

    if path is None:
        return None, (None, None)
    lake = lakehouse.open(path)
    used = tables_of(as_query(query), lake)
    return lake, (", ".join(used) or None, lake[used[0]].version if len(used) == 1 else None)


def _schema() -> pa.Schema:
    import pyarrow as pa

    numbers = {name: pa.float64() for name in ("loss", "val_loss", "step_size", "gradient_norm")}
    fields = {"epoch": pa.int32(), "step": pa.int64(), **numbers, "rows": pa.int64(), "seconds": pa.float64()}
    return pa.schema({**fields, "rows_per_second": pa.float64(), "stop_reason": pa.string(), "model": model_type()})


def _with_settings(function: Any) -> Any:
    """Give the table function the settings as parameters of its own, and their description."""
    own = {field.name: (field.type, field.default) for field in dataclasses.fields(Settings)}
    own |= {"class_weight": ("list[float] | None", None), "parameters": ("str | None", None)}
    kept = [each for each in inspect.signature(function).parameters.values() if each.name != "settings"]
    added = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=type_)
        for name, (type_, default) in own.items()
    ]
    scope = {"LinearModel": LinearModel, "Literal": Literal, "Order": Order, "Parallel": Parallel, "Rule": Rule}
    hints = {each.name: each.annotation for each in (*kept, *added)}
    function.__signature__ = inspect.Signature([*kept, *added])
    function.__annotations__ = {name: eval(hint, scope) if name in own else hint for name, hint in hints.items()}
    described = inspect.getdoc(Settings).split("----------\n")[1]  # type: ignore[union-attr]
    function.__doc__ = function.__doc__.replace("    {settings}", textwrap.indent(described, "    "))
    return function


table(_with_settings(_train_in_sql), name="train")

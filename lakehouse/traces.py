"""Trace tables: what they are, making them in a lake, and filling them from logs."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from ironlake.sql import trace_columns, trace_names, trace_schema
from ironlake.udf.engine import table
from ironlake.udf.engine.sqltypes import ANY

from .errors import telling

if TYPE_CHECKING:
    import pyarrow as pa

    from .lake import Lake
    from .loaders import OnMalformed


class LoadedTrace(NamedTuple):
    """What `Lake.load_trace` did.

    Attributes
    ----------
    version : int
        The version of the table that has the rows.
    rows, skipped : int
        How many rows were added, and how many were malformed and left out.
    """

    version: int
    rows: int
    skipped: int


def create_traces(lake: "Lake", names: Iterable[str] | None) -> list[str]:
    """Create trace tables that a lake does not have yet; see `Lake.create_traces`."""
    with telling("Lake.create_traces: "):
        wanted = trace_names() if names is None else [names] if isinstance(names, str) else list(names)
        schemas = {name: trace_schema(name) for name in wanted}
    made = [name for name in schemas if name not in lake.tables()]
    for name in made:
        lake.write(name, schemas[name].empty_table())
    return made


def load_trace(
    lake: "Lake", trace: str, path: str, loader: str | None, columns: Mapping[str, str] | None, malformed: "OnMalformed"
) -> LoadedTrace:
    """Append what logs have to a trace table; see `Lake.load_trace`."""
    from .loaders import read_log

    with telling(f"Lake.load_trace({trace!r}): "):
        found = read_log(trace, path, loader, columns, malformed)
        version = lake.write(trace, found.reader(), mode="append")
    return LoadedTrace(version, found.rows, found.skipped)


def _expressions(given: Any) -> dict[str, str]:
    """What SQL gave as a STRUCT, a MAP or NULL."""
    expressions = dict(given) if isinstance(given, list | dict) else {} if given is None else None
    if expressions is None or not all(isinstance(value, str) for value in expressions.values()):
        raise ValueError(f"argument columns is {given!r}; expected SQL expressions such as {{'step': 'iteration'}}")
    return expressions


@table
def trace_tables() -> "pa.Table":
    """List the columns of all trace tables: what runs and measurements are logged in.

    Returns
    -------
    TABLE
        A row per column: ``name`` VARCHAR (of the table), ``column_name`` VARCHAR, ``type`` VARCHAR, ``unit`` VARCHAR
        (NULL for texts, ratios and plain numbers), ``comment`` VARCHAR (what the column means).

    References
    ----------
    The files in ``sql/traces`` of Ironlake.

    Examples
    --------
    SELECT column_name, type, unit, comment FROM trace_tables() WHERE name = 'step_trace';
    """
    import pyarrow as pa

    rows = [
        {"name": name, "column_name": each.name, "type": each.type, "unit": each.unit, "comment": each.comment}
        for name in trace_names()
        for each in trace_columns(name)
    ]
    names = ("name", "column_name", "type", "unit", "comment")
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))


@table
def read_trace(
    trace: str,
    path: str,
    loader: str | None = None,
    columns: Annotated[Any, ANY] = None,
    on_malformed: Literal["error", "skip"] = "error",
) -> "pa.RecordBatchReader":
    """Read logs as rows of a trace table, in bounded memory.

    Parameters
    ----------
    trace : the trace table whose columns the result has; `trace_tables` lists them.
    path : a log, a directory of logs, or a pattern such as ``'logs/*.json.gz'``, on a disk or in an object store. Files
        may be compressed with gzip, zstd, lz4 or bzip2.
    loader : what reads them: ``chrome`` (Trace Event JSON, torch.profiler), ``spark`` (event logs), ``mllog`` (MLPerf),
        ``vw``, ``sklearn`` (what they print), ``mlflow`` (metrics as CSV), ``delta_log``, ``csv`` or ``json``; by
        default the one for the trace table or for the ending of the file.
    columns : a STRUCT or MAP from columns of the trace table to SQL expressions over what the loader finds, such as
        ``{'step': 'iteration', 'seconds': 'ms / 1000'}``; columns of the same name need no entry.
    on_malformed : ``error`` stops at the first row that cannot be read and says where it is; ``skip`` leaves such rows
        out and warns how many there were.

    Returns
    -------
    TABLE
        The columns of the trace table; those that the log does not know are NULL. Fractions are rounded where a column
        has integers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is no such trace table, loader or column, or a row of the log is malformed.

    References
    ----------
    The files in ``lakehouse/loaders`` of Ironlake, which say where each format is described.

    Examples
    --------
    COPY (SELECT i AS iteration, 20 + i % 3 AS ms FROM range(9) t(i)) TO 'steps.csv';
    SELECT step, compute_seconds
    FROM read_trace('worker_steps', 'steps.csv', columns := {'step': 'iteration', 'compute_seconds': 'ms / 1000'});
    """
    from .loaders import read_log

    return read_log(trace, path, loader, _expressions(columns), on_malformed).reader()


@table
def lake_log(path: str) -> "pa.RecordBatchReader":
    """Read the log of a Delta table as data: a row for each action of the commits that it still has.

    Parameters
    ----------
    path : the table's directory on a local disk.

    Returns
    -------
    TABLE
        The columns of the trace table ``delta_log_actions``: ``version`` BIGINT, ``action`` VARCHAR, ``timestamp``
        TIMESTAMPTZ, ``operation`` VARCHAR, ``path`` VARCHAR, ``size`` BIGINT (bytes), ``rows`` BIGINT, ``data_change``
        BOOLEAN, ``metrics`` VARCHAR (JSON).

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``.
    ValueError
        If the log is damaged.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT version, action, path, size FROM lake_log('ironlake-demo/digits');
    """
    from .loaders import read_log

    return read_log("delta_log_actions", path, "delta_log").reader()


@table
def read_mllog(path: str, on_malformed: Literal["error", "skip"] = "error") -> "pa.RecordBatchReader":
    """Read the ``:::MLLOG`` lines of MLPerf logs, whatever else stands between them.

    Parameters
    ----------
    path : a log, a directory of logs, or a pattern such as ``'results/*.txt'``.
    on_malformed : what becomes of lines that break off; see `read_trace`.

    Returns
    -------
    TABLE
        The columns of the trace table ``mllog``: ``file``, ``line_no``, ``rank``, ``namespace``, ``time_ms`` DOUBLE,
        ``event_type``, ``key``, ``value`` VARCHAR (JSON), ``epoch_num`` DOUBLE, ``samples_count`` BIGINT, ``status``,
        ``metadata`` VARCHAR (JSON).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a line is malformed.

    References
    ----------
    MLPerf logging, https://github.com/mlcommons/logging

    Examples
    --------
    COPY (SELECT ':::MLLOG {"time_ms": 1700000000000, "key": "seed", "value": 7}') TO 'run.log'
        (FORMAT csv, HEADER false, QUOTE '', DELIMITER ';');
    SELECT key, value FROM read_mllog('run.log');
    """
    from .loaders import read_log

    return read_log("mllog", path, "mllog", None, on_malformed).reader()


@table
def rdd_events(path: str, on_malformed: Literal["error", "skip"] = "error") -> "pa.RecordBatchReader":
    """Read the attempts of tasks from event logs of Spark.

    Parameters
    ----------
    path : an event log, the directory of one that is rolled, or a pattern.
    on_malformed : what becomes of lines that break off, as the last one of an application that still runs or was
        killed; see `read_trace`.

    Returns
    -------
    TABLE
        The columns of the trace table ``rdd_task_trace``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a line is malformed.

    References
    ----------
    Zaharia and others: Resilient Distributed Datasets, NSDI (2012); Apache Spark's event logs.

    Examples
    --------
    COPY (SELECT '{"Event":"SparkListenerTaskEnd","Stage ID":0,"Task Info":{"Index":1,"Launch Time":5}}') TO 'app-1'
        (FORMAT csv, HEADER false, QUOTE '', DELIMITER ';');
    SELECT stage_id, partition, launch_ms FROM rdd_events('app-1');
    """
    from .loaders import read_log

    return read_log("rdd_task_trace", path, "spark", None, on_malformed).reader()

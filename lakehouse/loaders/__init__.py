"""Loaders of logs, a kind a file: each turns what programs write into rows of trace tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ironlake.sql import trace_columns
from ironlake.udf.engine import check_external_access
from ironlake.udf.engine.declaration import closest

from . import chrome, delta_log, mlflow, mllog, progress, spark, tables, training
from .loader import Loader, LogRows, OnMalformed

__all__ = ["LOADERS", "Loader", "LogRows", "OnMalformed", "read_log"]

#: All of them, by name.
LOADERS: dict[str, Loader] = {
    loader.name: loader
    for loader in (
        chrome.LOADER, spark.LOADER, mllog.LOADER, progress.VW, progress.SKLEARN, mlflow.LOADER, delta_log.LOADER,
        tables.CSV, tables.JSON, training.NCCL, training.MEGATRON, training.DLRM,
    )
}  # fmt: skip
#: What files with these endings are read by, unless told otherwise.
_BY_ENDING = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json"}


def read_log(
    trace: str,
    path: str,
    loader: str | None = None,
    columns: Mapping[str, str] | None = None,
    on_malformed: OnMalformed = "error",
) -> LogRows:
    """Read logs as rows of a trace table; see `read_trace` for the arguments.

    Raises
    ------
    ValueError
        There is no such trace table or loader, or an expression is none over the rows of the log. Malformed rows are
        errors of the stream.
    FileNotFoundError
        There is no file at `path`.
    PermissionError
        A function asks for it in a database without external access.
    """
    check_external_access(f"the path {path!r}")
    trace_columns(trace)
    found = LOADERS.get(loader) if loader is not None else _usual(trace, path)
    if found is None:
        raise ValueError(f"there is no loader {loader!r}{closest(str(loader), LOADERS)}")
    return LogRows(found, trace, path, columns or {}, on_malformed)


def _usual(trace: str, path: str) -> Loader:
    """The loader by the ending of a file, or the only one that is for a trace table."""
    if ending := _BY_ENDING.get(Path(path).suffix):
        return LOADERS[ending]
    fitting = [loader for loader in LOADERS.values() if trace in loader.columns]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(repr(loader.name) for loader in fitting or LOADERS.values())
    raise ValueError(f"argument loader is not given; expected one of {names} for {trace}")

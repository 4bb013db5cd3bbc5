"""Definitions of trace tables: one SQL file each, whose comments give units and meaning."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def trace_names() -> list[str]:
    """The names of the trace tables that are defined."""
    return sorted(path.stem for path in (Path(__file__).parent / "traces").glob("*.sql"))


@functools.cache
def trace_schema(name: str) -> pa.Schema:
    """The columns of a trace table.

    Raises
    ------
    ValueError
        If no trace table has this name.
    """
    import duckdb

    if name not in trace_names():
        raise ValueError(f"there is no trace table {name!r}; there are {', '.join(trace_names())}")
    with duckdb.connect() as connection:
        connection.execute((Path(__file__).parent / "traces" / f"{name}.sql").read_text())
        return connection.sql(f"FROM {name}").to_arrow_table().schema

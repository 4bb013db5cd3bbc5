"""Where rows come from: a query, a table of a lake at one version, a relation, or anything that is an Arrow stream.

Rows of a table of a lake, or of a frame over one, are read by the reader of `Frame.batches`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from ironlake.lakehouse.frame import Frame, source_of
from ironlake.udf.engine.database import as_query

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from ironlake.lakehouse import Lake

#: Rows of a batch, and megabytes of the buffer that they are read into.
_BATCH_ROWS, _BUFFER_MB = 65_536, 32


class Source(NamedTuple):
    """A stream of rows.

    Attributes
    ----------
    batches : the rows.
    table : names of the tables of a lake that they come from, comma-separated.
    version : of the table, if it is one.
    """

    batches: Iterable[pa.RecordBatch]
    table: str | None = None
    version: int | None = None


def open_source(data: Any, lake: Lake | None, connection: duckdb.DuckDBPyConnection | None) -> Source:
    """Start to read.

    Raises
    ------
    TypeError
        If the data is none of these.
    """
    import duckdb
    import pyarrow as pa

    if isinstance(data, str) and lake is not None and data.strip() in lake.tables():
        data = lake.table(data.strip())
    if isinstance(data, str):
        query = as_query(data)
        if lake is not None:
            return _from_lake(query, lake)
        data = (connection or duckdb).sql(query)
        if data is None:
            raise ValueError(f"data is {query!r}, which gives no rows; expected a query or the name of a table")
    if isinstance(data, Frame):
        table = source_of(data)
        batches = data.batches(_BATCH_ROWS, shuffle="stored", format="arrow", buffer_mb=_BUFFER_MB)
        return Source(batches, table.name, table.snapshot.version)
    if isinstance(data, duckdb.DuckDBPyRelation):
        return Source(data.to_arrow_reader(_BATCH_ROWS))
    if isinstance(data, pa.RecordBatch):
        return Source([data])
    if hasattr(data, "__arrow_c_stream__"):
        return Source(pa.RecordBatchReader.from_stream(data))
    raise TypeError(
        f"train: data is a {type(data).__name__}; expected a query, the name of a table, a DuckDB relation, or a table "
        "or stream of Arrow"
    )


def _from_lake(query: str, lake: Lake) -> Source:
    """Run a query on a lake whose tables stay at the versions that are newest now."""
    used = tables_of(query, lake)
    fixed = lake.at()
    batches = fixed.connect().sql(query).to_arrow_reader(_BATCH_ROWS)
    return Source(batches, ", ".join(used) or None, fixed.versions()[used[0]] if len(used) == 1 else None)


def tables_of(query: str, lake: Lake) -> list[str]:
    """The tables of a lake that a query names, sorted."""
    import duckdb

    tables = {name.lower(): name for name in lake.tables()}
    with duckdb.connect() as connection:
        named = {name.replace('"', "").lower() for name in connection.get_table_names(query, qualified=True)}
        return sorted(tables[name] for name in named & tables.keys())

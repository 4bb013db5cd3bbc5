"""Read a Delta table with DuckDB's own Parquet reader: one version of a table becomes one SELECT.

A Delta table is a list of Parquet files. DuckDB reads such a list in parallel and skips columns, row groups and whole
files, as long as the list stands in the query. So the plan of a scan is SQL text::

    SELECT <columns, in the table's order>
    FROM read_parquet([<files of this version>], schema := <column name -> type, missing ones NULL>)

- Partition columns are not in the files. Each is a list literal with one value a file, indexed by DuckDB's virtual
  column ``file_index``; a filter on it then skips files before they are opened.
- The schema comes from the log, so files written before a column was added read as NULL there.

Tables that this cannot express (see `why_arrow`) are read through deltalake's own Arrow scan.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .schema import quote_name, quote_text, sql_type
from .snapshot import Snapshot

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: Rows in a batch of a streamed scan: 1 MB a column of doubles.
BATCH_ROWS = 131_072

#: Virtual columns of `read_parquet`; a table column of the same name would hide them.
_VIRTUAL_COLUMNS = {"file_index", "file_row_number", "filename"}


def scan_sql(snapshot: Snapshot) -> str:
    """The SELECT that reads one version of a table.

    Raises
    ------
    FileNotFoundError
        A data file of this version is gone; vacuum removes the files of old versions.
    """
    _check_files(snapshot)
    if why_arrow(snapshot):
        return f"SELECT * FROM lake_scan({quote_text(str(snapshot.path))}, version => {snapshot.version})"
    return _parquet_sql(snapshot)


def read(snapshot: Snapshot) -> pa.RecordBatchReader:
    """Stream one version of a table as Arrow batches, in bounded memory."""
    import pyarrow as pa

    _check_files(snapshot)
    if why_arrow(snapshot):
        return pa.RecordBatchReader.from_stream(snapshot.delta.scan()).cast(snapshot.schema)
    return _database().cursor().sql(_parquet_sql(snapshot)).to_arrow_reader(BATCH_ROWS)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """The database that streams tables; opening one for each stream would cost more than reading a small table."""
    import duckdb

    return duckdb.connect()


def why_arrow(snapshot: Snapshot) -> str | None:
    """Why a table has to be read through deltalake's Arrow scan; None if DuckDB can read its files directly."""
    features = snapshot.delta.protocol().reader_features or []
    if "deletionVectors" in features and any(batch.num_rows for batch in snapshot.delta.deletion_vectors()):
        return "it has deletion vectors"
    if snapshot.delta.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        return "its columns are mapped to other names in the files"
    if _VIRTUAL_COLUMNS & {name.lower() for name in snapshot.schema.names}:
        return "a column is named like a virtual column of read_parquet"
    if "tz=UTC" in str(snapshot.schema.types) and any(_has_int96(file) for file in snapshot.files):
        return "it has INT96 timestamps, to which DuckDB gives no time zone"
    return None


def _parquet_sql(snapshot: Snapshot) -> str:
    types = {field.name: sql_type(field.type) for field in snapshot.schema}
    if not snapshot.files:
        columns = ", ".join(f"NULL::{type_} AS {quote_name(name)}" for name, type_ in types.items())
        return f"SELECT {columns} LIMIT 0"
    columns = ", ".join(_column_sql(name, type_, snapshot.partitions.get(name)) for name, type_ in types.items())
    files = ", ".join(map(quote_text, snapshot.files))
    stored = ", ".join(
        f"{quote_text(name)}: {{name: {quote_text(name)}, type: {quote_text(type_)}, default_value: NULL}}"
        for name, type_ in types.items()
        if name not in snapshot.partitions
    )
    return f"SELECT {columns} FROM read_parquet([{files}], hive_partitioning := false, schema := MAP {{{stored}}})"


def _column_sql(name: str, type_: str, values: list[str | None] | None) -> str:
    """One column of the SELECT; `values` holds a partition column's value in each file."""
    if values is None:
        return quote_name(name)
    literals = ", ".join("NULL" if value is None else quote_text(value) for value in values)
    return f"([{literals}]::{type_}[])[file_index::BIGINT + 1] AS {quote_name(name)}"


def _check_files(snapshot: Snapshot) -> None:
    missing = [file for file in snapshot.files if not Path(file).exists()]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(
            f"version {snapshot.version} of the table {str(snapshot.path)!r} needs the data file {missing[0]!r}{others}"
            ", which is gone; was the table vacuumed?"
        )


@lru_cache(maxsize=100_000)
def _has_int96(file: str) -> bool:
    """Whether a Parquet file stores timestamps the way that Spark does by default; data files never change."""
    import pyarrow.parquet

    schema = pyarrow.parquet.ParquetFile(file).schema
    return any(schema.column(index).physical_type == "INT96" for index in range(len(schema)))

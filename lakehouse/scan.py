"""Read a Delta table with DuckDB's own Parquet reader: one version of a table becomes one SELECT.

A Delta table is a list of Parquet files. DuckDB reads such a list in parallel and skips columns, row groups and whole
files, as long as the list stands in the query. So the plan of a scan is SQL text::

    SELECT <columns, in the table's order>
    FROM read_parquet([<files of this version>], schema := <name or number in the file -> name, type; else NULL>)

- The schema comes from the log, so files written before a column was added read as NULL there, and columns that were
  renamed are found by the name or the number that they have in the files.
- Partition columns are not in the files. Each is a list literal with one value a file, indexed by DuckDB's virtual
  column ``file_index``; a filter on it then skips files before they are opened.
- Files with deletion vectors are a SELECT of their own, UNION ALL: it asks ``lake_row_kept`` about each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from ironlake.udf.engine.filters import kept

from .pinned import pinned_rows
from .replay import removed_at
from .schema import converted, field_id, partition_text, physical_name, physical_type, quote_name, quote_text, sql_type
from .snapshot import Snapshot
from .storage import Storage, database

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows in a batch of a streamed scan: 1 MB a column of doubles.
BATCH_ROWS = 131_072

#: Virtual columns of `read_parquet`; a table column of the same name would hide them.
_VIRTUAL_COLUMNS = {"file_index", "file_row_number", "filename"}
#: Columns of a scan with positions: the file's place in the snapshot, and the row's in the file.
FILE, ROW = '"ironlake file"', '"ironlake row"'


def scan_sql(
    snapshot: Snapshot,
    files: Sequence[int] | None = None,
    zone: str = "UTC",
    positions: bool = False,
    watch: str | None = None,
    lasting: bool = True,
) -> str:
    """The SELECT that reads one version of a table, or some of its files.

    `zone` is the time zone of partition values that are timestamps: the log leaves it out, and few writers do not mean
    UTC. With `positions` each row also tells where it is stored, in `FILE` and `ROW`. With `watch`, the number of a
    `Watch` over the `groups` of all files, only those files are opened that the statement needs. A text that is not
    `lasting` may be run only while the snapshot is held.

    Raises
    ------
    FileNotFoundError
        A data file of this version is gone; vacuum removes the files of old versions. In an object store that is told
        when the file is read.
    """
    chosen = range(len(snapshot.files)) if files is None else files
    if snapshot.storage.is_local:
        check_files(snapshot, chosen)
    if not len(chosen):
        columns = [f"NULL::{sql_type(field.type)} AS {quote_name(field.name)}" for field in snapshot.schema]
        columns += [f"NULL::BIGINT AS {name}" for name in (FILE, ROW) if positions]
        return f"SELECT {', '.join(columns)} LIMIT 0"
    selects = [
        _select(snapshot, indexes, *kind, zone, positions, watch and kept(watch, group), lasting)
        for group, (kind, indexes) in enumerate(groups(snapshot, chosen).items())
    ]
    return " UNION ALL ".join(selects)


def groups(snapshot: Snapshot, chosen: Sequence[int]) -> dict[tuple[bool, bool], list[int]]:
    """The files that one SELECT can read, by whether rows of them are deleted, and whether timestamps lack a zone."""
    vectors = snapshot.state.files["vector"].is_valid().to_pylist()
    zoned = "tz=UTC" in str(snapshot.schema.types)
    int96 = [False] * len(chosen)
    if zoned:
        int96 = snapshot.storage.map(partial(_has_int96, snapshot.storage), [snapshot.files[index] for index in chosen])
    kinds: dict[tuple[bool, bool], list[int]] = {}
    for index, old in zip(chosen, int96, strict=True):
        kinds.setdefault((vectors[index], old), []).append(index)
    return kinds


def read(snapshot: Snapshot, zone: str = "UTC") -> pa.RecordBatchReader:
    """Stream one version of a table as Arrow batches, in bounded memory."""
    return database().cursor().sql(scan_sql(snapshot, zone=zone)).to_arrow_reader(BATCH_ROWS)


def _select(
    snapshot: Snapshot,
    indexes: list[int],
    deleted: bool,
    int96: bool,
    zone: str,
    positions: bool,
    needed: str | None,
    lasting: bool,
) -> str:
    """The SELECT over the files of a group, or over those that are needed by a condition on ``file_index``."""
    mapped = snapshot.mapping != "none"
    columns, stored = [], []
    for field in snapshot.schema:
        name = quote_name(field.name)
        if field.name in snapshot.partitions:
            values = [snapshot.partitions[field.name][index] for index in indexes]
            columns.append(f"{_constants(values, field.type, zone)} AS {name}")
        elif str(field.type) == "null":
            columns.append(f"NULL AS {name}")
        else:
            inner = _inner_name(field.name, snapshot.schema.names)
            type_ = physical_type(field.type, mapped, int96)
            value = converted(quote_name(inner), type_, field.type)
            columns.append(name if value == name else f"{value} AS {name}")
            key = (
                str(field_id(field))
                if snapshot.mapping == "id"
                else quote_text(physical_name(field) if mapped else field.name)
            )
            stored.append(
                f"{key}: {{name: {quote_text(inner)}, type: {quote_text(sql_type(type_))}, default_value: NULL}}"
            )
    if positions:
        columns.append(f"({indexes}::BIGINT[])[file_index::BIGINT + 1] AS {FILE}")
        columns.append(f"file_row_number::BIGINT AS {ROW}")
    files = ", ".join(quote_text(snapshot.files[index]) for index in indexes)
    query = (
        f"SELECT {', '.join(columns)} FROM read_parquet([{files}], hive_partitioning := false, "
        f"schema := MAP {{{', '.join(stored)}}})"
    )
    conditions = [needed] if needed else []
    if deleted:
        vectors = snapshot.state.files["vector"]
        held = None if lasting else snapshot.pins
        numbers = [pinned_rows(snapshot.storage, vectors[index].as_py(), held) for index in indexes]
        conditions.append(f"lake_row_kept(({numbers}::BIGINT[])[file_index::BIGINT + 1], file_row_number::BIGINT)")
    return f"{query} WHERE {' AND '.join(conditions)}" if conditions else query


def _constants(values: list[str | None], type_: pa.DataType, zone: str) -> str:
    """A partition column: a value for each file, as the log writes it, by the file that a row is from."""
    if zone != "UTC" and str(type_).endswith("tz=UTC]"):
        import pyarrow as pa

        local = _constants(values, pa.timestamp("us"), zone)
        return f"timezone({quote_text(zone)}, {local})"
    texts = ["NULL" if value is None else quote_text(partition_text(value, type_)) for value in values]
    return f"([{', '.join(texts)}]::{sql_type(type_)}[])[file_index::BIGINT + 1]"


def _inner_name(name: str, names: list[str]) -> str:
    """The name that a column has inside the scan: its own, unless that is one of a virtual column."""
    if name.lower() not in _VIRTUAL_COLUMNS:
        return name
    taken = {other.lower() for other in names}
    inner = f"{name}_"
    while inner.lower() in taken:
        inner += "_"
    return inner


def check_files(snapshot: Snapshot, chosen: Sequence[int]) -> None:
    """Refuse to read a version whose files are gone."""
    files = [snapshot.files[index] for index in chosen]
    there = snapshot.storage.exist(files)
    missing = [index for index, found in zip(chosen, there, strict=True) if not found]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        removed = removed_at(snapshot.storage, snapshot.version, snapshot.state.files["path"][missing[0]].as_py())
        fate = "no later version took it out of the table, so it was not vacuum that removed it"
        if removed is not None:
            fate = f"version {removed} took it out of the table, which was vacuumed since"
        raise FileNotFoundError(
            f"version {snapshot.version} of the table {snapshot.storage.root!r} needs the data file "
            f"{snapshot.files[missing[0]]!r}{others}, which {'are' if others else 'is'} gone: {fate}"
        )


@lru_cache(maxsize=100_000)
def _has_int96(storage: Storage, file: str) -> bool:
    """Whether a Parquet file stores timestamps the way that Spark does by default; data files never change."""
    import pyarrow.parquet

    with storage.open(file) as content:
        schema = pyarrow.parquet.ParquetFile(content).schema
    return any(schema.column(index).physical_type == "INT96" for index in range(len(schema)))

"""What is known of data files beside the log: bounds of columns that it has none of, and Bloom filters.

An index is Parquet files in ``_ironlake`` below the table, with a row for each data file and column. Data files never
change, so an index stays right for ever; files that it does not tell of are read as if there were none. One that is
gone or damaged is not used. Columns have their names in the data files, and everything is about all rows of a file,
those that a deletion vector leaves out included.

Source: Armbrust and others: Lakehouse, CIDR (2021), section 3.2, "auxiliary data".
"""

from __future__ import annotations

import dataclasses
import io
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .bloom import hashes_of, made_of, may_hold
from .errors import telling
from .scan import scan_sql
from .schema import physical_name, quote_name, sql_type
from .snapshot import Snapshot, open_snapshot
from .storage import Storage, database

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "_ironlake"
#: Bytes of filters after which another index file is begun, and index files that are kept in memory.
_FILE_BYTES, _KEPT = 16_000_000, 32
#: Characters of a text that are kept as a bound.
_LONGEST_TEXT = 64
_lock = threading.Lock()
_loaded: dict[tuple[str, str], Any] = {}


def build(storage: Storage, columns: Sequence[str], false_positive_rate: float, where: str) -> dict[str, int]:
    """Index the data files of the newest version that are not yet; see `Table.index`."""
    with telling(where):
        snapshot = open_snapshot(storage, None, "")
        fields = _fields(snapshot, columns)
        if not 0 < false_positive_rate < 1:
            raise ValueError(f"argument false_positive_rate is {false_positive_rate!r}; expected a number between 0, 1")
        paths = snapshot.state.files["path"].to_pylist()
        known = {(row["file"], row["column"]) for table in _tables(snapshot) for row in _keys(table)}
        rows: list[dict[str, Any]] = []
        size, indexed = 0, 0
        for place, file in enumerate(paths):
            missing = [field for field in fields if (file, _stored_name(snapshot, field)) not in known]
            rows += _described(snapshot, place, file, missing, false_positive_rate) if missing else []
            indexed += bool(missing)
            if sum(len(row["filter"] or b"") for row in rows) > _FILE_BYTES or (rows and place == len(paths) - 1):
                size += _write(snapshot.storage, rows)
                rows = []
        if rows:
            size += _write(snapshot.storage, rows)
        snapshot.facts.clear()
        return {"files_indexed": indexed, "bytes": size}


def bounds(snapshot: Snapshot, field: pa.Field) -> dict[str, list[Any]] | None:
    """The bounds of a column as texts, and its NULLs, by the place of each file; None if there is no index of it."""
    found = _rows(snapshot, field)
    if not found:
        return None
    places = range(len(snapshot.state.files))
    return {key: [found.get(place, {}).get(key) for place in places] for key in ("low", "high", "nulls")}


def possible(snapshot: Snapshot, field: pa.Field, constant: str) -> list[bool | None] | None:
    """Whether each file may have rows with a value, a constant in SQL; None where, or if, there is no filter."""
    found = _rows(snapshot, field)
    key = _key(field.type, f"TRY_CAST({constant} AS {sql_type(field.type)})")
    if key is None or not any(row["filter"] is not None for row in found.values()):
        return None
    value = database().sql(f"SELECT {key} AS key").to_arrow_table()["key"].combine_chunks()
    if value.null_count:
        return None
    (hash_,) = hashes_of(value).tolist()
    filters = (found.get(place, {}).get("filter") for place in range(len(snapshot.state.files)))
    return [None if content is None else may_hold(content, hash_) for content in filters]


def unneeded(snapshot: Snapshot, needed: set[str]) -> list[str]:
    """The index files, as paths below the table, that tell of none of the data files at these locations."""
    left = []
    for name in _names(snapshot.storage):
        table = _load(snapshot.storage, name)
        files = set() if table is None else {row["file"] for row in _keys(table)}
        if not any(snapshot.storage.locate(file) in needed for file in files):
            left.append(f"{FOLDER}/{name}")
    return left


# ------------------------------------------------------------------------------------------------------------- to build


def _fields(snapshot: Snapshot, columns: Sequence[str]) -> list[pa.Field]:
    """The columns of these names, checked."""
    import pyarrow.types as is_

    if not columns:
        raise ValueError("no column is named; expected some")
    fields = []
    for name in columns:
        if name not in snapshot.schema.names:
            names = ", ".join(map(repr, snapshot.schema.names))
            raise ValueError(f"there is no column {name!r}; the columns are {names}")
        if name in snapshot.partition_columns:
            raise ValueError(f"the table is partitioned by {name!r}, whose value in each file the log knows")
        field = snapshot.schema.field(name)
        if is_.is_nested(field.type) or is_.is_binary(field.type) or is_.is_null(field.type):
            raise ValueError(f"the column {name!r} is a {sql_type(field.type)}, by which files cannot be told apart")
        fields.append(field)
    return fields


def _stored_name(snapshot: Snapshot, field: pa.Field) -> str:
    return physical_name(field) if snapshot.mapping != "none" else str(field.name)


def _key(type_: pa.DataType, value: str) -> str | None:
    """SQL of the number or text of a value that is hashed; None for types of which equal values may differ."""
    import pyarrow.types as is_

    if is_.is_integer(type_):
        return f"({value})::BIGINT"
    if is_.is_date(type_):
        return f"TRY(({value}) - DATE '1970-01-01')::BIGINT"
    if is_.is_timestamp(type_):
        return f"TRY(epoch_us({value}))"
    return value if is_.is_string(type_) else None


def _kind(type_: pa.DataType) -> str:
    """What a column's type has to be for an index of it to hold: whole numbers may have become wider."""
    import pyarrow.types as is_

    return "INTEGER" if is_.is_integer(type_) else sql_type(type_)


def _described(
    snapshot: Snapshot, place: int, file: str, fields: list[pa.Field], false_positive_rate: float
) -> list[dict[str, Any]]:
    """The rows of an index for some columns of a data file."""
    import pyarrow as pa
    import pyarrow.types as is_

    files = snapshot.state.files
    vectors = pa.nulls(len(files), files.schema.field("vector").type)
    whole = files.set_column(files.column_names.index("vector"), files.schema.field("vector"), vectors)
    scan = scan_sql(dataclasses.replace(snapshot, state=dataclasses.replace(snapshot.state, files=whole)), [place])
    values, keys = [], []
    for number, field in enumerate(fields):
        name = quote_name(field.name)
        low, high = f"min({name})::VARCHAR", f"max({name})::VARCHAR"
        if is_.is_string(field.type):
            low, high = (f"left({text}, {_LONGEST_TEXT})" for text in (low, high))
        values += [low, high, f"count(*) - count({name})"]
        if (key := _key(field.type, name)) is not None:
            keys.append(f"{key} AS key_{number}")
    facts = database().sql(f"SELECT {', '.join(values)} FROM ({scan})").fetchall()[0]
    table = database().sql(f"SELECT {', '.join(keys)} FROM ({scan})").to_arrow_table() if keys else None
    rows = []
    for number, field in enumerate(fields):
        low, high, nulls = facts[3 * number : 3 * number + 3]
        row: dict[str, Any] = {"file": file, "column": _stored_name(snapshot, field), "kind": _kind(field.type)}
        row |= {"low": low, "high": high, "nulls": nulls, "filter": None}
        if table is not None and f"key_{number}" in table.column_names:
            hashes = hashes_of(table[f"key_{number}"].combine_chunks())
            row["filter"] = made_of(hashes, false_positive_rate)
        rows.append(row)
    return rows


def _write(storage: Storage, rows: list[dict[str, Any]]) -> int:
    """Write an index file; its size in bytes."""
    import pyarrow as pa
    import pyarrow.parquet

    schema = {name: pa.string() for name in ("file", "column", "kind", "low", "high")}
    schema |= {"nulls": pa.int64(), "filter": pa.binary()}
    content = io.BytesIO()
    table = pa.Table.from_pylist(rows, pa.schema(schema))
    pyarrow.parquet.write_table(table, content, compression="zstd", write_page_checksum=True)
    storage.create(f"{FOLDER}/index-{uuid.uuid4()}.parquet", content.getvalue())
    return len(content.getvalue())


# -------------------------------------------------------------------------------------------------------------- to look


def _rows(snapshot: Snapshot, field: pa.Field) -> dict[int, dict[str, Any]]:
    """What the index knows of a column, by the place of the file."""
    import pyarrow.compute as pc

    if not (tables := list(_tables(snapshot))):
        return {}
    places = {path: place for place, path in enumerate(snapshot.state.files["path"].to_pylist())}
    name, found = _stored_name(snapshot, field), {}
    for table in tables:
        wanted = pc.and_(pc.equal(table["column"], name), pc.equal(table["kind"], _kind(field.type)))
        for row in table.filter(wanted).to_pylist():
            if row["file"] in places:
                found[places[row["file"]]] = row
    return found


def _keys(table: pa.Table) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = table.select(["file", "column"]).to_pylist()
    return rows


def _names(storage: Storage) -> list[str]:
    names = (entry.path.rsplit("/", 1)[-1] for entry in storage.entries(FOLDER))
    return sorted(name for name in names if name.startswith("index-") and name.endswith(".parquet"))


def _tables(snapshot: Snapshot) -> Iterator[pa.Table]:
    """The index files of a table that can be read."""
    for name in _names(snapshot.storage):
        if (table := _load(snapshot.storage, name)) is not None:
            yield table


def _load(storage: Storage, name: str) -> pa.Table | None:
    """An index file; None if it is gone or damaged."""
    import pyarrow as pa
    import pyarrow.parquet

    key = storage.root, name
    with _lock:
        if key in _loaded:
            return _loaded[key]
    try:
        content = storage.read(storage.locate(f"{FOLDER}/{name}"))
        table = pyarrow.parquet.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()
        table = table.select(["file", "column", "kind", "low", "high", "nulls", "filter"])
    except (OSError, ValueError, KeyError):  # those of Arrow are among these
        table = None
    with _lock:
        _loaded[key] = table
        while len(_loaded) > _KEPT:
            del _loaded[next(iter(_loaded))]
    return table

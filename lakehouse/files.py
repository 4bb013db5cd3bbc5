"""Write the data files of a commit: Parquet in the order of the rows, with the statistics that go to the log.

DuckDB's COPY does the work on one thread, so equal input gives equal files. Training by gradient descent depends on
the order of rows; deltalake's own writer shuffles batches between its threads.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .schema import converted, field_id, physical_name, physical_type, quote_name, quote_text, sql_type

if TYPE_CHECKING:
    import pyarrow as pa

    from .storage import Storage

#: Size at which a data file is full; readers take files apart by row groups, so bigger ones would gain nothing.
FILE_BYTES = 128_000_000

#: What `write_files` calls files, below the directories of partitions.
OWN_NAME = re.compile(r"(?:.*/)?part-[0-9a-f]{32}-\d+\.parquet")
#: Longest text that goes into the log as a smallest or largest value.
_LONGEST_TEXT = 32


@dataclass(frozen=True)
class DataFile:
    """A file that a commit puts into a table.

    Attributes
    ----------
    path : str
        Where it is, relative to the table, not URL-encoded.
    size : int
        Bytes.
    partition_values : dict
        The text of each partition column's value, as the log has it.
    modification_time : int
        Milliseconds since 1970.
    stats : str
        The statistics, as the log has them.
    """

    path: str
    size: int
    partition_values: dict[str, str | None]
    modification_time: int
    stats: str


def write_files(
    storage: Storage,
    rows: pa.RecordBatchReader,
    schema: pa.Schema,
    partitions: list[str],
    mapped: bool = False,
    computed: Mapping[str, str] | None = None,
    folder: str = "",
    file_bytes: int = FILE_BYTES,
) -> list[DataFile]:
    """Write rows, cast to a schema, as Parquet files of a table; nothing is left of them if that fails.

    Parameters
    ----------
    storage : Storage
        The table's directory.
    rows : pyarrow.RecordBatchReader
        The rows; a column that they lack is NULL, unless it is computed.
    schema : pyarrow.Schema
        The columns of the files.
    partitions : list of str
        The columns whose values become directories.
    mapped : bool
        Whether files have columns under their physical names, and with their numbers.
    computed : mapping of str to str, optional
        SQL of columns that the rows may lack.
    folder : str
        A directory below that for the files.
    file_bytes : int
        The size at which a file is full.

    Returns
    -------
    list of DataFile
        The files, in the order of their rows.
    """
    import duckdb
    import pyarrow as pa

    storage.prepare(folder)
    token = uuid.uuid4().hex
    query = select_rows(rows.schema.names, schema, mapped, computed or {})
    options = [f"FILENAME_PATTERN 'part-{token}-{{i}}'", f"FILE_SIZE_BYTES {file_bytes}", "OVERWRITE_OR_IGNORE"]
    options += ["FORMAT parquet", "RETURN_STATS"]
    if partitions:
        names = [_stored_name(schema.field(name), mapped) for name in partitions]
        options.append(f"PARTITION_BY ({', '.join(map(quote_name, names))})")
    if mapped:
        # What a change data file says of its rows is no column of the table, and has no number.
        numbered = [field for field in schema if field.name not in partitions and field.metadata]
        options.append(f"FIELD_IDS {_field_ids(numbered)}")
    # Without async threads: a COPY that fails while one of them writes can hang (duckdb 2.0.0).
    with duckdb.connect(config={"threads": 1, "async_threads": 0}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET enable_progress_bar = {sys.stdout.isatty()}")  # not into files and pipes
        storage.reach(connection)
        connection.register("ironlake_rows", rows)
        try:
            written = connection.execute(
                f"COPY ({query}) TO {quote_text(storage.locate(folder).rstrip('/'))} ({', '.join(options)})"
            ).fetchall()
        except BaseException:
            storage.remove([entry.path for entry in storage.files() if token in entry.name])
            raise
    started = time.time_ns() // 1_000_000
    stored = pa.schema([(_stored_name(field, mapped), field.type) for field in schema])
    files = []
    for number, (name, count, size, _, statistics, keys, *_) in enumerate(written):
        if not count:
            storage.remove([storage.relative(name)])
            continue
        values = {key: _partition_value(value) for key, value in (keys or {}).items()}
        known = json.dumps(log_statistics(count, statistics, stored), separators=(",", ":"))
        # Times that rise by a millisecond a file keep the files in order for readers.
        files.append(DataFile(storage.relative(name), size, values, started + number, known))
    return files


def select_rows(present: list[str], schema: pa.Schema, mapped: bool, computed: Mapping[str, str]) -> str:
    """The SELECT of rows that DuckDB knows as ``ironlake_rows``, as the files have them."""
    columns = []
    for field in schema:
        name = quote_name(field.name)
        source = name if field.name in present else f"({computed.get(field.name, 'NULL')})"
        value = f"CAST({source} AS {sql_type(field.type)})"
        if mapped:
            value = converted(value, field.type, physical_type(field.type, mapped, False))
        columns.append(f"{value} AS {quote_name(_stored_name(field, mapped))}")
    return f"SELECT {', '.join(columns)} FROM ironlake_rows"


def _stored_name(field: pa.Field, mapped: bool) -> str:
    return physical_name(field) if mapped else str(field.name)


def _field_ids(fields: Iterable[pa.Field]) -> str:
    """The numbers of columns, in the words of COPY."""
    parts = [f"{quote_text(physical_name(field))}: {_ids(field.type, str(field_id(field)))}" for field in fields]
    return f"{{{', '.join(parts)}}}"


def _ids(type_: pa.DataType, own: str | None) -> str:
    """The number of a value and those of the fields inside it; items of lists and maps have none."""
    import pyarrow.types as is_

    inner: dict[str, str] = {}
    if is_.is_struct(type_):
        inner = {physical_name(field): _ids(field.type, str(field_id(field))) for field in type_}
    elif is_.is_list(type_):
        inner = {"element": _ids(type_.value_type, None)}
    elif is_.is_map(type_):
        inner = {"key": _ids(type_.key_type, None), "value": _ids(type_.item_type, None)}
    inner = {name: ids for name, ids in inner.items() if ids != "{}"}
    if own and not inner:
        return own
    parts = [f"__duckdb_field_id: {own}"] if own else []
    return f"{{{', '.join([*parts, *(f'{quote_text(name)}: {ids}' for name, ids in inner.items())])}}}"


def _partition_value(text: str | None) -> str | None:
    """The log's text of a partition value; it has no time zones, and takes an empty text for NULL."""
    return re.sub(r"(\d\d:\d\d:\d\d(\.\d+)?)\+00$", r"\1", text) if text else None


def log_statistics(count: int, statistics: dict[str, dict[str, str]], schema: pa.Schema) -> dict[str, Any]:
    """A file's statistics in the log's form, from those that COPY returns (texts by quoted column name)."""
    import pyarrow.types as is_

    nulls: dict[str, int] = {}
    smallest: dict[str, Any] = {}
    largest: dict[str, Any] = {}
    for field in schema:
        found = statistics.get(quote_name(field.name))
        if found is None or is_.is_struct(field.type):
            continue  # the log wants a struct's statistics field by field
        if "null_count" in found:
            nulls[field.name] = int(found["null_count"])
        bounds = _bounds(found, field.type)
        if bounds is not None:
            smallest[field.name], largest[field.name] = bounds
    return {"numRecords": count, "minValues": smallest, "maxValues": largest, "nullCount": nulls}


def _bounds(found: dict[str, str], type_: pa.DataType) -> tuple[Any, Any] | None:
    """The smallest and largest value as JSON values; None where the log has no exact form for them."""
    import pyarrow.types as is_

    low, high = found.get("min"), found.get("max")
    if low is None or high is None:
        return None
    if is_.is_integer(type_):
        return int(low), int(high)
    if is_.is_floating(type_) and found.get("has_nan") == "false":
        numbers = float(low), float(high)
        return numbers if all(map(math.isfinite, numbers)) else None
    if is_.is_string(type_) and max(len(low), len(high)) <= _LONGEST_TEXT:
        return low, high
    if is_.is_date(type_) and all(re.fullmatch(r"\d{4}-\d\d-\d\d", text) for text in (low, high)):
        return low, high
    if is_.is_timestamp(type_) and all(re.match(r"\d{4}-\d\d-\d\d ", text) for text in (low, high)):
        # The log keeps milliseconds: the bounds may move outwards, never inwards.
        up = dt.datetime.fromisoformat(high) + dt.timedelta(microseconds=999)
        return _milliseconds(dt.datetime.fromisoformat(low), type_.tz), _milliseconds(up, type_.tz)
    return None


def _milliseconds(time: dt.datetime, zone: str | None) -> str:
    return time.replace(tzinfo=None).isoformat(timespec="milliseconds") + ("Z" if zone else "")

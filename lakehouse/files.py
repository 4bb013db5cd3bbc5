"""Write the data files of a commit: Parquet in the order of the rows, with the statistics that go to the log.

DuckDB's COPY does the work on one thread, so equal input gives equal files. Training by gradient descent depends on
the order of rows; deltalake's own writer shuffles batches between its threads.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .schema import quote_name, quote_text, sql_type

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake.transaction import AddAction

#: Size at which a data file is full; readers take files apart by row groups, so bigger ones would gain nothing.
FILE_BYTES = 128_000_000

#: Longest text that goes into the log as a smallest or largest value.
_LONGEST_TEXT = 32


def write_files(path: Path, rows: pa.RecordBatchReader, schema: pa.Schema, partitions: list[str]) -> list[AddAction]:
    """Write `rows`, cast to `schema`, as Parquet files below `path`; nothing is left of them if that fails.

    Returns
    -------
    list of deltalake.transaction.AddAction
        The files, in the order of their rows.
    """
    import duckdb

    path.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    columns = ", ".join(f"CAST({quote_name(f.name)} AS {sql_type(f.type)}) AS {quote_name(f.name)}" for f in schema)
    partitioned = f"PARTITION_BY ({', '.join(map(quote_name, partitions))})," if partitions else ""
    # Without async threads: a COPY that fails while one of them writes can hang (duckdb 2.0.0).
    with duckdb.connect(config={"threads": 1, "async_threads": 0}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("ironlake_rows", rows)
        try:
            written = connection.execute(
                f"COPY (SELECT {columns} FROM ironlake_rows) TO {quote_text(str(path))} (FORMAT parquet, {partitioned} "
                f"FILENAME_PATTERN 'part-{token}-{{i}}', FILE_SIZE_BYTES {FILE_BYTES}, OVERWRITE_OR_IGNORE, "
                "RETURN_STATS)"
            ).fetchall()
        except BaseException:
            remove_files(path, token)
            raise
    started = time.time_ns() // 1_000_000
    actions = []
    for number, (file, count, size, _, statistics, keys, *_) in enumerate(written):
        if count:
            # Times that rise by a millisecond a file keep the files in order for readers.
            actions.append(_action(path, Path(file), count, size, statistics, keys, schema, started + number))
        else:
            Path(file).unlink()
    return actions


def remove_files(path: Path, token: str) -> None:
    """Remove the data files of one write."""
    for file in path.rglob(f"part-{token}-*"):
        file.unlink()


def _action(
    path: Path,
    file: Path,
    count: int,
    size: int,
    statistics: dict[str, dict[str, str]],
    keys: dict[str, str | None] | None,
    schema: pa.Schema,
    modified: int,
) -> AddAction:
    from deltalake.transaction import AddAction

    return AddAction(
        path=file.relative_to(path).as_posix(),
        size=size,
        partition_values={name: _partition_value(value) for name, value in (keys or {}).items()},
        modification_time=modified,
        data_change=True,
        stats=json.dumps(_log_statistics(count, statistics, schema)),
    )


def _partition_value(text: str | None) -> str | None:
    """The log's text of a partition value; it has no time zones, and takes an empty text for NULL."""
    return re.sub(r"(\d\d:\d\d:\d\d(\.\d+)?)\+00$", r"\1", text) if text else None


def _log_statistics(count: int, statistics: dict[str, dict[str, str]], schema: pa.Schema) -> dict[str, Any]:
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

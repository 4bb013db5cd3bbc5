"""What is known of the values in each data file of a table: from the log, from an index, and of partition columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import index
from .schema import partition_text, physical_name, quote_text, sql_type
from .snapshot import Snapshot
from .storage import database

if TYPE_CHECKING:
    import pyarrow as pa

    Facts = dict[str, pa.ChunkedArray]

#: Digits of a decimal that a JSON number keeps.
_EXACT_DIGITS = 15


def of_files(snapshot: Snapshot) -> Facts:
    """The ``place``, the ``path``, the ``size`` and the number of ``rows`` of each file."""
    return _known(snapshot, "", lambda: _files(snapshot))


def of_column(snapshot: Snapshot, field: pa.Field) -> Facts:
    """The bounds of a column in each file, ``lower`` and ``upper``, and its number of ``nulls``; NULL if not known."""
    return _known(snapshot, field.name.lower(), lambda: _facts(snapshot, field))


def _known(snapshot: Snapshot, name: str, find: Callable[[], pa.Table]) -> Facts:
    """Facts about the files that are found once for a snapshot: of a column, or those of no column."""
    if name not in snapshot.facts:
        table = find()
        snapshot.facts[name] = dict(zip(table.column_names, table.columns, strict=True))
    found: Facts = snapshot.facts[name]
    return found


def over(facts: pa.Table, text: str) -> pa.Table:
    """The rows of a query over a table that it calls ``facts``."""
    connection = database()
    connection.register("facts", facts)
    try:
        return connection.sql(text).to_arrow_table()
    finally:
        connection.unregister("facts")


def _files(snapshot: Snapshot) -> pa.Table:
    """The place, the path, the size and the number of rows of each file."""
    return over(
        snapshot.state.files,
        "SELECT row_number() OVER () - 1 AS place, path, size, (stats->>'numRecords')::BIGINT AS rows FROM facts",
    )


def _facts(snapshot: Snapshot, field: pa.Field) -> pa.Table:
    """The bounds of a column in each file, and its number of NULLs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    type_, mapped = sql_type(field.type), snapshot.mapping != "none"
    files = snapshot.state.files.select(["stats"])
    if field.name in snapshot.partitions:
        values = snapshot.partitions[field.name]
        texts = [None if each is None else partition_text(each, field.type) for each in values]
        return over(
            files.append_column("value", pa.array(texts, pa.string())),
            f"SELECT value::{type_} AS lower, value::{type_} AS upper, "
            "CASE WHEN value IS NULL THEN (stats->>'numRecords')::BIGINT ELSE 0 END AS nulls FROM facts",
        )
    key = physical_name(field) if mapped else field.name
    path = f"""$.{{}}."{key.replace('"', "")}\""""
    low, high, count = (
        f"json_extract_string(stats, {quote_text(path.format(part))})"
        for part in ("minValues", "maxValues", "nullCount")
    )
    lower, upper = (f"TRY_CAST({text} AS {type_})" for text in (low, high))
    if not _bounded(field.type):
        lower = upper = f"NULL::{type_}"
    elif type_.startswith("TIMESTAMP"):
        upper = f"({upper} + INTERVAL 1 MILLISECOND)"
    count = f"TRY_CAST({count} AS BIGINT)"
    tight = "coalesce((stats->>'tightBounds')::BOOLEAN, true)"
    nulls = f"CASE WHEN {tight} OR {count} IN (0, (stats->>'numRecords')::BIGINT) THEN {count} END"
    if (known := index.bounds(snapshot, field)) is not None:
        files = files.append_column("unmarked", pc.is_null(snapshot.state.files["vector"]))
        for name, values in known.items():
            files = files.append_column(name, pa.array(values, pa.int64() if name == "nulls" else pa.string()))
        lower, upper = (
            f"coalesce({bound}, TRY_CAST({name} AS {type_}))" for bound, name in ((lower, "low"), (upper, "high"))
        )
        nulls = f"coalesce({nulls}, CASE WHEN unmarked OR nulls IN (0, (stats->>'numRecords')::BIGINT) THEN nulls END)"
    return over(files, f"SELECT {lower} AS lower, {upper} AS upper, {nulls} AS nulls FROM facts")


def _bounded(type_: pa.DataType) -> bool:
    """Whether the log's bounds of such a column are exact enough."""
    import pyarrow.types as is_

    return not (is_.is_binary(type_) or (is_.is_decimal(type_) and type_.precision > _EXACT_DIGITS))

"""Definitions of trace tables: one SQL file each, whose comments give units and meaning.

Behind each column stands a comment: the unit in brackets, if the column has one, and the meaning, such as
``seconds DOUBLE,  -- [s] that the epoch took``. Delta tables keep the comment with the column.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ironlake.udf.engine.declaration import closest

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_FOLDER = Path(__file__).parent / "traces"
_COLUMN = re.compile(r'^ +"?(\w+)"? [^-]*-- (?:\[(.+?)\] )?(.+)$', re.MULTILINE)


_LONG = "TIMESTAMP WITH TIME ZONE"


@dataclass(frozen=True)
class TraceColumn:
    """A column of a trace table.

    Attributes
    ----------
    name, type : str
        As SQL has them.
    unit : str or None
        Such as ``ms``; None for texts, ratios and plain numbers.
    comment : str
        What the column means.
    """

    name: str
    type: str
    unit: str | None
    comment: str

    def __str__(self) -> str:
        return self.comment if self.unit is None else f"[{self.unit}] {self.comment}"


def trace_names() -> list[str]:
    """The names of the trace tables that are defined."""
    return sorted(path.stem for path in _FOLDER.glob("*.sql"))


def trace_columns(name: str) -> tuple[TraceColumn, ...]:
    """The columns of a trace table, in order.

    Raises
    ------
    ValueError
        If no trace table has this name.
    """
    return _definition(name)[0]


def trace_schema(name: str) -> pa.Schema:
    """The columns of a trace table as an Arrow schema, whose fields carry their comments.

    Raises
    ------
    ValueError
        If no trace table has this name.
    """
    return _definition(name)[1]


@functools.cache
def _definition(name: str) -> tuple[tuple[TraceColumn, ...], pa.Schema]:
    import pyarrow as pa

    if name not in trace_names():
        raise ValueError(f"there is no trace table {name!r}{closest(name, trace_names())}")
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    told = {column: (unit or None, comment) for column, unit, comment in _COLUMN.findall(text)}
    with _database().cursor() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(text.replace("CREATE TABLE", "CREATE OR REPLACE TABLE", 1))
        relation = connection.sql(f"FROM {name}")
        columns = tuple(
            TraceColumn(column, str(type_).replace(_LONG, "TIMESTAMPTZ"), *told[column])
            for column, type_ in zip(relation.columns, relation.types, strict=True)
        )
        fields = relation.to_arrow_table().schema
    comments = [{"comment": str(column)} for column in columns]
    return columns, pa.schema([field.with_metadata(told) for field, told in zip(fields, comments, strict=True)])


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """The private database that reads the definitions."""
    import duckdb

    return duckdb.connect()

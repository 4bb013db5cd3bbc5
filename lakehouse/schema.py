"""The schema of a Delta table: which Arrow types it can store, and how DuckDB names them.

Delta stores signed integers, two floats, decimals, strings, bytes, booleans, dates, microsecond timestamps, and
lists, structs and maps of these. Everything here happens on schemas, before the first row is touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: Arrow types that Delta cannot store: the cast that keeps every value, in Arrow's and in SQL's words.
_CASTS = {
    "halffloat": ("float32", "FLOAT"),
    "uint8": ("int16", "SMALLINT"),
    "uint16": ("int32", "INTEGER"),
    "uint32": ("int64", "BIGINT"),
    "uint64": ("decimal128(20, 0)", "DECIMAL(20, 0)"),
    "null": ("a concrete type such as string", "VARCHAR"),
}

_SQL_NAMES = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "binary": "BLOB",
    "date32[day]": "DATE",
    "timestamp[us]": "TIMESTAMP",
    "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
    "null": '"NULL"',
}


def quote_name(name: str) -> str:
    """Write a name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Write a text as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def sql_type(arrow_type: pa.DataType) -> str:
    """DuckDB's name of a type that a Delta table stores."""
    import pyarrow.types as is_

    if is_.is_list(arrow_type):
        return sql_type(arrow_type.value_type) + "[]"
    if is_.is_struct(arrow_type):
        return f"STRUCT({', '.join(f'{quote_name(field.name)} {sql_type(field.type)}' for field in arrow_type)})"
    if is_.is_map(arrow_type):
        return f"MAP({sql_type(arrow_type.key_type)}, {sql_type(arrow_type.item_type)})"
    if is_.is_decimal(arrow_type):
        return f"DECIMAL({arrow_type.precision}, {arrow_type.scale})"
    return _SQL_NAMES[str(arrow_type)]


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """The schema that a table has after `schema` is written to it.

    Fixed-size lists become lists, dictionaries their values, timestamps microseconds (UTC when they carry a zone);
    every column may hold NULL.

    Raises
    ------
    TypeError
        A column's type cannot be stored; the message names the column, its type and a cast that can.
    ValueError
        There is no column, or two names differ only by case.
    """
    import pyarrow as pa

    if len(schema) == 0:
        raise ValueError("the data has no columns, and a table needs at least one")
    seen: dict[str, str] = {}
    for name in schema.names:
        if (other := seen.setdefault(name.lower(), name)) is not name:
            raise ValueError(f"columns {other!r} and {name!r} differ only by case; rename one of them")
    return pa.schema([(field.name, stored_type(field.type, field.name)) for field in schema])


def stored_type(arrow_type: pa.DataType, column: str) -> pa.DataType:
    """The type under which Delta stores a column of type `arrow_type`; `column` is for the error message."""
    import pyarrow as pa
    import pyarrow.types as is_

    if is_.is_dictionary(arrow_type):
        return stored_type(arrow_type.value_type, column)
    if is_.is_map(arrow_type):
        key, item = arrow_type.key_type, arrow_type.item_type
        return pa.map_(stored_type(key, f"{column}.key"), stored_type(item, f"{column}.value"))
    if any(test(arrow_type) for test in (is_.is_list, is_.is_large_list, is_.is_fixed_size_list, is_.is_list_view)):
        return pa.list_(stored_type(arrow_type.value_type, f"{column}[]"))
    if is_.is_struct(arrow_type) and arrow_type.num_fields:
        return pa.struct([(field.name, stored_type(field.type, f"{column}.{field.name}")) for field in arrow_type])
    if any(test(arrow_type) for test in (is_.is_string, is_.is_large_string, is_.is_string_view)):
        return pa.string()
    if any(test(arrow_type) for test in (is_.is_binary, is_.is_large_binary, is_.is_binary_view)):
        return pa.binary()
    if is_.is_fixed_size_binary(arrow_type) and not isinstance(arrow_type, pa.BaseExtensionType):
        return pa.binary()
    if is_.is_date(arrow_type):
        return pa.date32()
    if is_.is_timestamp(arrow_type):
        return pa.timestamp("us", "UTC" if arrow_type.tz else None)
    if is_.is_decimal128(arrow_type) and arrow_type.scale >= 0:
        return arrow_type
    if str(arrow_type) in _SQL_NAMES and not is_.is_null(arrow_type):
        return arrow_type
    raise TypeError(
        f"column {column!r} has type {arrow_type}, which Delta cannot store; cast it to {_cast(arrow_type)}"
    )


def _cast(arrow_type: pa.DataType) -> str:
    """The cast to suggest for a type that Delta cannot store."""
    import pyarrow.types as is_

    if is_.is_duration(arrow_type) or is_.is_time(arrow_type):
        arrow, sql = "int64 (microseconds)", "BIGINT"
    elif is_.is_decimal(arrow_type):
        scale = max(arrow_type.scale, 0)
        digits = f"({min(max(arrow_type.precision, scale), 38)}, {scale})"
        arrow, sql = f"decimal128{digits}", f"DECIMAL{digits}"
    else:
        arrow, sql = _CASTS.get(str(arrow_type), ("string", "VARCHAR"))
    return f"{arrow} ({sql} in SQL)"


def partitionable(arrow_type: pa.DataType) -> bool:
    """Whether a column of this type can name directories: its values have one text each."""
    import pyarrow.types as is_

    return not (is_.is_nested(arrow_type) or is_.is_floating(arrow_type) or is_.is_binary(arrow_type))


def mismatches(data: pa.Schema, table: pa.Schema) -> Iterator[str]:
    """What keeps rows of schema `data` from being appended to a table of schema `table`, a phrase each."""
    if missing := [name for name in table.names if name not in data.names]:
        yield f"missing {_listed(missing)}"
    if extra := [name for name in data.names if name not in table.names]:
        yield f"unknown {_listed(extra)}"
    for name in table.names:
        if name in data.names and not widens(data.field(name).type, table.field(name).type):
            found, stored = sql_type(data.field(name).type), sql_type(table.field(name).type)
            yield f"column {name!r} is {found}, not {stored}"


def _listed(names: list[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def widens(source: pa.DataType, target: pa.DataType) -> bool:
    """Whether every value of `source` has its equal in `target`; both are types that Delta stores."""
    import pyarrow.types as is_

    if is_.is_list(source) and is_.is_list(target):
        return widens(source.value_type, target.value_type)
    if is_.is_map(source) and is_.is_map(target):
        return widens(source.key_type, target.key_type) and widens(source.item_type, target.item_type)
    if is_.is_struct(source) and is_.is_struct(target):
        names = [field.name for field in source]
        return names == [field.name for field in target] and all(
            widens(source.field(name).type, target.field(name).type) for name in names
        )
    if is_.is_decimal(source) and is_.is_decimal(target):
        whole = target.precision - target.scale >= source.precision - source.scale
        return bool(whole and target.scale >= source.scale)
    if is_.is_integer(source) and is_.is_integer(target):
        return bool(source.bit_width <= target.bit_width)
    if is_.is_floating(target) and (is_.is_integer(source) or is_.is_floating(source)):
        exact_bits = 53 if target.bit_width == 64 else 24
        return bool(source.bit_width <= (target.bit_width if is_.is_floating(source) else exact_bits))
    return bool(source == target)

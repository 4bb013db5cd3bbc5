"""The schema of a Delta table: which Arrow types it can store, and how DuckDB names them.

Delta stores signed integers, two floats, decimals, strings, bytes, booleans, dates, microsecond timestamps, and
lists, structs and maps of these. Everything here happens on schemas, before the first row is touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

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


#: Delta's names of primitive types.
_DELTA_NAMES = {
    "string": "string",
    "long": "int64",
    "integer": "int32",
    "short": "int16",
    "byte": "int8",
    "float": "float32",
    "double": "float64",
    "boolean": "bool_",
    "binary": "binary",
    "date": "date32",
    "void": "null",
}
_ZONE = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)$")
_PHYSICAL_NAME, _FIELD_ID = b"delta.columnMapping.physicalName", b"delta.columnMapping.id"


def logged_schema(text: str | None) -> pa.Schema:
    """The schema that a log's ``schemaString`` says; a field's metadata are kept, each value as JSON.

    Raises
    ------
    ValueError
        The text is no schema, or a column has a type that is not known.
    """
    import pyarrow as pa

    if not text:
        raise ValueError("the log has no schema")
    try:
        fields = json.loads(text)["fields"]
        return pa.schema([_logged_field(field) for field in fields])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the log has a schema that cannot be read: {error!r}") from None


def _logged_field(field: dict[str, Any], path: str = "") -> pa.Field:
    import pyarrow as pa

    name = f"{path}{field['name']}"
    metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in field["metadata"].items()}
    return pa.field(field["name"], _logged_type(field["type"], name), field["nullable"], metadata)


def _logged_type(kind: Any, column: str) -> pa.DataType:
    import pyarrow as pa

    if isinstance(kind, dict):
        if kind["type"] == "struct":
            return pa.struct([_logged_field(field, f"{column}.") for field in kind["fields"]])
        if kind["type"] == "array":
            return pa.list_(_logged_type(kind["elementType"], f"{column}[]"))
        key, value = kind["keyType"], kind["valueType"]
        return pa.map_(_logged_type(key, f"{column}.key"), _logged_type(value, f"{column}.value"))
    if kind in ("timestamp", "timestamp_ntz"):
        return pa.timestamp("us", "UTC" if kind == "timestamp" else None)
    if found := re.fullmatch(r"decimal\(\s*(\d+)\s*,\s*(-?\d+)\s*\)", kind):
        return pa.decimal128(int(found[1]), int(found[2]))
    if kind == "decimal":
        return pa.decimal128(10, 0)
    if kind not in _DELTA_NAMES:
        raise ValueError(f"column {column!r} is of the type {kind!r}, which is not known")
    return getattr(pa, _DELTA_NAMES[kind])()


def schema_text(schema: pa.Schema) -> str:
    """The ``schemaString`` of a schema; a field's metadata are told as they are."""
    return json.dumps({"type": "struct", "fields": [_told_field(field) for field in schema]})


def _told_field(field: pa.Field) -> dict[str, Any]:
    metadata: dict[str, Any] = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    if (number := _FIELD_ID.decode()) in metadata:
        metadata[number] = int(metadata[number])
    return {"name": field.name, "type": _told_type(field.type), "nullable": field.nullable, "metadata": metadata}


def _told_type(type_: pa.DataType) -> Any:
    import pyarrow.types as is_

    if is_.is_struct(type_):
        return {"type": "struct", "fields": [_told_field(field) for field in type_]}
    if is_.is_list(type_):
        return {"type": "array", "elementType": _told_type(type_.value_type), "containsNull": True}
    if is_.is_map(type_):
        parts = {"keyType": _told_type(type_.key_type), "valueType": _told_type(type_.item_type)}
        return {"type": "map", **parts, "valueContainsNull": True}
    if is_.is_decimal(type_):
        return f"decimal({type_.precision},{type_.scale})"
    if is_.is_timestamp(type_):
        return "timestamp" if type_.tz else "timestamp_ntz"
    names = {"bool": "boolean", "int64": "long", "int32": "integer", "int16": "short", "int8": "byte"}
    names |= {"date32[day]": "date", "null": "void"}
    return names.get(str(type_), str(type_))


def physical_name(field: pa.Field) -> str:
    """The name of a column in the data files, in partition values and in statistics, where columns are mapped."""
    metadata = field.metadata or {}
    return metadata[_PHYSICAL_NAME].decode() if _PHYSICAL_NAME in metadata else str(field.name)


def field_id(field: pa.Field) -> int:
    """The number of a column in the data files, where columns are mapped by it."""
    return int((field.metadata or {})[_FIELD_ID])


def physical_type(type_: pa.DataType, mapped: bool, int96: bool) -> pa.DataType:
    """A type as the data files have it.

    Where columns are ``mapped`` the fields of STRUCTs have their physical names; as ``int96`` timestamps have no zone.
    """
    import pyarrow as pa
    import pyarrow.types as is_

    def within(part: pa.DataType) -> pa.DataType:
        return physical_type(part, mapped, int96)

    if is_.is_struct(type_):
        return pa.struct([(physical_name(field) if mapped else field.name, within(field.type)) for field in type_])
    if is_.is_list(type_):
        return pa.list_(within(type_.value_type))
    if is_.is_map(type_):
        return pa.map_(within(type_.key_type), within(type_.item_type))
    return pa.timestamp("us") if int96 and is_.is_timestamp(type_) else type_


def converted(value: str, source: pa.DataType, target: pa.DataType, depth: int = 0) -> str:
    """SQL that turns a value of a physical type into the table's; ``value`` is SQL itself."""
    import pyarrow.types as is_

    if sql_type(source) == sql_type(target):
        return value
    if is_.is_timestamp(source):
        return f"timezone('UTC', {value})"
    if is_.is_struct(source):
        fields = ", ".join(
            f"{quote_name(after.name)} := "
            + converted(f"{value}[{quote_text(before.name)}]", before.type, after.type, depth)
            for before, after in zip(source, target, strict=True)
        )
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({fields}) END"
    element = f"element{depth}"
    if is_.is_list(source):
        inner = converted(element, source.value_type, target.value_type, depth + 1)
        return f"list_transform({value}, lambda {element}: {inner})"
    key = converted(f"{element}['key']", source.key_type, target.key_type, depth + 1)
    item = converted(f"{element}['value']", source.item_type, target.item_type, depth + 1)
    entries = f"list_transform(map_entries({value}), lambda {element}: {{'key': {key}, 'value': {item}}})"
    return f"CASE WHEN {value} IS NOT NULL THEN map_from_entries({entries}) END"


def partition_text(value: str, type_: pa.DataType) -> str:
    """A partition value as text that DuckDB casts: the log leaves out the zone, UTC, and escapes bytes."""
    import pyarrow.types as is_

    if is_.is_timestamp(type_):
        return value if type_.tz is None or _ZONE.search(value) else f"{value}+00"
    if is_.is_binary(type_):
        return "".join(rf"\x{ord(character) & 0xFF:02X}" for character in _unescaped(value))
    return value


def _unescaped(value: str) -> str:
    r"""A binary partition value, whose bytes may be written as ``\u00AB``."""
    return re.sub(r"\\u00([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), value)


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """The schema that a table has after `schema` is written to it.

    Fixed-size lists become lists, dictionaries their values, timestamps microseconds (UTC when they carry a zone);
    every column may hold NULL, and keeps its ``comment``.

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
    types = [(field, stored_type(field.type, field.name)) for field in schema]
    return pa.schema([pa.field(field.name, type_, metadata=_comment(field)) for field, type_ in types])


def _comment(field: pa.Field) -> dict[bytes, bytes] | None:
    """What a field's metadata say of it for people, which tables keep."""
    comment = (field.metadata or {}).get(b"comment")
    return None if comment is None else {b"comment": comment}


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


def mismatches(data: pa.Schema, table: pa.Schema, optional: set[str]) -> Iterator[str]:
    """What keeps rows of schema `data` from being appended to a table of schema `table`, a phrase each.

    The rows may lack ``optional`` columns.
    """
    if missing := [name for name in table.names if name not in data.names and name not in optional]:
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

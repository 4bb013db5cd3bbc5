"""SQL types: how a declaration names them, and what they are in Arrow and DuckDB.

A type is written as a Python annotation. Plain Python types stand for their SQL equals
(``float`` is DOUBLE, ``int`` BIGINT, ``str`` VARCHAR, ``list[float]`` DOUBLE[]); the names in this
module (``FLOAT``, ``UTINYINT`` ...) are annotations for the others; a ``NamedTuple`` class is a STRUCT;
a string is SQL text (``"STRUCT(a INTEGER, b VARCHAR[])"``). A union (``bool | float``) declares an
overload for each of its members. An array of any fixed length is written ``"FLOAT[n]"``.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

if TYPE_CHECKING:
    import pyarrow as pa


_MAP = -1


@dataclass(frozen=True)
class SqlType:
    """A SQL type; nested types carry their parts.

    Attributes
    ----------
    name : upper-case SQL name; ``LIST``, ``ARRAY`` and ``STRUCT`` are nested, ``ANY`` accepts everything.
    child : element type of a LIST or ARRAY.
    size : length of an ARRAY; 0 stands for any length and may only be an argument type. -1 tells that a LIST of
        STRUCT(key, value) is a MAP, which DuckDB keeps in the same way; it may only be an argument type.
    fields : (name, type) pairs of a STRUCT.
    """

    name: str
    child: SqlType | None = None
    size: int = 0
    fields: tuple[tuple[str, SqlType], ...] = ()

    def __str__(self) -> str:
        if self.name == "LIST":
            key_and_value = ", ".join(str(type_) for _, type_ in self.element.fields)
            return f"MAP({key_and_value})" if self.size == _MAP else f"{self.child}[]"
        if self.name == "ARRAY":
            return f"{self.child}[{self.size or 'n'}]"
        if self.name == "STRUCT":
            return "STRUCT(" + ", ".join(f"{name} {type_}" for name, type_ in self.fields) + ")"
        return self.name

    @property
    def element(self) -> SqlType:
        """The element type of a LIST or ARRAY."""
        assert self.child is not None
        return self.child

    def walk(self) -> Iterator[SqlType]:
        """The type itself and every type inside it."""
        yield self
        for part in (*([self.child] if self.child else []), *(type_ for _, type_ in self.fields)):
            yield from part.walk()


#: DuckDB's type ids (``duckdb_type`` of the C API).
TYPE_IDS = {
    "BOOLEAN": 1, "TINYINT": 2, "SMALLINT": 3, "INTEGER": 4, "BIGINT": 5, "UTINYINT": 6, "USMALLINT": 7,
    "UINTEGER": 8, "UBIGINT": 9, "FLOAT": 10, "DOUBLE": 11, "TIMESTAMP": 12, "DATE": 13, "TIME": 14,
    "INTERVAL": 15, "HUGEINT": 16, "VARCHAR": 17, "BLOB": 18, "DECIMAL": 19, "TIMESTAMP_S": 20,
    "TIMESTAMP_MS": 21, "TIMESTAMP_NS": 22, "ENUM": 23, "LIST": 24, "STRUCT": 25, "MAP": 26, "UUID": 27,
    "UNION": 28, "BIT": 29, "TIMESTAMPTZ": 31, "UHUGEINT": 32, "ARRAY": 33, "ANY": 34, "SQLNULL": 36,
}  # fmt: skip

#: The flat types a declaration may use.
FLAT = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE", "VARCHAR", "BLOB", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "ANY",
)  # fmt: skip

_ALIASES = {
    "BOOL": "BOOLEAN", "INT": "INTEGER", "INT4": "INTEGER", "INT8": "BIGINT", "REAL": "FLOAT",
    "FLOAT8": "DOUBLE", "TEXT": "VARCHAR", "STRING": "VARCHAR", "BYTEA": "BLOB",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ",
}  # fmt: skip

BOOLEAN = Annotated[bool, SqlType("BOOLEAN")]
TINYINT = Annotated[int, SqlType("TINYINT")]
SMALLINT = Annotated[int, SqlType("SMALLINT")]
INTEGER = Annotated[int, SqlType("INTEGER")]
BIGINT = Annotated[int, SqlType("BIGINT")]
UTINYINT = Annotated[int, SqlType("UTINYINT")]
USMALLINT = Annotated[int, SqlType("USMALLINT")]
UINTEGER = Annotated[int, SqlType("UINTEGER")]
UBIGINT = Annotated[int, SqlType("UBIGINT")]
HUGEINT = Annotated[int, SqlType("HUGEINT")]
UHUGEINT = Annotated[int, SqlType("UHUGEINT")]
FLOAT = Annotated[float, SqlType("FLOAT")]
DOUBLE = Annotated[float, SqlType("DOUBLE")]
VARCHAR = Annotated[str, SqlType("VARCHAR")]
BLOB = Annotated[bytes, SqlType("BLOB")]
DATE = Annotated[datetime.date, SqlType("DATE")]
TIMESTAMP = Annotated[datetime.datetime, SqlType("TIMESTAMP")]
TIMESTAMPTZ = Annotated[datetime.datetime, SqlType("TIMESTAMPTZ")]
ANY = Annotated[Any, SqlType("ANY")]

_PYTHON_TYPES: dict[Any, str] = {
    bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR", bytes: "BLOB",
    datetime.date: "DATE", datetime.datetime: "TIMESTAMP", Any: "ANY",
}  # fmt: skip


def list_of(child: SqlType) -> SqlType:
    """LIST of a type."""
    return SqlType("LIST", child)


def array_of(child: SqlType, size: int = 0) -> SqlType:
    """ARRAY of a type; ``size=0`` accepts every length."""
    return SqlType("ARRAY", child, size)


def map_of(key: SqlType, value: SqlType) -> SqlType:
    """MAP of two types; it arrives as a list of structs with ``key`` and ``value``."""
    return SqlType("LIST", SqlType("STRUCT", fields=(("key", key), ("value", value))), _MAP)


#: A row of numbers, however it is stored: an overload for each of the usual columns of features.
Vector = Annotated[
    list[float],
    tuple(
        [list_of(SqlType(name)) for name in ("FLOAT", "DOUBLE")]
        + [array_of(SqlType(name)) for name in ("FLOAT", "DOUBLE", "INTEGER", "BIGINT")]
    ),
]

_TOKEN = re.compile(r'\s*(?:("(?:[^"]|"")*")|(\w+)|(.))')


def parse(text: str) -> SqlType:
    """Read a type from SQL text, such as ``FLOAT[]``, ``DOUBLE[n]`` or ``STRUCT(a INTEGER, b VARCHAR[])``.

    Raises
    ------
    TypeError
        If the text is not a type that declarations may use.
    """
    tokens = [quoted or word or mark for quoted, word, mark in _TOKEN.findall(text.strip())]
    type_, rest = _parse_tokens(tokens, text)
    if rest:
        raise TypeError(f"{text!r} is not a SQL type: {rest[0]!r} is left over after {type_}")
    return type_


def _parse_tokens(tokens: list[str], text: str) -> tuple[SqlType, list[str]]:
    if not tokens:
        raise TypeError(f"{text!r} is not a SQL type: a type name is missing")
    name, rest = tokens[0].upper(), tokens[1:]
    if name == "STRUCT" and rest[:1] == ["("]:
        fields = []
        while rest and rest[0] in "(,":
            field, rest = rest[1].strip('"'), rest[2:]
            type_, rest = _parse_tokens(rest, text)
            fields.append((field, type_))
        if rest[:1] != [")"]:
            raise TypeError(f"{text!r} is not a SQL type: a ')' is missing")
        result, rest = SqlType("STRUCT", fields=tuple(fields)), rest[1:]
    elif name == "MAP" and rest[:1] == ["("]:
        key, rest = _parse_tokens(rest[1:], text)
        value, rest = _parse_tokens(rest[1:], text)
        if rest[:1] != [")"]:
            raise TypeError(f"{text!r} is not a SQL type: a ')' is missing")
        result, rest = map_of(key, value), rest[1:]
    else:
        name = _ALIASES.get(name, name)
        if name not in FLAT:
            raise TypeError(f"{text!r} names no type that a declaration may use; the flat ones are {', '.join(FLAT)}")
        result = SqlType(name)
    while rest[:1] == ["["]:
        if rest[1:2] == ["]"]:
            result, rest = list_of(result), rest[2:]
        elif rest[2:3] == ["]"] and (rest[1] == "n" or rest[1].isdigit()):
            result, rest = array_of(result, 0 if rest[1] == "n" else int(rest[1])), rest[3:]
        else:
            raise TypeError(f"{text!r} is not a SQL type: write LIST as TYPE[], ARRAY as TYPE[3] or TYPE[n]")
    return result, rest


def overloads(hint: Any) -> tuple[SqlType, ...]:
    """The SQL types that an annotation stands for: one, or one for each member of a union.

    Raises
    ------
    TypeError
        If the annotation stands for no SQL type.
    """
    if isinstance(hint, SqlType):
        return (hint,)
    if isinstance(hint, typing.ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        return tuple(parse(part) for part in hint.split("|"))
    origin = get_origin(hint)
    if origin is Annotated:
        declared = hint.__metadata__[0]
        if isinstance(declared, SqlType):
            return (declared,)
        return tuple(declared) if isinstance(declared, tuple) else overloads(declared)
    if origin in (Union, types.UnionType):
        members = [overloads(member) for member in get_args(hint) if member is not type(None)]
        return tuple(dict.fromkeys(itertools.chain.from_iterable(members)))
    if origin in (list, tuple) and len(get_args(hint)) in (1, 2):
        return tuple(list_of(child) for child in overloads(get_args(hint)[0]))
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return (struct_of(hint),)
    if hint in _PYTHON_TYPES:
        return (SqlType(_PYTHON_TYPES[hint]),)
    raise TypeError(f"{hint!r} stands for no SQL type; use float, int, str, list[float], a NamedTuple or SQL text")


def single(hint: Any) -> SqlType:
    """The one SQL type of an annotation that must not be a union."""
    found = overloads(hint)
    if len(found) != 1:
        raise TypeError(f"{hint!r} must be one SQL type, it stands for {len(found)}: {', '.join(map(str, found))}")
    return found[0]


def struct_of(record: type) -> SqlType:
    """The STRUCT of a ``NamedTuple`` class."""
    hints = typing.get_type_hints(record, include_extras=True)
    return SqlType("STRUCT", fields=tuple((field, single(hints[field])) for field in record._fields))  # type: ignore[attr-defined]


@functools.cache
def to_arrow(type_: SqlType) -> pa.DataType:
    """The Arrow type in which columns of this SQL type travel."""
    import pyarrow as pa

    flat = {
        "BOOLEAN": pa.bool_(), "TINYINT": pa.int8(), "SMALLINT": pa.int16(), "INTEGER": pa.int32(),
        "BIGINT": pa.int64(), "UTINYINT": pa.uint8(), "USMALLINT": pa.uint16(), "UINTEGER": pa.uint32(),
        "UBIGINT": pa.uint64(), "FLOAT": pa.float32(), "DOUBLE": pa.float64(), "VARCHAR": pa.string(),
        "BLOB": pa.binary(), "DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us"),
        "TIMESTAMPTZ": pa.timestamp("us", "UTC"), "HUGEINT": pa.decimal128(38, 0),
    }  # fmt: skip
    if type_.name == "LIST":
        return pa.list_(to_arrow(type_.element))
    if type_.name == "ARRAY":
        return pa.list_(to_arrow(type_.element), type_.size)
    if type_.name == "STRUCT":
        return pa.struct([pa.field(name, to_arrow(child)) for name, child in type_.fields])
    if type_.name not in flat:
        raise TypeError(f"{type_} has no Arrow type here")
    return flat[type_.name]

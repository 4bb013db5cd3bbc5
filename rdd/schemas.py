"""Which columns elements have, by the rules by which Spark makes a DataFrame of an RDD.

Source: `SparkSession.createDataFrame` of PySpark 4.3.0, whose rules these are: integers are of 64 bits, decimals have
38 digits of which 18 stand behind the point, dictionaries inside of rows are maps, and a text beside anything else that
is a scalar makes a column of texts.
"""

from __future__ import annotations

import datetime as dt
import decimal
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa

#: Times with a zone, as Spark's ``timestamp``.
_TIMESTAMP = pa.timestamp("us", "UTC")
_DECIMAL = pa.decimal128(38, 18)
_INFERRED: dict[type, pa.DataType] = {
    type(None): pa.null(), bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary(),
    bytearray: pa.binary(), decimal.Decimal: _DECIMAL, dt.date: pa.date32(), dt.datetime: _TIMESTAMP,
    dt.timedelta: pa.duration("us"), dt.time: pa.time64("us"),
}  # fmt: skip
_NAMED = {
    "tinyint": pa.int8(), "byte": pa.int8(), "smallint": pa.int16(), "short": pa.int16(), "int": pa.int32(),
    "integer": pa.int32(), "bigint": pa.int64(), "long": pa.int64(), "float": pa.float32(), "real": pa.float32(),
    "double": pa.float64(), "boolean": pa.bool_(), "string": pa.string(), "binary": pa.binary(), "date": pa.date32(),
    "timestamp": _TIMESTAMP, "timestamp_ltz": _TIMESTAMP, "timestamp_ntz": pa.timestamp("us"), "void": pa.null(),
    "decimal": pa.decimal128(10, 0), "dec": pa.decimal128(10, 0), "numeric": pa.decimal128(10, 0),
}  # fmt: skip


def array(element: pa.DataType) -> pa.DataType:
    """The type of lists, whose elements Spark and Delta call so."""
    return pa.list_(pa.field("element", element))


def columns_of(row: Any, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The values of an element by the names of their columns.

    Raises
    ------
    TypeError
        It is no row: neither a tuple or list, a dictionary, nor an object with attributes.
    """
    if isinstance(row, dict):
        return dict(sorted(row.items()))
    if isinstance(row, tuple | list):
        own = getattr(row, "__fields__", None) or getattr(row, "_fields", None)  # PySpark's Row, and named tuples
        found = list(own or names or ())
        found += [f"_{place}" for place in range(len(found) + 1, len(row) + 1)]
        return dict(zip(found, row, strict=False))
    if hasattr(row, "__dict__"):
        return dict(sorted(vars(row).items()))
    raise TypeError(
        f"toDF: no columns can be made of the element {row!r:.200} of type {type(row).__name__}; expected a tuple, "
        "list, dictionary, or object with attributes"
    )


def inferred(rows: Iterable[Any], names: Sequence[str] | None = None) -> pa.Schema:
    """The columns of some elements together."""
    columns: dict[str, pa.DataType] = {}
    for row in rows:
        for name, value in columns_of(row, names).items():
            columns[name] = merged(columns.get(name, pa.null()), _inferred(value, name), name)
    return pa.schema(list(columns.items()))


def has_unknown(type_: pa.DataType | pa.Schema) -> bool:
    """Whether there is a part of which only nulls were seen."""
    if isinstance(type_, pa.Schema):
        return any(has_unknown(field.type) for field in type_)
    if pa.types.is_null(type_):
        return True
    return any(has_unknown(type_.field(place).type) for place in range(type_.num_fields))


def _inferred(value: Any, where: str) -> pa.DataType:
    found = _INFERRED.get(type(value))
    if found is not None:
        return found
    if isinstance(value, dict):
        key = value_type = pa.null()
        for one, other in value.items():
            key = merged(key, _inferred(one, where), f"key of {where}")
            value_type = merged(value_type, _inferred(other, where), f"value of {where}")
        return key if pa.types.is_null(key) else pa.map_(key, value_type)
    if isinstance(value, list):
        inner = pa.null()
        for each in value:
            inner = merged(inner, _inferred(each, where), f"element of {where}")
        return array(inner)
    if isinstance(value, tuple) or hasattr(value, "__dict__"):
        return pa.struct(list(inferred([value])))
    raise TypeError(f"toDF: no type can be inferred for the column {where!r} of {value!r:.200}")


def merged(one: pa.DataType, other: pa.DataType, where: str) -> pa.DataType:
    """The type that holds both.

    Raises
    ------
    TypeError
        There is none.
    """
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    for text, scalar in ((one, other), (other, one)):
        if pa.types.is_string(text) and not pa.types.is_nested(scalar):
            return text
    if pa.types.is_list(one) and pa.types.is_list(other):
        return array(merged(one.value_type, other.value_type, f"element of {where}"))
    if pa.types.is_map(one) and pa.types.is_map(other):
        key = merged(one.key_type, other.key_type, f"key of {where}")
        return pa.map_(key, merged(one.item_type, other.item_type, f"value of {where}"))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        fields = {field.name: field.type for field in one}
        for field in other:
            fields[field.name] = merged(fields.get(field.name, pa.null()), field.type, f"{field.name} in {where}")
        return pa.struct(list(fields.items()))
    raise TypeError(f"toDF: the column {where!r} has values of types {one} and {other}, which cannot be merged")


def parsed(schema: Any) -> pa.Schema | None:
    """The columns that a schema says: Arrow's, Spark's as an object or a text such as ``a int, b array<string>``.

    Raises
    ------
    ValueError
        The text cannot be read.
    """
    if isinstance(schema, pa.Schema):
        return schema
    if hasattr(schema, "simpleString"):
        schema = schema.simpleString()
    if not isinstance(schema, str):
        return None
    text = schema.strip()
    if not re.match(r"struct\s*<", text, re.IGNORECASE):
        text = f"struct<{text}>"
    parser = _Parser(text)
    type_ = parser.type()
    parser.end()
    return pa.schema(list(type_))


class _Parser:
    """Reads types as Spark writes them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = re.findall(r"`[^`]*`|\w+|[<>(),:]|\S", text)

    def type(self) -> pa.DataType:
        name = self._next().lower()
        if name == "array":
            (inner,) = self._inside(self.type)
            return array(inner)
        if name == "map":
            key, value = self._inside(self.type)
            return pa.map_(key, value)
        if name == "struct":
            return pa.struct(self._inside(self._field))
        if name in ("decimal", "dec", "numeric") and self._peek() == "(":
            self._next()
            precision, _, scale = self._next(), self._next(), self._next()
            self._expect(")")
            return pa.decimal128(int(precision), int(scale))
        if name not in _NAMED:
            raise self._wrong(name)
        return _NAMED[name]

    def _field(self) -> tuple[str, pa.DataType]:
        name = self._next().strip("`")
        if self._peek() == ":":
            self._next()
        return name, self.type()

    def _inside(self, part: Callable[[], Any]) -> list[Any]:
        self._expect("<")
        found = [part()]
        while self._peek() == ",":
            self._next()
            found.append(part())
        self._expect(">")
        return found

    def end(self) -> None:
        if self._tokens:
            raise self._wrong(self._tokens[0])

    def _peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _next(self) -> str:
        if not self._tokens:
            raise self._wrong("the end")
        return self._tokens.pop(0)

    def _expect(self, token: str) -> None:
        if (found := self._next()) != token:
            raise self._wrong(found)

    def _wrong(self, found: str) -> ValueError:
        return ValueError(
            f"toDF: the schema {self._text!r} cannot be read at {found!r}; expected one such as 'a int, b array<date>'"
        )


Convert = Callable[[Any], Any]


def converter(type_: pa.DataType) -> Convert | None:
    """What makes of a value one that Arrow takes for a type; None where all of them are."""
    if pa.types.is_string(type_):
        return _text
    if pa.types.is_integer(type_):
        return _unless_none(operator.index)  # Arrow would cut floats
    if pa.types.is_timestamp(type_):
        return _in_utc if type_.tz else None
    if pa.types.is_decimal(type_):
        unit = decimal.Decimal(1).scaleb(-type_.scale)
        context = decimal.Context(prec=76, rounding=decimal.ROUND_HALF_UP)
        return _unless_none(lambda value: decimal.Decimal(value).quantize(unit, context=context))
    if pa.types.is_list(type_):
        inner = converter(type_.value_type)
        return None if inner is None else _unless_none(lambda value: [inner(each) for each in value])
    if pa.types.is_map(type_):
        of_key, of_value = converter(type_.key_type) or _same, converter(type_.item_type) or _same
        return _unless_none(lambda value: [(of_key(key), of_value(each)) for key, each in value.items()])
    if pa.types.is_struct(type_):
        of_fields = [(field.name, converter(field.type) or _same) for field in type_]
        names = [name for name, _ in of_fields]

        def fields(value: Any) -> dict[str, Any]:
            found = columns_of(value, names)
            return {name: convert(found.get(name)) for name, convert in of_fields}

        return _unless_none(fields)
    return None


def _unless_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _same(value: Any) -> Any:
    return value


def _text(value: str | object | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _in_utc(value: Any) -> Any:
    """A time without a zone is one of this machine's."""
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) and value.tzinfo is None else value

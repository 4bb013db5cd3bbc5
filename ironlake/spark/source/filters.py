"""Filters that Spark hands over, as SQL that DuckDB and the planner of the lakehouse understand.

Spark compares a column with a value of the column's own type, and both engines agree on what that means, NaN and NULL
included. What has no exact SQL stays with Spark.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pyspark.sql import datasource as spark

from ironlake.lakehouse.schema import quote_name, quote_text

if TYPE_CHECKING:
    import pyarrow as pa

_COMPARISONS: dict[type[spark.Filter], str] = {
    spark.EqualTo: "=",
    spark.EqualNullSafe: "IS NOT DISTINCT FROM",
    spark.GreaterThan: ">",
    spark.GreaterThanOrEqual: ">=",
    spark.LessThan: "<",
    spark.LessThanOrEqual: "<=",
}
_TEXTS: dict[type[spark.Filter], str] = {
    spark.StringStartsWith: "starts_with",
    spark.StringEndsWith: "suffix",
    spark.StringContains: "contains",
}


def condition(given: Any, schema: pa.Schema) -> str | None:
    """A filter on the columns of a schema as SQL; None if it has no equal there."""
    if isinstance(given, spark.Not):
        inner = condition(given.child, schema)
        return None if inner is None else f"NOT ({inner})"
    type_ = _type(given.attribute, schema)
    if type_ is None:
        return None
    name, kind = ".".join(map(quote_name, given.attribute)), type(given)
    if isinstance(given, spark.IsNull | spark.IsNotNull):
        return f"{name} IS {'' if isinstance(given, spark.IsNull) else 'NOT '}NULL"
    if isinstance(given, spark.In):
        values = [_constant(value, type_) for value in given.value]
        return None if None in values or not values else f"{name} IN ({', '.join(map(str, values))})"
    value = _constant(given.value, type_)
    if value is None:
        return None
    if kind in _COMPARISONS:
        return f"{name} {_COMPARISONS[kind]} {value}"
    return f"{_TEXTS[kind]}({name}, {value})" if kind in _TEXTS else None


def _type(path: tuple[str, ...], schema: pa.Schema) -> pa.DataType | None:
    """The type of a column, or of a field inside it."""
    import pyarrow.types as is_

    if path[0] not in schema.names:
        return None
    type_ = schema.field(path[0]).type
    for name in path[1:]:
        if not is_.is_struct(type_) or type_.get_field_index(name) < 0:
            return None
        type_ = type_.field(name).type
    return type_


def _constant(value: Any, type_: pa.DataType) -> str | None:
    """A value as SQL, if it is one of the type."""
    import pyarrow.types as is_

    if isinstance(value, bool):
        return str(value).lower() if is_.is_boolean(type_) else None
    if isinstance(value, int):
        return str(value) if is_.is_integer(type_) else None
    if isinstance(value, float):
        # With an exponent it is a DOUBLE; DuckDB reads other numbers as DECIMAL.
        text = repr(value)
        finite = text if "e" in text else f"{text}e0"
        return (f"'{text}'::DOUBLE" if text in ("inf", "-inf", "nan") else finite) if is_.is_floating(type_) else None
    if isinstance(value, Decimal):
        return format(value, "f") if is_.is_decimal(type_) else None
    if isinstance(value, str):
        return quote_text(value) if is_.is_string(type_) and "\0" not in value else None
    if isinstance(value, dt.datetime):
        if not is_.is_timestamp(type_) or (value.tzinfo is None) != (type_.tz is None):
            return None
        if value.tzinfo is None:
            return f"CAST({quote_text(value.isoformat(' '))} AS TIMESTAMP)"
        return quote_text(value.astimezone(dt.UTC).isoformat(" "))
    if isinstance(value, dt.date):
        return f"CAST({quote_text(value.isoformat())} AS DATE)" if is_.is_date(type_) else None
    return None

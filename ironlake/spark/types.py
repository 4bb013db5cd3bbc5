"""Types between DuckDB, Arrow and Spark.

Spark has no unsigned integers, no half floats, no fixed-size arrays and no dictionaries: a column of such a type
becomes one of the next type that holds all of its values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkTypeError
from pyspark.sql.pandas import functions
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import StructField, StructType

from ironlake.udf.engine.sqltypes import SqlType

#: Of a function over Arrow columns and the text of its type; PySpark's own types know only functions of hinted columns.
arrow_udf: Callable[[Callable[..., Any], str], Any] = functions.arrow_udf  # type: ignore[assignment, unused-ignore]

_FLAT = {
    "BOOLEAN": "boolean", "TINYINT": "tinyint", "SMALLINT": "smallint", "INTEGER": "int", "BIGINT": "bigint",
    "UTINYINT": "smallint", "USMALLINT": "int", "UINTEGER": "bigint", "UBIGINT": "decimal(20,0)",
    "HUGEINT": "decimal(38,0)", "UHUGEINT": "decimal(38,0)", "FLOAT": "float", "DOUBLE": "double",
    "VARCHAR": "string", "BLOB": "binary", "DATE": "date", "TIMESTAMP": "timestamp_ntz", "TIMESTAMPTZ": "timestamp",
}  # fmt: skip


def spark_type(type_: SqlType) -> str:
    """A SQL type as Spark writes it.

    Raises
    ------
    TypeError
        Spark has no such type.
    """
    if type_.name in ("LIST", "ARRAY"):
        return f"array<{spark_type(type_.element)}>"
    if type_.name == "STRUCT":
        return "struct<" + ",".join(f"`{name}`:{spark_type(child)}" for name, child in type_.fields) + ">"
    if type_.name not in _FLAT:
        raise TypeError(f"{type_} has no type in Spark")
    return _FLAT[type_.name]


def spark_arrow(type_: pa.DataType) -> pa.DataType:
    """The Arrow type that Spark takes for columns of another one."""
    kinds = pa.types
    if kinds.is_dictionary(type_):
        return spark_arrow(type_.value_type)
    if kinds.is_struct(type_):
        return pa.struct([pa.field(field.name, spark_arrow(field.type)) for field in type_])
    if kinds.is_map(type_):
        return pa.map_(spark_arrow(type_.key_type), spark_arrow(type_.item_type))
    if kinds.is_list(type_) or kinds.is_large_list(type_) or kinds.is_fixed_size_list(type_):
        return pa.list_(spark_arrow(type_.value_type))
    if kinds.is_timestamp(type_):
        return pa.timestamp("us", None if type_.tz is None else "UTC")
    if kinds.is_large_string(type_) or kinds.is_string_view(type_) or kinds.is_null(type_) or kinds.is_time(type_):
        return pa.string()
    if kinds.is_large_binary(type_) or kinds.is_binary_view(type_) or kinds.is_fixed_size_binary(type_):
        return pa.binary()
    wider = {
        pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.decimal128(20, 0),
        pa.float16(): pa.float32(), pa.date64(): pa.date32(),
    }  # fmt: skip
    return wider.get(type_, type_)


def spark_columns(schema: pa.Schema) -> pa.Schema:
    """The Arrow schema that Spark takes for a table of another one; every column may hold NULL."""
    return pa.schema([pa.field(field.name, spark_arrow(field.type)) for field in schema])


def spark_schema(schema: pa.Schema) -> StructType:
    """The Spark schema of Arrow columns.

    Raises
    ------
    TypeError
        A column is of a type that Spark does not have.
    """
    fields = []
    for field in spark_columns(schema):
        try:
            fields.append(StructField(field.name, from_arrow_type(field.type)))
        except PySparkTypeError:
            raise TypeError(f"column {field.name!r} is of the type {field.type}, which Spark does not have") from None
    return StructType(fields)

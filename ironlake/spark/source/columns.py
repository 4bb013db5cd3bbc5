"""Columns of tables in the types of Spark, and batches in exactly the form that Spark wants of a data source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType


def spark_schema(schema: pa.Schema) -> StructType:
    """The schema of a table in the types of Spark; every column may hold NULL, whatever the table says of it."""
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema

    fields = [pa.field(field.name, _nullable(field.type)) for field in schema]
    return from_arrow_schema(pa.schema(fields), prefer_timestamp_ntz=True)


def arrow_schema(schema: StructType) -> pa.Schema:
    """The schema that Spark expects batches to have."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(schema, timezone="UTC")


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch with the very types of a schema, which DuckDB's differ from in the names of items of lists."""
    import pyarrow as pa

    columns = [
        column if column.type.equals(field.type, check_metadata=True) else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _nullable(type_: pa.DataType) -> Any:
    """A type whose parts may all be NULL."""
    import pyarrow as pa
    import pyarrow.types as is_

    if is_.is_struct(type_):
        return pa.struct([pa.field(field.name, _nullable(field.type)) for field in type_])
    if is_.is_list(type_):
        return pa.list_(_nullable(type_.value_type))
    if is_.is_map(type_):
        return pa.map_(_nullable(type_.key_type), _nullable(type_.item_type))
    return type_

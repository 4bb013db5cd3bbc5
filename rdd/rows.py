"""Elements of RDDs as rows of tables, and rows as elements."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from .batches import Batch, Kind
from .schemas import columns_of, converter, merged


def batch_of_rows(rows: pa.RecordBatch) -> Batch:
    """The rows of a table as tuples."""
    typed = [_typed(column) for column in rows.columns]
    if not typed or any(each is None for each in typed):
        names = [str(place) for place in range(rows.num_columns)]
        lists = [column.to_pylist() for column in rows.rename_columns(names).columns]
        return Batch.of(list(zip(*lists, strict=True)) if lists else [()] * rows.num_rows)
    kinds = tuple(kind for kind, _ in typed if kind)  # type: ignore[misc]
    arrays = [array for _, array in typed]  # type: ignore[misc]
    struct = pa.StructArray.from_arrays(arrays, [str(place) for place in range(len(arrays))])
    return Batch(("tuple", kinds), struct, rows.num_rows)


def _typed(column: pa.Array) -> tuple[Kind, pa.Array] | None:
    """A column as one of elements of a kind, copied only if it is narrower."""
    type_ = column.type
    if pa.types.is_integer(type_) and type_ != pa.uint64():
        return "int", column.cast(pa.int64())
    if pa.types.is_float32(type_) or pa.types.is_float64(type_):
        return "float", column.cast(pa.float64())
    if pa.types.is_boolean(type_):
        return "bool", column
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return "str", column.cast(pa.string())
    if pa.types.is_binary(type_):
        return "bytes", column
    return None


def record_batch(batch: Batch, schema: pa.Schema) -> pa.RecordBatch:
    """Elements as rows of a table.

    Raises
    ------
    TypeError
        A value is not of its column's type.
    """
    if batch.kind[0] == "tuple" and len(batch.kind[1]) == len(schema):
        columns = batch.array.flatten()
        if all(column.type == field.type for column, field in zip(columns, schema, strict=True)):
            return pa.record_batch(columns, schema=schema)
    rows = batch.objects()
    if any(isinstance(row, tuple | list) and len(row) > len(schema) for row in rows):
        longest = max(len(row) for row in rows if isinstance(row, tuple | list))
        raise ValueError(
            f"toDF: an element has {longest} values; expected {len(schema)} for the columns {shown(schema)}"
        )
    found = [columns_of(row, schema.names) for row in rows]
    return pa.record_batch([_column(found, field) for field in schema], schema=schema)


def _column(rows: list[dict[str, Any]], field: pa.Field) -> pa.Array:
    convert = converter(field.type)
    values = [row.get(field.name) for row in rows]
    try:
        return pa.array(values if convert is None else map(convert, values), field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, ArithmeticError) as error:
        raise TypeError(f"toDF: the column {field.name!r} is of type {field.type}, but {error}") from None


def together(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """The columns of both."""
    return pa.schema(list(merged(pa.struct(list(one)), pa.struct(list(other)), "elements")))


def shown(schema: pa.Schema) -> str:
    """Columns and their types, as messages have them."""
    return ", ".join(f"{field.name} {field.type}" for field in schema)

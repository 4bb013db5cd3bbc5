"""Between DuckDB's chunks and Arrow record batches, for the callbacks that run in Python.

DuckDB's own conversion does the work. It wants a connection to read settings from; one connection to a private
in-memory database, opened on first use, serves the whole process.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_char_p, c_void_p

import pyarrow as pa

from . import capi

_SCHEMA_BYTES, _ARRAY_BYTES = 72, 80


class _Converter:
    """The private connection and its Arrow options."""

    def __init__(self) -> None:
        database, self.connection, self.options = c_void_p(), c_void_p(), c_void_p()
        if capi.open(None, ctypes.byref(database)) or capi.connect(database, ctypes.byref(self.connection)):
            raise RuntimeError("DuckDB cannot open an in-memory database")
        capi.connection_get_arrow_options(self.connection, ctypes.byref(self.options))


@functools.cache
def _converter() -> _Converter:
    return _Converter()


def chunk_to_batch(chunk: int, names: list[str]) -> pa.RecordBatch:
    """Copy the columns of a chunk into Arrow."""
    handles = [capi.vector_get_column_type(capi.data_chunk_get_vector(chunk, index)) for index in range(len(names))]
    schema = schema_of(names, handles)
    array = ctypes.create_string_buffer(_ARRAY_BYTES)
    capi.check(capi.data_chunk_to_arrow(_converter().options, chunk, ctypes.addressof(array)))
    return pa.RecordBatch._import_from_c(ctypes.addressof(array), schema)


def schema_of(names: list[str], handles: list[int]) -> pa.Schema:
    """The Arrow schema of columns of SQL types, whose handles are destroyed."""
    count, exported = len(names), ctypes.create_string_buffer(_SCHEMA_BYTES)
    try:
        types_, texts = (c_void_p * count)(*handles), (c_char_p * count)(*(name.encode() for name in names))
        capi.check(capi.to_arrow_schema(_converter().options, types_, texts, count, ctypes.addressof(exported)))
    finally:
        for handle in handles:
            capi.destroy_logical_type(ctypes.byref(c_void_p(handle)))
    return pa.Schema._import_from_c(ctypes.addressof(exported))


class BatchReader:
    """Turn record batches of one schema into chunks; the chunks share the batches' memory where they can."""

    def __init__(self, schema: pa.Schema) -> None:
        exported = ctypes.create_string_buffer(_SCHEMA_BYTES)
        schema._export_to_c(ctypes.addressof(exported))
        self._schema = c_void_p()
        capi.check(
            capi.schema_from_arrow(_converter().connection, ctypes.addressof(exported), ctypes.byref(self._schema))
        )
        pa.Schema._import_from_c(ctypes.addressof(exported))  # takes it back, so that it is released

    def __del__(self) -> None:
        capi.destroy_arrow_converted_schema(ctypes.byref(self._schema))

    def chunk(self, batch: pa.RecordBatch) -> c_void_p:
        """A chunk of all rows of a batch; the caller destroys it."""
        array, chunk = ctypes.create_string_buffer(_ARRAY_BYTES), c_void_p()
        batch._export_to_c(ctypes.addressof(array))
        capi.check(
            capi.data_chunk_from_arrow(
                _converter().connection, ctypes.addressof(array), self._schema, ctypes.byref(chunk)
            )
        )
        return chunk

    def column_types(self, schema: pa.Schema) -> list[int]:
        """Handles of the columns' SQL types; the caller destroys them."""
        chunk = self.chunk(_empty(schema))
        count = len(schema)
        handles = [capi.vector_get_column_type(capi.data_chunk_get_vector(chunk, index)) for index in range(count)]
        capi.destroy_data_chunk(ctypes.byref(chunk))
        return handles


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)


def write_column(values: pa.Array, vector: int, offset: int) -> None:
    """Copy an Arrow array into a result vector from row ``offset`` on."""
    batch = pa.record_batch([values], names=["value"])
    chunk = BatchReader(batch.schema).chunk(batch)
    count = len(values)
    selection = capi.create_selection_vector(max(1, count))
    rows = capi.selection_vector_get_data_ptr(selection)
    for row in range(count):
        rows[row] = row
    capi.vector_copy_sel(capi.data_chunk_get_vector(chunk, 0), vector, selection, count, 0, offset)
    capi.destroy_selection_vector(selection)
    capi.destroy_data_chunk(ctypes.byref(chunk))


def reference_columns(reader: BatchReader, batch: pa.RecordBatch, output: int, positions: list[int]) -> None:
    """Let columns of an output chunk, at these positions, share a batch's memory."""
    chunk = reader.chunk(batch)
    for index, position in enumerate(positions):
        capi.vector_reference_vector(
            capi.data_chunk_get_vector(output, position), capi.data_chunk_get_vector(chunk, index)
        )
    capi.destroy_data_chunk(ctypes.byref(chunk))


def python_value(value: int) -> object:
    """The Python value of a ``duckdb_value``, which is destroyed."""
    handle, chunk = c_void_p(value), c_void_p()
    try:
        type_ = c_void_p(capi.get_value_type(handle))  # belongs to the value
        chunk = c_void_p(capi.create_data_chunk((c_void_p * 1)(type_), 1))
        capi.vector_reference_value(capi.data_chunk_get_vector(chunk, 0), handle)
        capi.data_chunk_set_size(chunk, 1)
        return chunk_to_batch(chunk.value or 0, ["value"]).column(0)[0].as_py()
    finally:
        capi.destroy_data_chunk(ctypes.byref(chunk))
        capi.destroy_value(ctypes.byref(handle))

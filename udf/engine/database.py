"""Connections of our own to the databases that are open, without keeping any of them open.

The stable C API has no way from a running function to a second connection on the same database. DuckDB does hand
every database it opens to a callback of the static-extension contract; with that address and DuckDB's exported
``Connection`` constructor a connection lives exactly as long as it is used. Where a build of DuckDB does not export
the constructor, `supported.connections` is False: functions declared later reach only databases opened later, and table
functions cannot run queries; everything else works.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Generator, Iterator
from ctypes import CFUNCTYPE, c_int64, c_void_p
from typing import TYPE_CHECKING

from . import capi, machine, supported
from .sqltypes import SqlType

if TYPE_CHECKING:
    import pyarrow as pa

_CONNECTION_BYTES = 4096  # far more than the object needs

#: one cell a database: its address, set to 0 by native code when DuckDB destroys it.
_cells: list[c_int64] = []


def opened(connection: c_void_p, instance: int) -> c_int64:
    """The cell of the database that is loading the extension, of which `instance` is the address, 0 if unknown."""
    _cells[:] = [cell for cell in _cells if cell.value]
    cell = c_int64(instance)
    machine.keep(cell)
    _cells.append(cell)
    _register_version(connection, cell)
    return cell


@CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
def _version_callback(info: int, chunk: int, result: int) -> None:
    from ironlake import __version__

    for row in range(capi.data_chunk_get_size(chunk)):
        capi.vector_assign_string_element(result, row, __version__.encode())


def _register_version(connection: c_void_p, cell: c_int64) -> None:
    """Register ``ironlake_version()``; when DuckDB destroys it with the database, native code clears the cell."""
    function = c_void_p(capi.create_scalar_function())
    capi.scalar_function_set_name(function, b"ironlake_version")
    capi.scalar_function_set_return_type(function, capi.logical_type(SqlType("VARCHAR")))
    capi.scalar_function_set_function(function, capi.address(_version_callback))
    closed = machine.runtime()["ironlake_database_closed"]
    capi.scalar_function_set_extra_info(function, ctypes.addressof(cell), closed)
    state = capi.register_scalar_function(connection, function)
    capi.destroy_scalar_function(ctypes.byref(function))
    if state != 0:
        raise RuntimeError("DuckDB refused the function ironlake_version()")


@contextlib.contextmanager
def connect(cell: c_int64) -> Iterator[c_void_p]:
    """A connection to an open database, for as long as the block runs.

    Raises
    ------
    RuntimeError
        If the database is closed, or this build of DuckDB does not let us connect.
    """
    if not supported.connections() or not cell.value:
        raise RuntimeError("no second connection to this database can be opened")
    memory = ctypes.create_string_buffer(_CONNECTION_BYTES)
    getattr(capi.library, supported.CONSTRUCTOR)(c_void_p(ctypes.addressof(memory)), c_void_p(cell.value))
    try:
        yield c_void_p(ctypes.addressof(memory))
    finally:
        getattr(capi.library, supported.DESTRUCTOR)(c_void_p(ctypes.addressof(memory)))


def newest_cell() -> c_int64:
    """The database that was opened last."""
    return open_cells()[-1]


def open_cells() -> list[c_int64]:
    """The databases that are open now."""
    return [cell for cell in _cells if cell.value]


class Database:
    """The database that a table function is called in; its queries see what is committed.

    Examples
    --------
    A table function with a parameter annotated ``Database`` gets one: ``database.query("SELECT 42 AS x")``.
    """

    def __init__(self, cell: c_int64) -> None:
        self._cell = cell

    def query(self, sql: str) -> pa.Table:
        """Run one SQL statement on a connection of its own; the result as an Arrow table.

        Raises
        ------
        RuntimeError
            With DuckDB's message, if the statement fails.
        """
        import pyarrow as pa

        with contextlib.closing(self.stream(sql)) as batches:
            first = next(batches)
            return pa.Table.from_batches([first, *batches])

    def rows(self, query: str) -> pa.RecordBatchReader:
        """The rows of a query, or of a table of this name, made as they are asked for.

        Raises
        ------
        RuntimeError
            With DuckDB's message, if the query fails.
        """
        import pyarrow as pa

        batches = self.stream(as_query(query))
        return pa.RecordBatchReader.from_batches(next(batches).schema, batches)

    def stream(self, sql: str) -> Generator[pa.RecordBatch, None, None]:
        """Run one SQL statement on a connection of its own; the result in batches, made as they are asked for.

        The first batch is empty and tells the columns.

        Raises
        ------
        RuntimeError
            With DuckDB's message, if the statement fails.
        """
        import pyarrow as pa

        from .arrow import chunk_to_batch, schema_of

        result, statement = _Result(), c_void_p()
        with connect(self._cell) as connection:
            try:
                if capi.prepare(connection, sql.encode(), ctypes.byref(statement)) != 0:
                    raise RuntimeError(capi.prepare_error(statement).decode())
                if capi.execute_prepared_streaming(statement, ctypes.byref(result)) != 0:
                    raise RuntimeError(capi.result_error(ctypes.byref(result)).decode())
                count = capi.column_count(ctypes.byref(result))
                names = [capi.column_name(ctypes.byref(result), index).decode() for index in range(count)]
                types_ = [capi.column_logical_type(ctypes.byref(result), index) for index in range(count)]
                schema = schema_of(names, types_)
                yield pa.RecordBatch.from_pylist([], schema)
                while chunk := capi.fetch_chunk(result):
                    yield chunk_to_batch(chunk, names)
                    capi.destroy_data_chunk(ctypes.byref(c_void_p(chunk)))
                if error := capi.result_error(ctypes.byref(result)):
                    raise RuntimeError(error.decode())
            finally:
                capi.destroy_result(ctypes.byref(result))
                capi.destroy_prepare(ctypes.byref(statement))


def as_query(text: str) -> str:
    """A query as it is, or one for all of a table."""
    return f"FROM {text}" if re.fullmatch(r"\s*[\w.\"]+\s*", text) else text


class _Result(ctypes.Structure):
    """``duckdb_result``."""

    _fields_ = [
        ("column_count", ctypes.c_uint64),
        ("row_count", ctypes.c_uint64),
        ("rows_changed", ctypes.c_uint64),
        ("columns", c_void_p),
        ("error_message", c_void_p),
        ("internal_data", c_void_p),
    ]


capi.prototype("fetch_chunk", c_void_p, [_Result])

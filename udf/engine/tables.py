"""The table kind: a Python function called with constants gives a table, or a stream of record batches.

The body runs when a query is bound, so wrong arguments fail before anything executes and the schema is known.
A generator is asked for one batch at a time and closed as soon as DuckDB wants no more (LIMIT, error, cancel).
Arguments without a default are given by position, the others by name: ``f('x', stages := 8)`` or ``stages => 8``.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import itertools
from collections.abc import Callable, Iterator
from ctypes import CFUNCTYPE, c_int64, c_void_p
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import access, capi
from .database import Database
from .declaration import Declaration, DeclarationError, Documentation, parameters_of
from .options import check
from .overload import sentence

if TYPE_CHECKING:
    import pyarrow as pa

_VECTOR_ROWS = 2048


@dataclass(frozen=True)
class Source:
    """What a table function returns to be asked for rows only when a query runs, and only for the columns it needs.

    Attributes
    ----------
    schema : pyarrow.Schema
        All columns.
    read : callable
        Takes the names of some columns, at least one, and gives a reader or a generator of batches of these, in order.
    """

    schema: pa.Schema
    read: Callable[[list[str]], Iterator[pa.RecordBatch]]


def declare(function: Callable[..., Any], *, name: str | None = None) -> Declaration:
    """Read a table function.

    Parameters
    ----------
    function : with annotated parameters. It returns a pyarrow Table, RecordBatch or RecordBatchReader, a `Source`, or
        is a generator of record batches. A parameter annotated ``Database`` is not an argument of the SQL function: it
        receives a way to query the database that the call runs in.
    name : SQL name; the function's own by default.

    Raises
    ------
    DeclarationError
        If a type is missing or a parameter accepts several.
    """
    label = name or function.__name__
    annotations = {key: value.annotation for key, value in inspect.signature(function).parameters.items()}
    injected = next((key for key, hint in annotations.items() if hint is Database or str(hint) == "Database"), None)
    parameters = [parameter for group in parameters_of(function, leave_out=injected) for parameter in group]
    for parameter in parameters:
        if len(parameter.types) != 1:
            raise DeclarationError(f"table {label}: parameter {parameter.name!r} must have one type")
    settings = {"database": injected}
    return Declaration(label, "table", tuple(parameters), (), None, function, Documentation.of(function), settings)


def register_table(connection: c_void_p, cell: c_int64, declaration: Declaration) -> None:
    """Register a table function in the database of a connection, or replace the body of one declared before.

    Raises
    ------
    ValueError
        If DuckDB cannot take it.
    """
    before = _calls.get((cell.value or 0, declaration.name))
    if before is not None:
        if before.declaration.parameters != declaration.parameters:
            raise ValueError(
                f"{declaration.name}: an open database knows this table function with other arguments, and DuckDB "
                "cannot change them; choose another name or open the database again"
            )
        before.declaration = declaration
        return
    function = c_void_p(capi.create_table_function())
    capi.table_function_set_name(function, declaration.name.encode())
    for parameter in declaration.parameters:
        type_ = capi.logical_type(parameter.types[0])
        if parameter.required:
            capi.table_function_add_parameter(function, type_)
        else:
            capi.table_function_add_named_parameter(function, parameter.name.encode(), type_)
    call = _Call(declaration, cell)
    capi.table_function_set_extra_info(function, call.key, None)
    capi.table_function_set_bind(function, capi.address(_bind))
    capi.table_function_set_init(function, capi.address(_init))
    capi.table_function_set_function(function, capi.address(_fill))
    capi.table_function_supports_projection_pushdown(function, True)
    state = capi.register_table_function(connection, function)
    capi.destroy_table_function(ctypes.byref(function))
    if state != 0:
        raise ValueError(f"DuckDB does not take the table function {declaration.signature}; choose another name")
    _calls[cell.value or 0, declaration.name] = call


#: (database, name) -> the call registered there.
_calls: dict[tuple[int, str], _Call] = {}


def forget(cell: c_int64) -> None:
    """Forget what was registered in a database that stood at an address before."""
    for key in [key for key in list(_calls) if key[0] == cell.value]:
        del _calls[key]


#: What native code holds by number: calls, bound calls, running scans.
_objects: dict[int, Any] = {}
_numbers = itertools.count(1)


def _hold(thing: Any) -> int:
    number = next(_numbers)
    _objects[number] = thing
    return number


@CFUNCTYPE(None, c_void_p)
def _release(number: int) -> None:
    thing = _objects.pop(number, None)
    if isinstance(thing, _Bound | _Scan):
        thing.close()


class _Call:
    """A way to call a table function in one database."""

    def __init__(self, declaration: Declaration, cell: c_int64) -> None:
        self.declaration, self.cell = declaration, cell
        self.key = _hold(self)

    def arguments(self, info: int) -> dict[str, Any]:
        """The arguments of a call that is being bound, as Python values, defaults included."""
        from .arrow import python_value

        given, position = {}, 0
        for parameter in self.declaration.parameters:
            if parameter.required:
                value = capi.bind_get_parameter(info, position)
                position += 1
            else:
                value = capi.bind_get_named_parameter(info, parameter.name.encode())
            if value:
                given[parameter.name] = python_value(value)
        return check_arguments(self.declaration, given)

    def run(self, arguments: dict[str, Any]) -> Any:
        """Call the body."""
        injected = self.declaration.settings["database"]
        extra = {injected: Database(self.cell)} if injected else {}
        return self.declaration.body(**arguments, **extra)


def check_arguments(declaration: Declaration, given: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a table function, checked like options."""
    as_options = Declaration(
        declaration.name, "table", (), declaration.parameters, None, None, declaration.documentation
    )
    return check(as_options, given, "argument")


class _Bound:
    """A bound call: its columns, and the stream that the first execution will read."""

    def __init__(self, call: _Call, arguments: dict[str, Any], allowed: bool) -> None:
        from .arrow import BatchReader

        self.call, self.arguments, self.allowed = call, arguments, allowed
        self._stream: Iterator[pa.RecordBatch] | Source | None
        with access.running(allowed):
            self.schema, self._stream, self.rows = stream(call.run(arguments))
        self.reader = BatchReader(self.schema)

    def take_stream(self, columns: list[int]) -> tuple[Iterator[pa.RecordBatch], list[int]]:
        """The stream of a new execution, and where in its batches some of the columns stand.

        A prepared statement that runs again calls the body again.
        """
        taken, self._stream = self._stream, None
        with access.running(self.allowed):
            if taken is None:
                _, taken, _ = stream(self.call.run(self.arguments))
            if not isinstance(taken, Source):
                return taken, columns
            names = [self.schema.names[index] for index in columns] or self.schema.names[:1]
            return iter(taken.read(names)), list(range(len(columns)))

    def close(self) -> None:
        """Close a stream that nobody read."""
        if self._stream is not None:
            _close(self._stream)


def stream(result: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch] | Source, int | None]:
    """What a table function returned: its schema, its batches or their source, and the number of rows if it is known.

    Raises
    ------
    TypeError
        If it is no table, reader or generator of record batches.
    """
    import pyarrow as pa

    if isinstance(result, Source):
        return result.schema, result, None
    if hasattr(result, "__arrow_c_stream__") and not isinstance(result, pa.Table | pa.RecordBatchReader):
        result = pa.RecordBatchReader.from_stream(result)
    if isinstance(result, pa.RecordBatch):
        result = pa.Table.from_batches([result])
    if isinstance(result, pa.Table):
        return result.schema, iter(result.to_batches()), result.num_rows
    if isinstance(result, pa.RecordBatchReader):
        return result.schema, iter(result), None
    if inspect.isgenerator(result):
        first = next(result, None)
        if not isinstance(first, pa.RecordBatch):
            got = "nothing" if first is None else type(first).__name__
            raise TypeError(f"a generator must yield pyarrow record batches, at least one; it yielded {got}")
        return first.schema, _chain(first, result), None
    raise TypeError(
        f"a table function must return a pyarrow table or reader or yield record batches, got {type(result).__name__}"
    )


def _chain(first: pa.RecordBatch, rest: Any) -> Iterator[pa.RecordBatch]:
    with contextlib.closing(rest):
        yield first
        for batch in rest:
            if batch.schema != first.schema:
                raise TypeError(f"a batch has the columns {batch.schema}, the first one had {first.schema}")
            yield batch


def _close(batches: Any) -> None:
    if hasattr(batches, "close"):
        batches.close()


class _Scan:
    """One execution: batches cut into pieces of a vector's length."""

    def __init__(self, bound: _Bound, columns: list[int]) -> None:
        import pyarrow as pa

        from .arrow import BatchReader

        wanted = [index for index in columns if index < len(bound.schema)]
        self._allowed = bound.allowed
        self._batches, self._columns = bound.take_stream(wanted)
        self._positions = [position for position, index in enumerate(columns) if index < len(bound.schema)]
        self._reader = BatchReader(pa.schema([bound.schema.field(index) for index in wanted]))
        self._batch: pa.RecordBatch | None = None
        self._at = 0

    def fill(self, output: int) -> None:
        """Put the next rows into an output chunk; none at the end."""
        while self._batch is None or self._at >= self._batch.num_rows:
            with access.running(self._allowed):
                self._batch, self._at = next(self._batches, None), 0
            if self._batch is None:
                capi.data_chunk_set_size(output, 0)
                return
        rows = min(_VECTOR_ROWS, self._batch.num_rows - self._at)
        piece = self._batch.slice(self._at, rows)
        self._at += rows
        if self._columns:
            from .arrow import reference_columns

            reference_columns(self._reader, piece.select(self._columns), output, self._positions)
        capi.data_chunk_set_size(output, rows)

    def close(self) -> None:
        """Stop the generator."""
        self._batch = None
        _close(self._batches)


@CFUNCTYPE(None, c_void_p)
def _bind(info: int) -> None:
    call: _Call = _objects[capi.bind_get_extra_info(info)]
    try:
        allowed = access.is_allowed(info, capi.table_function_get_client_context)
        bound = _Bound(call, call.arguments(info), allowed)
        for field, handle in zip(bound.schema, bound.reader.column_types(bound.schema), strict=True):
            capi.bind_add_result_column(info, field.name.encode(), handle)
            capi.destroy_logical_type(ctypes.byref(c_void_p(handle)))
        if bound.rows is not None:
            capi.bind_set_cardinality(info, bound.rows, True)
        capi.bind_set_bind_data(info, _hold(bound), capi.address(_release))
    except BaseException as error:  # the C boundary
        capi.bind_set_error(info, _message(call.declaration, error))


@CFUNCTYPE(None, c_void_p)
def _init(info: int) -> None:
    bound: _Bound = _objects[capi.init_get_bind_data(info)]
    try:
        columns = [capi.init_get_column_index(info, at) for at in range(capi.init_get_column_count(info))]
        capi.init_set_max_threads(info, 1)
        capi.init_set_init_data(info, _hold(_Scan(bound, columns)), capi.address(_release))
    except BaseException as error:  # the C boundary
        capi.init_set_error(info, _message(bound.call.declaration, error))


@CFUNCTYPE(None, c_void_p, c_void_p)
def _fill(info: int, output: int) -> None:
    scan: _Scan = _objects[capi.function_get_init_data(info)]
    try:
        scan.fill(output)
    except BaseException as error:  # the C boundary
        bound: _Bound = _objects[capi.function_get_bind_data(info)]
        capi.function_set_error(info, _message(bound.call.declaration, error))


def _message(declaration: Declaration, error: BaseException) -> bytes:
    return f"{declaration.name}: {sentence(error)}".encode(errors="replace").replace(b"\0", b"")

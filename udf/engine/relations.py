"""The relation kind: all rows of a group as Arrow columns into a plain Python function, one value out.

It is an aggregate whose state collects the rows: compiled code appends each argument to growable arrays laid out as
Arrow lays them out (values, validity, offsets, children), merging appends one state's arrays to another's, and
``finish`` is Python, which wraps the arrays as Arrow columns and calls the body once per group.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_int64
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from . import capi, machine
from .collector import Collector
from .declaration import Declaration, DeclarationError, Documentation, parameters_of, result_of
from .layout import ARRAY_BYTES, HEADER_BYTES, Layout
from .options import default_options
from .overload import Overload, at
from .sqltypes import SqlType, single, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa


def declare(function: Callable[..., Any], *, name: str | None = None) -> Declaration:
    """Read a relation function.

    Parameters
    ----------
    function : annotated column parameters arrive as pyarrow Arrays (NULLs included), keyword-only parameters are
        options; it returns a Python value of the declared result type, or None for NULL.
    name : SQL name; the function's own by default.

    Raises
    ------
    DeclarationError
        If a type is missing.
    """
    label = name or function.__name__
    columns, options = parameters_of(function)
    if not columns:
        raise DeclarationError(f"relation {label}: a relation function needs at least one column argument")
    try:
        result = single(result_of(function))
    except TypeError as error:
        raise DeclarationError(f"relation {label}: result: {error}") from None
    return Declaration(label, "relation", columns, options, result, function, Documentation.of(function))


def compile_overload(declaration: Declaration, arguments: tuple[SqlType, ...], with_options: bool) -> dict[str, int]:
    """Machine code that collects rows, and the Python callback that finishes a group."""
    collector = Collector.of(arguments)
    gap = declaration.options_at if with_options else -1
    key = machine.fingerprint("relation", repr(arguments), gap)

    def build() -> dict[str, tuple[Callable[..., int | None], str]]:
        from .aggregate_kernels import collecting_kernels

        return collecting_kernels(collector, arguments, gap)

    addresses = machine.compile_functions(build, key)
    layout = Layout.of(collector.state)
    return {**addresses, "finalize": capi.address(_finish), "arrays": layout.arrays, "size": layout.size}


@CFUNCTYPE(c_int64, c_int64, c_int64, c_int64, c_int64, c_int64, c_int64)
def _finish(address: int, info: int, states: int, result: int, count: int, offset: int) -> int:
    overload = at(address)
    try:
        from .arrow import write_column

        pointers = (c_int64 * count).from_address(states)
        values = [_value(overload, pointer) for pointer in pointers]
        write_column(_column(values, to_arrow(cast(SqlType, overload.declaration.result))), result, offset)
        return 1
    except BaseException as error:  # the C boundary
        overload.fail(info, error)
        return 0


def _column(values: list[Any], type_: pa.DataType) -> pa.Array:
    """The groups' values as an Arrow array; lists that are Arrow's already are put end to end, not taken apart."""
    import pyarrow as pa

    lists = [value.values if isinstance(value, pa.ListScalar) else value for value in values]
    if all(value is None for value in lists) or not all(
        value is None or isinstance(value, pa.Array) for value in lists
    ):
        return pa.array(values, type_)
    lengths = [0 if value is None else len(value) for value in lists]
    content = pa.concat_arrays([value for value in lists if value is not None]).cast(type_.value_type)
    return pa.ListArray.from_arrays(
        pa.array(np.cumsum([0, *lengths]), pa.int32()), content, mask=pa.array([value is None for value in lists])
    )


def _value(overload: Overload, state: int) -> Any:
    """Call the body on the rows that a state collected."""
    header = (c_int64 * 2).from_address(state)
    if not header[0]:
        return None
    declaration = overload.declaration
    collector = Collector.of(overload.arguments)
    layout = Layout.of(collector.state)
    arrays = [_array(state, index, attribute.number) for index, attribute in enumerate(layout.attributes.values())]
    columns = collector.columns(dict(zip(layout.attributes, arrays, strict=True)))
    options = overload.records.values(header[1]) if overload.with_options else default_options(declaration)
    value = declaration.body(*columns, **options)
    return value._asdict() if hasattr(value, "_asdict") else value


def _array(state: int, index: int, number: SqlType) -> np.ndarray[Any, Any]:
    """Copy a growable array out of a state."""
    place = state + HEADER_BYTES + index * ARRAY_BYTES
    memory, length, _ = (c_int64 * 3).from_address(place)
    dtype = np.dtype(to_arrow(number).to_pandas_dtype())
    return np.frombuffer(ctypes.string_at(memory, length * dtype.itemsize), dtype) if length else np.empty(0, dtype)

"""What compiled code is made of: raw memory, DuckDB's C functions, and calls that hand errors to Python.

Everything here is used inside Numba-compiled functions. Pointers are plain ``int64`` addresses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.callconv import excinfo_ptr_t
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from .machine import DUCKDB_SYMBOLS

_ADDRESS = types.int64


def external(symbol: str, result: Any, count: int) -> Any:
    """A C function of ``count`` integer arguments that compiled code calls by name."""
    assert symbol in DUCKDB_SYMBOLS or symbol.startswith(("ironlake_", "mem")), symbol
    return types.ExternalFunction(symbol, result(*[_ADDRESS] * count))


chunk_size = external("duckdb_data_chunk_get_size", types.int64, 1)
chunk_vector = external("duckdb_data_chunk_get_vector", _ADDRESS, 2)
vector_data = external("duckdb_vector_get_data", _ADDRESS, 1)
vector_validity = external("duckdb_vector_get_validity", _ADDRESS, 1)
vector_ensure_validity = external("duckdb_vector_ensure_validity_writable", types.void, 1)
vector_type = external("duckdb_vector_get_column_type", _ADDRESS, 1)
vector_assign_string = external("duckdb_unsafe_vector_assign_string_element_len", types.void, 4)
list_child = external("duckdb_list_vector_get_child", _ADDRESS, 1)
list_size = external("duckdb_list_vector_get_size", types.int64, 1)
list_set_size = external("duckdb_list_vector_set_size", types.int32, 2)
list_reserve = external("duckdb_list_vector_reserve", types.int32, 2)
array_child = external("duckdb_array_vector_get_child", _ADDRESS, 1)
struct_child = external("duckdb_struct_vector_get_child", _ADDRESS, 2)
type_array_size = external("duckdb_array_type_array_size", types.int64, 1)
destroy_type = external("duckdb_destroy_logical_type", types.void, 1)

array_reserve = external("ironlake_array_reserve", types.int64, 2)
state_clone = external("ironlake_state_clone", types.int64, 2)


@intrinsic
def load(typingctx: Any, address: Any, dtype: Any) -> Any:
    """``load(address, np.float64)``: the number at an address."""
    number = dtype.instance_type

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm_type = context.get_value_type(number)
        return builder.load(builder.inttoptr(args[0], llvm_type.as_pointer()), align=1)

    return number(_ADDRESS, dtype), codegen


@intrinsic
def store(typingctx: Any, address: Any, value: Any, dtype: Any) -> Any:
    """``store(address, value, np.float64)``: write a number to an address."""
    number = dtype.instance_type

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm_type = context.get_value_type(number)
        builder.store(args[1], builder.inttoptr(args[0], llvm_type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(_ADDRESS, number, dtype), codegen


def _view(typingctx: Any, dtype: Any, readonly: bool) -> Any:
    array_type = types.Array(dtype.instance_type, 1, "C", readonly=readonly)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(array_type)(context, builder)
        item_bytes = context.get_abi_sizeof(context.get_data_type(array_type.dtype))
        item_size = context.get_constant(types.intp, item_bytes)
        data = builder.inttoptr(args[0], array.data.type)
        populate_array(array, data=data, shape=[args[1]], strides=[item_size], itemsize=item_size, meminfo=None)
        return array._getvalue()

    return array_type(_ADDRESS, types.int64, dtype), codegen


@intrinsic
def view(typingctx: Any, address: Any, length: Any, dtype: Any) -> Any:
    """``view(address, length, np.float32)``: memory as a NumPy array that compiled code may not write to."""
    return _view(typingctx, dtype, readonly=True)


@intrinsic
def writable_view(typingctx: Any, address: Any, length: Any, dtype: Any) -> Any:
    """``writable_view(address, length, np.float32)``: memory as a NumPy array."""
    return _view(typingctx, dtype, readonly=False)


@intrinsic
def address_of(typingctx: Any, array: Any) -> Any:
    """The address of an array's first element."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return _ADDRESS(array), codegen


@njit
def release_type(handle: int) -> None:
    """Destroy a logical type."""
    _destroy(np.array([handle]))


@njit
def _destroy(slot: np.ndarray) -> None:  # an argument is kept until the call is over
    destroy_type(address_of(slot))


@intrinsic
def text_address(typingctx: Any, text: Any) -> Any:
    """The address of a string's characters."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = cgutils.create_struct_proxy(text)(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return _ADDRESS(text), codegen


@intrinsic
def ascii_text(typingctx: Any, address: Any, length: Any) -> Any:
    """ASCII characters in memory as a string, which lives as long as that memory."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        text = cgutils.create_struct_proxy(types.unicode_type)(context, builder)
        text.data = builder.inttoptr(args[0], text.data.type)
        text.length = args[1]
        text.kind = text.kind.type(1)  # bytes of a character
        text.is_ascii = text.is_ascii.type(1)
        text.hash = text.hash.type(-1)  # not known
        text.meminfo = cgutils.get_null_value(text.meminfo.type)
        text.parent = cgutils.get_null_value(text.parent.type)
        return text._getvalue()

    return types.unicode_type(_ADDRESS, types.int64), codegen


@intrinsic
def copy_bytes(typingctx: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy memory that does not overlap."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(arg, byte) for arg in args[:2])
        cgutils.raw_memcpy(builder, target, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, types.int64), codegen


@intrinsic
def zero_bytes(typingctx: Any, target: Any, count: Any) -> Any:
    """Fill memory with zeros."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        cgutils.memset(builder, pointer, args[1], 0)
        return context.get_dummy_value()

    return types.void(_ADDRESS, types.int64), codegen


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Ask for the cache line at an address, which need not be a valid one, to write to it."""
    return types.void(_ADDRESS), _prefetching(True)


@intrinsic
def prefetch_to_read(typingctx: Any, address: Any) -> Any:
    """Ask for the cache line at an address, which need not be a valid one."""
    return types.void(_ADDRESS), _prefetching(False)


def _prefetching(writes: bool) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function_type = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        hints = [ir.Constant(number, hint) for hint in (int(writes), 3, 1)]  # keep it, data
        builder.call(function, [builder.inttoptr(args[0], pointer), *hints])
        return context.get_dummy_value()

    return codegen


@intrinsic
def unwrap(typingctx: Any, value: Any) -> Any:
    """The value of an Optional that is known not to be None."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = context.make_helper(builder, value, value=args[0])
        context.nrt.incref(builder, value.type, made.data)
        return made.data

    return value.type(value), codegen


@intrinsic
def guarded(typingctx: Any, function: Any, arguments: Any, declaration: Any, info: Any) -> Any:
    """``guarded(f, (a, b), declaration, info)``: call ``f(a, b)``; an exception in it becomes DuckDB's error.

    The exception is made a Python object under the GIL and handed to ``ironlake_report``, which writes the
    sentence that the user sees. Answers whether the call went well.
    """
    call = function.get_call_type(typingctx, arguments.types, {})
    dispatcher = function.dispatcher

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        compiled = dispatcher.get_compile_result(call)
        context.active_code_library.add_linking_library(compiled.library)
        values = cgutils.unpack_tuple(builder, args[1])
        status, _ = context.call_internal_no_propagate(builder, compiled.fndesc, call, values)
        with builder.if_then(status.is_error, likely=False):
            python = context.get_python_api(builder)
            gil = python.gil_ensure()
            builder.call(_exception_raiser(context, builder.module), [status.code, status.excinfoptr])
            slots = [cgutils.alloca_once(builder, python.pyobj) for _ in range(3)]
            python.err_fetch(*slots)
            normalize = ir.FunctionType(ir.VoidType(), [python.pyobjptr] * 3)
            normalize = cgutils.get_or_insert_function(builder.module, normalize, "PyErr_NormalizeException")
            builder.call(normalize, slots)
            report = ir.FunctionType(ir.VoidType(), [ir.IntType(64), ir.IntType(64), python.pyobj])
            report = cgutils.get_or_insert_function(builder.module, report, "ironlake_report")
            builder.call(report, [args[2], args[3], builder.load(slots[1])])
            for slot in slots:
                python.decref(builder.load(slot))
            python.gil_release(gil)
        return builder.zext(status.is_ok, ir.IntType(8))

    return types.uint8(function, arguments, _ADDRESS, _ADDRESS), codegen


def _exception_raiser(context: Any, module: Any) -> Any:
    """A function that sets Python's error from a failed call; Numba's own code for it may return early."""
    name = "ironlake_raise"
    if name in module.globals:
        return module.globals[name]
    code, exception = ir.IntType(32), excinfo_ptr_t
    function = ir.Function(module, ir.FunctionType(code, [code, exception]), name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    status = context.call_conv._get_return_status(builder, *function.args)
    context.call_conv.raise_error(builder, context.get_python_api(builder), status)
    builder.ret(ir.Constant(code, 0))
    return function


#: NumPy type in which a flat SQL type is stored.
STORAGE = {
    "BOOLEAN": np.uint8, "TINYINT": np.int8, "SMALLINT": np.int16, "INTEGER": np.int32, "BIGINT": np.int64,
    "UTINYINT": np.uint8, "USMALLINT": np.uint16, "UINTEGER": np.uint32, "UBIGINT": np.uint64,
    "FLOAT": np.float32, "DOUBLE": np.float64, "DATE": np.int32, "TIMESTAMP": np.int64, "TIMESTAMPTZ": np.int64,
}  # fmt: skip

"""The state of an aggregate as compiled code sees it: ``self`` with typed scalars and growable arrays.

A state is a block of DuckDB's memory (see ``runtime.ll``); ``self`` is its address. A scalar attribute is a load or
a store at a fixed offset. An array attribute (``values: list[float]``) has ``append``, ``extend``, ``resize``,
``reserve``, ``len``, indexing, and slices that are NumPy views: take a fresh view after the array has grown.
"""

from __future__ import annotations

import inspect
import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import errors, ir_utils
from numba.core import ir as numba_ir
from numba.core.imputils import lower_getattr_generic, lower_setattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, models, overload, overload_method, register_model

from .declaration import Parameter
from .layout import Layout
from .memory import STORAGE, array_reserve, copy_bytes, load, store, writable_view, zero_bytes
from .options import RECORD_SLOT
from .sqltypes import SqlType


class _AddressModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, ir.IntType(64))


class ArrayType(types.Type):  # type: ignore[misc]
    """A growable array of numbers inside a state."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"GrowableArray({dtype})")


class StateType(types.Type):  # type: ignore[misc]
    """``self`` of one aggregate class; every class gets a subclass of its own, which carries its methods."""

    fields: dict[str, tuple[Any, int]]
    options: dict[str, tuple[Any, int]]
    constants: dict[str, Any]

    def __init__(
        self,
        name: str,
        fields: dict[str, tuple[Any, int]],
        options: dict[str, tuple[Any, int]],
        constants: dict[str, Any],
    ) -> None:
        self.fields, self.options, self.constants = fields, options, constants
        super().__init__(name=name)


register_model(ArrayType)(_AddressModel)

#: More elements than memory holds, whose bytes can still be counted in 64 bits.
_MOST_ELEMENTS = 1 << 48


@infer_getattr
class _StateAttributes(AttributeTemplate):  # type: ignore[misc]
    key = StateType

    def generic_resolve(self, state: StateType, name: str) -> Any:
        if name in state.fields:
            return state.fields[name][0]
        if name in state.options:
            return state.options[name][0]
        if name in state.constants:
            return self.context.resolve_value_type(state.constants[name])
        return None


@lower_getattr_generic(StateType)  # type: ignore[untyped-decorator]
def _get_attribute(context: Any, builder: Any, state: StateType, address: Any, name: str) -> Any:
    if name in state.constants:
        value = state.constants[name]
        return context.get_constant_generic(builder, context.typing_context.resolve_value_type(value), value)
    if name in state.fields:
        type_, offset = state.fields[name]
    else:
        type_, offset = state.options[name]
        record = builder.add(address, ir.Constant(ir.IntType(64), 8))
        address = builder.load(builder.inttoptr(record, ir.IntType(64).as_pointer()))
    slot = builder.add(address, ir.Constant(ir.IntType(64), offset))
    if isinstance(type_, ArrayType):
        return slot
    data = context.get_data_type(type_)
    return context.data_model_manager[type_].from_data(builder, builder.load(builder.inttoptr(slot, data.as_pointer())))


@lower_setattr_generic(StateType)  # type: ignore[untyped-decorator]
def _set_attribute(context: Any, builder: Any, signature: Any, args: Any, name: str) -> None:
    state, type_ = signature.args
    if isinstance(type_, ArrayType):
        raise errors.TypingError(f"the array self.{name} cannot be assigned; change it with resize, extend and [:]")
    slot = builder.add(args[0], ir.Constant(ir.IntType(64), state.fields[name][1]))
    data = context.data_model_manager[type_].as_data(builder, args[1])
    builder.store(data, builder.inttoptr(slot, data.type.as_pointer()))


@intrinsic
def as_state(typingctx: Any, address: Any, state: Any) -> Any:
    """See an address as ``self``."""
    return state.instance_type(types.int64, state), lambda context, builder, signature, args: args[0]


@intrinsic
def array_address(typingctx: Any, array: Any) -> Any:
    """The address of a growable array's (memory, length, capacity)."""
    return types.int64(array), lambda context, builder, signature, args: args[0]


@overload(len, strict=False)
def _len(array: Any) -> Any:
    if isinstance(array, ArrayType):
        return lambda array: load(array_address(array) + 8, np.int64)
    return None


def array_view(array: Any) -> Any:
    """A growable array as a NumPy array over its memory."""
    raise TypeError("array_view is for compiled code")


@overload(array_view, strict=False)
def _array_view(array: Any) -> Any:
    dtype = _numpy(array.dtype)

    def as_numpy(array: Any) -> Any:
        address = array_address(array)
        return writable_view(load(address, np.int64), load(address + 8, np.int64), dtype)

    return as_numpy


@overload(operator.getitem, strict=False)
def _getitem(array: Any, index: Any) -> Any:
    if not isinstance(array, ArrayType):
        return None
    if isinstance(index, types.Integer):

        def item(array: Any, index: Any) -> Any:
            length = len(array)
            at = index + length if index < 0 else index
            if at < 0 or at >= length:
                raise IndexError("index", index, "is outside an array of length", length)
            return array_view(array)[at]

        return item
    return lambda array, index: array_view(array)[index]


@overload(operator.setitem, strict=False)
def _setitem(array: Any, index: Any, value: Any) -> Any:
    if not isinstance(array, ArrayType):
        return None
    if isinstance(index, types.Integer):

        def assign(array: Any, index: Any, value: Any) -> None:
            length = len(array)
            at = index + length if index < 0 else index
            if at < 0 or at >= length:
                raise IndexError("index", index, "is outside an array of length", length)
            array_view(array)[at] = value

        return assign

    def assign_slice(array: Any, index: Any, value: Any) -> None:
        array_view(array)[index] = value

    return assign_slice


@overload_method(ArrayType, "append", strict=False)
def _append(array: Any, value: Any) -> Any:
    dtype, size = _numpy(array.dtype), array.dtype.bitwidth // 8

    def append(array: Any, value: Any) -> None:
        address = array_address(array)
        length = load(address + 8, np.int64)
        full = (length + 1) * size > load(address + 16, np.int64)
        if full and array_reserve(address, max(64, 2 * length * size)) == 0:
            raise MemoryError("no memory left to grow an array of the state")
        store(load(address, np.int64) + length * size, dtype(value), dtype)
        store(address + 8, length + 1, np.int64)

    return append


@overload_method(ArrayType, "reserve", strict=False)
def _reserve(array: Any, length: Any) -> Any:
    size = array.dtype.bitwidth // 8

    def reserve(array: Any, length: Any) -> None:
        if length > _MOST_ELEMENTS or (length > 0 and array_reserve(array_address(array), length * size) == 0):
            raise MemoryError("no memory left to grow an array of the state to", length, "elements")

    return reserve


@overload_method(ArrayType, "resize", strict=False)
def _resize(array: Any, length: Any) -> Any:
    size = array.dtype.bitwidth // 8

    def resize(array: Any, length: Any) -> None:
        if length < 0:
            raise ValueError("an array cannot be resized to a negative length, got", length)
        address = array_address(array)
        before, capacity = load(address + 8, np.int64), load(address + 16, np.int64)
        if length * size > capacity or length > _MOST_ELEMENTS:
            array.reserve(max(length, min(2 * capacity // size, _MOST_ELEMENTS)))
        if length > before:
            zero_bytes(load(address, np.int64) + before * size, (length - before) * size)
        store(address + 8, np.int64(length), np.int64)

    return resize


@overload_method(ArrayType, "extend", strict=False)
def _extend(array: Any, values: Any) -> Any:
    size = array.dtype.bitwidth // 8
    if isinstance(values, ArrayType) and values.dtype == array.dtype:

        def extend_with_same(array: Any, values: Any) -> None:
            before, count = len(array), len(values)
            array.resize(before + count)
            memory = load(array_address(array), np.int64)
            copy_bytes(memory + before * size, load(array_address(values), np.int64), count * size)

        return extend_with_same

    if isinstance(values, types.Array):

        def extend_with_copy(array: Any, values: Any) -> None:
            before, copied = len(array), values.copy()  # the values may be a view of this very array
            array.resize(before + len(copied))
            target = array_view(array)
            for index in range(len(copied)):
                target[before + index] = copied[index]

        return extend_with_copy

    def extend(array: Any, values: Any) -> None:
        before = len(array)
        array.resize(before + len(values))
        target = array_view(array)
        for index in range(len(values)):
            target[before + index] = values[index]

    return extend


def _numpy(dtype: Any) -> Any:
    return getattr(np, str(dtype))


_OPTION_TYPES = {
    "DOUBLE": types.float64, "FLOAT": types.float64, "BIGINT": types.int64, "INTEGER": types.int64,
    "BOOLEAN": types.boolean,
}  # fmt: skip


def _numba_type(number: SqlType, in_array: bool) -> Any:
    if number.name == "BOOLEAN":
        return types.uint8 if in_array else types.boolean
    return getattr(types, np.dtype(STORAGE[number.name]).name)


def state_type(owner: type, layout: Layout, options: tuple[Parameter, ...], flags: dict[str, Any]) -> StateType:
    """The Numba type of ``self`` for a class; its other methods are compiled with ``flags`` when they are called.

    Options that are plain numbers can be read as attributes: they stand in the record that the state points to.
    """
    fields = {
        attribute.name: (
            ArrayType(_numba_type(attribute.number, True))
            if attribute.is_array
            else _numba_type(attribute.number, False),
            attribute.offset,
        )
        for attribute in layout.attributes.values()
    }
    members = {
        name: member
        for base in reversed(owner.__mro__[:-1])
        for name, member in vars(base).items()
        if not name.startswith("__") and name not in fields
    }
    methods = {name: member for name, member in members.items() if callable(member)}
    constants = {name: member for name, member in members.items() if name not in methods}
    kind = type(f"{owner.__name__}State", (StateType,), {})
    register_model(kind)(_AddressModel)
    for name, method in methods.items():
        overload_method(kind, name, inline="always", strict=False)(_calling(method, flags))
    readable = {
        option.name: (_OPTION_TYPES[option.types[0].name], 8 + index * RECORD_SLOT + 8)
        for index, option in enumerate(options)
        if option.types[0].name in _OPTION_TYPES and option.name not in fields
    }
    return kind(f"{owner.__qualname__}.self#{id(kind)}", fields, readable, constants)


def _calling(method: Any, flags: dict[str, Any]) -> Any:
    """An overload, as Numba wants it, that calls a method compiled once whoever calls it."""
    scope, parameters = {"method": njit(method, **flags)}, []
    for name, parameter in inspect.signature(method).parameters.items():
        scope[f"default_{name}"] = parameter.default
        parameters.append(name if parameter.default is parameter.empty else f"{name}=default_{name}")
    head, values = ", ".join(parameters), ", ".join(inspect.signature(method).parameters)
    exec(f"def call({head}): return method({values})\ndef resolve({head}): return call", scope)
    return scope["resolve"]


def _keep_stores(
    assignment: Any, args: Any, typemap: Any, func_ir: Any, aliases: dict[str, Any], argument_aliases: set[str]
) -> None:
    """Tell Numba that any array in a method may be memory of the state.

    Where it inlines, it drops stores to arrays that nothing reads later in the function and that are no argument's. It
    cannot see that a view of a growable array is the state's memory: the last store of a method would be lost.
    """
    if typemap is None or not any(isinstance(typemap.get(f"arg.{name}"), StateType) for name in args):
        return
    if isinstance(typemap.get(assignment.target.name), types.Array):
        argument_aliases.add(assignment.target.name)


ir_utils.alias_analysis_extensions[numba_ir.Assign] = _keep_stores

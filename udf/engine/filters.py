"""The filters of a statement, told to whoever plans one of its scans: DuckDB's C API version 2, all of it in here.

A scan of many parts (files, say) is a SELECT that is bound before DuckDB looks at the filters of the statement around
it. So the text that `watched` makes has a twin of the scan in it, a table function without rows::

    SELECT a, b FROM (<the parts> WHERE ironlake_part_kept(7, 0, <number of the part>))
    EXCEPT ALL ((SELECT NULL, NULL LIMIT 0) INTERSECT ALL (SELECT a, b FROM ironlake_filters(7) WHERE "ironlake never"))

While DuckDB optimises the statement, it pushes the filters of the scan into both sides. The twin hears of them, and
asks the planner which parts they leave. At the same moment DuckDB sees that nothing meets no rows and takes the right
side out of the plan, so the scan is optimised as if it stood alone. When the statement runs, a part is not opened if
the scalar function says that it is not needed.

A plan may hold copies of the text, each with filters of its own: a part is needed if it is for one of them, and
``never`` is there so that a copy without filters is heard of too. Where filters are not pushed down, all parts are
needed. Version 2 is young, so only the releases it was tried with are taken (`supported.filters`).
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_bool, c_int, c_int32, c_int64, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import binding as llvm

from . import capi, machine
from .overload import sentence
from .supported import EXECUTION_SYMBOLS

#: Scans that were planned last; a plan holds its own itself.
_RECENT = 1024
#: The last column of the twin.
_NEVER = "ironlake never"
_FALLIBILITY = _INFALLIBLE = 66048
_ERROR_API = 1

#: ``DUCKDB_V2_EXPRESSION_TYPE``, as far as planners know it.
_KINDS = {
    12: "CAST", 14: "IS_NULL", 15: "IS_NOT_NULL", 13: "NOT", 25: "=", 26: "<>", 27: "<", 28: ">", 29: "<=", 30: ">=",
    35: "IN", 36: "NOT_IN", 38: "BETWEEN", 50: "AND", 51: "OR", 75: "CONSTANT", 141: "FUNCTION", 228: "COLUMN",
}  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """A part of a filter, as DuckDB has bound it.

    Attributes
    ----------
    kind : what it is, one of ``_KINDS``; empty for anything else.
    children : its parts. BETWEEN may leave its bounds out.
    text : the name of a column or of a function, or a constant in SQL's writing, NULL being None.
    type : the SQL type of its value.
    """

    kind: str
    children: tuple[Filter, ...] = ()
    text: str | None = None
    type: str = ""


class Watch:
    """One scan of one statement.

    Parameters
    ----------
    columns : the names and the SQL types of the scan.
    choose : for filters that all have to be true, a boolean for each part: whether it is needed.
    groups : the numbers of the parts in each SELECT over parts.
    """

    def __init__(
        self,
        columns: Sequence[tuple[str, str]],
        choose: Callable[[list[Filter]], np.ndarray[Any, Any]],
        groups: Sequence[Sequence[int]],
    ) -> None:
        self.columns, self.choose = columns, choose
        self.types: list[str] = []  # as DuckDB writes them
        self.groups = [np.asarray(group, np.int64) for group in groups]
        self.parts = [np.zeros(2, np.int64) for _ in groups]  # a count and an address: ``%parts`` of `filters.ll`
        self._kept: list[np.ndarray[Any, Any]] = []
        self.number = next(_numbers)
        _watches[self.number] = _recent[self.number] = self
        while len(_recent) > _RECENT:
            _recent.popitem(last=False)

    def narrow(self, filters: list[Filter]) -> None:
        """Leave out the parts that no copy of the scan needs, now that the filters of one are known."""
        needed = self.choose(filters)
        if self._kept:
            for kept, group in zip(self._kept, self.groups, strict=True):
                kept |= needed[group]
            return
        self._kept = [needed[group].astype(np.uint8) for group in self.groups]
        for parts, kept in zip(self.parts, self._kept, strict=True):
            parts[1] = kept.ctypes.data
            parts[0] = len(kept)


_numbers = itertools.count(1)
_watches: weakref.WeakValueDictionary[int, Watch] = weakref.WeakValueDictionary()
_recent: OrderedDict[int, Watch] = OrderedDict()
#: bind data -> its memory and its scan, until DuckDB is done with it.
_bound: dict[int, tuple[c_int64, Watch]] = {}


# ---------------------------------------------------------------------------------------------------- calls into DuckDB


class _Text(ctypes.Structure):
    """``duckdb_v2_str``."""

    _fields_ = [("pointer", c_void_p), ("length", c_uint64)]

    @property
    def value(self) -> str:
        return ctypes.string_at(self.pointer, self.length).decode() if self.length else ""


class _Opaque(ctypes.Structure):
    """``duckdb_v2_opaque``."""

    _fields_ = [("pointer", c_void_p), ("destroy", c_void_p), ("equals", c_void_p)]


class _Input(ctypes.Structure):
    """``duckdb_v2_extension_input``."""

    _fields_ = [("get_api", c_void_p), ("extension", c_void_p), ("context", c_void_p), ("error", c_void_p)]


def _text(content: str) -> Any:
    """A text for DuckDB, by reference."""
    encoded = content.encode()
    memory = ctypes.create_string_buffer(encoded, len(encoded) + 1)
    text = _Text(ctypes.cast(memory, c_void_p), len(encoded))
    text.memory = memory
    return ctypes.byref(text)


def _call(name: str, *arguments: Any) -> None:
    """Call ``duckdb_v2_<name>``, which reports errors in its last argument."""
    error = c_void_p()
    if getattr(capi.library, f"duckdb_v2_{name}")(*arguments, ctypes.byref(error)) == 0:
        return
    told = _Text()
    if error:
        capi.library.duckdb_v2_error_info_get_text(error, ctypes.byref(told))
    message = told.value or f"DuckDB refused {name}"
    capi.library.duckdb_v2_error_info_destroy(ctypes.byref(error))
    raise RuntimeError(message)


def _get(name: str, *arguments: Any, kind: Any = c_void_p) -> Any:
    """What ``duckdb_v2_<name>`` writes into its last argument but one."""
    result = kind()
    _call(name, *arguments, ctypes.byref(result))
    return result


def _rendered(name: str, handle: c_void_p) -> str:
    """The text that ``duckdb_v2_<name>`` makes of a value or a type."""
    length = c_uint64()
    _call(name, handle, None, c_uint64(0), ctypes.byref(length))
    memory = ctypes.create_string_buffer(length.value + 1)
    _call(name, handle, memory, c_uint64(length.value + 1), ctypes.byref(length))
    return memory.raw[: length.value].decode()


def _destroy(kind: str, handle: c_void_p) -> None:
    getattr(capi.library, f"duckdb_v2_{kind}_destroy")(ctypes.byref(handle))


def _fail(error: int, function: str, reason: BaseException) -> None:
    """Tell DuckDB that a callback failed."""
    slot = c_void_p.from_address(error)
    capi.library.duckdb_v2_error_info_set_code(slot, c_int(_ERROR_API))
    capi.library.duckdb_v2_error_info_set_text(slot, _text(f"{function}: {sentence(reason)}"))


def _type(context: c_void_p, name: str) -> c_void_p:
    """A type by its SQL name; the caller destroys it."""
    factory = _get("context_get_factory", context)
    made: c_void_p = _get("factory_create_type_from_text", factory, _text(name))
    return made


# -------------------------------------------------------------------------------------------------------------- filters


def _filter(info: c_void_p, handle: c_void_p, watch: Watch) -> Filter:
    """A bound expression with all that is below it."""
    kind = _KINDS.get(_get("expression_get_type", handle, kind=c_int32).value, "")
    type_ = _get("expression_get_return_type", handle)
    sql_type = _rendered("logical_type_to_text", type_)
    _destroy("logical_type", type_)
    if kind == "COLUMN":
        place = _get("expression_column_ref_get_index", handle, kind=c_uint64)
        column = _get("table_function_filter_pushdown_get_column_index", info, place, kind=c_uint64).value
        known = column < len(watch.columns) and watch.types[column] == sql_type  # else a field of it
        return Filter(kind, text=watch.columns[column][0], type=sql_type) if known else Filter("", type=sql_type)
    if kind == "CONSTANT":
        value = _get("expression_constant_get_value", handle)
        null = _get("value_is_null", value, kind=c_bool).value
        text = None if null else _rendered("value_to_string", value)
        _destroy("value", value)
        return Filter(kind, text=text, type=sql_type)
    text = _get("expression_function_get_name", handle, kind=_Text).value if kind == "FUNCTION" else None
    count = _get("expression_get_child_count", handle, kind=c_uint64).value
    children = (_get("expression_get_child", handle, c_uint64(place)) for place in range(count))
    return Filter(kind, tuple(_filter(info, child, watch) for child in children), text, sql_type)


@CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
def _pushdown(info_address: int, _context: int, error: int) -> None:
    info = c_void_p(info_address)
    try:
        _, watch = _bound[_get("table_function_filter_pushdown_get_bind_data", info).value]
        count = _get("table_function_filter_pushdown_get_filter_count", info, kind=c_uint64).value
        handles = (_get("table_function_filter_pushdown_get_filter", info, c_uint64(place)) for place in range(count))
        watch.narrow([_filter(info, handle, watch) for handle in handles])
    except BaseException as reason:  # the C boundary
        _fail(error, "ironlake_filters", reason)


# ------------------------------------------------------------------------------------------------------------ callbacks


def _number(info: c_void_p, place: int) -> int:
    """A constant argument of a call that is being bound."""
    value = _get("function_bind_get_arg_value", info, c_uint64(place))
    try:
        return int(_get("value_get_bigint", value, kind=c_int64).value)
    finally:
        _destroy("value", value)


def _hold(info: c_void_p, group: int) -> _Opaque:
    """Bind data that points to a group of parts, of the scan whose number is the first argument, and keeps the scan."""
    number = _number(info, 0)
    watch = _watches.get(number)
    if watch is None or not 0 <= group < len(watch.groups):
        raise ValueError(f"{number} is no scan of this statement; the function stands only in SQL that Ironlake writes")
    cell = c_int64(watch.parts[group].ctypes.data)
    _bound[ctypes.addressof(cell)] = cell, watch
    return _Opaque(ctypes.addressof(cell), capi.address(_release), None)


@CFUNCTYPE(None, c_void_p)
def _release(data: int) -> None:
    _bound.pop(data, None)


def _add_column(result: c_void_p, context: c_void_p, name: str, type_name: str) -> str:
    """Add a column to a table function that is being bound; its type as DuckDB writes it."""
    type_ = _type(context, type_name)
    try:
        _call("table_function_bind_add_result_column", result, _text(name), type_)
        return _rendered("logical_type_to_text", type_)
    finally:
        _destroy("logical_type", type_)


@CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_void_p)
def _bind_twin(info: int, result: int, context: int, error: int) -> None:
    try:
        data = _hold(c_void_p(info), 0)
        _call("function_bind_set_bind_data", c_void_p(info), ctypes.byref(data))
        _, watch = _bound[data.pointer]
        watch.types = [
            _add_column(c_void_p(result), c_void_p(context), name, type_name)
            for name, type_name in (*watch.columns, (_NEVER, "BOOLEAN"))
        ]
        _call("table_function_bind_set_cardinality", c_void_p(result), c_uint64(0), c_bool(True))
    except BaseException as reason:  # the C boundary
        _fail(error, "ironlake_filters", reason)


@CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
def _no_rows(_info: int, _context: int, _error: int) -> None:
    """An output chunk that is left alone is empty, and the last one."""


@CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_void_p)
def _bind_kept(info: int, result: int, _context: int, error: int) -> None:
    try:
        data = _hold(c_void_p(info), _number(c_void_p(info), 1))
        _call("scalar_function_bind_set_bind_data", c_void_p(result), ctypes.byref(data))
    except BaseException as reason:  # the C boundary
        _fail(error, "ironlake_part_kept", reason)


# --------------------------------------------------------------------------------------------------------- registration


@functools.cache
def _kept_address() -> int:
    """The machine code of ``ironlake_part_kept``."""
    machine.runtime()
    for symbol in EXECUTION_SYMBOLS:
        name = f"duckdb_v2_{symbol}"
        llvm.add_symbol(name, ctypes.cast(getattr(capi.library, name), c_void_p).value)
    module = llvm.parse_assembly(Path(__file__).with_suffix(".ll").read_text())
    target = llvm.Target.from_default_triple().create_target_machine(opt=2)
    module.triple, module.data_layout = target.triple, str(target.target_data)
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    machine.keep(engine)
    return int(engine.get_function_address("ironlake_part_kept"))


def _function(kind: str, context: c_void_p, name: str, parameters: dict[str, str], result: str | None) -> c_void_p:
    """A function that is not registered yet."""
    function: c_void_p = _get(f"{kind}_function_create", _get("context_get_factory", context))
    _call(f"{kind}_function_set_name", function, _text(name))
    signature = _get(f"{kind}_function_get_signature", function)
    for parameter, type_name in parameters.items():
        type_ = _type(context, type_name)
        _call("function_signature_add_parameter", signature, _text(parameter), type_, None, c_int(0))
        _destroy("logical_type", type_)
    if result is not None:
        type_ = _type(context, result)
        _call("function_signature_set_return_type", signature, type_)
        _destroy("logical_type", type_)
    return function


def _register(extension: c_void_p, context: c_void_p) -> None:
    twin = _function("table", context, "ironlake_filters", {"scan": "BIGINT"}, None)
    for part, callback in (("bind", _bind_twin), ("exec", _no_rows), ("filter_pushdown", _pushdown)):
        _call(f"table_function_set_{part}_callback", twin, callback)
    _call("table_function_set_projection_pushdown", twin, c_bool(True))
    _call("extension_register_table_function", extension, twin)
    _destroy("table_function", twin)
    arguments = {"scan": "BIGINT", "group": "BIGINT", "part": "UBIGINT"}
    kept = _function("scalar", context, "ironlake_part_kept", arguments, "BOOLEAN")
    _call("scalar_function_set_bind_callback", kept, _bind_kept)
    _call("scalar_function_set_exec_callback", kept, c_void_p(_kept_address()))
    _call("scalar_function_set_property", kept, c_int(_FALLIBILITY), c_int(_INFALLIBLE))
    _call("extension_register_scalar_function", extension, kept)
    _destroy("scalar_function", kept)


def load(address: int) -> None:
    """Register both functions in a database that is being opened; `address` is that of what DuckDB gives."""
    given = _Input.from_address(address)
    try:
        _register(c_void_p(given.extension), c_void_p(given.context))
    except BaseException as reason:  # the C boundary
        _fail(given.error, "ironlake_filters", reason)


# ------------------------------------------------------------------------------------------------------------------ SQL


def kept(watch: str, group: int) -> str:
    """SQL of the condition that a statement needs a part of a group; its number is in ``file_index``."""
    return f"ironlake_part_kept({watch}, {group}, file_index)"


def watched(watch: str, names: Sequence[str], parts: str) -> str:
    """The SELECT over parts beside its twin; `names` are quoted columns, `watch` stands for the number."""
    listed = ", ".join(names)
    nothing = f"SELECT {', '.join(['NULL'] * len(names))} LIMIT 0"
    twin = f'SELECT {listed} FROM ironlake_filters({watch}) WHERE "{_NEVER}"'
    return f"SELECT {listed} FROM ({parts}) EXCEPT ALL (({nothing}) INTERSECT ALL ({twin}))"

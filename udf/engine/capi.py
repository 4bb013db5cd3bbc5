"""DuckDB's C API (version 1) through ctypes, from the very library that the Python package uses."""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_bool, c_char_p, c_int, c_int32, c_uint32, c_uint64, c_void_p
from typing import Any

import _duckdb

from .sqltypes import TYPE_IDS, SqlType

library = ctypes.CDLL(_duckdb.__file__)

_P = c_void_p
#: name -> (result, arguments) of every C function that Python calls.
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "register_static_extension": (c_int32, [_P]),
    "connect": (c_int, [_P, ctypes.POINTER(_P)]),
    "disconnect": (None, [ctypes.POINTER(_P)]),
    "open": (c_int, [c_char_p, ctypes.POINTER(_P)]),
    "free": (None, [_P]),
    "prepare": (c_int, [_P, c_char_p, ctypes.POINTER(_P)]),
    "prepare_error": (c_char_p, [_P]),
    "execute_prepared_streaming": (c_int, [_P, _P]),
    "destroy_prepare": (None, [ctypes.POINTER(_P)]),
    "destroy_result": (None, [_P]),
    "result_error": (c_char_p, [_P]),
    "column_count": (c_uint64, [_P]),
    "column_name": (c_char_p, [_P, c_uint64]),
    "column_logical_type": (_P, [_P, c_uint64]),
    # logical types
    "create_logical_type": (_P, [c_int]),
    "create_list_type": (_P, [_P]),
    "create_map_type": (_P, [_P, _P]),
    "create_array_type": (_P, [_P, c_uint64]),
    "create_struct_type": (_P, [ctypes.POINTER(_P), ctypes.POINTER(c_char_p), c_uint64]),
    "destroy_logical_type": (None, [ctypes.POINTER(_P)]),
    "get_type_id": (c_int, [_P]),
    # aggregate functions
    "create_aggregate_function": (_P, []),
    "destroy_aggregate_function": (None, [ctypes.POINTER(_P)]),
    "aggregate_function_set_name": (None, [_P, c_char_p]),
    "aggregate_function_add_parameter": (None, [_P, _P]),
    "aggregate_function_set_return_type": (None, [_P, _P]),
    "aggregate_function_set_functions": (None, [_P] * 6),
    "aggregate_function_set_destructor": (None, [_P, _P]),
    "aggregate_function_set_special_handling": (None, [_P]),
    "aggregate_function_set_extra_info": (None, [_P, _P, _P]),
    "aggregate_function_set_error": (None, [_P, c_char_p]),
    "create_aggregate_function_set": (_P, [c_char_p]),
    "add_aggregate_function_to_set": (c_int, [_P, _P]),
    "register_aggregate_function_set": (c_int, [_P, _P]),
    "destroy_aggregate_function_set": (None, [ctypes.POINTER(_P)]),
    # scalar functions
    "create_scalar_function": (_P, []),
    "destroy_scalar_function": (None, [ctypes.POINTER(_P)]),
    "scalar_function_set_name": (None, [_P, c_char_p]),
    "scalar_function_add_parameter": (None, [_P, _P]),
    "scalar_function_set_return_type": (None, [_P, _P]),
    "scalar_function_set_function": (None, [_P, _P]),
    "scalar_function_set_bind": (None, [_P, _P]),
    "scalar_function_set_special_handling": (None, [_P]),
    "scalar_function_set_volatile": (None, [_P]),
    "scalar_function_set_extra_info": (None, [_P, _P, _P]),
    "scalar_function_get_extra_info": (_P, [_P]),
    "scalar_function_bind_get_extra_info": (_P, [_P]),
    "scalar_function_bind_set_error": (None, [_P, c_char_p]),
    "scalar_function_set_bind_data": (None, [_P, _P, _P]),
    "scalar_function_get_bind_data": (_P, [_P]),
    "scalar_function_get_client_context": (None, [_P, ctypes.POINTER(_P)]),
    "scalar_function_set_error": (None, [_P, c_char_p]),
    "create_scalar_function_set": (_P, [c_char_p]),
    "add_scalar_function_to_set": (c_int, [_P, _P]),
    "register_scalar_function": (c_int, [_P, _P]),
    "register_scalar_function_set": (c_int, [_P, _P]),
    "destroy_scalar_function_set": (None, [ctypes.POINTER(_P)]),
    # table functions
    "create_table_function": (_P, []),
    "destroy_table_function": (None, [ctypes.POINTER(_P)]),
    "table_function_set_name": (None, [_P, c_char_p]),
    "table_function_add_parameter": (None, [_P, _P]),
    "table_function_add_named_parameter": (None, [_P, c_char_p, _P]),
    "table_function_set_extra_info": (None, [_P, _P, _P]),
    "table_function_set_bind": (None, [_P, _P]),
    "table_function_set_init": (None, [_P, _P]),
    "table_function_set_function": (None, [_P, _P]),
    "table_function_supports_projection_pushdown": (None, [_P, c_bool]),
    "register_table_function": (c_int, [_P, _P]),
    "table_function_get_client_context": (None, [_P, ctypes.POINTER(_P)]),
    "bind_get_extra_info": (_P, [_P]),
    "bind_add_result_column": (None, [_P, c_char_p, _P]),
    "bind_get_parameter_count": (c_uint64, [_P]),
    "bind_get_parameter": (_P, [_P, c_uint64]),
    "bind_get_named_parameter": (_P, [_P, c_char_p]),
    "bind_set_bind_data": (None, [_P, _P, _P]),
    "bind_set_cardinality": (None, [_P, c_uint64, c_bool]),
    "bind_set_error": (None, [_P, c_char_p]),
    "init_get_bind_data": (_P, [_P]),
    "init_set_init_data": (None, [_P, _P, _P]),
    "init_set_error": (None, [_P, c_char_p]),
    "init_get_column_count": (c_uint64, [_P]),
    "init_get_column_index": (c_uint64, [_P, c_uint64]),
    "init_set_max_threads": (None, [_P, c_uint64]),
    "function_get_bind_data": (_P, [_P]),
    "function_get_init_data": (_P, [_P]),
    "function_set_error": (None, [_P, c_char_p]),
    # settings
    "client_context_get_config_option": (_P, [_P, c_char_p, ctypes.POINTER(c_int)]),
    "destroy_client_context": (None, [ctypes.POINTER(_P)]),
    # values
    "get_bool": (c_bool, [_P]),
    "destroy_value": (None, [ctypes.POINTER(_P)]),
    "get_value_type": (_P, [_P]),
    "create_data_chunk": (_P, [ctypes.POINTER(_P), c_uint64]),
    # chunks and vectors
    "destroy_data_chunk": (None, [ctypes.POINTER(_P)]),
    "data_chunk_get_size": (c_uint64, [_P]),
    "data_chunk_set_size": (None, [_P, c_uint64]),
    "data_chunk_get_column_count": (c_uint64, [_P]),
    "data_chunk_get_vector": (_P, [_P, c_uint64]),
    "vector_get_column_type": (_P, [_P]),
    "vector_get_data": (_P, [_P]),
    "vector_get_validity": (_P, [_P]),
    "vector_ensure_validity_writable": (None, [_P]),
    "vector_assign_string_element": (None, [_P, c_uint64, c_char_p]),
    "vector_reference_vector": (None, [_P, _P]),
    "vector_reference_value": (None, [_P, _P]),
    "vector_copy_sel": (None, [_P, _P, _P, c_uint64, c_uint64, c_uint64]),
    "create_selection_vector": (_P, [c_uint64]),
    "destroy_selection_vector": (None, [_P]),
    "selection_vector_get_data_ptr": (ctypes.POINTER(c_uint32), [_P]),
    "vector_size": (c_uint64, []),
    # Arrow
    "connection_get_arrow_options": (None, [_P, ctypes.POINTER(_P)]),
    "to_arrow_schema": (_P, [_P, ctypes.POINTER(_P), ctypes.POINTER(c_char_p), c_uint64, _P]),
    "data_chunk_to_arrow": (_P, [_P, _P, _P]),
    "schema_from_arrow": (_P, [_P, _P, ctypes.POINTER(_P)]),
    "data_chunk_from_arrow": (_P, [_P, _P, _P, ctypes.POINTER(_P)]),
    "destroy_arrow_converted_schema": (None, [ctypes.POINTER(_P)]),
    "error_data_message": (c_char_p, [_P]),
    "error_data_has_error": (c_bool, [_P]),
    "destroy_error_data": (None, [ctypes.POINTER(_P)]),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """The C function ``duckdb_<name>``, typed on first use."""
    if name not in _PROTOTYPES:
        raise AttributeError(name)
    function = getattr(library, "duckdb_" + name)
    function.restype, function.argtypes = _PROTOTYPES[name]
    globals()[name] = function
    return function


def prototype(name: str, result: Any, arguments: list[Any]) -> None:
    """Add a C function, for one that takes a structure of another module."""
    _PROTOTYPES[name] = (result, arguments)


@functools.cache
def logical_type(type_: SqlType) -> int:
    """The handle of a SQL type; made once and kept, so nobody has to destroy it."""
    if type_.name == "LIST" and type_.size < 0:
        return int(_call("create_map_type", *(logical_type(part) for _, part in type_.element.fields)))
    if type_.name == "LIST":
        return int(_call("create_list_type", logical_type(type_.element)))
    if type_.name == "ARRAY":
        return int(_call("create_array_type", logical_type(type_.element), type_.size))
    if type_.name == "STRUCT":
        count = len(type_.fields)
        members = (_P * count)(*(logical_type(child) for _, child in type_.fields))
        names = (c_char_p * count)(*(name.encode() for name, _ in type_.fields))
        return int(_call("create_struct_type", members, names, count))
    return int(_call("create_logical_type", TYPE_IDS[type_.name]))


def _call(name: str, *arguments: Any) -> Any:
    return __getattr__(name)(*arguments) if name not in globals() else globals()[name](*arguments)


def address(callback: Any) -> int:
    """The address of a ctypes callback."""
    return ctypes.cast(callback, _P).value or 0


def check(error: int | None) -> None:
    """Raise what a C function reported through its error object."""
    if not error:
        return
    message = _call("error_data_message", error).decode(errors="replace")
    _call("destroy_error_data", ctypes.byref(_P(error)))
    raise RuntimeError(message)

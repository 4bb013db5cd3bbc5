"""The static extension: every database opened after ``import ironlake`` gets the declared functions.

DuckDB calls `_load` while it opens a database; the functions then stand in its system catalog. A function declared
later, in a notebook cell say, is added to the databases that are still open (see `database`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_bool, c_char_p, c_int32, c_int64, c_uint32, c_void_p
from typing import Any

from . import capi, database, machine
from .declaration import Declaration
from .overload import Overload, install_symbols

#: name -> declaration, in order of declaration.
declarations: dict[str, Declaration] = {}
#: name -> the Python face of each function.
functions: dict[str, Callable[..., Any]] = {}

_overloads: dict[str, list[Overload]] = {}


class _Descriptor(ctypes.Structure):
    """``duckdb_extension_descriptor``: how something linked into the process describes itself to DuckDB."""

    _fields_ = [
        ("version", c_uint32),
        ("set_error", c_void_p),
        ("internal", c_void_p),
        ("name", c_char_p),
        ("extension_version", c_char_p),
        ("api_version", c_char_p),
        ("entry_cpp", c_void_p),
        ("entry_capi_v1", c_void_p),
        ("entry_capi_v2", c_void_p),
        ("database_callback", c_void_p),
    ]


class _Access(ctypes.Structure):
    """``duckdb_extension_access``: what DuckDB lends to an extension while it loads."""

    _fields_ = [
        ("set_error", CFUNCTYPE(None, c_void_p, c_char_p)),
        ("get_database", CFUNCTYPE(c_void_p, c_void_p)),
        ("get_api", c_void_p),
    ]


@CFUNCTYPE(c_bool, c_void_p, POINTER(_Access))
def _load(info: int, access: Any) -> bool:
    connection = c_void_p()
    try:
        if capi.connect(access.contents.get_database(info), ctypes.byref(connection)) != 0:
            raise RuntimeError("no connection to the database that is being opened")
        cell = database.opened(connection)
        for declaration in list(declarations.values()):
            _register(connection, cell, declaration)
    except Exception as error:  # the C boundary: DuckDB reports it to whoever opens the database
        access.contents.set_error(info, str(error).encode())
        return False
    finally:
        capi.disconnect(ctypes.byref(connection))
    return True


@CFUNCTYPE(c_int32, POINTER(_Descriptor))
def _describe(pointer: Any) -> int:
    from ironlake import __version__

    descriptor = pointer.contents
    descriptor.version = 1
    descriptor.name, descriptor.extension_version = b"ironlake", __version__.encode()
    descriptor.api_version = b"v1.2.0"
    descriptor.entry_capi_v1 = capi.address(_load)
    return 0


@CFUNCTYPE(c_int32, POINTER(_Descriptor))
def _describe_callback(pointer: Any) -> int:
    descriptor = pointer.contents
    descriptor.version, descriptor.name = 2, b"ironlake_databases"
    descriptor.database_callback = capi.address(database.opening)
    return 0


def install() -> None:
    """Make DuckDB load this extension into every database opened from now on."""
    for describe in (_describe_callback, _describe) if database.supported() else (_describe,):
        if capi.register_static_extension(describe) != 0:
            raise RuntimeError("DuckDB refused the ironlake extension; is another copy of ironlake loaded?")


def add(declaration: Declaration, face: Callable[..., Any]) -> None:
    """Declare a function: for databases opened from now on, and for the open ones."""
    previous = declarations.get(declaration.name)
    if previous is not None and previous.kind != declaration.kind:
        raise ValueError(f"{declaration.name} is already declared as {previous.kind}, it cannot become {declaration.kind}")
    declarations[declaration.name], functions[declaration.name] = declaration, face
    _overloads.pop(declaration.name, None)
    for cell in database.open_cells():
        with database.connect(cell) as connection:
            _register(connection, cell, declaration)


def _register(connection: c_void_p, cell: c_int64, declaration: Declaration) -> None:
    machine.runtime()
    install_symbols()
    if declaration.kind == "table":
        from .tables import register_table

        register_table(connection, cell, declaration)
        return
    if declaration.name not in _overloads:
        _overloads[declaration.name] = [
            Overload(declaration, arguments, with_options) for arguments, with_options in declaration.argument_lists()
        ]
    if declaration.kind == "scalar":
        from .scalars import make_function

        _register_set(connection, declaration, "scalar", make_function)
    else:
        _register_set(connection, declaration, "aggregate", _make_aggregate)


def _register_set(connection: c_void_p, declaration: Declaration, kind: str, make: Callable[[Overload], int]) -> None:
    functions_set = c_void_p(getattr(capi, f"create_{kind}_function_set")(declaration.name.encode()))
    for overload in _overloads[declaration.name]:
        function = c_void_p(make(overload))
        getattr(capi, f"add_{kind}_function_to_set")(functions_set, function)
        getattr(capi, f"destroy_{kind}_function")(ctypes.byref(function))
    state = getattr(capi, f"register_{kind}_function_set")(connection, functions_set)
    getattr(capi, f"destroy_{kind}_function_set")(ctypes.byref(functions_set))
    if state != 0:
        raise RuntimeError(f"DuckDB refused the {kind} function {declaration.signature}")


def _make_aggregate(overload: Overload) -> int:
    function = capi.create_aggregate_function()
    capi.aggregate_function_set_name(function, overload.declaration.name.encode())
    for type_ in overload.all_arguments:
        capi.aggregate_function_add_parameter(function, capi.logical_type(type_))
    assert overload.declaration.result is not None
    capi.aggregate_function_set_return_type(function, capi.logical_type(overload.declaration.result))
    addresses = machine.runtime()
    callbacks = (addresses[f"ironlake_{name}"] for name in ("state_size", "state_init", "update", "combine", "finalize"))
    capi.aggregate_function_set_functions(function, *callbacks)
    capi.aggregate_function_set_destructor(function, addresses["ironlake_destroy"])
    capi.aggregate_function_set_special_handling(function)
    capi.aggregate_function_set_extra_info(function, overload.address, None)
    return int(function)

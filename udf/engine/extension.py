"""The static extension: every database opened after ``import ironlake`` gets the declared functions.

DuckDB calls `_load` while it opens a database; the functions then stand in its system catalog. A function declared
later, in a notebook cell say, is added to the databases that are still open (see `database`).
"""

from __future__ import annotations

import ctypes
import threading
import warnings
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_bool, c_char_p, c_int32, c_int64, c_uint32, c_void_p
from typing import Any

from . import capi, database, filters, machine, tables
from .declaration import Declaration
from .overload import Overload, install_symbols

#: name -> declaration, in order of declaration.
declarations: dict[str, Declaration] = {}
#: name -> the Python face of each function.
functions: dict[str, Callable[..., Any]] = {}

#: name -> the declarations of a function, and the overloads made from them.
_overloads: dict[str, tuple[list[Declaration], list[Overload]]] = {}
#: name -> overloads with their declarations, and the set of functions for DuckDB that was made from them.
_sets: dict[str, tuple[list[tuple[Overload, Declaration]], c_void_p]] = {}
#: database -> addresses of the overloads it knows.
_known: dict[int, set[int]] = {}
_installed = False
#: What is known of open databases changes on one thread at a time; several may open one at once.
_loading = threading.RLock()


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
        with _loading:
            cell = database.opened(connection)
            _known.pop(cell.value or 0, None)
            tables.forget(cell)
            for declaration in list(declarations.values()):
                _register(connection, cell, declaration)
    except BaseException as error:  # the C boundary: DuckDB reports it to whoever opens the database
        access.contents.set_error(info, str(error).encode())
        return False
    finally:
        capi.disconnect(ctypes.byref(connection))
    return True


@CFUNCTYPE(c_int32, POINTER(_Descriptor))
def _describe(pointer: Any) -> int:
    from ironlake import __version__

    descriptor = pointer.contents
    descriptor.version = 1  # of the layout
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


@CFUNCTYPE(c_int32, POINTER(_Descriptor))
def _describe_filters(pointer: Any) -> int:
    from ironlake import __version__

    descriptor = pointer.contents
    descriptor.version = 1
    descriptor.name, descriptor.extension_version = b"ironlake_filters", __version__.encode()
    descriptor.api_version, descriptor.entry_capi_v2 = b"v2.0.0", capi.address(filters.load)
    return 0


def install() -> None:
    """Make DuckDB load this extension into every database opened from now on."""
    extensions = [_describe]
    if database.supported():
        extensions.insert(0, _describe_callback)
    if filters.supported():
        extensions.append(_describe_filters)
    for describe in extensions:
        if capi.register_static_extension(describe) != 0:
            raise RuntimeError("DuckDB refused the ironlake extension; is another copy of ironlake loaded?")
    global _installed
    _installed = True


def add(declaration: Declaration, function: Callable[..., Any]) -> None:
    """Declare a function: for databases opened from now on, and for the open ones.

    Declaring a name again replaces the function; the caller sees to it that no query is using the old one.

    Raises
    ------
    ValueError
        If DuckDB cannot take the function, mostly because it has one of that name.
    """
    if _installed:
        from .faces import private_database

        private_database()  # at least one database that is open: it tells whether DuckDB takes the function
    known = declaration.name in declarations
    if declaration.settings.get("overload"):
        if not known:
            raise ValueError(f"{declaration.name}: an overload needs a function of this name that was declared before")
        other, declaration = declaration, declarations[declaration.name]
        declaration.add(other)
        function = functions[declaration.name]
    declarations[declaration.name], functions[declaration.name] = declaration, function
    refusals = []
    for cell in database.open_cells() if _installed else []:
        with database.connect(cell) as connection:
            try:
                _register(connection, cell, declaration)
            except ValueError as refusal:
                refusals.append(refusal)
    if not refusals:
        return
    if not known:
        del declarations[declaration.name], functions[declaration.name]
        raise refusals[0]
    private_database.cache_clear()
    warnings.warn(
        f"{declaration.name}: databases that are open keep the function as it was declared before, since DuckDB cannot "
        "change its arguments or its result; open them again to get the new one",
        stacklevel=4,
    )


def _register(connection: c_void_p, cell: c_int64, declaration: Declaration) -> None:
    """Register a function, or the overloads of it that the database does not know yet."""
    machine.runtime()
    install_symbols()
    if declaration.kind == "table":
        tables.register_table(connection, cell, declaration)
        return
    known = _known.setdefault(cell.value or 0, set())
    fresh = [overload for overload in _overloads_of(declaration) if overload.address not in known]
    if not fresh:
        return
    if declaration.kind == "scalar":
        from .scalars import make_function

        _register_set(connection, declaration, "scalar", fresh, make_function)
    else:
        _register_set(connection, declaration, "aggregate", fresh, _make_aggregate)
    known.update(overload.address for overload in fresh)


def _overloads_of(declaration: Declaration) -> list[Overload]:
    """The overloads of a function; a function declared again keeps those that look the same from outside."""
    declared = [declaration, *declaration.others]
    declared_before, made_before = _overloads.get(declaration.name, ([], []))
    if declared == declared_before:
        return made_before
    before = {(each.arguments, each.with_options): each for each in made_before}
    made = []
    for each in declared:
        for arguments, with_options in each.argument_lists():
            overload = before.get((arguments, with_options))
            if overload is None or not overload.looks_like(each):
                overload = Overload(each, arguments, with_options)
            elif overload.declaration is not each:
                overload.redeclare(each)
            made.append(overload)
    _overloads[declaration.name] = declared, made
    return made


def _register_set(
    connection: c_void_p,
    declaration: Declaration,
    kind: str,
    overloads: list[Overload],
    make: Callable[[Overload], int],
) -> None:
    made_from = [(overload, overload.declaration) for overload in overloads]
    if declaration.name not in _sets or _sets[declaration.name][0] != made_from:
        _sets[declaration.name] = made_from, _function_set(kind, declaration.name, overloads, make)
    functions_set = _sets[declaration.name][1]
    if getattr(capi, f"register_{kind}_function_set")(connection, functions_set) != 0:
        raise ValueError(
            f"DuckDB does not take the {kind} function {declaration.signature}; most likely it has a function or macro "
            f"{declaration.name!r} of its own, or an open database knows one with other results: choose another name"
        )


def _function_set(kind: str, name: str, overloads: list[Overload], make: Callable[[Overload], int]) -> c_void_p:
    """The overloads of a function for DuckDB; every database copies them, so they are made once and kept."""
    functions_set = c_void_p(getattr(capi, f"create_{kind}_function_set")(name.encode()))
    for overload in overloads:
        function = c_void_p(make(overload))
        getattr(capi, f"add_{kind}_function_to_set")(functions_set, function)
        getattr(capi, f"destroy_{kind}_function")(ctypes.byref(function))
    return functions_set


def _make_aggregate(overload: Overload) -> int:
    function = capi.create_aggregate_function()
    capi.aggregate_function_set_name(function, overload.declaration.name.encode())
    for type_ in overload.all_arguments:
        capi.aggregate_function_add_parameter(function, capi.logical_type(type_))
    assert overload.declaration.result is not None
    capi.aggregate_function_set_return_type(function, capi.logical_type(overload.declaration.result))
    addresses = machine.runtime()
    callbacks = (
        addresses[f"ironlake_{name}"] for name in ("state_size", "state_init", "update", "combine", "finalize")
    )
    capi.aggregate_function_set_functions(function, *callbacks)
    capi.aggregate_function_set_destructor(function, addresses["ironlake_destroy"])
    capi.aggregate_function_set_special_handling(function)
    capi.aggregate_function_set_extra_info(function, overload.address, None)
    return int(function)

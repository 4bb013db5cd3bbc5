"""The static extension: every database opened after ``import ironlake`` gets the declared functions.

DuckDB calls `entry`, and that `load`, while it opens a database; the functions then stand in its system catalog. A
function declared later, in a notebook cell say, is added to the databases that are still open (see `database`).
"""

from __future__ import annotations

import ctypes
import threading
import warnings
from collections.abc import Callable, Sequence
from ctypes import c_int64, c_void_p
from typing import Any

from . import capi, database, entry, machine, tables
from .declaration import Declaration
from .overload import Overload, install_symbols

#: name -> declaration, in order of declaration.
declarations: dict[str, Declaration] = {}
#: name -> the Python face of each function.
functions: dict[str, Callable[..., Any]] = {}

#: name -> declaration, of what comes with the package, and how many other declarations its overloads have.
_shipped: dict[str, tuple[Declaration, int]] = {}
#: name -> the declarations of a function, and the overloads made from them.
_overloads: dict[str, tuple[list[Declaration], list[Overload]]] = {}
#: name -> overloads with their declarations, and the set of functions for DuckDB that was made from them.
_sets: dict[str, tuple[list[tuple[Overload, Declaration]], c_void_p]] = {}
#: database -> addresses of the overloads it knows.
_known: dict[int, set[int]] = {}
#: What is known of open databases changes on one thread at a time; several may open one at once.
_loading = threading.RLock()


def load(handle: int, instance: int) -> None:
    """Register all functions in a database that is being opened.

    Parameters
    ----------
    handle : int
        The database, as the C API has it.
    instance : int
        Its address; 0 where nobody told.

    Raises
    ------
    RuntimeError, ValueError
        DuckDB refuses.
    """
    connection = c_void_p()
    try:
        if capi.connect(handle, ctypes.byref(connection)) != 0:
            raise RuntimeError("no connection to the database that is being opened")
        with _loading:
            cell = database.opened(connection, instance)
            _known.pop(cell.value or 0, None)
            tables.forget(cell)
            for declaration in list(declarations.values()):
                _register(connection, cell, declaration)
    finally:
        capi.disconnect(ctypes.byref(connection))


def note_shipped() -> None:
    """Remember that what is declared by now comes with the package."""
    _shipped.update({name: (declaration, len(declaration.others)) for name, declaration in declarations.items()})


def comes_with_package(declaration: Declaration) -> bool:
    """Whether any process that imports the package has the function, as it is here."""
    return _shipped.get(declaration.name) == (declaration, len(declaration.others))


def add(declaration: Declaration, function: Callable[..., Any]) -> None:
    """Declare a function: for databases opened from now on, and for the open ones.

    Declaring a name again replaces the function; the caller sees to it that no query is using the old one.

    Raises
    ------
    ValueError
        If DuckDB cannot take the function, mostly because it has one of that name.
    """
    if not (declaration.body.__module__ or "").startswith("ironlake."):
        entry.complete()  # those of the package come first
    if entry.is_complete():
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
    for cell in database.open_cells() if entry.is_complete() else []:
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

        register_set(connection, declaration, "scalar", fresh, make_function)
    else:
        register_set(connection, declaration, "aggregate", fresh, make_aggregate)
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


def register_set(
    connection: c_void_p,
    declaration: Declaration,
    kind: str,
    overloads: Sequence[Overload],
    make: Callable[[Overload], int],
) -> None:
    """Register overloads of a function under their name.

    Raises
    ------
    ValueError
        If DuckDB does not take them.
    """
    name, made_from = overloads[0].name, [(overload, overload.declaration) for overload in overloads]
    if name not in _sets or _sets[name][0] != made_from:
        _sets[name] = made_from, _function_set(kind, name, overloads, make)
    functions_set = _sets[name][1]
    if getattr(capi, f"register_{kind}_function_set")(connection, functions_set) != 0:
        raise ValueError(
            f"DuckDB does not take the {kind} function {declaration.signature}; most likely it has a function or macro "
            f"{declaration.name!r} of its own, or an open database knows one with other results: choose another name"
        )


def _function_set(kind: str, name: str, overloads: Sequence[Overload], make: Callable[[Overload], int]) -> c_void_p:
    """The overloads of a function for DuckDB; every database copies them, so they are made once and kept."""
    functions_set = c_void_p(getattr(capi, f"create_{kind}_function_set")(name.encode()))
    for overload in overloads:
        function = c_void_p(make(overload))
        getattr(capi, f"add_{kind}_function_to_set")(functions_set, function)
        getattr(capi, f"destroy_{kind}_function")(ctypes.byref(function))
    return functions_set


def make_aggregate(overload: Overload) -> int:
    """A C API aggregate function for an overload."""
    function = capi.create_aggregate_function()
    capi.aggregate_function_set_name(function, overload.name.encode())
    for type_ in overload.all_arguments:
        capi.aggregate_function_add_parameter(function, capi.logical_type(type_))
    capi.aggregate_function_set_return_type(function, capi.logical_type(overload.result))
    addresses = machine.runtime()
    callbacks = (
        addresses[f"ironlake_{name}"] for name in ("state_size", "state_init", "update", "combine", "finalize")
    )
    capi.aggregate_function_set_functions(function, *callbacks)
    capi.aggregate_function_set_destructor(function, addresses["ironlake_destroy"])
    capi.aggregate_function_set_special_handling(function)
    capi.aggregate_function_set_extra_info(function, overload.address, None)
    return int(function)

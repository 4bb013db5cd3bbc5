"""The aggregate kind: a Python class becomes DuckDB callbacks in machine code.

One row on its way: DuckDB calls ``ironlake_update`` (``runtime.ll``) with a chunk and one state per row. That jumps
to the overload's compiled ``update``, which opens the argument columns once and then for each row skips NULLs, wakes
the state (``init``) if it is untouched, and calls the user's ``update(self, ...)`` with the row's values. Threads
work on states of their own, which ``combine`` merges pairwise; ``finalize`` writes ``finish()`` of each state.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from . import machine
from .declaration import Declaration, DeclarationError, Documentation, Parameter, parameters_of, result_of
from .layout import NUMBERS, Layout
from .sqltypes import SqlType, single

_METHODS = ("update", "merge", "finish")
_OPTIONS = {"VARCHAR", *NUMBERS} - {"DATE", "TIMESTAMP", "TIMESTAMPTZ"}


def declare(
    owner: type,
    *,
    name: str | None = None,
    nulls: bool = False,
    empty: bool = False,
    fastmath: bool | frozenset[str] = False,
    boundscheck: bool = True,
) -> Declaration:
    """Read an aggregate class.

    Parameters
    ----------
    owner : the class; annotations are its state, ``update(self, ...)``, ``merge(self, other)`` and ``finish(self)``
        its behaviour. Optional: ``init(self, ...)`` takes the options, ``skipped(self)`` hears of each row that was
        skipped for a NULL argument, or for a NULL inside a list of numbers, which else is an error; other methods and
        constants are for its own use.
    name : SQL name; the class name by default.
    nulls : a NULL argument arrives as None; otherwise ``update`` does not see rows with a NULL argument.
    empty : ``finish`` is also called for a group without rows; otherwise its result is NULL.
    fastmath : allow the compiler to reorder floating-point sums; or the set of LLVM's flags to allow.
    boundscheck : indexing outside an array raises IndexError instead of touching foreign memory.

    Raises
    ------
    DeclarationError
        If a method or a type is missing.
    """
    for method in _METHODS:
        if not callable(getattr(owner, method, None)):
            arguments = {"update": "self, x: float", "merge": "self, other", "finish": "self"}[method]
            raise DeclarationError(f"aggregate {owner.__name__}: the method {method}({arguments}) is missing")
    columns, extra = parameters_of(owner.update, skip=1)  # type: ignore[attr-defined]
    if not columns or extra:
        raise DeclarationError(f"aggregate {owner.__name__}: update needs column arguments, options belong to init")
    init = getattr(owner, "init", None)
    options = tuple(_single(owner, option) for group in parameters_of(init, skip=1) for option in group) if init else ()
    try:
        result = single(result_of(owner.finish))  # type: ignore[attr-defined]
    except TypeError as error:
        raise DeclarationError(f"aggregate {owner.__name__}: result of finish: {error}") from None
    Layout.of(owner)
    settings = {"nulls": nulls, "empty": empty, "fastmath": fastmath, "boundscheck": boundscheck}
    return Declaration(
        name or owner.__name__, "aggregate", columns, options, result, owner, Documentation.of(owner), settings
    )


def _single(owner: type, option: Parameter) -> Parameter:
    """An option with one type; numbers of several types are DOUBLE."""
    numbers = [type_ for type_ in option.types if not (option.choices and type_.name == "VARCHAR")]
    if len(numbers) > 1:
        if not all(type_.name in NUMBERS for type_ in numbers):
            raise DeclarationError(f"aggregate {owner.__name__}: option {option.name!r} must have one type")
        return dataclasses.replace(option, types=(SqlType("DOUBLE"), *option.types[len(numbers) :]))
    type_ = option.types[0]
    parts = [field for _, field in type_.fields] if type_.name == "STRUCT" else [type_]
    if not all(_plain(part) for part in parts):
        raise DeclarationError(
            f"aggregate {owner.__name__}: option {option.name!r} is {type_}; an option is a number, a text, a list "
            "of numbers, or a STRUCT of these"
        )
    return option


def compile_overload(declaration: Declaration, arguments: tuple[SqlType, ...], with_options: bool) -> dict[str, int]:
    """Machine code of one overload: addresses of update, combine and finalize, number of arrays, bytes of a state."""
    layout = Layout.of(declaration.body)
    key = machine.fingerprint(*_parts(declaration), repr(arguments), with_options)

    def build() -> dict[str, tuple[Callable[..., int | None], str]]:
        from .aggregate_kernels import update_kernels

        return update_kernels(declaration, layout, arguments, with_options)

    addresses = machine.compile_functions(build, key, declaration.name)
    return {**addresses, **_compile_shared(declaration), "arrays": layout.arrays, "size": layout.size}


@functools.cache
def _compile_shared(declaration: Declaration) -> dict[str, int]:
    """Machine code that does not depend on the arguments: addresses of combine and finalize."""

    def build() -> dict[str, tuple[Callable[..., int | None], str]]:
        from .aggregate_kernels import state_kernels

        return state_kernels(declaration, Layout.of(declaration.body))

    return machine.compile_functions(build, machine.fingerprint("states", *_parts(declaration)), declaration.name)


def _parts(declaration: Declaration) -> tuple[Any, ...]:
    """What the machine code of an aggregate is made from."""
    return (
        declaration.body, repr(Layout.of(declaration.body)), str(declaration.options), str(declaration.result),
        [parameter.name for parameter in declaration.parameters], sorted(declaration.settings.items()),
    )  # fmt: skip


def _plain(type_: SqlType) -> bool:
    """Whether compiled code can have it as an option: a number, a text or a list of numbers."""
    if type_.name == "LIST":
        return type_.element.name in _OPTIONS and type_.element.name != "VARCHAR"
    return type_.name in _OPTIONS

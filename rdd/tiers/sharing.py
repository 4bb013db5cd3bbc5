"""What the functions of one stage change that others of them may read.

Elements go through all functions of a stage one after the other, so that a function sees what another has changed for
the element before. On whole columns it would not; a function that reads what another one changes is left to Python.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

#: A list, a cell, or a global name: its identity, and the name.
State = tuple[int, str]
#: Methods that change what they belong to.
_CHANGES = {"append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse"}
_INTO = {"STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE", "BINARY_OP"}


def changed_by(things: Iterable[Any]) -> frozenset[State]:
    """What functions may change, themselves or by the functions that they refer to."""
    found: set[State] = set()
    seen: set[int] = set()
    visits = list(things)
    while visits:
        thing = visits.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, functools.partial):
            visits += [thing.func, *thing.args, *thing.keywords.values()]
        elif isinstance(thing, types.MethodType):
            visits.append(thing.__func__)
        elif isinstance(thing, types.FunctionType):
            around = list(_around(thing))
            visits += around
            found |= set(_changed(thing, around))
        elif not isinstance(thing, type) and type(thing).__module__.startswith("ironlake.rdd"):
            visits += vars(thing).values() if hasattr(thing, "__dict__") else ()
    return frozenset(found)


def _around(function: types.FunctionType) -> Iterator[Any]:
    """What a function refers to."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield from function.__defaults__ or ()
    for name in _facts(function.__code__)[0]:
        if name in function.__globals__:
            yield function.__globals__[name]


def _changed(function: types.FunctionType, around: list[Any]) -> Iterator[State]:
    _, written, changes_lists = _facts(function.__code__)
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    for name, is_global in written:
        if is_global:
            yield id(function.__globals__), name
        elif name in cells:
            yield id(cells[name]), ""
    if changes_lists:
        yield from ((id(each), "") for each in around if isinstance(each, list))


@lru_cache(maxsize=1024)
def _facts(code: types.CodeType) -> tuple[frozenset[str], frozenset[tuple[str, bool]], bool]:
    """The names that code refers to, those that it writes, and whether it may change lists."""
    names, written, changes = set(code.co_names), set(), False
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            written.add((instruction.argval, True))
        elif instruction.opname in ("STORE_DEREF", "DELETE_DEREF"):
            written.add((instruction.argval, False))
        is_assignment = instruction.opname != "BINARY_OP" or instruction.argrepr.endswith("=")
        changes |= (instruction.opname in _INTO and is_assignment) or instruction.argval in _CHANGES
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = _facts(constant)
            names |= inner[0]
            written |= inner[1]
            changes |= inner[2]
    return frozenset(names), frozenset(written), changes

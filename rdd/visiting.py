"""Whether the functions of a stage may run in the driver: only if all that they refer to is known to leave it alone."""

from __future__ import annotations

import builtins
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .stages import Stage

#: Modules whose functions neither wait, nor end the process, nor ask which process it is.
_HARMLESS = {
    "math", "cmath", "operator", "itertools", "functools", "collections", "re", "string", "random", "datetime", "json",
    "numpy", "decimal", "fractions", "statistics", "heapq", "bisect", "copy", "hashlib", "typing", "dataclasses",
    "enum", "pyarrow", "scipy", "textwrap", "unicodedata", "struct", "array", "ironlake", "numbers", "zlib", "base64",
}  # fmt: skip
_HARMFUL = {"open", "exec", "eval", "input", "print", "compile", "breakpoint", "exit", "quit", "__import__"}


def stays_in_driver(stage: Stage) -> bool:
    """Whether all functions of a stage can run in the driver: nothing in them could end it, or make it wait."""
    from .lineage import Narrow

    seen: set[int] = set()
    visits: list[Any] = [stage.node]
    while visits:
        node = visits.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        functions = (value for value in vars(node).values() if callable(value))
        if not all(_is_harmless(function, seen) for function in functions):
            return False
        visits += [dependency.parent for dependency in node.dependencies if isinstance(dependency, Narrow)]
    return all(_is_harmless(value, seen) for value in vars(stage.work).values() if callable(value))


def _is_harmless(thing: Any, seen: set[int]) -> bool:
    """Whether calling something is known to do no harm."""
    if id(thing) in seen:
        return True
    seen.add(id(thing))
    if isinstance(thing, types.ModuleType):
        return thing.__name__.split(".")[0] in _HARMLESS
    if isinstance(thing, types.BuiltinFunctionType):
        module = (thing.__module__ or "builtins").lstrip("_").split(".")[0]
        return thing.__name__ not in _HARMFUL if module == "builtins" else module in _HARMLESS
    if isinstance(thing, types.MethodType):
        return _is_harmless(thing.__func__, seen)
    if isinstance(thing, type):
        return True
    if not isinstance(thing, types.FunctionType):
        parts = [*vars(thing).values()] if hasattr(thing, "__dict__") else []
        parts += [getattr(thing, name, None) for name in ("func", "args", "keywords")]  # of functools.partial
        parts.append(getattr(type(thing), "__call__", None))  # noqa: B004 - it is looked into
        return all(_is_harmless(part, seen) for part in _inside(parts) if callable(part))
    if thing.__module__ and thing.__module__.split(".")[0] in _HARMLESS and not thing.__closure__:
        return True
    cells = [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
    named = [_named(thing, name) for name in _names(thing.__code__)]
    used = [*cells, *named, *(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
    return all(
        _is_harmless(each, seen) for each in _inside(used) if callable(each) or isinstance(each, types.ModuleType)
    )


def _inside(things: Any) -> list[Any]:
    """Things, and what is in those that are collections of few."""
    found = []
    for thing in things:
        if isinstance(thing, list | tuple | set) and len(thing) < 20:
            found += list(thing)
        elif isinstance(thing, dict) and len(thing) < 20:
            found += list(thing.values())
        else:
            found.append(thing)
    return found


def _named(function: types.FunctionType, name: str) -> Any:
    return function.__globals__.get(name, getattr(builtins, name, None))


def _names(code: types.CodeType) -> set[str]:
    """The global names that some code and the functions inside it may refer to."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    if "import" in names or any(name in _IMPORTS for name in names):
        names.add("__import__")
    return names


_IMPORTS = {"os", "sys", "signal", "subprocess", "ctypes", "time", "threading", "multiprocessing"}


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True

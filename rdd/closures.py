"""Functions on their way to tasks: pickled by value, with the places in files that they come from."""

from __future__ import annotations

import io
import types
from collections import ChainMap
from typing import Any

import cloudpickle

#: What cloudpickle calls the file of a function that it pickles by value; tracebacks would have no lines.
_NOWHERE = "<dynamic-code>"


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Cloudpickle's pickler, which keeps the names of files."""


def _reduced(code: types.CodeType) -> tuple[Any, ...]:
    kind, parts = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return kind, tuple(code.co_filename if part == _NOWHERE else part for part in parts)


_Pickler.dispatch_table = ChainMap({types.CodeType: _reduced}, cloudpickle.Pickler.dispatch_table)


def dumps(thing: Any) -> bytes:
    """A thing as a pickle, functions by value."""
    file = io.BytesIO()
    _Pickler(file).dump(thing)
    return file.getvalue()


def origins(thing: Any) -> list[str]:
    """Where the functions that something holds come from, innermost last; ours are left out."""
    found, visits, seen = [], [thing], set()
    while visits:
        current = visits.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, types.FunctionType):
            if not (current.__module__ or "").startswith(__package__ or ""):
                found.append(
                    f"{current.__qualname__} at {current.__code__.co_filename}:{current.__code__.co_firstlineno}"
                )
            visits += [cell.cell_contents for cell in current.__closure__ or () if _is_filled(cell)]
        elif isinstance(current, dict):
            visits += current.values()
    return found


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True

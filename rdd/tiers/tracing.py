"""What a function computes, found by calling it with values that note what is done to them.

Tuples are real tuples of such values, so that indexing, unpacking, ``len``, ``zip`` and loops over them happen as usual
and leave straight-line arithmetic behind. When a value is asked whether it is true, the call is made twice, once for
each answer: a function with conditions becomes a tree of them. Whatever cannot be noted - a text's methods, a
dictionary, a call of something unknown - makes the function one that is not compiled. Functions are only called if
their code writes to nothing but local variables and refers to nothing that could have an effect.
"""

from __future__ import annotations

import builtins
import dis
import operator
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..broadcast import InTask
from .sharing import State
from .standins import GATHERING, PURE, STANDING_IN
from .symbols import LARGE, Exploration, Expression, Members, Opaque, Untraceable, Value, Words, current, given_of

#: The most paths through a function with conditions.
_MOST_PATHS = 16
#: The most numbers that a function may find in its surroundings.
_MOST_GIVEN = 4096
_SHARED = "it reads what another function of the stage changes"


@dataclass(frozen=True)
class Path:
    """One way through a function.

    Attributes
    ----------
    decisions : tuple
        The conditions on the way, each with the answer that leads on.
    result : object
        What is returned: values, constants and tuples of them.
    done : tuple of Expression
        All operations on the way, whether something follows from them or not: they may fail.
    """

    decisions: tuple[tuple[Expression, bool], ...]
    result: Any
    done: tuple[Expression, ...]


_WRITES = {
    "STORE_GLOBAL", "STORE_ATTR", "STORE_SUBSCR", "STORE_NAME", "STORE_DEREF", "STORE_SLICE",
    "DELETE_GLOBAL", "DELETE_ATTR", "DELETE_SUBSCR", "DELETE_NAME", "IMPORT_NAME", "PUSH_EXC_INFO", "YIELD_FROM",
    "GET_AWAITABLE", "SETUP_WITH", "BEFORE_WITH", "LOAD_SPECIAL", "MAKE_CELL",
}  # fmt: skip


class _Found(list[Any]):
    """A list that a function finds in its surroundings: what changes it would be seen by the next call."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise Untraceable("it changes a list that it finds in its surroundings")

    append = extend = insert = pop = remove = clear = sort = reverse = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse


class Given:
    """The numbers that a function finds in its surroundings and that may differ the next time: not part of its code.

    Attributes
    ----------
    numbers : list of float
        The numbers.
    is_flat, has_lists : bool
        Whether the function has many results, and whether it is given lists.
    """

    def __init__(self, is_flat: bool = False, has_lists: bool = False) -> None:
        self.numbers: list[float] = []
        self.is_flat, self.has_lists = is_flat, has_lists

    def value(self, number: float) -> Value:
        """The value that stands for one more number."""
        if len(self.numbers) >= _MOST_GIVEN:
            raise Untraceable("it refers to too many numbers")
        self.numbers.append(number)
        return Value(given_of(len(self.numbers) - 1), "float")


def _copy(function: Any, seen: dict[int, Any], given: Given, changed: frozenset[State]) -> Any:
    """A function that refers to what stands in for builtins and `math`, and to nothing that could have an effect."""
    try:
        if given.is_flat and given.has_lists and function in GATHERING:
            _refused(function)
        if function in STANDING_IN:
            return STANDING_IN[function]
        if function in PURE:
            return function
    except TypeError:  # cannot be looked up
        pass
    if type(function) is float:
        return given.value(function)
    if function is None or type(function) in (bool, int, str, bytes):
        return function
    if isinstance(function, InTask):
        return types.SimpleNamespace(value=_copy(function.value, seen, given, changed))
    if (id(function), "") in changed:
        raise Untraceable(_SHARED)
    if type(function) in (tuple, list):
        return (tuple if type(function) is tuple else _Found)(_copy(each, seen, given, changed) for each in function)
    if isinstance(function, operator.itemgetter):
        return function
    if not isinstance(function, types.FunctionType):
        _refused(function)
    if id(function) in seen:
        raise Untraceable("it calls itself")
    seen = {**seen, id(function): function}
    code = function.__code__
    for each in codes_of(code):
        names = {
            name
            for name, argument in _writes(each)
            if name != "STORE_DEREF" or argument in code.co_freevars  # not of the function itself
        }
        if "IS_OP" in names:
            raise Untraceable("it asks whether two things are one object")
        if writes := names & (_WRITES - ({"MAKE_CELL"} if each is not code or codes_of(code)[1:] else set())):
            raise Untraceable(f"its code does more than compute ({', '.join(sorted(writes))})")
        if each.co_flags & (0x80 | 0x200):
            raise Untraceable("it is a coroutine")
    if code.co_flags & 0x20 and not given.is_flat:
        raise Untraceable("it is a generator")
    copied: dict[str, Any] = {"__builtins__": {}}
    for name in {name for each in codes_of(code) for name in each.co_names}:
        found = function.__globals__.get(name, getattr(builtins, name, copied))
        if found is not copied:
            if (id(function.__globals__), name) in changed:
                raise Untraceable(_SHARED)
            copied[name] = _copy(found, seen, given, changed)
    cells = []
    for cell in function.__closure__ or ():
        if (id(cell), "") in changed:
            raise Untraceable(_SHARED)
        cells.append(types.CellType(_copy(cell.cell_contents, seen, given, changed)))
    defaults = tuple(_copy(each, seen, given, changed) for each in function.__defaults__ or ()) or None
    return types.FunctionType(code, copied, function.__name__, defaults, tuple(cells) or None)


@lru_cache(maxsize=1024)
def _writes(code: types.CodeType) -> frozenset[tuple[str, Any]]:
    """The instructions of code that do more than compute, with what they name.

    Asking whether something is None does not count: a number never is. Any other identity is not that of columns.
    """
    found, before = set(), None
    for instruction in dis.get_instructions(code):
        is_none = before is not None and before.opname == "LOAD_CONST" and before.argval is None
        if instruction.opname in _WRITES or (instruction.opname == "IS_OP" and not is_none):
            found.add((instruction.opname, instruction.argval))
        before = instruction
    return frozenset(found)


def _refused(thing: Any) -> Any:
    name = getattr(thing, "__name__", type(thing).__name__)
    raise Untraceable(f"it refers to {name!r}")


def codes_of(code: types.CodeType) -> list[types.CodeType]:
    """Some code, and that of the functions and comprehensions in it."""
    inner = [each for constant in code.co_consts if isinstance(constant, types.CodeType) for each in codes_of(constant)]
    return [code, *inner]


def trace(
    function: Callable[..., Any], *arguments: Any, changed: frozenset[State] = frozenset(), is_flat: bool = False
) -> tuple[list[Path], list[float]]:
    """All ways through a function, for arguments that are values, things to pass on, and tuples of such.

    With `is_flat` the function has many results: a way's result is a tuple of them, or the words of a text.

    Returns
    -------
    tuple
        The ways, and the numbers that the function found in its surroundings.

    Raises
    ------
    Untraceable
        It does something that cannot be noted.
    """
    given = Given(is_flat, any(map(_has_lists, arguments)))
    copied = _copy(function, {}, given, changed)
    exploration = Exploration()
    before = getattr(current, "exploration", None)
    current.exploration = exploration
    paths: list[Path] = []
    try:
        while True:
            exploration.place, exploration.decisions, exploration.done = 0, [], []
            try:
                result = copied(*arguments)
                if is_flat and not isinstance(result, Words):
                    result = _listed(result)
            except Untraceable:
                raise
            except Exception as error:
                raise Untraceable(
                    f"it fails when it is called with numbers that are not known ({type(error).__name__})"
                ) from None
            for each in result if is_flat and not isinstance(result, Words) else (() if is_flat else (result,)):
                _check(each)
            paths.append(Path(tuple(exploration.decisions), result, tuple(exploration.done)))
            answers = exploration.answers
            while answers and not answers[-1]:
                answers.pop()
            if not answers:
                return paths, given.numbers
            answers[-1] = False
            if len(paths) >= _MOST_PATHS:
                raise Untraceable("there are too many ways through it")
    finally:
        if before is not None:
            current.exploration = before


def _has_lists(argument: Any) -> bool:
    if isinstance(argument, tuple):
        return any(map(_has_lists, argument))
    return isinstance(argument, Members)


def _listed(result: Any) -> tuple[Any, ...]:
    """The results of a function that has many."""
    if isinstance(result, Members):
        return tuple(result.members)
    if not isinstance(result, tuple | list | types.GeneratorType):
        raise Untraceable(f"it returns a {type(result).__name__}")
    found = tuple(result)
    if any(map(_has_lists, found)):
        raise Untraceable("a list is in several of its results")
    return found


def _check(result: Any) -> None:
    if isinstance(result, tuple):
        if type(result) is not tuple or not result:
            raise Untraceable("it returns a tuple of a kind of its own, or an empty one")
        for each in result:
            _check(each)
    elif not isinstance(result, Opaque) and type(result) not in (Value, bool, int, float):
        raise Untraceable(f"it returns a {type(result).__name__}")
    elif type(result) is int and not -(2**63) <= result < 2**63:
        raise Untraceable(LARGE)

"""What stands in for builtins and functions of `math` while a function is called with values that are not known."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from .symbols import Members, Opaque, Text, Untraceable, Value, as_float, as_int, as_value, operation

#: Functions of `math` whose results are Python's, bit for bit, where their checks hold.
_MATH = ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "atan", "fabs", "floor", "ceil")


#: Those that are one instruction, or a few, in any library.
_EXACT = ("sqrt", "fabs", "floor", "ceil")


@cache
def _has_vector_library() -> bool:
    """Whether Numba's functions of `math` may be Intel's, which round differently."""
    from numba.core import config

    return bool(getattr(config, "USING_SVML", True))


class _Math:
    """Stands for the module `math`."""

    def __getattr__(self, name: str) -> Any:
        original = getattr(math, name)
        if not callable(original):
            return original

        def call(*arguments: Any) -> Any:
            if not any(isinstance(each, Value) for each in arguments):
                return original(*arguments)
            if name not in _MATH or len(arguments) != 1:
                raise Untraceable(f"it calls math.{name}")
            if name not in _EXACT and _has_vector_library():
                raise Untraceable(f"it calls math.{name}, which Numba takes from another library than Python here")
            type_ = "int" if name in ("floor", "ceil") else "float"
            if type_ == "int" and arguments[0].type != "float":
                return as_int(arguments[0])
            return operation(f"math_{name}", type_, as_float(as_value(arguments[0])))

        return call


def _int(value: Any = 0, *more: Any) -> Any:
    if not isinstance(value, Value):
        return int(value, *more)
    return operation("int_of_float", "int", value) if value.type == "float" else as_int(value)


def _float(value: Any = 0.0) -> Any:
    return as_float(value) if isinstance(value, Value) else float(value)


def _len(thing: Any) -> Any:
    return thing.length if isinstance(thing, Members) else len(thing)


def _list(thing: Any = ()) -> Any:
    return thing.as_list() if isinstance(thing, Members) else list(thing)


def _split(text: Any, *arguments: Any) -> Any:
    if not isinstance(text, Text):
        raise Untraceable("it splits something that is no text")
    return text.split(*arguments)


def _bool(value: Any = False) -> Any:
    return bool(value)


def _sum(values: Any, start: Any = 0) -> Any:
    total = start
    for value in values:
        total = total + value
        if sys.version_info >= (3, 12) and isinstance(total, Value) and total.type == "float":
            raise Untraceable("it sums floats, which Python does with more precision than they have")
    return total


def _least(is_better: Callable[[Any, Any], Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """`min` or `max`: of unknown numbers a choice at each step, rather than two ways to go on."""

    def choose(*values: Any, key: Any = None, **options: Any) -> Any:
        found = list(values[0] if len(values) == 1 else values)
        keys = found if key is None else [key(each) for each in found]
        plain = found and not options and all(isinstance(each, Value | bool | int | float) for each in [*found, *keys])
        if (
            not plain
            or not any(isinstance(each, Value) for each in keys)
            or len({_type_of(each) for each in found}) > 1
        ):
            return original(found, key=key, **options)
        best, best_key = found[0], keys[0]
        for each, each_key in zip(found[1:], keys[1:], strict=True):
            condition = is_better(each_key, best_key)
            if not isinstance(condition, Value):
                best, best_key = (each, each_key) if condition else (best, best_key)
                continue
            best = operation("select", _type_of(each), condition, each, best)
            if _type_of(each_key) != _type_of(best_key):
                raise Untraceable("it compares numbers of different types")
            best_key = operation("select", _type_of(each_key), condition, each_key, best_key)
        return best

    return choose


def _type_of(thing: Any) -> str:
    return thing.type if isinstance(thing, Value) else type(thing).__name__


def _isinstance(thing: Any, types_: Any) -> bool:
    wanted = types_ if isinstance(types_, tuple) else (types_,)
    types_ = tuple({_int: int, _float: float, _bool: bool}.get(each, each) for each in wanted)
    if not isinstance(thing, Value):
        if isinstance(thing, Opaque):
            raise Untraceable("it asks for the type of a text, or of what may be None")
        return isinstance(thing, types_)
    real = {"int": int, "float": float, "bool": bool}[thing.type]
    return issubclass(real, types_)


STANDING_IN: dict[Any, Any] = {
    int: _int, float: _float, bool: _bool, len: _len, list: _list, str.split: _split, sum: _sum,
    isinstance: _isinstance, math: _Math(),
    min: _least(operator.lt, min), max: _least(operator.gt, max),
    **{
        found: getattr(_Math(), name) for name, found in vars(math).items() if callable(found) and name[0] != "_"
    },
}  # fmt: skip
PURE = {
    abs, range, zip, enumerate, tuple, all, any, reversed, round, divmod, pow, map, filter,
    operator.itemgetter, operator.add, operator.sub, operator.mul, operator.truediv, operator.neg,
}  # fmt: skip
#: What makes one thing of many; not called where loops go through lists of unknown length.
GATHERING = {sum, min, max, zip, enumerate, tuple, list, all, any, reversed, map, filter, range, isinstance}

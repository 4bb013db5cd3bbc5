"""What a function computes, found by calling it with values that note what is done to them.

Tuples are real tuples of such values, so that indexing, unpacking, ``len``, ``zip`` and loops over them happen as usual and
leave straight-line arithmetic behind. When a value is asked whether it is true, the call is made twice, once for each answer:
a function with conditions becomes a tree of them. Whatever cannot be noted - a text's methods, a dictionary, a call of
something unknown - makes the function one that is not compiled. Functions are only called if their code writes to nothing
but local variables and refers to nothing that could have an effect.

The operations are those of Python, with its types: `/` of integers is a float, `+` of booleans an integer, and so on.
"""

from __future__ import annotations

import builtins
import dis
import math
import operator
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..broadcast import InTask

#: How an expression is written down: a constant, an input, or an operation with its operands.
Expression = tuple[Any, ...]
#: The most paths through a function with conditions.
_MOST_PATHS = 16
#: The most operations of all paths.
_MOST_OPERATIONS = 4000
#: The most numbers that a function may find in its surroundings.
_MOST_GIVEN = 4096


class Untraceable(Exception):  # noqa: N818 - not an error: the function runs as it is
    """The function does something that cannot be noted; the message says what."""


@dataclass(frozen=True)
class Path:
    """One way through a function.

    Attributes
    ----------
    decisions : tuple
        The conditions on the way, each with the answer that leads on.
    result : object
        What is returned: values, constants and tuples of them.
    """

    decisions: tuple[tuple[Expression, bool], ...]
    result: Any


class _Exploration:
    """The answers given on the current way through a function."""

    def __init__(self) -> None:
        self.answers: list[bool] = []
        self.place = 0
        self.decisions: list[tuple[Expression, bool]] = []
        self.operations = 0

    def decide(self, condition: Expression) -> bool:
        for known, answer in self.decisions:
            if known == condition:
                return answer
        if self.place == len(self.answers):
            self.answers.append(True)
        answer = self.answers[self.place]
        self.place += 1
        self.decisions.append((condition, answer))
        return answer


_current: list[_Exploration] = []


class Value:
    """A number that is not known yet.

    Attributes
    ----------
    expression : Expression
        What it is.
    type : str
        ``int``, ``float`` or ``bool``.
    """

    __slots__ = ("expression", "type")

    def __init__(self, expression: Expression, type_: str) -> None:
        self.expression, self.type = expression, type_

    def __bool__(self) -> bool:
        condition = self.expression if self.type == "bool" else ("ne", self.expression, _zero(self.type))
        return _current[-1].decide(condition)

    def __hash__(self) -> int:
        raise Untraceable("it looks a number up, in a dictionary or a set")

    def __index__(self) -> int:
        raise Untraceable("it uses an element as an index or a count")

    __int__ = __float__ = __complex__ = __index__  # type: ignore[assignment]

    def __format__(self, _: str) -> str:
        raise Untraceable("it formats a number as text")

    __str__ = __repr__ = lambda self: self.__format__("")  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Any]:
        raise Untraceable("it loops over a number")

    def __abs__(self) -> Value:
        return self._signed("abs")

    def __neg__(self) -> Value:
        return self._signed("neg")

    def _signed(self, name: str) -> Value:
        if self.type == "float":
            return operation(f"{name}_float", "float", self)
        return operation(f"{name}_int", "int", as_int(self))

    def __pos__(self) -> Value:
        return self if self.type != "bool" else as_int(self)

    def __invert__(self) -> Value:
        if self.type != "int":
            raise Untraceable("it inverts the bits of something that is no integer")
        return operation("invert", "int", self)

    def __round__(self, digits: Any = None) -> Value:
        if digits is not None:
            raise Untraceable("it rounds to a number of digits")
        return operation("round", "int", self) if self.type == "float" else as_int(self)

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"it asks a number for {name!r}")


class Opaque:
    """Something that can only be passed on: a text, or a value that may be None.

    Attributes
    ----------
    expression : Expression
        Which input it is.
    """

    __slots__ = ("expression",)
    type = "opaque"

    def __init__(self, expression: Expression) -> None:
        self.expression = expression

    def _refuse(self, *_: Any) -> Any:
        raise Untraceable("it does something to a text, or to what may be None")

    __bool__ = __hash__ = __index__ = __iter__ = __len__ = __str__ = __repr__ = __format__ = _refuse  # type: ignore[assignment]
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __mul__ = __rmul__ = __mod__ = _refuse  # type: ignore[assignment]
    __getitem__ = __contains__ = _refuse

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"it asks a text for {name!r}")


def _zero(type_: str) -> Expression:
    return ("const", 0.0 if type_ == "float" else 0)


def _as_value(thing: Any) -> Value:
    """A value of a number; constants keep their type."""
    if isinstance(thing, Value):
        return thing
    if type(thing) is bool:
        return Value(("const", thing), "bool")
    if type(thing) is int:
        if not -(2**63) <= thing < 2**63:
            raise Untraceable("it has an integer that needs more than 64 bits")
        return Value(("const", thing), "int")
    if type(thing) is float:
        return Value(("const", thing), "float")
    raise Untraceable(f"it computes with a {type(thing).__name__}")


def operation(name: str, type_: str, *operands: Any) -> Value:
    """The value of an operation."""
    exploration = _current[-1]
    exploration.operations += 1
    if exploration.operations > _MOST_OPERATIONS:
        raise Untraceable("it is too long")
    return Value((name, *(_as_value(each).expression for each in operands)), type_)


def as_int(value: Value) -> Value:
    """A boolean as an integer."""
    return value if value.type == "int" else operation("int_of_bool", "int", value)


def as_float(value: Value) -> Value:
    """A number as a float; exact for integers of 53 bits."""
    if value.type == "float":
        return value
    return operation("float_of_int", "float", as_int(value))


def _arithmetic(name: str) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        one, other = _as_value(left), _as_value(right)
        if "float" in (one.type, other.type):
            return operation(f"{name}_float", "float", as_float(one), as_float(other))
        return operation(f"{name}_int", "int", as_int(one), as_int(other))

    return apply


def _true_division(left: Any, right: Any) -> Any:
    one, other = _as_value(left), _as_value(right)
    return operation("div_float", "float", as_float(one), as_float(other))


def _power(left: Any, right: Any) -> Any:
    one, other = _as_value(left), _as_value(right)
    if "float" not in (one.type, other.type):
        if other.expression[0] != "const" or not 0 <= other.expression[1] <= 8:
            raise Untraceable("it raises an integer to a power that is not a small constant")
        result: Any = 1
        for _ in range(int(other.expression[1])):
            result = one * result if isinstance(result, Value) else as_int(one)
        return result
    return operation("pow_float", "float", as_float(one), as_float(other))


def _comparison(name: str) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        if not isinstance(right, Value | bool | int | float) or not isinstance(left, Value | bool | int | float):
            if name in ("eq", "ne") and right is None:
                return name == "ne"
            raise Untraceable(f"it compares a number with a {type(right).__name__}")
        one, other = _as_value(left), _as_value(right)
        if "float" in (one.type, other.type):
            return operation(name, "bool", as_float(one), as_float(other))
        return operation(name, "bool", as_int(one), as_int(other))

    return apply


def _bitwise(name: str) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        one, other = _as_value(left), _as_value(right)
        if "float" in (one.type, other.type):
            raise Untraceable("it combines the bits of floats")
        if one.type == other.type == "bool" and name in ("and", "or", "xor"):
            return operation(name, "bool", one, other)
        return operation(name, "int", as_int(one), as_int(other))

    return apply


def _install() -> None:
    """Give values Python's operators, in both orders."""
    functions: dict[str, Callable[[Any, Any], Any]] = {
        name: _arithmetic(name) for name in ("add", "sub", "mul", "floordiv", "mod")
    }
    functions |= {"truediv": _true_division, "pow": _power}
    functions |= {name: _bitwise(name) for name in ("and", "or", "xor", "lshift", "rshift")}
    for name, function in functions.items():
        setattr(Value, f"__{name}__", lambda self, other, function=function: function(self, other))
        setattr(Value, f"__r{name}__", lambda self, other, function=function: function(other, self))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Value, f"__{name}__", lambda self, other, function=_comparison(name): function(self, other))


_install()

#: Functions of `math` whose results are Python's, bit for bit, where their checks hold.
_MATH = ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "atan", "fabs", "floor", "ceil")


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
            type_ = "int" if name in ("floor", "ceil") else "float"
            if type_ == "int" and arguments[0].type != "float":
                return as_int(arguments[0])
            return operation(f"math_{name}", type_, as_float(_as_value(arguments[0])))

        return call


def _int(value: Any = 0, *more: Any) -> Any:
    if not isinstance(value, Value):
        return int(value, *more)
    return operation("int_of_float", "int", value) if value.type == "float" else as_int(value)


def _float(value: Any = 0.0) -> Any:
    return as_float(value) if isinstance(value, Value) else float(value)


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
            return original(*values, key=key, **options)
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
    if not isinstance(thing, Value):
        if isinstance(thing, Opaque):
            raise Untraceable("it asks for the type of a text, or of what may be None")
        return isinstance(thing, types_)
    real = {"int": int, "float": float, "bool": bool}[thing.type]
    return issubclass(real, types_)


_STANDING_IN: dict[Any, Any] = {
    int: _int, float: _float, bool: _bool, sum: _sum, isinstance: _isinstance, math: _Math(),
    min: _least(operator.lt, min), max: _least(operator.gt, max),
    **{getattr(math, name): getattr(_Math(), name) for name in dir(math) if not name.startswith("_") and callable(getattr(math, name))},
}  # fmt: skip
_PURE = {
    abs, len, range, zip, enumerate, tuple, list, all, any, reversed, round, divmod, pow, map, filter,
    operator.itemgetter, operator.add, operator.sub, operator.mul, operator.truediv, operator.neg,
}  # fmt: skip
_WRITES = {
    "STORE_GLOBAL", "STORE_ATTR", "STORE_SUBSCR", "DELETE_GLOBAL", "DELETE_ATTR", "DELETE_SUBSCR", "DELETE_NAME", "STORE_NAME",
    "IMPORT_NAME", "STORE_DEREF", "PUSH_EXC_INFO", "YIELD_FROM", "GET_AWAITABLE", "SETUP_WITH", "BEFORE_WITH", "MAKE_CELL",
}  # fmt: skip


class Given:
    """The numbers that a function finds in its surroundings and that may differ the next time: not part of its code.

    Attributes
    ----------
    numbers : list of float
        The numbers.
    """

    def __init__(self) -> None:
        self.numbers: list[float] = []

    def value(self, number: float) -> Value:
        """The value that stands for one more number."""
        if len(self.numbers) >= _MOST_GIVEN:
            raise Untraceable("it refers to too many numbers")
        self.numbers.append(number)
        return Value(("given", len(self.numbers) - 1), "float")


def _copy(function: Any, seen: dict[int, Any], given: Given) -> Any:
    """A function that refers to what stands in for builtins and `math`, and to nothing that could have an effect."""
    try:
        if function in _STANDING_IN:
            return _STANDING_IN[function]
        if function in _PURE:
            return function
    except TypeError:  # cannot be looked up
        pass
    if type(function) is float:
        return given.value(function)
    if function is None or type(function) in (bool, int, str, bytes):
        return function
    if isinstance(function, InTask):
        return types.SimpleNamespace(value=_copy(function.value, seen, given))
    if isinstance(function, tuple | list):
        return (
            type(function)(_copy(each, seen, given) for each in function)
            if type(function) in (tuple, list)
            else _refused(function)
        )
    if isinstance(function, operator.itemgetter):
        return function
    if not isinstance(function, types.FunctionType):
        _refused(function)
    if id(function) in seen:
        raise Untraceable("it calls itself")
    seen = {**seen, id(function): function}
    code = function.__code__
    for each in _codes(code):
        names = {
            instruction.opname
            for instruction in dis.get_instructions(each)
            if instruction.opname != "STORE_DEREF"
            or instruction.argval in code.co_freevars  # not of the function itself
        }
        if writes := names & (_WRITES - ({"MAKE_CELL"} if each is not code or _codes(code)[1:] else set())):
            raise Untraceable(f"its code does more than compute ({', '.join(sorted(writes))})")
        if each.co_flags & (0x80 | 0x200):
            raise Untraceable("it is a coroutine")
    if code.co_flags & 0x20:
        raise Untraceable("it is a generator")
    copied: dict[str, Any] = {"__builtins__": {}}
    for name in {name for each in _codes(code) for name in each.co_names}:
        found = function.__globals__.get(name, getattr(builtins, name, copied))
        if found is not copied:
            copied[name] = _copy(found, seen, given)
    cells = tuple(types.CellType(_copy(cell.cell_contents, seen, given)) for cell in function.__closure__ or ())
    defaults = tuple(_copy(each, seen, given) for each in function.__defaults__ or ()) or None
    return types.FunctionType(code, copied, function.__name__, defaults, cells or None)


def _refused(thing: Any) -> Any:
    name = getattr(thing, "__name__", type(thing).__name__)
    raise Untraceable(f"it refers to {name!r}")


def _codes(code: types.CodeType) -> list[types.CodeType]:
    """Some code, and that of the functions and comprehensions in it."""
    inner = [each for constant in code.co_consts if isinstance(constant, types.CodeType) for each in _codes(constant)]
    return [code, *inner]


def trace(function: Callable[..., Any], *arguments: Any) -> tuple[list[Path], list[float]]:
    """All ways through a function, for arguments that are values, things to pass on, and tuples of such.

    Returns
    -------
    tuple
        The ways, and the numbers that the function found in its surroundings.

    Raises
    ------
    Untraceable
        It does something that cannot be noted.
    """
    given = Given()
    copied = _copy(function, {}, given)
    exploration = _Exploration()
    _current.append(exploration)
    paths: list[Path] = []
    try:
        while True:
            exploration.place, exploration.decisions = 0, []
            try:
                result = copied(*arguments)
            except Untraceable:
                raise
            except Exception as error:
                raise Untraceable(
                    f"it fails when it is called with numbers that are not known ({type(error).__name__})"
                ) from None
            _check(result)
            paths.append(Path(tuple(exploration.decisions), result))
            answers = exploration.answers
            while answers and not answers[-1]:
                answers.pop()
            if not answers:
                return paths, given.numbers
            answers[-1] = False
            if len(paths) >= _MOST_PATHS:
                raise Untraceable("there are too many ways through it")
    finally:
        _current.pop()


def _check(result: Any) -> None:
    if isinstance(result, tuple):
        if type(result) is not tuple or not result:
            raise Untraceable("it returns a tuple of a kind of its own, or an empty one")
        for each in result:
            _check(each)
    elif not isinstance(result, Opaque) and type(result) not in (Value, bool, int, float):
        raise Untraceable(f"it returns a {type(result).__name__}")

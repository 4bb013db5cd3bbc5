"""Values that are not known yet: they note what is done to them.

Operations are those of Python, with its types: `/` of integers is a float, `+` of booleans an integer, and so on.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

#: The most operations of a way through a function.
_MOST_OPERATIONS = 4000
LARGE = "it has an integer that needs more than 64 bits"


class Untraceable(Exception):
    """The function does something that cannot be noted; the message says what."""


class Expression(tuple[Any, ...]):
    """A constant, an input, or an operation with its operands: its name, and what belongs to it.

    Within one `trace` equal expressions are one object, which is what equality means: comparing what they are made of
    would take for ever where values are used again and again, and would not tell 0.0 from -0.0, nor 1 from True.
    """

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__


@cache
def input_of(place: int) -> Expression:
    """The input of a number."""
    return Expression(("in", place))


@cache
def given_of(place: int) -> Expression:
    """The number of the surroundings with a number."""
    return Expression(("given", place))


class Exploration:
    """The answers given on the current way through a function, and the expressions met on all ways."""

    def __init__(self) -> None:
        self.expressions: dict[Any, Expression] = {}
        self.answers: list[bool] = []
        self.place = 0
        self.decisions: list[tuple[Expression, bool]] = []
        self.done: list[Expression] = []
        self.operations = 0

    def expression(self, *parts: Any) -> Expression:
        """The expression of an operation or a constant."""
        key = ("const", type(parts[1]), repr(parts[1])) if parts[0] == "const" else parts
        return self.expressions.setdefault(key, Expression(parts))

    def count(self) -> None:
        """Note that something was done."""
        self.operations += 1
        if self.operations > _MOST_OPERATIONS:
            raise Untraceable("it is too long")

    def decide(self, condition: Expression) -> bool:
        self.count()
        for known, answer in self.decisions:
            if known is condition:
                return answer
        if self.place == len(self.answers):
            self.answers.append(True)
        answer = self.answers[self.place]
        self.place += 1
        self.decisions.append((condition, answer))
        return answer


class _Current(threading.local):
    """The exploration of each thread."""

    exploration: Exploration


current = _Current()


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
        condition = self if self.type == "bool" else operation("ne", "bool", self, 0.0 if self.type == "float" else 0)
        return current.exploration.decide(condition.expression)

    def __hash__(self) -> int:
        raise Untraceable("it looks a number up, in a dictionary or a set")

    def __index__(self) -> int:
        raise Untraceable("it uses an element as an index or a count")

    __int__ = __float__ = __complex__ = __index__

    def __format__(self, _: str) -> str:
        raise Untraceable("it formats a number as text")

    __str__ = __repr__ = lambda self: self.__format__("")

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

    __bool__ = __hash__ = __index__ = __iter__ = __len__ = __str__ = __repr__ = __format__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __mul__ = __rmul__ = __mod__ = _refuse
    __getitem__ = __contains__ = _refuse

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"it asks a text for {name!r}")


class Words:
    """The words of a text.

    Attributes
    ----------
    place : int
        The column of the text.
    separator : str or None
        What stands between them; None is white space.
    """

    def __init__(self, place: int, separator: str | None) -> None:
        self.place, self.separator = place, separator


class Text(Opaque):
    """A text, which can be passed on and split into words."""

    __slots__ = ()

    def split(self, sep: Any = None, maxsplit: Any = -1) -> Words:
        if not (sep is None or (type(sep) is str and sep)) or maxsplit != -1:
            raise Untraceable("it splits a text in a way that is not known")
        return Words(self.expression[1], sep)


class Members(Opaque):
    """A list, which can be passed on, and whose members a loop goes through where results are one for each.

    Attributes
    ----------
    length : Value
        How many members there are.
    members : list of Value and Opaque
        What stands for members: as many as the list of this call has.
    name : str
        ``list``, or ``grouped`` for the values of a key.
    """

    __slots__ = ("length", "members", "name")

    def __init__(self, expression: Expression, length: Value, members: list[Any], name: str) -> None:
        super().__init__(expression)
        self.length, self.members, self.name = length, members, name

    def as_list(self) -> Members:
        """The same as a list."""
        return Members(self.expression, self.length, self.members, "list")

    def __bool__(self) -> bool:
        return bool(self.length)

    def __iter__(self) -> Iterator[Any]:
        frame = sys._getframe(1)
        if not self.members or frame.f_code.co_code[frame.f_lasti] != dis.opmap["GET_ITER"]:
            raise Untraceable("it goes through a list")  # and what comes of its members is one thing
        return iter(self.members)


def as_value(thing: Any) -> Value:
    """A value of a number; constants keep their type."""
    if isinstance(thing, Value):
        return thing
    if type(thing) in (bool, int, float):
        if type(thing) is int and not -(2**63) <= thing < 2**63:
            raise Untraceable(LARGE)
        return Value(current.exploration.expression("const", thing), type(thing).__name__)
    raise Untraceable(f"it computes with a {type(thing).__name__}")


def operation(name: str, type_: str, *operands: Any) -> Value:
    """The value of an operation."""
    exploration = current.exploration
    exploration.count()
    done = exploration.expression(name, *(as_value(each).expression for each in operands))
    exploration.done.append(done)
    return Value(done, type_)


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
        one, other = as_value(left), as_value(right)
        if "float" in (one.type, other.type):
            return operation(f"{name}_float", "float", as_float(one), as_float(other))
        return operation(f"{name}_int", "int", as_int(one), as_int(other))

    return apply


def _true_division(left: Any, right: Any) -> Any:
    one, other = as_value(left), as_value(right)
    return operation("div_float", "float", as_float(one), as_float(other))


def _power(left: Any, right: Any) -> Any:
    one, other = as_value(left), as_value(right)
    if "float" not in (one.type, other.type):
        if other.expression[0] != "const" or not 0 <= other.expression[1] <= 8:
            raise Untraceable("it raises an integer to a power that is not a small constant")
        power, result = int(other.expression[1]), as_int(one)
        for _ in range(power - 1):
            result = _arithmetic("mul")(one, result)
        return result if power else 1
    return operation("pow_float", "float", as_float(one), as_float(other))


def _comparison(name: str) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        if not isinstance(right, Value | bool | int | float) or not isinstance(left, Value | bool | int | float):
            if name in ("eq", "ne") and right is None:
                return name == "ne"
            raise Untraceable(f"it compares a number with a {type(right).__name__}")
        one, other = as_value(left), as_value(right)
        if "float" in (one.type, other.type):
            return operation(name, "bool", as_float(one), as_float(other))
        return operation(name, "bool", as_int(one), as_int(other))

    return apply


def _bitwise(name: str) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        one, other = as_value(left), as_value(right)
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
    floor, rest = functions["floordiv"], functions["mod"]
    functions["divmod"] = lambda left, right: (floor(left, right), rest(left, right))
    functions |= {"truediv": _true_division, "pow": _power}
    functions |= {name: _bitwise(name) for name in ("and", "or", "xor", "lshift", "rshift")}
    for name, function in functions.items():
        setattr(Value, f"__{name}__", lambda self, other, function=function: function(self, other))
        setattr(Value, f"__r{name}__", lambda self, other, function=function: function(other, self))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        compare = _comparison(name)
        setattr(Value, f"__{name}__", lambda self, other, compare=compare: compare(self, other))


_install()

"""Formulas as trees: built so that they do not overflow, and differentiated by the score.

Every constructor simplifies, and replaces what would overflow by something equal that does not: ``log(1 + exp(u))``
becomes ``softplus(u)``, which is ``max(u, 0) + log(1 + exp(-|u|))``, and ``1 / (1 + exp(-u))`` becomes ``sigmoid(u)``.
So the derivatives of those are stable as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Node(NamedTuple):
    """An expression: a constant, a variable, or an operation on expressions."""

    kind: str
    arguments: tuple[Any, ...]


def constant(value: float) -> Node:
    """A number."""
    return Node("constant", (float(value),))


ZERO, ONE, SCORE = constant(0), constant(1), Node("variable", ("score",))


def _number(node: Node) -> float | None:
    return node.arguments[0] if node.kind == "constant" else None


def add(left: Node, right: Node) -> Node:
    """``left + right``; ``1 - sigmoid(u)`` is ``sigmoid(-u)``."""
    if left == ZERO or right == ZERO:
        return right if left == ZERO else left
    if left.kind == right.kind == "constant":
        return constant(left.arguments[0] + right.arguments[0])
    for one, other in ((left, right), (right, left)):
        if one == ONE and other.kind == "negative" and other.arguments[0].kind == "sigmoid":
            return call("sigmoid", negative(other.arguments[0].arguments[0]))
        if one == constant(-1) and other.kind == "exp":
            return Node("expm1", other.arguments)
    return Node("add", (left, right))


def negative(node: Node) -> Node:
    """``-node``."""
    if node.kind == "negative":
        return node.arguments[0]  # type: ignore[no-any-return]
    return constant(-node.arguments[0]) if node.kind == "constant" else Node("negative", (node,))


def multiply(left: Node, right: Node) -> Node:
    """``left * right``."""
    if left == ZERO or right == ZERO:
        return ZERO
    if left == ONE or right == ONE:
        return right if left == ONE else left
    if left.kind == right.kind == "constant":
        return constant(left.arguments[0] * right.arguments[0])
    for one, other in ((left, right), (right, left)):
        if one.kind == "negative":
            return negative(multiply(one.arguments[0], other))
        if _number(one) == -1:
            return negative(other)
    return Node("multiply", (left, right))


def divide(left: Node, right: Node) -> Node:
    """``left / right``; ``1 / (1 + exp(u))`` and ``exp(u) / (1 + exp(u))`` are sigmoids."""
    rest = without_one(right)
    if rest is not None and rest.kind == "exp":
        if left == ONE:
            return call("sigmoid", negative(rest.arguments[0]))
        if left == rest:
            return call("sigmoid", rest.arguments[0])
    if right.kind == "constant" and right != ZERO:
        return multiply(constant(1 / right.arguments[0]), left)
    return ZERO if left == ZERO else Node("divide", (left, right))


def power(base: Node, exponent: Node) -> Node:
    """``base ** exponent``."""
    if exponent in (ZERO, ONE):
        return ONE if exponent == ZERO else base
    return multiply(base, base) if _number(exponent) == 2 else Node("power", (base, exponent))


def call(name: str, *arguments: Node) -> Node:
    """A function of expressions; logarithms of exponentials are rewritten so that they cannot overflow."""
    (first, *_) = arguments
    if name == "log":
        rest = without_one(first)
        if rest is not None:
            return call("log1p", rest)
        if first.kind == "sigmoid":
            return negative(call("softplus", negative(first.arguments[0])))
        if first.kind == "add" and all(part.kind == "exp" for part in first.arguments):
            return call("logaddexp", *(part.arguments[0] for part in first.arguments))
        if first.kind == "cosh":
            size = call("abs", first.arguments[0])
            return add(add(size, call("softplus", multiply(constant(-2), size))), constant(-math.log(2)))
        if first.kind == "exp":
            return first.arguments[0]  # type: ignore[no-any-return]
    if name == "log1p" and first.kind == "exp":
        return call("softplus", first.arguments[0])
    if name == "log1p" and first.kind == "negative" and first.arguments[0].kind == "sigmoid":
        return negative(call("softplus", first.arguments[0].arguments[0]))
    if name == "logaddexp":
        return add(first, call("softplus", add(arguments[1], negative(first))))
    if name == "square":
        return multiply(first, first)
    return Node(name, arguments)


def without_one(node: Node) -> Node | None:
    """``u`` of ``1 + u`` in either order."""
    if node.kind == "add" and ONE in node.arguments:
        return node.arguments[1] if node.arguments[0] == ONE else node.arguments[0]  # type: ignore[no-any-return]
    return None


def choose(test: Node, left: Node, right: Node) -> Node:
    """``left`` where the test holds, else ``right``."""
    return left if left == right else Node("where", (test, left, right))


#: Functions that a loss may call, with how many arguments, and the derivative by the first as a function of them.
SLOPES: dict[str, Callable[..., Node]] = {
    "exp": lambda u: call("exp", u),
    "expm1": lambda u: call("exp", u),
    "log": lambda u: divide(ONE, u),
    "log1p": lambda u: divide(ONE, add(ONE, u)),
    "sqrt": lambda u: divide(constant(0.5), call("sqrt", u)),
    "abs": lambda u: call("sign", u),
    "sign": lambda u: ZERO,
    "sin": lambda u: call("cos", u),
    "cos": lambda u: negative(call("sin", u)),
    "atan": lambda u: divide(ONE, add(ONE, multiply(u, u))),
    "tanh": lambda u: add(ONE, negative(multiply(call("tanh", u), call("tanh", u)))),
    "cosh": lambda u: call("sinh", u),
    "sinh": lambda u: call("cosh", u),
    "softplus": lambda u: call("sigmoid", u),
    "sigmoid": lambda u: multiply(call("sigmoid", u), call("sigmoid", negative(u))),
    "square": lambda u: multiply(constant(2), u),
}


def slope_of(node: Node) -> Node:
    """The derivative by the score; at a kink the one of the first branch."""
    kind, parts = node.kind, node.arguments
    if kind in ("constant", "variable"):
        return ONE if node == SCORE else ZERO
    if kind == "where":
        return choose(parts[0], slope_of(parts[1]), slope_of(parts[2]))
    if kind == "add":
        return add(*map(slope_of, parts))
    if kind == "negative":
        return negative(slope_of(parts[0]))
    if kind in ("max", "min"):
        test = Node("compare", (">=" if kind == "max" else "<=", *parts))
        return choose(test, slope_of(parts[0]), slope_of(parts[1]))
    if kind == "multiply":
        left, right = parts
        return add(multiply(slope_of(left), right), multiply(left, slope_of(right)))
    if kind == "divide":
        over, under = parts
        outer = add(slope_of(over), negative(multiply(node, slope_of(under))))
        return divide(outer, under)
    if kind == "power":
        base, exponent = parts
        inner = multiply(slope_of(exponent), multiply(call("log", base), node))
        outer = multiply(multiply(exponent, power(base, add(exponent, constant(-1)))), slope_of(base))
        return add(outer, inner)
    return multiply(slope_of(parts[0]), SLOPES[kind](parts[0]))

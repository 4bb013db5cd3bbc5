"""From a loss to its gradient step: the loss of a row as a formula, differentiated by its score.

A loss is a Python function of the score ``w.x + b`` and the label, or the same as text, such as
``log(1 + exp(-y * dot(w, x)))``. It is read into an expression tree (see `expression`); the loss and its derivative
are written out as one straight-line Python function for the compiler, common parts once.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ironlake.udf.engine.declaration import DeclarationError

from .expression import (
    ONE,
    SCORE,
    SLOPES,
    ZERO,
    Node,
    add,
    call,
    choose,
    constant,
    divide,
    multiply,
    negative,
    power,
    slope_of,
)
from .vectors import exp_of_negative, sigmoid

#: Other names of functions, as NumPy and SciPy have them.
_ALIASES = {"fabs": "abs", "absolute": "abs", "arctan": "atan", "fmax": "max", "fmin": "min", "maximum": "max"}
_ALIASES |= {"minimum": "min", "where": "where", "if_else": "where", "expit": "sigmoid", "pow": "power"}
_SEVERAL = {"max", "min", "where", "power", "logaddexp"}


class Loss(NamedTuple):
    """The loss of one row.

    Attributes
    ----------
    value : as an expression of ``score``, ``label`` and the parameters.
    slope : its derivative by the score.
    parameters : names of further numbers in it.
    """

    value: Node
    slope: Node
    parameters: tuple[str, ...]

    def source(self) -> str:
        """A Python function ``step(score, label, *parameters)`` that gives ``(addend, factor, slope)``.

        The loss is ``addend + log(factor)``: whoever sums losses multiplies the factors, and takes one logarithm in
        the end instead of one per row.
        """
        addend, factor = ZERO, ONE
        for term in _terms(self.value):
            if term.kind == "softplus":
                exponent = term.arguments[0]
                addend = add(addend, Node("max", (exponent, ZERO)))
                factor = multiply(factor, add(ONE, Node("exp_of_negative", (negative(call("abs", exponent)),))))
            else:
                addend = add(addend, term)
        writer = _Writer()
        results = ", ".join(map(writer.name, (addend, factor, self.slope)))
        lines = [f"def step({', '.join(('score', 'label', *self.parameters))}):", *writer.lines]
        return "\n    ".join([*lines, f"return {results}"]) + "\n"

    def compiled(self) -> Any:
        """The function of `source`, for compiled code."""
        scope = {"math": math, "sigmoid": sigmoid, "exp_of_negative": exp_of_negative, "sign": _sign}
        scope |= {"softplus": _softplus, "float32": np.float32}
        exec(self.source(), scope)
        return njit(scope["step"], error_model="numpy", fastmath={"contract"})

    @property
    def curvature(self) -> Node:
        """The second derivative by the score; at a kink of the slope the one of the first branch."""
        return slope_of(self.slope)

    def exact_source(self) -> str:
        """A Python function ``step(score, label, *parameters)`` that gives ``(loss, slope, curvature)``."""
        writer = _Writer()
        results = ", ".join(map(writer.name, (self.value, self.slope, self.curvature)))
        lines = [f"def step({', '.join(('score', 'label', *self.parameters))}):", *writer.lines]
        return "\n    ".join([*lines, f"return {results}"]) + "\n"

    def exact(self) -> Any:
        """The function of `exact_source`, for compiled code, to the last digit of float64."""
        scope = {"math": math, "sigmoid": _exact_sigmoid, "softplus": _exact_softplus, "sign": _sign}
        scope |= {"exp_of_negative": math.exp, "float32": np.float64}
        exec(self.exact_source(), scope)
        return njit(scope["step"], error_model="numpy")


def _terms(node: Node) -> list[Node]:
    return [term for part in node.arguments for term in _terms(part)] if node.kind == "add" else [node]


@njit
def _sign(value: float) -> float:
    return 1.0 if value > 0 else -1.0 if value < 0 else 0.0


@njit(error_model="numpy")
def _softplus(value: float) -> float:
    """``log(1 + exp(value))``."""
    return max(value, 0.0) + math.log1p(exp_of_negative(-abs(value)))


@njit(error_model="numpy")
def _exact_sigmoid(value: float) -> float:
    tail = math.exp(-abs(value))
    return 1 / (1 + tail) if value > 0 else tail / (1 + tail)


@njit
def _exact_softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


class _Writer:
    """Writes expressions as assignments, each expression once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names: dict[Node, str] = {}

    def name(self, node: Node) -> str:
        if node.kind == "variable":
            return str(node.arguments[0])
        if node.kind == "constant":
            return repr(node.arguments[0]) if math.isfinite(node.arguments[0]) else f"math.{node.arguments[0]}"
        if node not in self._names:
            text = self._text(
                node.kind, [part if isinstance(part, str) else self.name(part) for part in node.arguments]
            )
            self._names[node] = f"v{len(self._names)}"
            self.lines.append(f"{self._names[node]} = {text}")
        return self._names[node]

    def _text(self, kind: str, parts: list[str]) -> str:
        infix = {"add": "+", "multiply": "*", "divide": "/", "power": "**"}
        if kind in infix:
            return f"{parts[0]} {infix[kind]} {parts[1]}"
        if kind == "compare":
            return f"{parts[1]} {parts[0]} {parts[2]}"
        if kind == "where":
            return f"{parts[1]} if {parts[0]} else {parts[2]}"
        if kind == "negative":
            return f"-{parts[0]}"
        if kind in ("and", "or", "not"):
            return f"not {parts[0]}" if kind == "not" else f"{parts[0]} {kind} {parts[1]}"
        if kind == "sigmoid":
            return f"sigmoid(float32({parts[0]}))"
        plain = kind in ("abs", "max", "min", "sign", "softplus", "exp_of_negative")
        return f"{'' if plain else 'math.'}{kind}({', '.join(parts)})"


def derive(loss: Callable[..., Any] | str, name: str) -> Loss:
    """Read a loss and differentiate it.

    Parameters
    ----------
    loss : a function of ``score``, ``label`` and (keyword-only) further numbers; or text in which ``dot(w, x)`` is the
        score, the intercept ``b`` included, and ``y`` the label.
    name : of the task, for messages.

    Raises
    ------
    DeclarationError
        If the loss is not a formula that can be differentiated, or does not depend on the score.
    """
    if isinstance(loss, str):
        reader = _Reader(
            name, {"y": Node("variable", ("label",)), "label": Node("variable", ("label",)), "b": ZERO}, {}
        )
        reader.scope["score"] = SCORE
        try:
            value = reader.read(ast.parse(loss.strip(), mode="eval").body)
        except SyntaxError as error:
            raise DeclarationError(f"task {name}: the loss {loss!r} is not a formula: {error.msg}") from None
        parameters: tuple[str, ...] = ()
    else:
        tree, given = _function(loss, name)
        parameters = tuple(argument.arg for argument in tree.args.kwonlyargs)
        first, second = (argument.arg for argument in tree.args.args)
        scope = {first: SCORE, second: Node("variable", ("label",))}
        scope |= {parameter: Node("variable", (parameter,)) for parameter in parameters}
        value = _Reader(name, scope, given).body(tree.body)
    slope = slope_of(value)
    if slope == ZERO:
        raise DeclarationError(f"task {name}: the loss does not depend on the score dot(w, x)")
    return Loss(value, slope, parameters)


def _function(loss: Callable[..., Any], name: str) -> tuple[ast.FunctionDef, dict[str, Any]]:
    """The syntax tree of a function, and the names it can see."""
    try:
        module = ast.parse(textwrap.dedent(inspect.getsource(loss)))
    except (OSError, TypeError, SyntaxError):
        raise DeclarationError(f"task {name}: the source of the loss cannot be read; give the loss as text") from None
    tree = next((node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)), None)
    if tree is None or len(tree.args.args) != 2 or tree.args.vararg or tree.args.kwarg:
        raise DeclarationError(
            f"task {name}: a loss is a def of (score, label); further numbers are keyword-only, as in "
            "(score, label, *, k=1.0)"
        )
    closure = inspect.getclosurevars(loss)
    return tree, {**closure.globals, **closure.nonlocals}


class _Reader:
    """Turns Python syntax into an expression."""

    def __init__(self, name: str, scope: dict[str, Node], given: dict[str, Any]) -> None:
        self.task, self.scope, self.given = name, scope, given

    def refuse(self, syntax: ast.AST, why: str = "") -> DeclarationError:
        """What to raise about a piece of syntax."""
        known = ", ".join(sorted({*SLOPES, *_SEVERAL} - {"sign"}))
        return DeclarationError(
            f"task {self.task}: the loss contains {ast.unparse(syntax)!r}, "
            + (
                why
                or f"which cannot be differentiated; a loss is a formula with + - * / **, comparisons, if, and {known}"
            )
        )

    def body(self, statements: list[ast.stmt]) -> Node:
        """The value that a function returns."""
        for index, statement in enumerate(statements):
            if isinstance(statement, ast.Return) and statement.value is not None:
                return self.read(statement.value)
            if isinstance(statement, ast.If):
                after = statements[index + 1 :]
                inner = _Reader(self.task, dict(self.scope), self.given)
                other = _Reader(self.task, dict(self.scope), self.given)
                test = self.read(statement.test)
                return choose(test, inner.body([*statement.body, *after]), other.body([*statement.orelse, *after]))
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self.scope[statement.targets[0].id] = self.read(statement.value)
            elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                raise self.refuse(statement)
        raise DeclarationError(f"task {self.task}: the loss does not return a value on every way through it")

    def read(self, syntax: ast.expr) -> Node:
        """An expression."""
        if isinstance(syntax, ast.Constant) and isinstance(syntax.value, int | float):
            return constant(syntax.value)
        if isinstance(syntax, ast.Name | ast.Attribute):
            return self._name(syntax)
        if isinstance(syntax, ast.BinOp):
            return self._operation(syntax)
        if isinstance(syntax, ast.UnaryOp):
            operand = self.read(syntax.operand)
            if isinstance(syntax.op, ast.Not):
                return Node("not", (operand,))
            return negative(operand) if isinstance(syntax.op, ast.USub) else operand
        if isinstance(syntax, ast.IfExp):
            return choose(self.read(syntax.test), self.read(syntax.body), self.read(syntax.orelse))
        if isinstance(syntax, ast.Compare):
            return self._comparison(syntax)
        if isinstance(syntax, ast.BoolOp):
            parts = [self.read(value) for value in syntax.values]
            kind = "and" if isinstance(syntax.op, ast.And) else "or"
            return _joined(kind, parts)
        if isinstance(syntax, ast.Call) and not syntax.keywords:
            return self._call(syntax)
        raise self.refuse(syntax)

    def _name(self, syntax: ast.Name | ast.Attribute) -> Node:
        text = ast.unparse(syntax)
        if text in self.scope:
            return self.scope[text]
        value: Any = self.given.get(text.split(".", maxsplit=1)[0], {"pi": math.pi, "e": math.e}.get(text))
        for attribute in text.split(".")[1:]:
            value = getattr(value, attribute, None)
        if not isinstance(value, int | float):
            raise self.refuse(
                syntax, f"a name it does not know; it may use {', '.join(sorted(self.scope))} and numbers"
            )
        return constant(value)

    def _operation(self, syntax: ast.BinOp) -> Node:
        left, right = self.read(syntax.left), self.read(syntax.right)
        match syntax.op:
            case ast.Add():
                return add(left, right)
            case ast.Sub():
                return add(left, negative(right))
            case ast.Mult():
                return multiply(left, right)
            case ast.Div():
                return divide(left, right)
            case ast.Pow():
                return power(left, right)
        raise self.refuse(syntax)

    def _comparison(self, syntax: ast.Compare) -> Node:
        signs = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
        values = [self.read(value) for value in (syntax.left, *syntax.comparators)]
        if any(type(op) not in signs for op in syntax.ops):
            raise self.refuse(syntax)
        parts = [
            Node("compare", (signs[type(op)], left, right))
            for op, left, right in zip(syntax.ops, values, values[1:], strict=False)
        ]
        return _joined("and", parts)

    def _call(self, syntax: ast.Call) -> Node:
        name = ast.unparse(syntax.func).split(".")[-1]
        name = _ALIASES.get(name, name)
        if name == "dot":
            if sorted(ast.unparse(argument) for argument in syntax.args) != ["w", "x"]:
                raise self.refuse(syntax, "the score of a row is dot(w, x)")
            return SCORE
        arguments = [self.read(argument) for argument in syntax.args]
        if name in ("max", "min") and len(arguments) > 1:
            node = arguments[0]
            for argument in arguments[1:]:
                node = Node(name, (node, argument))
            return node
        if name == "where" and len(arguments) == 3:
            return choose(*arguments)
        if name == "power" and len(arguments) == 2:
            return power(*arguments)
        if (name in SLOPES and len(arguments) == 1) or (name == "logaddexp" and len(arguments) == 2):
            return call(name, *arguments)
        raise self.refuse(syntax)


def _joined(kind: str, parts: list[Node]) -> Node:
    node = parts[0]
    for part in parts[1:]:
        node = Node(kind, (node, part))
    return node

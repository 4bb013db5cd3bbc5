"""From what a function computes to a compiled loop over columns.

The loop does what Python would do, operation by operation, and stops at the first row for which it cannot promise that:
integers that leave 64 bits, divisions by zero, integers too large to be floats exactly. The caller then runs those rows
with the function itself, so that results - and errors - are Python's. No fast mathematics; nothing is reordered.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from .symbols import Expression, Value, given_of, input_of
from .tracing import Path as Way

_PRELUDE = '''"""Made by ironlake.rdd: loops of functions of elements."""
import math
import numba
import numpy as np
from numba import types

BIG = 1 << 53
power = types.ExternalFunction("ironlake_pow", types.float64(types.float64, types.float64))
jit = numba.njit(nogil=True, error_model="numpy", cache=True, boundscheck=False)
'''

#: What each operation is in the loop: when its result would not be Python's, and the result.
_OPERATIONS: dict[str, tuple[str | None, str]] = {
    "add_int": ("(({0} ^ ({0} + {1})) & ({1} ^ ({0} + {1}))) < 0", "{0} + {1}"),
    "sub_int": ("(({0} ^ {1}) & ({0} ^ ({0} - {1}))) < 0", "{0} - {1}"),
    "mul_int": ("abs(float({0}) * float({1})) >= 9.2e18", "{0} * {1}"),
    "floordiv_int": ("{1} == 0 or ({1} == -1 and {0} == -9223372036854775808)", "{0} // {1}"),
    "mod_int": ("{1} == 0 or {1} == -1", "{0} % {1}"),
    "neg_int": ("{0} == -9223372036854775808", "-{0}"),
    "abs_int": ("{0} == -9223372036854775808", "abs({0})"),
    "invert": (None, "~{0}"),
    "and": (None, "{0} & {1}"),
    "or": (None, "{0} | {1}"),
    "xor": (None, "{0} ^ {1}"),
    "lshift": ("{1} < 0 or {1} > 62 or {0} >= (1 << (62 - {1})) or {0} < -(1 << (62 - {1}))", "{0} << {1}"),
    "rshift": ("{1} < 0 or {1} > 63", "{0} >> {1}"),
    "add_float": (None, "{0} + {1}"),
    "sub_float": (None, "{0} - {1}"),
    "mul_float": (None, "{0} * {1}"),
    "div_float": ("{1} == 0.0", "{0} / {1}"),
    "floordiv_float": ("{1} == 0.0 or not math.isfinite({0}) or not math.isfinite({1})", "{0} // {1}"),
    "mod_float": ("{1} == 0.0 or not math.isfinite({0}) or not math.isfinite({1})", "{0} % {1}"),
    "pow_float": (
        (
            "not (abs({1}) <= 3.0 and (1e-100 < abs({0}) < 1e100 or ({0} == 0.0 and {1} >= 0.0))"
            " and ({0} > 0.0 or ({1} >= 0.0 and {1} == np.floor({1}))))"
        ),
        "power({0}, {1})",
    ),
    "neg_float": (None, "-{0}"),
    "abs_float": (None, "abs({0})"),
    "lt": (None, "{0} < {1}"),
    "le": (None, "{0} <= {1}"),
    "gt": (None, "{0} > {1}"),
    "ge": (None, "{0} >= {1}"),
    "eq": (None, "{0} == {1}"),
    "ne": (None, "{0} != {1}"),
    "select": (None, "({1} if {0} else {2})"),
    "int_of_bool": (None, "np.int64({0})"),
    "float_of_int": ("{0} > BIG or {0} < -BIG", "np.float64({0})"),
    "int_of_float": ("not abs({0}) < 9.2e18", "np.int64({0})"),
    "round": ("not abs({0}) < 4.5e15", "np.int64(np.rint({0}))"),
    "math_exp": ("not {0} < 709.0", "math.exp({0})"),
    "math_log": ("not {0} > 0.0", "math.log({0})"),
    "math_sqrt": ("not {0} >= 0.0", "math.sqrt({0})"),
    "math_sin": ("not abs({0}) < 1e300", "math.sin({0})"),
    "math_cos": ("not abs({0}) < 1e300", "math.cos({0})"),
    "math_tan": ("not abs({0}) < 1e300", "math.tan({0})"),
    "math_tanh": (None, "math.tanh({0})"),
    "math_atan": (None, "math.atan({0})"),
    "math_fabs": (None, "abs({0})"),
    "math_floor": ("not abs({0}) < 9.2e18", "np.int64(np.floor({0}))"),
    "math_ceil": ("not abs({0}) < 9.2e18", "np.int64(np.ceil({0}))"),
}


class _Writer:
    """Writes the lines of a loop's body."""

    def __init__(self, bail: str) -> None:
        self.lines: list[str] = []
        self._bail, self._names = bail, 0

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def given(self, ways: Sequence[Way]) -> dict[Expression, str]:
        """Variables for the numbers that the function was given by its surroundings, read before the loop."""
        known: dict[Expression, str] = {}
        for place in sorted(_given(ways)):
            self.line(1, f"p{place} = given[{place}]")
            known[given_of(place)] = f"p{place}"
        return known

    def value(self, expression: Expression, known: dict[Expression, str], depth: int) -> str:
        """The variable that holds an expression's value, computed where it is not known yet."""
        if expression[0] == "const":
            return _literal(expression[1])
        if expression in known:
            return known[expression]
        name, operands = expression[0], expression[1:]
        places = [self.value(each, known, depth) for each in operands]
        check, text = _OPERATIONS[name]
        if check is not None:
            self.line(depth, f"if {check.format(*places)}:")
            self.line(depth + 1, self._bail)
        variable = f"t{self._names}"
        self._names += 1
        self.line(depth, f"{variable} = {text.format(*places)}")
        known[expression] = variable
        return variable

    def ways(
        self,
        ways: Sequence[Way],
        known: dict[Expression, str],
        depth: int,
        finish: Callable[[Way, dict[Expression, str], int], None],
        place: int = 0,
    ) -> None:
        """All ways through a function, as nested conditions."""
        if len(ways) == 1 and len(ways[0].decisions) == place:
            for expression in ways[0].done:
                if can_fail(expression):
                    self.value(expression, known, depth)
            finish(ways[0], known, depth)
            return
        condition = ways[0].decisions[place][0]
        variable = self.value(condition, known, depth)
        for answer, word in ((True, f"if {variable}:"), (False, "else:")):
            self.line(depth, word)
            chosen = [way for way in ways if way.decisions[place][1] is answer]
            self.ways(chosen, dict(known), depth + 1, finish, place + 1)
            self.line(depth + 1, "pass")


def can_fail(expression: Expression) -> bool:
    """Whether an operation may be one that loops leave to Python."""
    return _OPERATIONS[expression[0]][0] is not None


def _given(ways: Sequence[Way]) -> set[int]:
    """The places of the given numbers that are used."""
    found, seen = set(), set()
    visits = [condition for way in ways for condition, _ in way.decisions]
    visits += [leaf.expression for way in ways for leaf in leaves(way.result) if isinstance(leaf, Value)]
    visits += [expression for way in ways for expression in way.done]
    while visits:
        expression = visits.pop()
        if id(expression) in seen or expression[0] == "const":
            continue
        seen.add(id(expression))
        if expression[0] == "given":
            found.add(expression[1])
        elif expression[0] != "in":
            visits += expression[1:]
    return found


def _literal(constant: Any) -> str:
    if isinstance(constant, bool):
        return f"np.bool_({constant})"
    if isinstance(constant, int):
        return f"np.int64({constant})"
    if constant != constant or constant in (float("inf"), float("-inf")):
        return {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}[str(constant)]
    return f"np.float64({constant!r})"


def leaves(result: Any) -> list[Any]:
    """The numbers and things passed on in a result, tuples within tuples in order."""
    return [leaf for each in result for leaf in leaves(each)] if isinstance(result, tuple) else [result]


def shape_of(result: Any) -> Any:
    """A result's tuples, with the type of each leaf; things passed on are known by which input they are."""
    if isinstance(result, tuple):
        return ("tuple", tuple(map(shape_of, result)))
    if isinstance(result, Value):
        return result.type
    if type(result) in (bool, int, float):
        return type(result).__name__
    return ("opaque", result.expression)


def map_source(ways: Sequence[Way], inputs: Sequence[int], outputs: Sequence[int]) -> str:
    """A loop that computes some leaves of a result for each row; it returns the row at which it stopped."""
    writer = _Writer("return i")
    arguments = ["given", *(f"in{place}" for place in inputs), *(f"out{place}" for place in outputs)]
    writer.line(0, "@jit")
    writer.line(0, f"def loop(n, {', '.join(arguments)}):")
    known = writer.given(ways)
    writer.line(1, "for i in range(n):")
    for place in inputs:
        writer.line(2, f"x{place} = in{place}[i]")
        known[input_of(place)] = f"x{place}"

    def finish(way: Way, known: dict[Expression, str], depth: int) -> None:
        found = leaves(way.result)
        for place in outputs:
            leaf = found[place]
            text = writer.value(leaf.expression, known, depth) if isinstance(leaf, Value) else _literal(leaf)
            writer.line(depth, f"out{place}[i] = {text}")

    writer.ways(ways, known, 2, finish)
    writer.line(1, "return n")
    return "\n".join(writer.lines) + "\n"


def fold_source(ways: Sequence[Way], width: int) -> str:
    """A loop that puts each row together with what its group has so far; it returns the row at which it stopped.

    Inputs below `width` are what the group has, those from there on the row's.
    """
    writer = _Writer("return i")
    arguments = ["given", *(f"acc{place}" for place in range(width)), *(f"in{place}" for place in range(width))]
    writer.line(0, "@jit")
    writer.line(0, f"def loop(n, groups, begun, {', '.join(arguments)}):")
    known = writer.given(ways)
    writer.line(1, "for i in range(n):")
    writer.line(2, "g = groups[i]")
    for place in range(width):
        writer.line(2, f"y{place} = in{place}[i]")
    writer.line(2, "if not begun[g]:")
    writer.line(3, "begun[g] = True")
    for place in range(width):
        writer.line(3, f"acc{place}[g] = y{place}")
    writer.line(3, "continue")
    for place in range(width):
        writer.line(2, f"x{place} = acc{place}[g]")
        known[input_of(place)] = f"x{place}"
        known[input_of(width + place)] = f"y{place}"

    def finish(way: Way, known: dict[Expression, str], depth: int) -> None:
        for place, leaf in enumerate(leaves(way.result)):
            text = writer.value(leaf.expression, known, depth) if isinstance(leaf, Value) else _literal(leaf)
            writer.line(depth, f"acc{place}[g] = {text}")

    writer.ways(ways, known, 2, finish)
    writer.line(1, "return n")
    return "\n".join(writer.lines) + "\n"


@lru_cache(maxsize=512)
def compiled(source: str) -> Callable[..., int]:
    """The loop of a source; it is kept in a file, so that other processes need not compile it again."""
    from ironlake.udf.engine import machine

    _make_power_known()
    content = _PRELUDE + "\n\n" + source
    digest = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
    folder = (machine.cache_directory() or Path(tempfile.gettempdir(), f"ironlake-{os.getuid()}")) / "rdd"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"loop_{digest}.py"
    if not path.exists():
        draft = path.with_suffix(f".{uuid.uuid4().hex}")
        draft.write_text(content)
        draft.replace(path)
    name = f"ironlake.rdd.made.loop_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    loop: Callable[..., int] = module.loop
    return loop


@cache
def _make_power_known() -> None:
    """Let loops call the C library's power by a name that LLVM does not know: it would make a product of a square."""
    import ctypes
    import ctypes.util

    import llvmlite.binding

    library = ctypes.CDLL(ctypes.util.find_library("m"))
    llvmlite.binding.add_symbol("ironlake_pow", ctypes.cast(library.pow, ctypes.c_void_p).value)

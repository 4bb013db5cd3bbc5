"""Each operation of a loop gives Python's result, of Python's type, or says that it does not."""

import math
import operator
import random

import numpy as np
import pytest

from ironlake.rdd.batches import Batch
from ironlake.rdd.tiers import columns, generating, grouping, verifying
from ironlake.rdd.tiers.steps import TIERED

INTEGERS = [0, 1, -1, 2, -2, 3, -3, 7, 62, 63, 64, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 3037000500, 2**62, -(2**62),
            2**63 - 1, -(2**63), -(2**63) + 1]  # fmt: skip
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.0, 0.1, -7.3, 1e-320, 5e-324, 1e-200, 1e100, 1e300, -1e300, 2.0**53,
          2.0**63, -(2.0**63), 709.5, 710.0, math.inf, -math.inf, math.nan, 1.7976931348623157e308]  # fmt: skip
BOOLEANS = [False, True]

#: Each operation with what Python does, the kinds of its operands and that of its result.
OPERATIONS = {
    "add_int": (operator.add, "ii", "i"), "sub_int": (operator.sub, "ii", "i"), "mul_int": (operator.mul, "ii", "i"),
    "floordiv_int": (operator.floordiv, "ii", "i"), "mod_int": (operator.mod, "ii", "i"), "neg_int": (operator.neg, "i", "i"),
    "abs_int": (abs, "i", "i"), "invert": (operator.invert, "i", "i"), "and": (operator.and_, "ii", "i"),
    "or": (operator.or_, "ii", "i"), "xor": (operator.xor, "ii", "i"), "lshift": (operator.lshift, "ii", "i"),
    "rshift": (operator.rshift, "ii", "i"), "add_float": (operator.add, "ff", "f"), "sub_float": (operator.sub, "ff", "f"),
    "mul_float": (operator.mul, "ff", "f"), "div_float": (operator.truediv, "ff", "f"),
    "floordiv_float": (operator.floordiv, "ff", "f"), "mod_float": (operator.mod, "ff", "f"),
    "pow_float": (operator.pow, "ff", "f"), "neg_float": (operator.neg, "f", "f"), "abs_float": (abs, "f", "f"),
    "lt": (operator.lt, "ff", "b"), "le": (operator.le, "ii", "b"), "gt": (operator.gt, "ff", "b"),
    "ge": (operator.ge, "ii", "b"), "eq": (operator.eq, "ff", "b"), "ne": (operator.ne, "ff", "b"),
    "select": (lambda c, a, b: a if c else b, "bff", "f"), "int_of_bool": (int, "b", "i"),
    "float_of_int": (float, "i", "f"), "int_of_float": (int, "f", "i"), "round": (round, "f", "i"),
    **{f"math_{name}": (getattr(math, name), "f", "f") for name in
       ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "atan", "fabs")},
    "math_floor": (math.floor, "f", "i"), "math_ceil": (math.ceil, "f", "i"),
}  # fmt: skip
KINDS = {"i": INTEGERS, "f": FLOATS, "b": BOOLEANS}


def loop_of_all():
    """One loop that does the operation of a number: compiling one for each would take a minute."""
    lines = ["@jit", "def loop(which, bools, floats, ints, out_b, out_f, out_i):"]
    for number, (name, (_, kinds, result)) in enumerate(OPERATIONS.items()):
        check, text = generating._OPERATIONS[name]
        operands = [{"i": "ints", "f": "floats", "b": "bools"}[kind] + f"[{place}]" for place, kind in enumerate(kinds)]
        lines.append(f"    if which == {number}:")
        if check is not None:
            lines += [f"        if {check.format(*operands)}:", "            return False"]
        lines += [f"        out_{result}[0] = {text.format(*operands)}", "        return True"]
    return generating.compiled("\n".join([*lines, "    return False"]) + "\n")


@pytest.fixture(scope="module")
def loop():
    return loop_of_all()


def test_all_operations_are_here():
    assert set(OPERATIONS) == set(generating._OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_gives_what_python_gives(loop, name):
    function, kinds, result = OPERATIONS[name]
    operands = {"i": np.zeros(3, np.int64), "f": np.zeros(3), "b": np.zeros(3, np.bool_)}
    outputs = {"i": np.zeros(1, np.int64), "f": np.zeros(1), "b": np.zeros(1, np.bool_)}
    done = 0
    for values in _combinations([KINDS[kind] for kind in kinds]):
        for place, (kind, value) in enumerate(zip(kinds, values, strict=True)):
            operands[kind][place] = value
        if not loop(
            list(OPERATIONS).index(name), operands["b"], operands["f"], operands["i"], *map(outputs.get, "bfi")
        ):
            continue
        expected, found = function(*values), outputs[result][0].item()  # an error of Python's fails the test
        done += 1
        assert type(found) is type(expected), values
        assert repr(found) == repr(expected), values
    assert done >= 2


def _combinations(choices):
    if not choices:
        return [()]
    return [(first, *rest) for first in choices[0] for rest in _combinations(choices[1:])]


def test_compiled_loop_gives_what_python_gives():
    def function(x):
        number, real, flag, other = x
        low = min(number, other) if flag else max(number, 3)
        scaled = [real * factor for factor in (0.1, -0.0, 2.5)]
        return (low, -low % 7, low // 3), sum(scaled), not flag, (math.exp(-abs(real)), real > 0.5 or flag), x[0], 7

    draw = random.Random(5)
    elements = [
        (draw.randint(-99, 99), draw.gauss(0, 9), draw.random() < 0.5, draw.randint(-9, 9)) for _ in range(20_000)
    ]
    batch = Batch.of(elements)
    plan = columns.plan_of(function, batch, *TIERED["map"])
    kind, arrays = plan.run(batch)
    assert plan.tier == "T1"
    verifying.compare(
        "map", Batch(kind, columns.array_of(kind, iter(arrays)), len(batch)).objects(), list(map(function, elements))
    )


def test_mixed_booleans_become_what_python_makes_of_them():
    pairs = [(place % 5, (place % 2 == 0, 0.5 * place)) for place in range(8192)]
    found = grouping.reduced([Batch.of(pairs)], lambda a, b: (a[0] and b[0], max(a[1], b[1])))
    assert found is not None
    expected = grouping.in_python(pairs, lambda a, b: (a[0] and b[0], max(a[1], b[1])))
    verifying.compare("reduceByKey", found.objects(), list(expected.items()))

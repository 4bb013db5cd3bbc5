"""What a traced function computes is what the function computes: values, types, and no answer where Python has an error."""

import math
import operator
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from .python_loops import loop_in_python

from ironlake.rdd.batches import Batch
from ironlake.rdd.tiers import columns, generating, symbols, tracing
from ironlake.rdd.tiers.steps import TIERED
from ironlake.rdd.tiers.symbols import Untraceable

INTEGERS = [0, 1, -1, 2, 3, -7, 63, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -7.3, 1e-320, 1e300, 2.0**53, 2.0**63, 709.5, math.inf, -math.inf, math.nan]
ELEMENTS = st.tuples(
    st.sampled_from(INTEGERS) | st.integers(-9, 9),
    st.sampled_from(FLOATS) | st.floats(-9, 9),
    st.booleans(),
    st.sampled_from(INTEGERS) | st.integers(-9, 9),
)
NAMES = {"w": 0.7, "ws": [1.5, -0.0, 3.0], "k": 3, "flag": True, "pairs": ((1.0, 2), (0.5, 4)), "math": math}


LEAVES = ["x[0]", "x[1]", "x[2]", "x[3]", "w", "k", "flag", "ws[1]", "0", "1", "-1", "0.0", "-0.0", "2.5", "True", "3"]
FORMS = [
    *(f"({{}} {sign} {{}})" for sign in ["+", "-", "*", "/", "//", "%", "&", "|", "^", "<<", ">>", "<", "<=", ">", ">=", "==", "!=", "and", "or"]),
    "(-{})", "(+{})", "(~{})", "abs({})", "(not {})", "int({})", "float({})", "bool({})", "round({})", "({} ** 2)",
    "({} ** 3)", "({} ** 0.5)", "({} ** 2.0)", "({} ** -1)", "({} ** 0)", "({} ** {})", "({} if {} else {})", "({} if {} else {})",
    "({} < {} <= {})", "isinstance({}, int)", "isinstance({}, (float, bool))", "min({}, {})", "max({}, {})", "sum([{}, {}])",
    "divmod({}, {})[0]", "min((u for u in ({}, {})), default=7)", "max(range(2), key=lambda i: ({}, {})[i])",
    "(lambda a, b=w: a * b)({})", "sum(a * b for a, b in zip(({}, {}), ws))", "any(u > {} for u in ({}, {}))",
    *(f"math.{name}({{}})" for name in ("exp", "log", "sqrt", "sin", "tanh", "floor", "ceil", "fabs")),
]  # fmt: skip


@st.composite
def _expressions(draw, depth=3):
    """The text of an expression of an element ``x``."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(LEAVES))
    form = draw(st.sampled_from(FORMS))
    return form.format(*(draw(_expressions(depth - 1)) for _ in range(form.count("{}"))))


def traced(function, elements, monkeypatch, operation="map"):
    """What the plan of a function makes of elements; None if it leaves them to Python."""
    monkeypatch.setattr(columns, "LEAST_ROWS", 1)
    monkeypatch.setattr(columns, "compiled", loop_in_python)
    batch = Batch.of(elements)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = columns.plan_of(function, batch, *TIERED[operation]).run(batch)
    if found is None:
        return None
    kind, arrays = found
    return Batch(kind, columns.array_of(kind, iter(arrays)), len(batch)).objects()


@settings(max_examples=200, deadline=None)
@given(st.lists(_expressions(), min_size=1, max_size=3), st.lists(ELEMENTS, min_size=1, max_size=6))
def test_programs_give_what_python_gives(expressions, elements):
    function = eval(f"lambda x: ({', '.join(expressions)},)", dict(NAMES))
    with pytest.MonkeyPatch.context() as patch:
        for element in elements:  # alone, since one that is left to Python takes the others with it
            try:
                found = traced(function, [element], patch)
            except Untraceable:
                return
            if found is not None:
                assert repr(found) == repr([function(element)]), (expressions, element)


@settings(max_examples=100, deadline=None)
@given(_expressions(), st.lists(ELEMENTS, min_size=2, max_size=6))
def test_folds_give_what_python_gives(expression, elements):
    pairs = [(first, other) for _, first, _, _ in elements for other in INTEGERS[:4]]
    function = eval(
        f"lambda x, y: (x[0] + y[0], ({expression.replace('x[2]', 'y[1]').replace('x[3]', 'y[0]')}))", dict(NAMES)
    )
    check_fold(function, pairs)


def check_fold(function, elements):
    from ironlake.rdd.tiers import folding

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setattr(columns, "LEAST_ROWS", 1)
        patch.setattr(folding, "compiled", loop_in_python)
        batch = Batch.of(elements)
        batch.forget()
        found = folding.folded([batch], function)
    if found is not None:
        import functools

        assert repr(found.objects()) == repr([functools.reduce(function, elements)])
    return found


def shared_list():
    kept = []
    return lambda x: (kept.append(x), len(kept))[1]


def counting():
    count = 0

    def count_up(x):
        nonlocal count
        count += 1
        return x + count

    return count_up


def remembering(x, seen=[]):  # noqa: B006
    seen.append(x)
    return len(seen)


def handling(x):
    try:
        return 1 // x
    except ZeroDivisionError:
        return 0


def calling_itself(x):
    return x if x < 1 else calling_itself(x - 1)


def endless(x):
    while x > 100:
        pass
    return x


def matching(x):
    match x:
        case int():
            return 1
    return 2


class Scale:
    factor = 2.0


@pytest.mark.parametrize("function", [
    shared_list(), counting(), remembering, handling, calling_itself, endless, matching,
    lambda x: x is True, lambda x: x is x, lambda x: hash(x), lambda x: {1: 2}.get(x), lambda x: x in {1, 2},
    lambda x: str(x), lambda x: f"{x}", lambda x: "%d".__mod__(x), lambda x: [x], lambda x: {x: 1}, lambda x: (yield x),
    lambda x: range(x), lambda x: round(x, 2), lambda x: 2**x, lambda x: x**-1, lambda x: x if x > 0 else 0.5,
    lambda x: min(x, 2.0), lambda x: x * Scale.factor, lambda x: x * np.float64(2), lambda x: print(x), lambda x: None,
    lambda x: 2**70, lambda x: x + 2**70, lambda x: x.bit_length(), lambda x: x * "a", lambda x: x[0], lambda x: math.gamma(x),
    lambda x: (), lambda x: type(x) is int, lambda x: x == "a", lambda: 1, lambda x, *, y: x,
])  # fmt: skip
def test_functions_that_do_more_than_compute_are_left_to_python(function, monkeypatch):
    with pytest.raises(Untraceable):
        traced(function, [1, 2, 3], monkeypatch)


@pytest.mark.parametrize(("function", "element"), [
    (lambda x: (x * 0.0, x * -0.0), 1.0), (lambda x: 0.0 if x > 5 else -0.0, 1.0), (lambda x: (1, True, 1.0), 1),
    (lambda x: (x + 1, x + True), 1), (lambda x: 1 < x < 3, 2), (lambda x: x and True, True), (lambda x: not x, 0.0),
    (lambda x: x is None, 1), (lambda x: 0 if x is not None else 1, 1), (lambda x: -x, True), (lambda x: x + x, True),
    (lambda x: max(x), (1, 3)), (lambda x: min(range(2), key=lambda i: x[i]), (2.0, 1.0)), (lambda x: x == None, 3),  # noqa: E711
    (lambda x: sum(x), (1, 2)), (lambda x: x[::-1], (1, 2.0)), (lambda x: (x, x), "text"), (lambda x: x[1:] + x[:1], (1, "a")),
    (operator.itemgetter(1), (1, "a")), (lambda x: divmod(x, 3), -7), (lambda x: round(x), 2.5), (lambda x: x ** 3, -5),
    (abs, -0.0), (float, 3), (lambda x: isinstance(x, int), True),
])  # fmt: skip
def test_functions_on_columns(function, element, monkeypatch):
    found = traced(function, [element] * 3, monkeypatch)
    assert repr(found) == repr([function(element)] * 3)


@pytest.mark.parametrize(("function", "element"), [
    (lambda x: x + 1, 2**63 - 1), (lambda x: x * x, 2**32), (lambda x: -x, -(2**63)), (lambda x: abs(x), -(2**63)),
    (lambda x: x << 1, 2**62), (lambda x: x << x, 70), (lambda x: x / 3, 2**53 + 1), (lambda x: x < 0.5, 2**53 + 1),
    (lambda x: 1 // x, 0), (lambda x: 1 / x, 0.0), (lambda x: x % 0, 1), (lambda x: int(x), 1e300), (lambda x: int(x), math.nan),
    (lambda x: math.sqrt(x), -1.0), (lambda x: math.log(x), 0.0), (lambda x: math.exp(x), 1000.0), (lambda x: x**0.5, -1.0),
    (lambda x: x**-3.0, 1e-200),
])  # fmt: skip
def test_rows_that_loops_cannot_do_are_left_to_python(function, element, monkeypatch):
    assert traced(function, [element], monkeypatch) is None


def test_tracing_is_as_long_as_the_function_not_as_what_it_would_write_out(monkeypatch):
    def doubled(x):
        for _ in range(60):
            x = x + x
        return x

    assert traced(doubled, [1, 2], monkeypatch) == [2**60, 2**61]


def test_mapped_values_are_those_of_pairs(monkeypatch):
    for elements in ([1, 2], [(1, 2, 3)] * 2, ["ab", "cd"]):
        with pytest.raises(Untraceable):
            traced(lambda value: value, elements, monkeypatch, "mapValues")


def test_closures_are_read_when_the_function_runs(monkeypatch):
    weights = [1.0, 2.0]
    function = lambda x: x * weights[0]  # noqa: E731
    assert traced(function, [3.0], monkeypatch) == [3.0]
    weights[0] = 5.0
    assert traced(function, [3.0], monkeypatch) == [15.0]


@pytest.mark.parametrize("function", [
    operator.add, max, lambda a, b: a if a > b else b, lambda a, b: b, lambda a, b: a - b, lambda a, b: a + 0.1 * b,
])  # fmt: skip
def test_reductions_of_floats_go_from_left_to_right(function):
    found = check_fold(function, [0.1, 1e16, -1e16, 0.3, -0.0, 2.5])
    assert found is not None


@pytest.mark.parametrize("function", [lambda a, b: a / b, lambda a, b: a == b, lambda a, b: (a, b), lambda a, b: 0.5])
def test_reductions_whose_type_changes_are_left_to_python(function):
    assert check_fold(function, [3, 2, 1]) is None


def test_ways_are_explored_by_threads_apart(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    def function(x):
        return sum(x + place if x > place else x - place for place in range(3))

    with ThreadPoolExecutor(4) as pool:
        texts = set(pool.map(lambda _: source_of(function), range(32)))
    assert len(texts) == 1


def source_of(function):
    found, _ = tracing.trace(function, symbols.Value(symbols.input_of(0), "int"))
    return generating.map_source(found, [0], [0])

"""RDD programs on columns give what they give in plain Python, and say which tier they used."""

import functools
import math
import operator
import warnings
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .python_loops import loop_in_python

from ironlake.rdd import SparkContext, batches
from ironlake.rdd.tiers import columns, folding, grouping, sorting, verifying


@pytest.fixture(scope="module")
def sc():
    """A context whose smallest batches are done on columns, by loops that need not be compiled."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for module in (columns, grouping, folding):
            patch.setattr(module, "compiled", loop_in_python)
        patch.setattr(batches, "FEW", 0)
        patch.setattr(columns, "LEAST_ROWS", 1)
        patch.setattr(grouping, "LEAST_PAIRS", 1)
        patch.setattr(sorting, "LEAST_PAIRS", 1)
        patch.setattr(verifying, "is_on", True)
        with SparkContext("local[1]", "steps") as context:
            yield context


NAN = float("nan")
KEYS = {
    "integers": [1, 2, 1, -1, 2**63 - 1, -(2**63), 0, 2],
    "texts": ["a", "b", "a", "", "ü", "€", "a\0", "b"],
    "booleans": [True, False, True, True],
    "booleans and integers": [True, 1, 0, False, 1.0, 2],
    "floats": [0.0, -0.0, 1.5, math.inf, 1.5, -math.inf],
    "nan": [NAN, NAN, 1.0, NAN],
    "none": [None, 1, None, 1],
    "texts and none": ["a", None, "a"],
    "pairs": [(1, "a"), (1, "b"), (1, "a")],
    "bytes": [b"a", b"b", b"a"],
    "large": [2**70, 1, 2**70],
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_keys_are_those_of_dictionaries(sc, keys):
    pairs = [(key, place + 0.25) for place, key in enumerate(keys)]
    expected = {}
    for key, value in pairs:
        expected[key] = expected[key] + value if key in expected else value
    found = sc.parallelize(pairs, 1).reduceByKey(lambda a, b: a + b, 1).collect()
    assert repr(found) == repr(list(expected.items())) or keys is KEYS["nan"]
    assert sorted(map(repr, found)) == sorted(map(repr, expected.items())) or len(found) >= len(expected)


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_joins_are_those_of_dictionaries(sc, keys):
    left = [(key, place) for place, key in enumerate(keys)]
    right = [(key, str(place)) for place, key in enumerate(keys[:4])]
    groups = {}
    for key, value in left:
        groups.setdefault(key, ([], []))[0].append(value)
    for key, value in right:
        groups.setdefault(key, ([], []))[1].append(value)
    expected = [(key, (one, other)) for key, (ones, others) in groups.items() for one in ones for other in others]
    found = sc.parallelize(left, 1).join(sc.parallelize(right, 1), 1).collect()
    if keys is not KEYS["nan"]:  # where it counts which objects are one
        assert repr(found) == repr(expected)


@pytest.mark.parametrize("keys", [KEYS[name] for name in ("integers", "texts", "floats", "booleans", "pairs", "bytes")])
@pytest.mark.parametrize("ascending", [True, False])
def test_order_is_that_of_sorted(sc, keys, ascending):
    pairs = [(key, place) for place, key in enumerate(keys * 2)]
    found = sc.parallelize(pairs, 2).sortByKey(ascending, 2).collect()
    assert repr(found) == repr(sorted(pairs, key=lambda pair: pair[0], reverse=not ascending))


NUMBERS = st.lists(st.integers(-4, 4) | st.sampled_from([2**63 - 1, -(2**63), 2**53 + 1]), min_size=1, max_size=8)
FUNCTIONS = [
    lambda x: x + 1,
    lambda x: x * x,
    lambda x: x / 2,
    lambda x: 10 // x,
    lambda x: x if x > 0 else -x,
    lambda x: (x, 1)[0],
]
CONDITIONS = [
    lambda x: x,
    lambda x: x > 0,
    lambda x: x % 2,
    lambda x: not x,
    lambda x: 0.0,
    lambda x: "",
    lambda x: x and 1,
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NUMBERS, st.lists(st.sampled_from(FUNCTIONS), min_size=1, max_size=3), st.sampled_from(CONDITIONS))
def test_chains_give_what_python_gives(sc, numbers, functions, condition):
    def in_python():
        return list(
            filter(condition, functools.reduce(lambda found, function: map(function, found), functions, numbers))
        )

    rdd = functools.reduce(lambda found, function: found.map(function), functions, sc.parallelize(numbers, 1))
    found = [outcome(rdd.filter(condition).collect), outcome(rdd.filter(condition).sum)]
    assert found == [outcome(in_python), outcome(lambda: sum(in_python()))]


def outcome(action):
    try:
        return repr(action())
    except ArithmeticError as error:
        return type(error).__name__


def test_what_follows_a_failure_is_not_looked_at_before_it_is_needed(sc):
    rdd = sc.parallelize([4, 2, 0, 1], 1).map(lambda x: 8 // x).map(lambda x: x + 1).filter(lambda x: x > 0)
    assert rdd.take(2) == [3, 5]
    with pytest.raises(ZeroDivisionError):
        rdd.collect()


def test_words_are_counted_on_columns(sc):
    lines = ["a b a", "", "c a\tb"]
    counts = (
        sc.parallelize(lines, 1)
        .flatMap(lambda line: line.split())
        .map(lambda word: (word, 1))
        .reduceByKey(operator.add)
    )
    assert counts.collect() == list(Counter(" ".join(lines).split()).items())
    assert [(step.operation, step.tier) for step in counts.compiled()] == [
        ("flatMap", "T1"), ("map", "T0"), ("reduceByKey", "T1"), ("reduceByKey", "T1")]  # fmt: skip


def test_steps_say_why_they_are_not_compiled(sc):
    rdd = sc.parallelize([1, 2, 3], 1).map(lambda x: x + 1).map(lambda x: str(x))
    found = rdd.compiled()
    assert [(step.operation, step.tier, step.reason) for step in found] == [
        ("map", "T1", ""), ("map", "T2", "it refers to 'str'")]  # fmt: skip
    assert "compiled loop" in repr(found)
    assert sc.emptyRDD().map(abs).compiled()[0].reason == "there are no elements, or they are kept"


counted = 0


def test_functions_see_what_others_of_their_stage_change(sc):
    seen = []

    def count(x):
        global counted
        counted += 1
        seen.append(x)
        return x

    rdd = sc.parallelize([5, 6, 7], 1).map(count)
    start = rdd.map(lambda x: counted).take(1)[0]
    assert rdd.map(lambda x: x + counted).collect() == [5 + start, 7 + start, 9 + start]
    assert rdd.map(lambda x: len(seen)).collect() == [1, 2, 3]


def test_verifying_finds_what_differs():
    with pytest.raises(AssertionError, match=r"map on columns gives True for result 1 .* Python gives 1"):
        verifying.compare("map", [0, True], [0, 1])
    with pytest.raises(AssertionError):
        verifying.compare("map", [0.0], [-0.0])
    verifying.compare("map", [NAN], [math.nan])

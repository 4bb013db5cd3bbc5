"""`flatMap` and `flatMapValues` on columns give what they give in plain Python."""

import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .python_loops import loop_in_python

from ironlake.rdd import SparkContext, batches
from ironlake.rdd.tiers import columns, grouping, verifying


@pytest.fixture(scope="module")
def sc():
    """A context whose smallest batches are done on columns, by loops that need not be compiled."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setattr(columns, "compiled", loop_in_python)
        patch.setattr(batches, "FEW", 0)
        patch.setattr(columns, "LEAST_ROWS", 1)
        patch.setattr(grouping, "LEAST_PAIRS", 1)
        patch.setattr(verifying, "is_on", True)
        with SparkContext("local[1]", "flat") as context:
            yield context


def test_many_elements_of_one_are_all_reduced():
    with SparkContext("local[1]", "few") as context:
        pairs = context.parallelize([("a", 1), ("b", 2)], 1).reduceByKey(max, 2)
        many = pairs.flatMap(lambda pair: [(name, 1) for name in "abc"])
        assert sorted(many.reduceByKey(lambda one, two: one + two, 2).collect()) == [("a", 2), ("b", 2), ("c", 2)]


def shares(page):
    links, rank = page[1]
    for link in links:
        share = rank / len(links)
        yield link, share


def running_totals(page):
    total = 0
    for link in page[1][0]:
        total = total + link
        yield total


def every_second(page):
    is_odd = False
    for link in page[1][0]:
        is_odd = not is_odd
        if is_odd:
            yield link


PAGES = [(1, ([4, 5, 6], 0.5)), (2, ([7], 1.5)), (3, ([8, 9], 0.25)), (4, ([1, 2, 3, 4, 5], 2.0))]
FUNCTIONS = {
    "list": (lambda page: [(link, page[1][1] / len(page[1][0])) for link in page[1][0]], "T1"),
    "generator expression": (lambda page: ((link, page[1][1]) for link in page[1][0]), "T0"),
    "generator": (shares, "T1"),
    "members": (lambda page: page[1][0], "T0"),
    "both directions": (lambda page: [(page[0], 1), (page[0] * 2, len(page[1][0]))], "T1"),
    "tuple": (lambda page: (page[0], page[0]), "T0"),
    "total": (running_totals, "depend on other members"),
    "state": (every_second, "how many results"),
    "slice": (lambda page: [link + 1 for link in page[1][0]][:4], "it takes a part of a list"),
    "condition": (lambda page: [link for link in page[1][0] if link > 4], "depends on conditions"),
    "sum": (lambda page: [(page[0], sum(page[1][0]))], "it refers to 'sum'"),
    "limited": (lambda page: [link for link, _ in zip(page[1][0], (1, 1, 1, 1), strict=False)], "it refers to 'zip'"),
    "loops in loops": (lambda page: [(a, b) for a in page[1][0] for b in page[1][0]], "how many results"),
    "unpacked": (lambda page: [(lambda a, *rest: a)(*page[1][0])], "it goes through a list"),
    "itself": (lambda page: [page[1][0] for _ in page[1][0]], "a list is in several of its results"),
    "text": (lambda page: "ab", "it returns a str"),
}


@pytest.mark.parametrize(("function", "how"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_results_of_lists(sc, function, how):
    rdd = sc.parallelize(PAGES, 1).flatMap(function)
    assert repr(rdd.collect()) == repr([each for page in PAGES for each in function(page)])
    (step,) = rdd.compiled()
    assert how in (step.tier if len(how) == 2 else step.reason)


def test_empty_lists_fail_as_in_python(sc):
    def share(page):
        part = 1.0 / len(page[1])
        return [(link, part) for link in page[1]]

    assert sc.parallelize([(1, [2, 3]), (2, [4])], 1).flatMap(share).collect() == [(2, 0.5), (3, 0.5), (4, 1.0)]
    with pytest.raises(ZeroDivisionError):
        sc.parallelize([(1, [2, 3]), (2, [])], 1).flatMap(share).collect()


def test_values_have_their_keys(sc):
    pairs = [(1, [1.5, 2.5]), (2, []), (3, [0.5])]
    rdd = sc.parallelize(pairs, 1)
    expected = [(key, value * 2) for key, values in pairs for value in values]
    assert rdd.flatMapValues(lambda values: [value * 2 for value in values]).collect() == expected
    assert sc.parallelize([(1, "a b"), (2, "c")], 1).flatMapValues(str.split).collect() == [
        (1, "a"),
        (1, "b"),
        (2, "c"),
    ]


SPLITS = [str.split, lambda text: text.split(), lambda text: text.split(" "), lambda text: text.split("ab")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.sampled_from("ab \t\n\x1c\x1féЖ\u00a0\u2003日"), max_size=9), min_size=1),
    st.sampled_from(SPLITS),
)
def test_words_are_those_of_split(sc, texts, function):
    rdd = sc.parallelize(texts, 1).flatMap(function)
    assert rdd.collect() == [word for text in texts for word in function(text)]
    assert rdd.compiled()[0].tier == "T1"


def test_values_of_keys_are_lists_and_counted(sc):
    pairs = [(place * 7 % 5, place) for place in range(20)]
    grouped = sc.parallelize(pairs, 2).groupByKey(1)
    expected = {}
    for key, value in pairs:
        expected.setdefault(key, []).append(value)
    assert [(key, list(values)) for key, values in grouped.collect()] == list(expected.items())
    assert grouped.mapValues(list).collect() == list(expected.items())
    assert grouped.mapValues(len).collect() == [(key, len(values)) for key, values in expected.items()]
    assert [step.tier for step in grouped.mapValues(list).compiled()] == ["T0"]
    twice = sc.parallelize([(1, [2])], 1).map(lambda pair: (pair[1], pair[1]))
    assert twice.compiled()[0].reason == "a list is in its result twice"

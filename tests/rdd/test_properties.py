"""RDDs of whatever elements give what plain Python gives."""

import functools
import itertools
import operator
from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from ironlake.rdd import SparkContext, portable_hash


@pytest.fixture(scope="module")
def sc():
    with SparkContext("local[2]", "properties") as context:
        yield context


integers = st.integers(-5, 5) | st.integers(-(2**70), 2**70)
floats = st.floats(allow_nan=False)
scalars = st.none() | st.booleans() | integers | floats | st.text(max_size=3) | st.binary(max_size=3)
hashable = scalars | st.tuples(scalars, st.tuples(scalars))
anything = (
    hashable
    | st.lists(scalars, max_size=3)
    | st.dictionaries(st.text(max_size=2), scalars, max_size=2)
    | st.sets(integers, max_size=2)
)
#: Lists of one type, which are columns, and of several, which are not.
same = st.one_of(
    *(
        st.lists(each, max_size=30)
        for each in (integers, floats, st.text(max_size=3), st.tuples(integers, floats), st.booleans())
    )
)
mixed = same | st.lists(anything, max_size=30)
numbers = st.lists(st.integers(-(2**63), 2**63 - 1) | floats, max_size=30) | st.lists(
    st.integers(-(2**66), 2**66), max_size=30
)
keys = st.sampled_from([0, 1, True, 1.0, -1, -2, "a", "", None, (1, "x"), 2**61 - 1, b"k"])
pairs = st.lists(st.tuples(keys, integers), max_size=30) | st.lists(
    st.tuples(st.integers(-3, 3), st.floats(-10, 10)), max_size=30
)
slices = st.integers(1, 4)
quickly = settings(max_examples=25, deadline=None, database=None, derandomize=True)


def typed(value):
    """A value with the types of all that is in it: 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return dict, [(typed(key), typed(each)) for key, each in value.items()]
    if isinstance(value, tuple | list):
        return type(value), [typed(each) for each in value]
    return type(value), repr(value)


def alike(found, wanted):
    assert typed(found) == typed(wanted)


def any_order(found, wanted):
    assert Counter(map(repr, map(typed, found))) == Counter(map(repr, map(typed, wanted)))


@quickly
@given(mixed, slices)
def test_elements_come_back(sc, elements, count):
    rdd = sc.parallelize(elements, count)
    alike(rdd.collect(), elements)
    assert rdd.count() == len(elements)
    alike(list(itertools.chain.from_iterable(rdd.glom().collect())), elements)
    alike(rdd.take(3), elements[:3])
    alike(list(rdd.toLocalIterator()), elements)


@quickly
@given(mixed, slices)
def test_map_and_filter(sc, elements, count):
    rdd = sc.parallelize(elements, count)
    alike(rdd.map(lambda each: (each, 1)).collect(), [(each, 1) for each in elements])
    alike(rdd.map(lambda each: [each, str(each)]).collect(), [[each, str(each)] for each in elements])
    alike(rdd.filter(bool).collect(), [each for each in elements if each])
    alike(rdd.flatMap(lambda each: [each] * 2).collect(), [each for each in elements for _ in range(2)])
    alike(rdd.keyBy(type).mapValues(lambda each: not each).collect(), [(type(each), not each) for each in elements])


@quickly
@given(numbers, slices)
def test_arithmetic(sc, elements, count):
    rdd = sc.parallelize(elements, count)
    alike(rdd.map(lambda n: n * 2 + 1).collect(), [n * 2 + 1 for n in elements])
    alike(rdd.filter(lambda n: n > 0).map(lambda n: (n, -n)).collect(), [(n, -n) for n in elements if n > 0])
    alike(rdd.map(lambda n: n if n < 10 else 0.5).collect(), [n if n < 10 else 0.5 for n in elements])
    parts = rdd.glom().collect()
    alike(rdd.sum(), functools.reduce(operator.add, map(sum, parts), 0))
    alike(
        rdd.fold(1, operator.add),
        functools.reduce(operator.add, [functools.reduce(operator.add, part, 1) for part in parts], 1),
    )
    if elements:
        wanted = [functools.reduce(operator.add, part) for part in parts if part]
        alike(rdd.reduce(operator.add), functools.reduce(operator.add, wanted))
        alike(rdd.max(), max(max(part) for part in parts if part))


def grouped(elements):
    """Values by key, keys as they first come."""
    groups = {}
    for key, value in elements:
        groups.setdefault(key, []).append(value)
    return groups


@quickly
@given(pairs, slices, slices)
def test_values_by_key(sc, elements, count, reducers):
    rdd = sc.parallelize(elements, count)
    groups = grouped(elements)
    any_order(rdd.groupByKey(reducers).mapValues(list).collect(), groups.items())
    found = rdd.reduceByKey(operator.add, reducers)
    by_part = [grouped(part) for part in rdd.glom().collect()]
    sums = {
        key: functools.reduce(
            operator.add, [functools.reduce(operator.add, part[key]) for part in by_part if key in part]
        )
        for key in groups
    }
    any_order(found.collect(), sums.items())
    for place, part in enumerate(found.keys().glom().collect()):
        assert all(portable_hash(key) % reducers == place for key in part)
    any_order(rdd.distinct(reducers).collect(), dict.fromkeys(elements))
    assert dict(rdd.countByKey()) == {key: len(values) for key, values in groups.items()}


@quickly
@given(pairs, pairs, slices)
def test_joins(sc, left, right, count):
    one, other = sc.parallelize(left, count), sc.parallelize(right, 2)
    ours, theirs = grouped(left), grouped(right)
    # of equal keys that differ, 1 and True, the left one is kept, as it comes first
    both = {key: (ours.get(key, []), theirs.get(key, [])) for key in [*ours, *theirs]}
    any_order([(key, tuple(map(list, values))) for key, values in one.cogroup(other, count).collect()], both.items())
    product = [(key, pair) for key, (mine, yours) in both.items() for pair in itertools.product(mine, yours)]
    any_order(one.join(other, count).collect(), product)
    outer = [
        (key, pair)
        for key, (mine, yours) in both.items()
        for pair in itertools.product(mine or [None], yours or [None])
    ]
    any_order(one.fullOuterJoin(other, count).collect(), outer)
    any_order(one.leftOuterJoin(other, count).collect(), [each for each in outer if each[0] in ours])
    any_order(
        one.subtractByKey(other, count).collect(),
        [(key, value) for key, values in ours.items() for value in values if key not in theirs],
    )


@quickly
@given(
    st.lists(st.tuples(st.integers(-9, 9) | floats, st.integers()), max_size=40)
    | st.lists(st.tuples(st.text(max_size=2), st.none()), max_size=40),
    slices,
    slices,
    st.booleans(),
)
def test_order(sc, elements, count, parts, ascending):
    found = sc.parallelize(elements, count).sortByKey(ascending, parts)
    alike(found.collect(), sorted(elements, key=lambda pair: pair[0], reverse=not ascending))
    keys = [key for key, _ in elements]
    alike(
        sc.parallelize(keys, count).sortBy(lambda key: key, ascending, parts).collect(),
        sorted(keys, reverse=not ascending),
    )
    alike(sc.parallelize(keys, count).takeOrdered(3), sorted(keys)[:3])


@quickly
@given(st.lists(anything, max_size=30), slices, slices)
def test_places(sc, elements, count, fewer):
    rdd = sc.parallelize(elements, count)
    alike(rdd.zipWithIndex().collect(), list(zip(elements, itertools.count())))
    alike(rdd.zip(rdd.map(repr)).collect(), [(each, repr(each)) for each in elements])
    together = rdd.coalesce(fewer)
    assert together.getNumPartitions() == min(count, fewer)
    alike(together.collect(), elements)
    any_order(rdd.repartition(fewer).collect(), elements)
    alike(rdd.union(rdd).collect(), elements * 2)


@quickly
@given(st.lists(hashable, max_size=20), st.lists(hashable, max_size=20), slices)
def test_sets(sc, left, right, count):
    one, other = sc.parallelize(left, count), sc.parallelize(right, count)
    assert Counter(one.intersection(other).collect()) == Counter(set(left) & set(right))
    any_order(one.subtract(other).collect(), [each for each in left if each not in set(right)])
    assert one.countByValue() == Counter(left)
    any_order(one.groupBy(type, count).mapValues(list).collect(), grouped((type(each), each) for each in left).items())

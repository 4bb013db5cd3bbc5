"""Sorting and grouping in little memory gives the same, in the same order."""

import random
from collections.abc import Iterator

import pytest
from conftest import new_context, stop_and_check

from ironlake.rdd import RDD, SparkContext


@pytest.fixture(scope="module")
def sc() -> Iterator[SparkContext]:
    """A context whose tasks may hold little or much."""
    context = new_context("local[1]")
    yield context
    stop_and_check(context)


def pairs(sc: SparkContext, keys: int) -> RDD:
    """Pairs that Python has to look at, one by one, since their keys have several types."""
    chosen = random.Random(3)
    kinds = [int, float, str, lambda key: (key, "tuple")]
    return sc.parallelize([(kinds[place % 4](chosen.randrange(keys)), 1 / (place + 1)) for place in range(6000)], 1)


PROGRAMS = {
    "sortByKey": lambda rdd: rdd.sortByKey(True, 1, str),
    "falling": lambda rdd: rdd.sortByKey(False, 1, str),
    "reduceByKey": lambda rdd: rdd.reduceByKey(lambda a, b: a * 0.5 + b),
    "groupByKey": lambda rdd: rdd.groupByKey().mapValues(list),
    "combineByKey": lambda rdd: rdd.combineByKey(
        lambda v: [v, 1], lambda c, v: [c[0] + v, c[1] + 1], lambda a, b: [a[0] + b[0], a[1] + b[1]]
    ),
    "cogroup": lambda rdd: rdd.cogroup(rdd.mapValues(lambda v: v + 1)).mapValues(
        lambda groups: tuple(map(list, groups))
    ),
    "fullOuterJoin": lambda rdd: rdd.fullOuterJoin(rdd.mapValues(lambda _: 0).distinct(), 1),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("keys", [50, 3000])
def test_spilling_changes_nothing(sc: SparkContext, name: str, keys: int) -> None:
    rdd = pairs(sc, keys)
    sc._scheduler.task_memory = 512 << 20
    before = sc.events().num_rows
    expected = repr(PROGRAMS[name](rdd).collect())
    assert not any(sc.events().slice(before).column("spill_disk_bytes").to_pylist())
    sc._scheduler.task_memory = 50_000
    before = sc.events().num_rows
    assert repr(PROGRAMS[name](rdd).collect()) == expected
    rows = sc.events().slice(before).to_pylist()
    if keys > 50 or name not in ("reduceByKey", "combineByKey"):  # few sums are small
        assert any(row["spill_disk_bytes"] > 0 and row["spill_mem_bytes"] > 50_000 for row in rows)
    assert not list(sc._folder.rglob("spill-*"))


COLUMNS = {
    "sortByKey": lambda rdd: rdd.sortByKey(True, 2),
    "reduceByKey": lambda rdd: rdd.reduceByKey(lambda a, b: a * 0.5 + b),
    "groupByKey": lambda rdd: rdd.groupByKey().mapValues(list),
    "join": lambda rdd: rdd.join(rdd.reduceByKey(lambda a, b: a), 2),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_held_in_as_little_memory(sc: SparkContext, name: str) -> None:
    chosen = random.Random(4)
    rdd = sc.parallelize([(chosen.randrange(9000), chosen.random()) for _ in range(30_000)], 2)
    results, spilled, tiers = [], [], []
    for memory in (512 << 20, 300_000, 150_000, 20_000):
        sc._scheduler.task_memory = memory
        before = sc.events().num_rows
        results.append(repr(COLUMNS[name](rdd).collect()))
        rows = sc.events().slice(before)
        spilled.append(sum(filter(None, rows.column("spill_disk_bytes").to_pylist())))
        tiers.append(rows.column("tier").to_pylist())
    assert set(results) == {results[0]}
    assert "T1" in tiers[0]
    assert spilled == sorted(spilled)
    assert spilled[0] == 0 < spilled[-1]

"""Partitions that are kept: where, how many of them, and how long; and files that nobody needs any more."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from disturbed import unharmed

from ironlake.rdd import RDD, SparkContext, StorageLevel, segments

#: Partitions of the RDDs here, and bytes of each of them.
PARTITIONS, BYTES = 10, 8000


@pytest.fixture
def limited(sc: SparkContext) -> Iterator[SparkContext]:
    """The context, whose memory a test may change."""
    before = sc._blocks.limit
    yield sc
    sc._blocks.limit = before


def numbers(sc: SparkContext) -> RDD:
    """An RDD whose partitions take so many bytes."""
    return sc.parallelize(range(PARTITIONS * BYTES // 8), PARTITIONS).map(lambda x: x + 1)


def kept(rdd: RDD) -> list[int]:
    """Which partitions are kept."""
    return sorted(split for number, split in rdd.context._blocks._blocks if number == rdd.id())


def test_less_memory_keeps_a_shorter_prefix(limited: SparkContext) -> None:
    counts = []
    for share in range(0, 11, 2):
        limited._blocks.limit = PARTITIONS * BYTES * share // 10
        rdd = numbers(limited).cache()
        for _ in range(3):  # a scan in a circle does not take away what it needs next
            assert rdd.sum() == sum(range(1, PARTITIONS * BYTES // 8 + 1))
            assert kept(rdd) == list(range(share))
        assert limited._blocks.memory <= limited._blocks.limit
        counts.append(len(kept(rdd)))
        rdd.unpersist()
        assert limited._blocks.memory == 0
    assert counts == [0, 2, 4, 6, 8, 10]


def test_the_rdd_that_was_used_longest_ago_goes_first(limited: SparkContext) -> None:
    limited._blocks.limit = PARTITIONS * BYTES * 25 // 10
    one, two, three = (numbers(limited).cache() for _ in range(3))
    one.count(), two.count()
    one.count()
    three.count()
    assert (len(kept(one)), len(kept(two)), len(kept(three))) == (10, 5, 10)
    assert kept(two) == [5, 6, 7, 8, 9]
    for rdd in (one, two, three):
        rdd.unpersist()


@pytest.mark.parametrize("in_workers", [False, True])
@pytest.mark.parametrize("level", ["MEMORY_ONLY", "MEMORY_AND_DISK", "DISK_ONLY", "MEMORY_AND_DISK_2", "OFF_HEAP"])
def test_levels_with_memory_for_half(limited: SparkContext, level: str, in_workers: bool) -> None:
    size = PARTITIONS * BYTES + (4000 if in_workers else 0)  # files have headers
    limited._blocks.limit = size // 2
    rdd = (unharmed(numbers(limited)) if in_workers else numbers(limited)).persist(getattr(StorageLevel, level))
    expected = rdd.collect()
    blocks = limited._blocks.kept(rdd.id())
    in_memory = sum(block.in_memory for block in blocks)
    on_disk = len(blocks) - in_memory
    stored = getattr(StorageLevel, level)
    assert in_memory == (5 if stored.useMemory else 0) or (in_workers and in_memory == 4)
    assert on_disk == (PARTITIONS - in_memory if stored.useDisk else 0)
    assert rdd.collect() == expected
    spilled = limited._folder / "spilled"
    assert len(list(spilled.glob("kept-*"))) == on_disk
    rdd.unpersist()
    assert not list(spilled.glob("kept-*"))
    assert not list(limited._segments.glob("kept-*"))


def test_making_room_while_tasks_read(limited: SparkContext) -> None:
    rdd = unharmed(numbers(limited)).cache()
    expected = [x * 2 for x in rdd.collect()]
    limited._blocks.limit = PARTITIONS * BYTES * 15 // 10
    doubled = rdd.map(lambda x: x * 2).persist(StorageLevel.MEMORY_AND_DISK)
    assert doubled.collect() == expected
    assert doubled.collect() == expected
    rdd.unpersist(), doubled.unpersist()


def test_a_kept_file_that_is_gone_is_computed_again(sc: SparkContext) -> None:
    rdd = unharmed(numbers(sc)).cache()
    expected = rdd.collect()
    before = sc.events().num_rows
    for path in list(sc._segments.glob(f"kept-{rdd.id()}-*"))[:7]:
        path.unlink()
    assert rdd.collect() == expected
    assert "FETCH_FAILED" in sc.events().slice(before).column("status").to_pylist()
    assert len(kept(rdd)) == PARTITIONS
    rdd.unpersist()


def test_what_nobody_refers_to_is_removed(sc: SparkContext) -> None:
    pairs = sc.parallelize([(place % 7, place) for place in range(100)], 3)
    ranks = pairs.mapValues(float)
    for turn in range(5):  # as iterative programs do
        ranks = unharmed(ranks).reduceByKey(lambda a, b: a + b, 3 + turn % 2).cache()
        ranks.count()
    assert len(list(sc._segments.glob("shuffle-*"))) == 17
    value = sc.broadcast([1, 2, 3])
    path = value._path
    assert unharmed(pairs).map(lambda _, told=value: told.value[0]).sum() == 100
    del ranks, value
    gc.collect()
    sc.parallelize([1]).count()
    assert [path.name for path in sc._segments.iterdir()] == [segments.OVERFLOW]
    assert not path.exists()
    assert sc._blocks.memory == 0


def test_checkpoints(sc: SparkContext, tmp_path: Path) -> None:
    sc.setCheckpointDir(str(tmp_path))
    rdd = unharmed(sc.parallelize([(place % 7, place) for place in range(100)], 3)).reduceByKey(lambda a, b: a + b)
    rdd.checkpoint()
    expected = rdd.collect()
    assert rdd.isCheckpointed()
    assert Path(rdd.getCheckpointFile() or "").is_relative_to(tmp_path)
    before = sc.events().num_rows
    assert rdd.collect() == expected
    gc.collect()
    sc.parallelize([1]).count()
    assert not list(sc._segments.glob("shuffle-*"))  # the lineage is forgotten
    assert not any(sc.events().slice(before).column("shuffle_read_local_bytes").to_pylist())
    local = unharmed(sc.parallelize(range(10), 2).map(lambda x: x * x))
    local.localCheckpoint()
    assert local.sum() == local.sum() == 285
    assert local.isCheckpointed()
    assert b"parallelize" not in local.toDebugString()


def test_checkpoints_are_chosen_where_losing_would_cost_more(sc: SparkContext) -> None:
    sums = sc.parallelize([(place % 7, place) for place in range(100)], 3).reduceByKey(lambda a, b: a + b).cache()
    alone = numbers(sc).cache()
    expected = sums.collect()
    try:
        sc.setAutoCheckpoint(1e9)
        assert (sums.collect(), alone.count(), sums.isCheckpointed()) == (expected, PARTITIONS * BYTES // 8, False)
        for key in [*sc._scheduler.seconds]:
            sc._scheduler.seconds[key] = {0: 1e4}
        assert alone.count() == PARTITIONS * BYTES // 8
        assert sums.collect() == expected
    finally:
        sc.setAutoCheckpoint(None)
    assert (sums.isCheckpointed(), alone.isCheckpointed()) == (True, False)
    assert sums.unpersist().collect() == expected
    with pytest.raises(ValueError, match=r"mtbf_s is 0; expected more than 0"):
        sc.setAutoCheckpoint(0)

"""Workers that end at any moment: results keep every bit, and only what was lost is computed again."""

import ctypes
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from disturbed import PROGRAMS, Deadly, killer, successes, unharmed

from ironlake.rdd import SparkContext, TaskContext


def rows_since(sc: SparkContext, before: int) -> list[dict]:
    """The rows of the event log after the first so many."""
    return sc.events().slice(before).to_pylist()


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_keep_every_bit_while_workers_die(sc: SparkContext, name: str) -> None:
    expected = repr(PROGRAMS[name](sc, unharmed, 400, 4))
    before = sc.events().num_rows
    assert repr(PROGRAMS[name](sc, Deadly(11, 0.5), 400, 4)) == expected
    rows = rows_since(sc, before)
    counts = Counter(row["status"] for row in rows)
    assert counts["WORKER_LOST"] >= 2
    assert set(successes(rows).values()) == {1}  # no partition of any stage was computed again


def test_kills_from_outside(sc: SparkContext) -> None:
    expected = repr(PROGRAMS["chain"](sc, unharmed, 400, 4))
    with killer(sc, 1, 0.2) as moments:
        while len(moments) < 5:
            assert repr(PROGRAMS["chain"](sc, unharmed, 400, 4)) == expected


def test_only_kept_partitions_of_the_dead_worker_are_computed_again(sc: SparkContext) -> None:
    dealt = unharmed(sc.parallelize([(place, place / 3) for place in range(800)], 8).repartition(8))
    points = dealt.map(lambda pair: pair[1]).cache()

    def iteration() -> tuple[float, int]:
        before = sc.events().num_rows
        total = points.map(lambda x: x * x if os.getpid() else 0).reduce(lambda a, b: a + b)
        return total, sum(1 for row in rows_since(sc, before) if row["shuffle_read_local_bytes"])

    first, computed = iteration()
    assert computed == 8
    assert iteration() == (first, 0)
    owners = Counter(block.worker for block in sc._blocks.kept(points.id()))
    sc.killWorker(0)
    lost = 8 - len(sc._blocks.kept(points.id()))
    assert lost in owners.values()
    assert iteration() == (first, lost)
    assert iteration() == (first, 0)
    points.unpersist()


def shuffle_files(sc: SparkContext) -> list[Path]:
    """The files of shuffles."""
    return sorted(sc._segments.glob("shuffle-*"))


def with_a_wrong_bit(content: bytes) -> bytes:
    """The bytes with one bit turned."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("harm", ["gone", "damaged", "cut"])
def test_a_lost_output_is_computed_again_and_no_other(sc: SparkContext, harm: str) -> None:
    pairs = unharmed(sc.parallelize([(place % 37, 1 / (place + 1)) for place in range(2000)], 4))
    sums = pairs.reduceByKey(lambda a, b: a + b, 4)
    before = set(shuffle_files(sc))
    expected = sums.collect()
    start = sc.events().num_rows
    victim = [path for path in shuffle_files(sc) if path not in before][2]
    content = victim.read_bytes()
    victim.unlink()  # readers may have mapped it
    if harm != "gone":
        victim.write_bytes(content[: len(content) // 2] if harm == "cut" else with_a_wrong_bit(content))
    assert sums.collect() == expected
    rows = rows_since(sc, start)
    assert any(row["status"] == "FETCH_FAILED" for row in rows)
    again = {key: times for key, times in successes(rows).items() if key[0] != rows[-1]["stage_id"]}
    assert list(again.values()) == [1]
    assert next(iter(again))[1] == 2


def test_outputs_that_were_not_needed_are_computed_when_they_are(sc: SparkContext) -> None:
    sums = unharmed(sc.parallelize([(place % 7, place) for place in range(100)], 3)).reduceByKey(lambda a, b: a + b)
    kept = sums.mapValues(lambda x: x + 1 if os.getpid() else x).cache()
    expected = kept.collect()
    kept.cleanShuffleDependencies()

    def die_once(split: int, elements: object) -> object:
        if split == 0 and TaskContext.get().attemptNumber() == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return elements

    assert kept.mapPartitionsWithIndex(die_once).collect() == expected
    kept.unpersist()
    assert kept.collect() == expected


def test_everything_lost_at_once(sc: SparkContext) -> None:
    rdd = unharmed(sc.parallelize([(place % 5, 0.1 * place) for place in range(50)], 6))
    before = set(shuffle_files(sc))
    for _ in range(3):
        rdd = unharmed(rdd.reduceByKey(lambda a, b: a + b, 6))
    expected = rdd.collect()
    for path in set(shuffle_files(sc)) - before:
        path.unlink()
    assert rdd.collect() == expected


def test_lineage_deeper_than_the_stack(sc: SparkContext) -> None:
    rdd = sc.parallelize([(0, 1), (1, 1)], 1)
    for stage in range(400):
        rdd = rdd.map(lambda pair: (pair[0] + 1, pair[1])).partitionBy(1, lambda key, stage=stage: key + stage)
    assert rdd.collect() == [(400, 1), (401, 1)]


def test_a_worker_that_hangs_is_ended(sc: SparkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sc._pool, "_silence_seconds", 3.0)

    def stop_once(split: int, elements: object) -> object:
        if split == 0 and TaskContext.get().attemptNumber() == 0:
            ctypes.PyDLL(None).pause()  # with Python's lock held
        return elements

    start = sc.events().num_rows
    assert sc.parallelize(range(4), 2).mapPartitionsWithIndex(stop_once).collect() == [0, 1, 2, 3]
    assert "WORKER_LOST" in [row["status"] for row in rows_since(sc, start)]

"""Contexts with settings of their own, and contexts that end in the middle of things."""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import children_of, is_running
from disturbed import in_thread, stuck, unharmed, until

from ironlake.rdd import BarrierTaskContext, TaskContext


def test_a_master_without_tries_tries_once(context_with) -> None:
    def fails(elements: Iterable) -> Iterable:
        raise LookupError(f"try {TaskContext.get().attemptNumber()}")

    sc = context_with("local[2]")
    with pytest.raises(LookupError, match="try 0"):
        sc.parallelize(range(4), 2).mapPartitions(fails).collect()
    with pytest.raises(RuntimeError, match="1 workers ended by exit status 3"):
        sc.parallelize(range(4), 2).mapPartitions(lambda _: os._exit(3)).collect()


def test_a_slow_task_gets_a_twin(context_with, tmp_path: Path) -> None:
    settings = {
        "spark__speculation": "true",
        "spark__speculation__quantile": 0.5,
        "spark__speculation__minTaskRuntime": "50ms",
    }
    sc = context_with("local[2,2]", **settings)
    added = sc.accumulator(0)
    mark = str(tmp_path / "begun")

    def sticks(split: int, elements: Iterable) -> Iterable:
        if split == 1 and not Path(mark).exists():
            Path(mark).touch()
            signal.pause()  # for ever: only the twin can be done
        for element in elements:
            added.add(1)
            yield element, split

    pairs = sc.parallelize(range(40), 4).mapPartitionsWithIndex(sticks).partitionBy(2)
    assert pairs.count() == 40
    assert added.value == 40
    rows = [row for row in sc.events().to_pylist() if row["partition"] == 1 and row["stage_id"] == 0]
    assert sorted((row["status"], row["speculative"]) for row in rows) == [("KILLED", False), ("SUCCESS", True)]
    assert len(list(sc._segments.glob("shuffle-*"))) == 4


def test_barriers(context_with) -> None:
    sc = context_with("local[2,2]", spark__barrier__sync__timeout="300ms")
    rdd = sc.parallelize(range(4), 2).barrier()

    def say(elements: Iterable) -> Iterable:
        told = BarrierTaskContext.get().allGather(str(sum(elements)))
        BarrierTaskContext.get().barrier()
        return told

    assert rdd.mapPartitions(say).collect() == ["1", "5", "1", "5"]

    def fail_once(elements: Iterable) -> Iterable:
        context = BarrierTaskContext.get()
        if context.partitionId() == 1 and context.attemptNumber() == 0:
            os._exit(1)
        context.barrier()
        return [context.attemptNumber()]

    assert rdd.mapPartitions(fail_once).collect() == [1, 1]  # all are run again

    def one_waits(elements: Iterable) -> Iterable:
        if BarrierTaskContext.get().partitionId() == 0:
            BarrierTaskContext.get().barrier()
        return elements

    with pytest.raises(RuntimeError, match=r"1 of 2 tasks waited at a barrier for 0\.3 s"):
        rdd.mapPartitions(one_waits).collect()
    with pytest.raises(ValueError, match="has 3 partitions"):
        sc.parallelize(range(3), 3).barrier().mapPartitions(say).collect()
    assert rdd.mapPartitions(say).collect() == ["1", "5", "1", "5"]


def test_a_context_after_the_other(context_with) -> None:
    for _ in range(2):
        sc = context_with("local[2]")
        assert unharmed(sc.parallelize(range(8), 2)).sum() == 28
        sc.stop()
        sc.stop()
        with pytest.raises(RuntimeError, match="was stopped"):
            sc.parallelize([1])


def test_a_stage_that_never_finds_its_input_fails(context_with) -> None:
    sc = context_with(spark__stage__maxConsecutiveAttempts=2)
    folder = str(sc._segments)

    def destroy(elements: Iterable) -> Iterable:
        for path in Path(folder).glob("shuffle-*"):
            path.unlink()
        return elements

    destroying = sc.parallelize(range(2), 2).mapPartitions(destroy)
    with pytest.raises(RuntimeError, match="failed 2 times without any progress, last because the output of partition"):
        destroying.zip(sc.parallelize([(0, 0), (1, 1)], 2).partitionBy(2, int)).collect()


def test_what_is_computed_again_differently_is_noticed(context_with) -> None:
    sc = context_with("local[1]", ironlake__checksums="true")
    mark = sc._folder / "mark"
    for is_random in (False, True):
        mark.unlink(missing_ok=True)
        kinds = sc.parallelize(range(8), 2).map(
            lambda x, path=str(mark), r=is_random: (x % 3, r and Path(path).exists())
        )
        grouped = kinds.groupByKey().mapValues(len)
        before = set(sc._segments.glob("shuffle-*"))
        assert grouped.count() == 3
        for path in set(sc._segments.glob("shuffle-*")) - before:
            path.unlink()
        mark.touch()
        if is_random:
            with pytest.warns(
                UserWarning, match=r"partition \d of the map side of shuffle 1 was computed again, and differs"
            ):
                assert grouped.count() == 3
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert grouped.count() == 3


def test_large_workers_are_replaced(context_with) -> None:
    sc = context_with("local[1]", spark__executor__pyspark__memory="1m")
    kept = sc.parallelize(range(3), 3).map(lambda _: os.getpid()).cache()
    pids = kept.collect()
    assert len(set(pids)) == 3
    assert kept.collect() == pids  # what they kept stays


PROGRAM = """
import os, signal, sys, time
from ironlake.rdd import SparkContext
sc = SparkContext("local[2]")
stuck = lambda elements: [signal.pause()]
rdd = sc.parallelize(range(8), 2).map(lambda x: (x, os.getpid())).partitionBy(2)
rdd.count()
try:
    print(sc._pool._server._process.pid, sc._folder, sc._segments, flush=True)
    rdd.mapPartitions(stuck).collect()
except KeyboardInterrupt:
    assert rdd.count() == 8  # a context lives on
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_driver_that_is_ended(sent: signal.Signals) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    pid, *folders = driver.stdout.readline().split()
    processes = {int(pid), *children_of(int(pid))}
    assert len(processes) == 3
    driver.send_signal(sent)
    out, err = driver.communicate(timeout=60)
    until(lambda: not any(map(is_running, processes)))
    assert not any(map(os.path.lexists, folders))
    assert out == ("interrupted\n" if sent == signal.SIGINT else ""), err


def test_a_context_stops_while_tasks_run(context_with) -> None:
    sc = context_with("local[2]")
    errors: list[BaseException] = []
    thread = in_thread(lambda: sc.parallelize(range(8), 2).mapPartitions(stuck).collect(), errors)
    until(lambda: sc.statusTracker().getActiveStageIds())
    sc.stop()
    thread.join(60)
    assert [type(error).__name__ for error in errors] == ["JobCancelled"]

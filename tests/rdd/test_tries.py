"""Tasks that fail, wait, are slow, or run together; jobs that are cancelled; contexts that end in the middle of things."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from conftest import children_of, is_running
from disturbed import unharmed

from ironlake.rdd import BarrierTaskContext, SparkContext, TaskContext


def statuses(sc: SparkContext) -> Counter:
    """How many tries ended in which way."""
    return Counter(sc.events().column("status").to_pylist())


def dies(how: Callable[[], object], tries: int) -> Callable[[Iterable], Iterable]:
    """A function of partitions that ends the worker the first times."""

    def function(elements: Iterable) -> Iterable:
        if TaskContext.get().attemptNumber() < tries:
            how()
        return [sum(elements)]

    return function


def test_workers_that_end_by_their_own_doing(context_with) -> None:
    sc = context_with("local[2,3]")
    numbers = sc.parallelize(range(40), 2)
    for how in (
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        lambda: os.kill(os.getpid(), signal.SIGSEGV),
        lambda: os._exit(0),
        sys.exit,
    ):
        assert numbers.mapPartitions(dies(how, 1)).collect() == [190, 590]
    with pytest.raises(RuntimeError, match=r"workers ended by exit status 3 while they computed partition [01]"):
        numbers.mapPartitions(dies(lambda: os._exit(3), 9)).collect()
    with pytest.raises(RuntimeError, match="5 workers ended by signal SIGKILL.*may have run out of memory"):
        numbers.mapPartitions(dies(lambda: os.kill(os.getpid(), signal.SIGKILL), 9)).collect()
    assert numbers.mapPartitions(dies(os.getpid, 1)).collect() == [190, 590]


def test_a_failure_is_tried_again_as_often_as_the_master_says(context_with) -> None:
    sc = context_with("local[2,3]")

    def fails(elements: Iterable) -> Iterable:
        if os.getpid() and TaskContext.get().partitionId() == 1:
            raise LookupError(f"try {TaskContext.get().attemptNumber()}")
        return elements

    with pytest.raises(LookupError, match="try 2") as caught:
        sc.parallelize(range(4), 2).mapPartitions(fails).collect()
    assert "partition 1" in caught.value.__notes__[0]
    failed = [row for row in sc.events().to_pylist() if row["status"] == "FAILED"]
    assert [(row["partition"], row["attempt"]) for row in failed] == [(1, 0), (1, 1), (1, 2)]
    assert failed[-1]["reason"] == "LookupError: try 2"
    sc.stop()
    plain = context_with("local[2]")
    with pytest.raises(LookupError, match="try 0"):
        plain.parallelize(range(4), 2).mapPartitions(fails).collect()


def test_only_tries_that_succeed_count(context_with) -> None:
    sc = context_with("local[2,4]")
    each, once = sc.accumulator(0), sc.accumulator(0, exactly_once=True)

    def count(x: int) -> int:
        each.add(1)
        once.add(1)
        return x if os.getpid() else 0

    def fail_once(elements: Iterable) -> Iterable:
        found = list(elements)
        if TaskContext.get().attemptNumber() == 0:
            raise OSError("the first try")
        return found

    counted = sc.parallelize(range(10), 2).map(count)
    assert counted.mapPartitions(fail_once).count() == 10
    assert (each.value, once.value) == (10, 10)
    counted.count()
    assert (each.value, once.value) == (20, 10)


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


def in_thread(action: Callable[[], object], errors: list[BaseException]) -> threading.Thread:
    """A thread that does something, and what it raises."""

    def run() -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(is_so: Callable[[], object]) -> None:
    """Wait for something that another thread or process does."""
    limit = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.01)


def stuck(elements: Iterable) -> Iterable:
    """A function that is never done."""
    signal.pause()
    return elements


@pytest.mark.parametrize("how", ["group", "tag", "all", "stop"])
def test_jobs_are_cancelled_while_tasks_run(context_with, how: str) -> None:
    sc = context_with("local[2]")
    kept = unharmed(sc.parallelize(range(8), 2)).cache()
    assert kept.count() == 8
    errors: list[BaseException] = []

    def job() -> None:
        sc.setJobGroup("mine", "never done")
        sc.addJobTag("slow")
        kept.mapPartitions(stuck).collect()

    thread = in_thread(job, errors)
    until(lambda: sc.statusTracker().getActiveStageIds())
    assert sc.statusTracker().getJobIdsForGroup("mine") == sc.statusTracker().getActiveJobsIds()
    (stage,) = sc.statusTracker().getActiveStageIds()
    info = sc.statusTracker().getStageInfo(stage)
    assert (info.name, info.numTasks, info.numCompletedTasks) == ("mapPartitions", 2, 0)
    sc.cancelJobGroup("another")
    {"group": lambda: sc.cancelJobGroup("mine"), "tag": lambda: sc.cancelJobsWithTag("slow"),
     "all": sc.cancelAllJobs, "stop": sc.stop}[how]()  # fmt: skip
    thread.join(60)
    assert not thread.is_alive()
    assert [type(error).__name__ for error in errors] == ["JobCancelled"]
    if how != "stop":
        assert len(sc._blocks.kept(kept.id())) == 2  # workers are ended, but not what they kept
        assert kept.mapPartitions(lambda elements: [sum(elements), os.getpid() > 0]).collect() == [6, True, 22, True]
        assert statuses(sc)["KILLED"] >= 1


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


def test_the_worker_starter_may_end_too(context_with) -> None:
    sc = context_with("local[2,4]")
    rdd = unharmed(sc.parallelize(range(8), 4))
    assert rdd.sum() == 28
    server = sc._pool._server._process
    pids = children_of(server.pid)
    server.kill()
    until(lambda: not any(map(is_running, pids)))
    assert rdd.sum() == 28


def test_large_workers_are_replaced(context_with) -> None:
    sc = context_with("local[1]", spark__executor__pyspark__memory="1m")
    kept = sc.parallelize(range(3), 3).map(lambda _: os.getpid()).cache()
    pids = kept.collect()
    assert len(set(pids)) == 3
    assert kept.collect() == pids  # what they kept stays


def test_workers_know_variables_and_modules(context_with, tmp_path: Path) -> None:
    sc = context_with("local[2]", spark__executorEnv__ANSWER="42")
    (tmp_path / "given_to_tasks.py").write_text("def twice(x):\n    return 2 * x\n")
    rdd = sc.parallelize(range(3), 2)
    assert rdd.map(lambda _: os.environ["ANSWER"]).collect() == ["42"] * 3
    sc.addPyFile(str(tmp_path / "given_to_tasks.py"))

    def imported(x: int) -> int:
        import given_to_tasks

        return given_to_tasks.twice(x) + 0 * os.getpid()

    assert rdd.map(imported).collect() == [0, 2, 4]


PROGRAM = """
import os, signal, sys, time
from ironlake.rdd import SparkContext
sc = SparkContext("local[2]")
def stuck(elements):
    signal.pause()
    return elements
rdd = sc.parallelize(range(8), 2).map(lambda x: (x, os.getpid())).partitionBy(2)
rdd.count()
print(sc._pool._server._process.pid, sc._folder, sc._segments, flush=True)
try:
    rdd.mapPartitions(stuck).collect()
except KeyboardInterrupt:
    assert rdd.count() == 8  # a context lives on
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
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

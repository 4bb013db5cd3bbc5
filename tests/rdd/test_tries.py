"""Tasks that fail, workers that end by their own doing, jobs that are cancelled."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from conftest import children_of, is_running
from disturbed import in_thread, stuck, unharmed, until

from ironlake.rdd import SparkContext, TaskContext


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


def test_workers_that_end_by_their_own_doing(sc: SparkContext) -> None:
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


def test_a_failure_is_tried_again_as_often_as_the_master_says(sc: SparkContext) -> None:
    before = sc.events().num_rows

    def fails(elements: Iterable) -> Iterable:
        if os.getpid() and TaskContext.get().partitionId() == 1:
            raise LookupError(f"try {TaskContext.get().attemptNumber()}")
        return elements

    with pytest.raises(LookupError, match="try 3") as caught:
        sc.parallelize(range(4), 2).mapPartitions(fails).collect()
    assert "partition 1" in caught.value.__notes__[0]
    failed = [row for row in sc.events().slice(before).to_pylist() if row["status"] == "FAILED"]
    assert [(row["partition"], row["attempt"]) for row in failed] == [(1, 0), (1, 1), (1, 2), (1, 3)]
    assert failed[-1]["reason"] == "LookupError: try 3"


def test_only_tries_that_succeed_count(sc: SparkContext) -> None:
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


@pytest.mark.parametrize("how", ["group", "tag", "all"])
def test_jobs_are_cancelled_while_tasks_run(sc: SparkContext, how: str) -> None:
    kept = unharmed(sc.parallelize(range(8), 2)).cache()
    assert kept.count() == 8
    errors: list[BaseException] = []

    def job() -> None:
        sc.setJobGroup(how, "never done")
        sc.addJobTag("slow")
        kept.mapPartitions(stuck).collect()

    thread = in_thread(job, errors)
    until(lambda: sc.statusTracker().getActiveStageIds())
    assert sc.statusTracker().getJobIdsForGroup(how) == sc.statusTracker().getActiveJobsIds()
    (stage,) = sc.statusTracker().getActiveStageIds()
    info = sc.statusTracker().getStageInfo(stage)
    assert (info.name, info.numTasks, info.numCompletedTasks) == ("mapPartitions", 2, 0)
    sc.cancelJobGroup("another")
    {"group": lambda: sc.cancelJobGroup("group"), "tag": lambda: sc.cancelJobsWithTag("slow"),
     "all": sc.cancelAllJobs}[how]()  # fmt: skip
    thread.join(60)
    assert not thread.is_alive()
    assert [type(error).__name__ for error in errors] == ["JobCancelled"]
    assert len(sc._blocks.kept(kept.id())) == 2  # workers are ended, but not what they kept
    assert kept.mapPartitions(lambda elements: [sum(elements), os.getpid() > 0]).collect() == [6, True, 22, True]
    assert statuses(sc)["KILLED"] >= 1


def test_workers_know_variables_and_modules(sc: SparkContext, tmp_path: Path) -> None:
    (tmp_path / "given_to_tasks.py").write_text("def twice(x):\n    return 2 * x\n")
    rdd = sc.parallelize(range(3), 2)
    assert rdd.map(lambda _: os.environ["ANSWER"]).collect() == ["42"] * 3
    sc.addPyFile(str(tmp_path / "given_to_tasks.py"))

    def imported(x: int) -> int:
        import given_to_tasks

        return given_to_tasks.twice(x) + 0 * os.getpid()

    assert rdd.map(imported).collect() == [0, 2, 4]


def test_the_worker_starter_may_end_too(sc: SparkContext) -> None:
    rdd = unharmed(sc.parallelize(range(8), 4))
    assert rdd.sum() == 28
    server = sc._pool._server._process
    pids = children_of(server.pid)
    server.kill()
    until(lambda: not any(map(is_running, pids)))
    assert rdd.sum() == 28

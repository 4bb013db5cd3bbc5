"""What PySpark's docstrings show no example of: checkpoints, groups of jobs, threads, settings, keys that are not equal."""

import math
import threading

import pytest

from ironlake.rdd import (
    InheritableThread,
    SparkConf,
    SparkContext,
    StatCounter,
    StorageLevel,
    inheritable_thread_target,
)


@pytest.fixture(scope="module")
def sc(tmp_path_factory):
    with SparkContext("local[2]", "rest") as context:
        context.setCheckpointDir(str(tmp_path_factory.mktemp("checkpoints")))
        yield context


def test_a_checkpoint_ends_the_lineage(sc):
    calls = sc.accumulator(0)

    def counted(n):
        calls.add(1)
        return n * 2

    rdd = sc.parallelize(range(10), 2).map(counted)
    rdd.checkpoint()
    assert (rdd.isCheckpointed(), rdd.is_checkpointed, rdd.getCheckpointFile()) == (False, True, None)
    assert rdd.count() == 10
    assert rdd.isCheckpointed()
    assert rdd.getCheckpointFile().startswith(sc.getCheckpointDir())
    seen = calls.value
    assert rdd.sum() == 90
    assert calls.value == seen
    assert b"parallelize" not in rdd.toDebugString()


def test_a_local_checkpoint(sc):
    rdd = sc.parallelize(range(10), 2).map(str)
    rdd.localCheckpoint()
    assert rdd.isLocallyCheckpointed()
    assert not rdd.isCheckpointed()
    rdd.count()
    assert rdd.isCheckpointed()
    assert rdd.getCheckpointFile() is None
    assert rdd.collect() == list(map(str, range(10)))


def test_shuffles_are_forgotten(sc):
    calls = sc.accumulator(0)
    rdd = sc.parallelize([(1, 1), (2, 2)], 2).map(lambda pair: (calls.add(1), pair)[1]).groupByKey()
    rdd.count()
    rdd.count()
    assert calls.value == 2
    rdd.cleanShuffleDependencies()
    rdd.count()
    assert calls.value == 4


def test_job_groups(sc):
    with pytest.warns(FutureWarning, match="use setJobGroup"):
        assert sc.parallelize([1, 2]).collectWithJobGroup("mine", "what it is") == [1, 2]
    (job,) = sc.statusTracker().getJobIdsForGroup("mine")
    assert sc.statusTracker().getJobInfo(job).status == "SUCCEEDED"
    assert sc.statusTracker().getJobInfo(10**6) is None
    assert sc.statusTracker().getStageInfo(10**6) is None


def test_threads_inherit_properties(sc):
    seen = {}

    def look(name):
        seen[name] = sc.getLocalProperty("colour")
        sc.setLocalProperty("colour", "changed")

    sc.setLocalProperty("colour", "red")
    captured = inheritable_thread_target(look)
    sc.setLocalProperty("colour", "blue")
    threads = [
        InheritableThread(look, args=("inherited",)),
        threading.Thread(target=captured, args=("captured",)),
        threading.Thread(target=look, args=("plain",)),
    ]
    for thread in threads:
        thread.start()
        thread.join()
    assert seen == {"inherited": "blue", "captured": "red", "plain": None}
    assert sc.getLocalProperty("colour") == "blue"


def test_resources_and_statistics(sc):
    rdd = sc.parallelize([1.0, 2.0, 4.0], 2)
    assert rdd.getResourceProfile() is None
    assert rdd.withResources("profile").getResourceProfile() == "profile"
    stats = rdd.stats()
    assert isinstance(stats, StatCounter)
    assert stats.asDict() == {
        "count": 3,
        "mean": stats.mean(),
        "sum": 7.0,
        "min": 1.0,
        "max": 4.0,
        "stdev": stats.stdev(),
        "variance": stats.variance(),
    }
    assert rdd.getStorageLevel() == StorageLevel.NONE
    assert rdd.persist(StorageLevel.MEMORY_AND_DISK_2).is_cached
    assert not rdd.unpersist().is_cached


def test_each_nan_is_a_key_of_its_own(sc):
    nan = math.nan
    found = sc.parallelize([nan, 1.0, float("nan"), 1, True], 1).distinct().collect()
    assert len(found) == 3
    assert sum(map(math.isnan, found)) == 2


def test_accumulators_count_what_succeeds(sc):
    each, once = sc.accumulator(0), sc.accumulator(0, exactly_once=True)
    rdd = sc.parallelize([1, 2, 3, 4], 2).map(lambda n: (each.add(n), once.add(n), n)[2])
    rdd.count()
    rdd.count()
    assert (each.value, once.value) == (20, 10)
    with pytest.raises(ZeroDivisionError):
        rdd.map(lambda n: 1 // (n - 4)).count()
    assert (each.value, once.value) == (23, 10)  # the partition of 3 and 4 failed
    with pytest.raises(RuntimeError, match="cannot be accessed inside tasks"):
        rdd.map(lambda n: each.value).collect()


def test_broadcasts(sc):
    shared = sc.broadcast({"a": [1, 2]})
    assert sc.parallelize(["a"], 1).map(lambda key: shared.value[key]).collect() == [[1, 2]]
    shared.unpersist()
    assert shared.value == {"a": [1, 2]}
    shared.destroy()
    with pytest.raises(RuntimeError, match="was destroyed"):
        shared.value  # noqa: B018


@pytest.mark.parametrize("text", ["three", "3 apples", "", "--1"])
def test_settings_that_are_no_numbers(text):
    with pytest.raises(ValueError, match="SparkConf: spark.x is .*; expected a number, such as 3, 100ms or 512m"):
        SparkConf().set("spark.x", text).number("spark.x", 1)


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("100ms", 0.1), ("2 min", 120), ("1.5k", 1536), ("512m", 2**29), ("1GB", 2**30)]
)
def test_settings_that_are_numbers(text, value):
    assert SparkConf().set("spark.x", text).number("spark.x", 1) == pytest.approx(value)


def test_settings_of_variables():
    conf = SparkConf().setAll([("a", 1)]).setIfMissing("a", 2).set("b", True)
    assert conf.getAll() == [("a", "1"), ("b", "true")]
    with pytest.raises(RuntimeError, match="Either pass one key-value pair or a list of pairs"):
        conf.setExecutorEnv("A", "1", pairs=[("B", "2")])

"""The public names of PySpark and their arguments are there, in its order and with its defaults."""

import inspect

import pytest

pytest.importorskip("pyspark", minversion="4.3.0")

import pyspark
import pyspark.core.rdd
import pyspark.core.status
import pyspark.resultiterable
import pyspark.statcounter
import ironlake.rdd

THEIRS = [
    pyspark.RDD, pyspark.SparkContext, pyspark.core.rdd.RDDBarrier, pyspark.TaskContext, pyspark.BarrierTaskContext, pyspark.BarrierTaskInfo,
    pyspark.Broadcast, pyspark.Accumulator, pyspark.AccumulatorParam, pyspark.statcounter.StatCounter, pyspark.SparkConf,
    pyspark.StatusTracker, pyspark.SparkFiles, pyspark.StorageLevel, pyspark.resultiterable.ResultIterable,
    pyspark.InheritableThread, pyspark.SparkJobInfo, pyspark.SparkStageInfo, pyspark.core.status.SparkExecutorInfo,
]  # fmt: skip
#: What a JVM gives: how a task's context comes over a socket.
OF_A_JVM = {("TaskContext", "from_json"), ("BarrierTaskContext", "from_json")}
#: Attributes that ours have once they are made.
OF_INSTANCES = {("RDD", "context"), ("SparkContext", "applicationId"), ("SparkContext", "startTime")}
#: Defaults that are PySpark's own objects; ours mean the same.
SAME = {"portable_hash": "portable_hash", "<lambda>": "same_key"}


def arguments(function):
    found = []
    for each in inspect.signature(function).parameters.values():
        default = getattr(each.default, "__name__", each.default)
        found.append((each.name, each.kind, SAME.get(default, default) if isinstance(default, str) else default))
    return found


@pytest.mark.parametrize("theirs", THEIRS, ids=lambda theirs: theirs.__name__)
def test_names_and_arguments(theirs):
    ours = getattr(ironlake.rdd, theirs.__name__)
    names = {name for name in dir(theirs) if not name.startswith("_")}
    names -= {name for owner, name in OF_A_JVM | OF_INSTANCES if owner == theirs.__name__}
    assert names <= set(dir(ours))
    for name in names:
        wanted, found = getattr(theirs, name), getattr(ours, name)
        if inspect.isroutine(wanted):
            extra = [
                each for each in arguments(found) if each[1] is inspect.Parameter.KEYWORD_ONLY
            ]  # ours, such as exactly_once
            assert [str(each) for each in arguments(found) if each not in extra] == [
                str(each) for each in arguments(wanted)
            ], name


def test_attributes_of_instances():
    with ironlake.rdd.SparkContext("local[2]", "names") as sc:
        rdd = sc.parallelize([1])
        assert rdd.context is rdd.ctx is sc
        assert sc.applicationId == f"local-{sc.startTime}"
        assert sc.sparkHome is None
        (executor,) = sc.statusTracker().getExecutorInfos()
        assert executor.totalOnHeapStorageMemory > executor.usedOnHeapStorageMemory == 0
        rdd.cache().count()
        assert sc.statusTracker().getExecutorInfos()[0].usedOnHeapStorageMemory > 0


def test_arguments_of_a_context_are_those_of_pyspark():
    assert [name for name, *_ in arguments(pyspark.SparkContext)] == [
        name for name, *_ in arguments(ironlake.rdd.SparkContext)
    ]

"""What goes wrong says what, where, and for which element; and does so at once where it can."""

import pytest

from ironlake.rdd import SparkContext, StorageLevel
from ironlake.rdd.environment import parse_master


@pytest.fixture(scope="module")
def sc():
    with SparkContext("local[2,3]", "bad input") as context:
        yield context


def divide(n):
    return 10 // n


def aloud(n):
    print(end="")  # so that it runs in a worker process
    return 10 // n


class Unhashable:
    __hash__ = None

    def __repr__(self):
        return "Unhashable()"


def pairs(sc):
    return sc.parallelize([(1, 2), (3, 4)], 2)


AT_ONCE = {
    "a second context": (lambda sc: SparkContext(), ValueError, r"Cannot run multiple SparkContexts at once; existing SparkContext\(app=bad input, master=local\[2,3\]\) created by .* at .*test_bad_input.py:\d+"),
    "parallelize of a number": (lambda sc: sc.parallelize(5), TypeError, "'int' object is not iterable"),
    "parallelize in no slices": (lambda sc: sc.parallelize([1], 0), ValueError, "numSlices is 0; expected 1 or more"),
    "coalesce": (lambda sc: pairs(sc).coalesce(0), ValueError, "Number of partitions must be positive"),
    "repartition": (lambda sc: pairs(sc).repartition(-1), ValueError, "Number of partitions must be positive"),
    "partitionBy": (lambda sc: pairs(sc).partitionBy(0), ValueError, "numPartitions is 0; expected 1 or more"),
    "groupByKey": (lambda sc: pairs(sc).groupByKey(-2), ValueError, "numPartitions is -2; expected 1 or more"),
    "histogram of no buckets": (lambda sc: pairs(sc).keys().histogram(0), ValueError, "number of buckets must be >= 1"),
    "histogram of texts": (lambda sc: pairs(sc).keys().histogram("x"), TypeError, "buckets should be a list or tuple or number"),
    "takeSample": (lambda sc: pairs(sc).takeSample(False, -1), ValueError, "Sample size cannot be negative"),
    "sample": (lambda sc: pairs(sc).sample(False, -0.5), ValueError, "Fraction must be nonnegative, but got -0.5"),
    "sampleByKey": (lambda sc: pairs(sc).sampleByKey(False, {1: -1.0}), ValueError, "Negative fraction value: -1.0 for key 1"),
    "randomSplit": (lambda sc: pairs(sc).randomSplit([1, -1]), ValueError, "Weights must be nonnegative"),
    "treeAggregate": (lambda sc: pairs(sc).treeAggregate(0, max, max, 0), ValueError, "Depth cannot be smaller than 1 but got 0"),
    "treeReduce": (lambda sc: pairs(sc).treeReduce(max, 0), ValueError, "Depth cannot be smaller than 1 but got 0"),
    "countApproxDistinct": (lambda sc: pairs(sc).countApproxDistinct(1e-9), ValueError, "relativeSD should be greater than 0.000017"),
    "zip of other partitions": (lambda sc: pairs(sc).zip(sc.parallelize([1], 1)), ValueError, "the same number of partitions"),
    "union with a list": (lambda sc: pairs(sc).union([1]), TypeError, r"RDD.union: expected an RDD, not list \[1\]"),
    "join with a list": (lambda sc: pairs(sc).join([1]), TypeError, r"RDD.join: expected an RDD, not list \[1\]"),
    "sum of RDD and number": (lambda sc: pairs(sc) + 1, TypeError, "can only add an RDD to an RDD, not int"),
    "union of nothing": (lambda sc: sc.union([]), ValueError, "SparkContext.union: there are no RDDs"),
    "persist": (lambda sc: pairs(sc).persist(2), TypeError, "RDD.persist: storageLevel is 2; expected a StorageLevel"),
    "another level": (lambda sc: pairs(sc).cache().persist(StorageLevel.DISK_ONLY), ValueError, "Cannot change storage level"),
    "checkpoint": (lambda sc: pairs(sc).checkpoint(), RuntimeError, "Checkpoint directory has not been set"),
    "accumulator": (lambda sc: sc.accumulator("x"), TypeError, "No default accumulator param for type <class 'str'>"),
    "path": (lambda sc: sc.textFile(5), TypeError, "the path is 5; expected a text"),
    "saving over something": (lambda sc: sc.parallelize([1]).map(aloud).saveAsTextFile("/tmp"), FileExistsError, "Output directory /tmp already exists"),
    "codec": (lambda sc: pairs(sc).saveAsTextFile("/tmp/none/x", "org.x.Codec"), ValueError, "the codec org.x.Codec is not known; expected GzipCodec, BZip2Codec"),
    "binaryRecords": (lambda sc: sc.binaryRecords("x", 0), ValueError, "recordLength is 0; expected 1 or more"),
    "addFile": (lambda sc: sc.addFile("/no/such"), FileNotFoundError, "SparkContext.addFile: there is no file '/no/such'"),
    "log level": (lambda sc: sc.setLogLevel("LOUD"), ValueError, "the level 'LOUD' is not known"),
    "job tag": (lambda sc: sc.addJobTag("a,b"), ValueError, "cannot contain ','"),
    "broadcast of an RDD": (lambda sc: sc.broadcast(pairs(sc)), Exception, "SPARK-5063"),
    "partition": (lambda sc: sc.runJob(pairs(sc), list, [7]), IndexError, "there is no partition 7; the RDD has 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", AT_ONCE)
def test_wrong_arguments_are_told_at_once(sc, case):
    act, kind, words = AT_ONCE[case]
    jobs = len(sc._scheduler.jobs)
    with pytest.raises(kind, match=words):
        act(sc)
    assert len(sc._scheduler.jobs) == jobs or case.startswith("histogram")


BY_ACTIONS = {
    "no file": (lambda sc: sc.textFile("/no/such/file"), FileNotFoundError, "Input path does not exist: /no/such/file", ()),
    "lengths of zip": (lambda sc: sc.parallelize([1], 1).zip(sc.parallelize([1, 2], 1)), ValueError, "the same number of elements in each partition", ("partition 0",)),
    "nothing to call": (lambda sc: sc.parallelize([1], 1).map(5), TypeError, "'int' object is not callable", ("partition 0", "attempt 0")),
    "arity": (lambda sc: sc.parallelize([1], 1).map(lambda: 1), TypeError, "takes 0 positional arguments but 1 was given", ("partition 0", "attempt 0")),
    "arity in a worker": (lambda sc: sc.parallelize([1], 1).map(aloud).map(lambda: 1), TypeError, "takes 0 positional arguments", ("partition 0", "attempt 0")),
    "an element": (lambda sc: sc.parallelize([1, 2, 0], 2).map(divide), ZeroDivisionError, "division", ("partition 1", "attempt 2", "for the element 0")),
    "an element in a worker": (lambda sc: sc.parallelize([1, 2, 0], 2).map(aloud), ZeroDivisionError, "division", ("partition 1", "attempt 2", "for the element 0", "return 10 // n", "test_bad_input.py")),
    "a condition": (lambda sc: sc.parallelize([3, 0], 1).filter(lambda n: 1 / n), ZeroDivisionError, "division", ("for the element 0",)),
    "a long element": (lambda sc: sc.parallelize(["x" * 1000], 1).map(lambda t: t.y), AttributeError, "no attribute 'y'", ("for the element '" + "x" * 199 + "…",)),
    "a value": (lambda sc: sc.parallelize([(1, 0)], 1).mapValues(divide), ZeroDivisionError, "division", ("for the element 0",)),
    "two values": (lambda sc: sc.parallelize([(1, 7), (1, 0)], 1).reduceByKey(lambda a, b: a / b), ZeroDivisionError, "division", ("for 7 and 0",)),
    "unhashable keys": (lambda sc: sc.parallelize([(Unhashable(), 1)], 1).reduceByKey(max), TypeError, "unhashable type: 'Unhashable'", ("partition 0", "for the key Unhashable()")),
    "unhashable keys of groups": (lambda sc: sc.parallelize([([1], 1)], 1).groupByKey(), TypeError, "unhashable type: 'list'", ("for the pair ([1], 1)",)),
    "unhashable elements": (lambda sc: sc.parallelize([[1]], 1).distinct(), TypeError, "unhashable type: 'list'", ("for the key [1]",)),
    "unhashable keys of a partitioner": (lambda sc: sc.parallelize([([1], 1)], 1).partitionBy(2), TypeError, "unhashable type: 'list'", ("for the pair ([1], 1)",)),
    "no pairs": (lambda sc: sc.parallelize([1], 1).mapValues(divide), TypeError, "cannot unpack non-iterable int", ("partition 0",)),
    "no pairs but three": (lambda sc: sc.parallelize([(1, 2, 3)], 1).mapValues(lambda v: v), ValueError, "too many values to unpack", ("partition 0",)),
    "order": (lambda sc: sc.parallelize([(1, 1), ("x", 1)], 1).sortByKey(), TypeError, "'<' not supported", ()),
    "a program": (lambda sc: sc.parallelize([1], 1).pipe("false", checkCode=True), RuntimeError, "Pipe function `false' exited with error code 1", ("partition 0",)),
    "an RDD in a function": (lambda sc: (lambda other: sc.parallelize([1]).map(lambda n: other.count()))(sc.parallelize([2])), Exception, "RDD .*SPARK-5063", ("in what was given to map", "test_bad_input.py")),
    "a context in a function": (lambda sc: sc.parallelize([1]).map(lambda n: sc.parallelize([n])), Exception, "SparkContext .*SPARK-5063", ("in what was given to map",)),
    "what cannot be pickled": (lambda sc: (lambda lines: sc.parallelize([1]).map(lambda n: next(lines)))(n for n in range(3)), Exception, "Could not serialize object: TypeError: cannot pickle 'generator' object", ("in what was given to map",)),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_ACTIONS)
def test_actions_say_what_went_wrong_where(sc, case):
    make, kind, words, notes = BY_ACTIONS[case]
    rdd = make(sc)
    with pytest.raises(kind, match=words) as caught:
        rdd.collect()
    told = "\n".join(getattr(caught.value, "__notes__", ()))
    for note in notes:
        assert note in told
    assert sc.parallelize([1, 2]).count() == 2


@pytest.mark.parametrize("action", ["first", "max", "min"])
def test_nothing_has_no_first_or_largest(sc, action):
    with pytest.raises(ValueError, match="empty"):
        getattr(sc.parallelize([], 2), action)()


def test_reduce_of_nothing(sc):
    with pytest.raises(ValueError, match=r"Can not reduce\(\) empty RDD"):
        sc.parallelize([], 2).reduce(max)


@pytest.mark.parametrize("master", ["yarn", "spark://host:7077", "local[0]", "local[2,0]", "local[x]", ""])
def test_masters_that_are_not_here(master):
    with pytest.raises(ValueError, match=r"expected local, local\[4\]"):
        parse_master(master)


def test_a_stopped_context_says_so(sc):
    rdd = sc.parallelize([1])
    sc.stop()  # of the module, whose last test this is
    for act in (rdd.count, lambda: rdd.map(str), lambda: sc.parallelize([1]), lambda: sc.broadcast(1)):
        with pytest.raises(RuntimeError, match="the SparkContext was stopped; make a new one"):
            act()

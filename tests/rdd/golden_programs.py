"""Programs whose answers PySpark 4.3.0 has given once; `test_golden.py` wants the same from ours.

`python tests/rdd/golden_programs.py` runs them with PySpark, which needs Java, and writes golden_programs.json beside
itself and the sequence files in spark/. Names of folders after it: sequence files of ours, which it shows as Spark reads them. The answers are kept as Python writes them, so that 1 and 1.0 and True differ.
"""

import datetime
import decimal
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "the", "cat"]
KEYS = [0, 1, -1, -2, 7, 2**31, -(2**61), 2**61 - 1, 2**70, True, 1.5, -0.0, math.inf, -math.inf, 1e300, None, "", "a", "ä", "Ω", "🦆",
        "key", b"", b"ab", (), (1, "a"), (None, (2.5, "x")), "x" * 100]  # fmt: skip
SEQUENCES = {
    "int-text": [(1, "one"), (-2, ""), (2**31 - 1, "zwölf 🦆")],
    "long-double": [(2**40, 0.5), (-(2**63), math.inf)],
    "text-bytes": [("a", bytearray(b"\x00\xff")), ("b", bytearray())],
    "int-null": [(1, None), (2, None)],
    "text-bool": [("yes", True), ("no", False)],
    "int-map": [(1, {"a": 1, 2: 0.5}), (2, {"x": None, "y": True, "z": {"deep": 2**40}})],
    "many": [(n, f"line {n} " * 20) for n in range(700)],
}  # fmt: skip
CODECS = {
    "": None,
    "-gzip": "org.apache.hadoop.io.compress.GzipCodec",
    "-default": "org.apache.hadoop.io.compress.DefaultCodec",
}


def slices(sc):
    cases = [(11, 4), (10, 3), (3, 5), (0, 2), (5000, 3), (2049, 2), (100, 7)]
    lists = [[len(part) for part in sc.parallelize(list(range(n)), k).glom().collect()] for n, k in cases]
    ranges = [[len(part) for part in sc.parallelize(range(n), k).glom().collect()] for n, k in cases]
    return (
        lists,
        ranges,
        sc.range(1, 20, 3, 3).glom().collect(),
        sc.range(5).collect(),
        sc.range(9, 0, -2, 2).glom().collect(),
    )


def coalesced(sc):
    return [sc.parallelize(range(14), 7).coalesce(n).glom().collect() for n in (1, 2, 3, 5, 7, 9)]


def partitions_of_keys(sc):
    pairs = sc.parallelize([(key, None) for key in KEYS], 1)
    return [pairs.partitionBy(n).keys().glom().map(sorted_by_text).collect() for n in (2, 7)]


def sorted_by_text(elements):
    return sorted(elements, key=repr)


def samples(sc):
    rdd = sc.parallelize(range(200), 3)
    return [
        rdd.sample(replace, fraction, seed).collect()
        for replace in (False, True)
        for fraction in (0.0, 0.1, 1.0, 25.0)
        if replace or fraction <= 1
        for seed in (0, 42)
    ]


def splits_at_random(sc):
    return [part.collect() for part in sc.parallelize(range(100), 3).randomSplit([1, 2.5, 0.5], 17)]


def samples_by_key(sc):
    pairs = sc.parallelize(range(100), 4).map(lambda n: ("ab"[n % 2], n))
    return [pairs.sampleByKey(replace, {"a": 0.2, "b": 0.6}, 5).collect() for replace in (False, True)]


def samples_of_a_size(sc):
    rdd = sc.parallelize(range(300), 3)
    return [rdd.takeSample(replace, n, seed) for replace in (False, True) for n in (0, 5, 20, 300) for seed in (1, 2)]


def order(sc):
    pairs = sc.parallelize([(n * 37 % 101, n) for n in range(150)], 4)
    words = sc.parallelize([(word, place) for place, word in enumerate(WORDS)], 3)
    return (
        pairs.sortByKey(True, 3).glom().collect(),
        pairs.sortByKey(False, 3).glom().collect(),
        words.sortByKey(True, 2, str.lower).glom().collect(),
        words.sortByKey(False, 1).collect(),
        sc.parallelize(WORDS, 3).sortBy(lambda word: (len(word), word), False, 2).glom().collect(),
        sc.parallelize([(8, 5), (2, 1), (3, 9), (7, 7), (2, 0)], 2)
        .repartitionAndSortWithinPartitions(2, lambda k: k % 2)
        .glom()
        .collect(),
    )


def places(sc):
    letters = sc.parallelize(list("abcdefg"), 3)
    return (
        letters.zipWithIndex().collect(),
        letters.zipWithUniqueId().collect(),
        letters.zip(sc.parallelize(range(7), 3)).collect(),
    )


def numbers(sc):
    rdd = sc.parallelize([1.5, 2, 8, -3, 1e16, 1.0, -1e16, 0.1, 0.2, 0.3], 3)
    return (
        rdd.sum(),
        rdd.mean(),
        rdd.variance(),
        float(rdd.sampleStdev()),
        str(rdd.stats()),
        rdd.max(),
        rdd.min(key=abs),
    )


def histograms(sc):
    rdd = sc.parallelize(range(51), 2)
    return (
        rdd.histogram(2), rdd.histogram([0, 5, 25, 50]), rdd.histogram([0, 15, 30, 45, 60]), rdd.histogram((0.0, 50.0)),
        sc.parallelize(["ab", "ac", "b", "bd", "ef"]).histogram(("a", "b", "c")), sc.parallelize([3, 3, 3]).histogram(4),
    )  # fmt: skip


def folds(sc):
    rdd = sc.parallelize([1, 2, 3], 3)
    empty = sc.parallelize([], 3)
    add = lambda a, b: a + b  # noqa: E731
    return (
        rdd.fold(10, add), empty.fold(10, add), rdd.aggregate((0, 0), lambda t, x: (t[0] + x, t[1] + 1), lambda t, u: (t[0] + u[0], t[1] + u[1])),
        sc.parallelize(list("abcdefghij"), 10).treeAggregate("", add, add, 2), sc.parallelize(list("abcdefghij"), 10).treeReduce(add, 3),
    )  # fmt: skip


def heads(sc):
    rdd = sc.parallelize([5, 3, 9, 1, 7, 3], 4)
    return (
        rdd.take(0),
        rdd.take(3),
        rdd.take(99),
        rdd.first(),
        rdd.top(3),
        rdd.top(2, key=lambda n: -n),
        rdd.takeOrdered(4),
        rdd.filter(lambda n: n > 6).take(1),
    )


def by_key(sc):
    pairs = sc.parallelize([("b", 1), ("a", 2), ("b", 3), ("c", 4), ("a", 5), (1, 6), (True, 7), (1.0, 8)], 1)
    other = sc.parallelize([("b", "x"), ("a", "y"), ("b", "z"), ("d", "w")], 1)
    return (
        sorted_by_text(pairs.reduceByKey(lambda a, b: a + b, 2).collect()),
        sorted_by_text(pairs.groupByKey(2).mapValues(list).collect()),
        sorted_by_text(pairs.join(other).collect()), sorted_by_text(pairs.fullOuterJoin(other).collect()),
        sorted_by_text([(key, tuple(map(list, values))) for key, values in pairs.cogroup(other).collect()]),
        sorted(pairs.countByKey().items(), key=repr), sorted_by_text(pairs.subtractByKey(other).collect()),
        pairs.join(other).getNumPartitions(), pairs.union(other).reduceByKey(lambda a, b: a).getNumPartitions(),
        sorted_by_text(sc.parallelize([1, True, 1.0, 2, "2", 2], 2).distinct().collect()), pairs.reduceByKeyLocally(max),
    )  # fmt: skip


def lines(sc):
    contents = [
        b"a\rb\r\nc\n\nd",
        b"a\r\r\nb\r",
        b"\xef\xbb\xbfx\n\xef\xbb\xbfy",
        b"",
        b"\n",
        b"\r\n\r",
        "ä🦆\n".encode(),
        b"ab\xffc\xe2\x82\n",
        b"tail\n",
    ]
    found = []
    for content in contents:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "file.txt").write_bytes(content)
            found.append(sc.textFile(folder, 3).collect())
    return found


def written_lines(sc):
    elements = ["a", 1, 0.5, None, True, "ä\nb", "", (1, "x"), {"k": [1]}]
    with tempfile.TemporaryDirectory() as folder:
        sc.parallelize(elements, 1).saveAsTextFile(f"{folder}/out")
        return Path(folder, "out", "part-00000").read_bytes()


def steps(sc):
    """How many jobs `take` runs, and which partitions they look at."""
    seen = []
    for wanted, hit in [(1, 0), (1, 7), (3, 30), (40, 0), (5, 99)]:
        looked = sc.accumulator(0)
        rdd = sc.parallelize(range(100), 50).mapPartitions(lambda part, looked=looked: (looked.add(1), part)[1])
        seen.append((rdd.filter(lambda n, hit=hit: n >= hit).take(wanted), looked.value))
    return seen


def names(sc):
    levels = sc.parallelize([1]).getStorageLevel(), sc.parallelize([1]).cache().getStorageLevel()
    return [repr(level) for level in levels], [str(level) for level in levels]


def schemas(sc):
    """The columns that Spark infers; only PySpark's DataFrame has a schema, so the runner gives a function of an RDD."""
    rows = [
        [(1, "a", 0.5)], [(None, 1), ("x", 2)], [{"a": 1, "b": [1, 2]}, {"a": 2, "c": "x"}], [(True, b"x", decimal.Decimal("1.50"))],
        [(datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, 3, 4, 5, 6))], [({"k": 1}, [0.5], ("x", 2))], [(2**40,)],
        [([], 1), (["x"], 2)],
    ]  # fmt: skip
    return [schema_of(sc.parallelize(each, 1).toDF()) for each in rows] + [
        schema_of(sc.parallelize([(1, "x")], 1).toDF(["n", "t"])), schema_of(sc.parallelize([(1, "x")], 1).toDF("a int, b string")),
        schema_of(sc.parallelize([(n, None if n < 150 else n) for n in range(200)], 1).toDF(["a", "b"], 1.0)),
    ]  # fmt: skip


def schema_of(frame):
    """Name and type of each column, as Arrow has them."""
    table = frame.toArrow() if hasattr(frame, "toArrow") else frame
    return [(field.name, str(field.type)) for field in table.schema]


PROGRAMS = [slices, coalesced, partitions_of_keys, samples, splits_at_random, samples_by_key, samples_of_a_size, order, places, numbers,
            histograms, folds, heads, by_key, lines, written_lines, steps, names, schemas]  # fmt: skip


if __name__ == "__main__":
    import os

    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    sys.path.insert(0, str(HERE))  # workers import this module by its name
    import golden_programs
    from pyspark.sql import SparkSession

    options = {"spark.ui.enabled": "false", "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
               "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.sql.session.timeZone": "UTC",
               "spark.executorEnv.PYTHONPATH": str(HERE)}  # fmt: skip
    builder = SparkSession.builder.master("local[2]")
    for key, value in options.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    answers = {}
    for program in golden_programs.PROGRAMS:
        try:
            answers[program.__name__] = repr(program(session.sparkContext))
        except Exception as error:
            print(program.__name__, "fails:", str(error)[:2000], file=sys.stderr)
    (HERE / "golden_programs.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
    (HERE / "spark").mkdir(exist_ok=True)
    for name, pairs in SEQUENCES.items():
        for ending, codec in CODECS.items() if name == "int-text" else [("", None)]:
            with tempfile.TemporaryDirectory() as folder:
                session.sparkContext.parallelize(pairs, 1).saveAsSequenceFile(f"{folder}/out", codec)
                shutil.copyfile(f"{folder}/out/part-00000", HERE / "spark" / f"{name}{ending}.seq")
    for folder in sys.argv[1:]:
        print(folder, session.sparkContext.sequenceFile(folder).collect())

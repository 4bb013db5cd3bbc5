"""Samples, partitions and order are Spark's, element by element; Spark's sequence files are read."""

import json
import math
import struct
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

import golden_programs
from golden_programs import CODECS, SEQUENCES
from ironlake.rdd import SparkContext

HERE = Path(__file__).parent
ANSWERS = json.loads((HERE / "golden_programs.json").read_text())
OURS = {
    f"{name}{ending}": pairs for name, pairs in SEQUENCES.items() for ending in (CODECS if name == "int-text" else [""])
}


@pytest.fixture(scope="module")
def sc():
    with SparkContext("local[2]", "golden") as context:
        yield context


@pytest.mark.parametrize("program", golden_programs.PROGRAMS, ids=lambda program: program.__name__)
def test_answers_are_those_of_spark(sc, program):
    assert repr(program(sc)) == ANSWERS[program.__name__]


@pytest.mark.parametrize("name", OURS)
def test_reads_sequence_files_of_spark(sc, name):
    found = sc.sequenceFile(str(HERE / "spark" / f"{name}.seq")).collect()
    assert found == OURS[name]
    assert [type(part) for pair in found for part in pair] == [type(part) for pair in OURS[name] for part in pair]


@pytest.mark.parametrize("name", OURS)
def test_sequence_files_come_back(sc, tmp_path, name):
    codec = CODECS[name.removeprefix("int-text")] if name.startswith("int-text") else None
    sc.parallelize(OURS[name], 2).saveAsSequenceFile(f"{tmp_path}/out", codec)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_SUCCESS", "part-00000", "part-00001"]
    assert sc.sequenceFile(f"{tmp_path}/out").collect() == OURS[name]


def test_a_sequence_file_without_compression_is_byte_for_byte_that_of_spark(sc, tmp_path):
    for name in ("int-text", "int-map", "many", "long-double", "text-bool"):
        sc.parallelize(OURS[name], 1).saveAsSequenceFile(f"{tmp_path}/{name}")
        ours, theirs = (path.read_bytes() for path in (tmp_path / name / "part-00000", HERE / "spark" / f"{name}.seq"))
        assert without_sync(ours) == without_sync(theirs)


def without_sync(content: bytes) -> bytes:
    """A file without the random bytes that end its header and come again before records."""
    place = 4
    for _ in range(2):
        place += 1 + content[place]
    place += 2
    (entries,) = struct.unpack(">i", content[place : place + 4])
    assert entries == 0
    return content.replace(content[place + 4 : place + 20], b"")


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_each_record_of_a_sequence_file_is_in_one_partition(sc, count):
    rdd = sc.sequenceFile(str(HERE / "spark" / "many.seq"), minSplits=count)
    assert rdd.getNumPartitions() >= count
    assert rdd.collect() == SEQUENCES["many"]


def test_hadoop_formats(sc, tmp_path):
    old, new = "org.apache.hadoop.mapred.", "org.apache.hadoop.mapreduce.lib."
    pairs = sc.parallelize(
        [(1, 0.5), (2, 1e10), (3, -math.inf), (None, True), ("k", {1: b"\x01\xff"}), ("x", None), (None, None)], 1
    )
    pairs.saveAsHadoopFile(f"{tmp_path}/text", f"{old}TextOutputFormat")
    lines = ["1\t0.5", "2\t1.0E10", "3\t-Infinity", "true", "k\t{1=01 ff}", "x"]
    assert (tmp_path / "text" / "part-00000").read_text().splitlines() == lines
    read = sc.newAPIHadoopFile(f"{tmp_path}/text", f"{new}input.TextInputFormat", "any", "any").collect()
    assert read == [(sum(len(line) + 1 for line in lines[:place]), line) for place, line in enumerate(lines)]

    conf = {
        "mapreduce.output.fileoutputformat.compress": "true",
        "mapreduce.output.fileoutputformat.compress.codec": "org.apache.hadoop.io.compress.GzipCodec",
    }
    pairs.saveAsNewAPIHadoopFile(f"{tmp_path}/gz", f"{new}output.TextOutputFormat", conf=conf)
    assert sc.textFile(f"{tmp_path}/gz/part-r-00000.gz").collect() == lines

    (tmp_path / "parts").write_text("a\nb||c||")
    conf = {"textinputformat.record.delimiter": "||"}
    assert sc.hadoopFile(f"{tmp_path}/parts", f"{old}TextInputFormat", "k", "v", conf=conf).collect() == [
        (0, "a\nb"),
        (5, "c"),
    ]

    sc.parallelize([(1, 2.0)], 1).saveAsHadoopFile(
        f"{tmp_path}/long",
        f"{old}SequenceFileOutputFormat",
        "org.apache.hadoop.io.LongWritable",
        "org.apache.hadoop.io.FloatWritable",
    )
    content = (tmp_path / "long" / "part-00000").read_bytes()
    assert content.endswith(struct.pack(">iiqf", 12, 8, 1, 2.0))


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (lambda sc, path: sc.newAPIHadoopFile(path, "org.x.AvroInputFormat", "k", "v"), NotImplementedError, "org.x.AvroInputFormat needs a JVM"),
        (lambda sc, path: sc.parallelize([(1, 2)]).saveAsHadoopFile(path, "org.x.OrcFormat"), NotImplementedError, "org.x.OrcFormat needs a JVM"),
        (lambda sc, path: sc.sequenceFile(path, keyConverter="org.x.Convert"), NotImplementedError, "org.x.Convert is a class of a JVM"),
        (lambda sc, path: sc.parallelize([(1, [2])]).saveAsSequenceFile(path), TypeError, r"Data of type list cannot be used: there is no writable for \[2\]"),
        (lambda sc, path: sc.parallelize([1]).saveAsSequenceFile(path), TypeError, "expected pairs of key and value, found 1"),
        (lambda sc, path: sc.parallelize([(1, "x"), (2**40, "y")], 1).saveAsSequenceFile(path), TypeError, "1099511627776 is no IntWritable"),
        (lambda sc, path: sc.parallelize([(1, "x")]).saveAsSequenceFile(path, "org.x.Codec"), NotImplementedError, "codec org.x.Codec is not known"),
        (lambda sc, path: sc.parallelize([(1, "x")]).saveAsHadoopDataset({}), ValueError, "conf does not say where and how"),
        (lambda sc, path: sc.newAPIHadoopRDD("f", "k", "v", conf={"other": "x"}), ValueError, "conf does not say what to read"),
        (lambda sc, path: sc.sequenceFile(str(HERE / "golden_programs.json")).count(), ValueError, "is no sequence file of version 6"),
    ],
)  # fmt: skip
def test_hadoop_files_that_cannot_be(sc, tmp_path, act, kind, words):
    with pytest.raises(kind, match=words):
        act(sc, f"{tmp_path}/out")
    assert not (tmp_path / "out" / "_SUCCESS").exists()

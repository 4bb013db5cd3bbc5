"""Files that RDDs are read from and written to."""

import bz2
import gzip
import re

import pytest
from hypothesis import given, settings, strategies as st

from ironlake.rdd import SparkContext, files


@pytest.fixture(scope="module")
def sc():
    with SparkContext("local[2]", "files") as context:
        yield context


def lines_of(content: bytes) -> list[str]:
    """The lines of a text, by their definition: each ends with LF, CR, or CR and LF."""
    found = re.split(r"\r\n|\n|\r", content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace"))
    return found if found[-1] else found[:-1]


texts = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"\xc3\xa4", b"\xff", b"line of text", b"\xef\xbb\xbf", b""]),
    max_size=40,
).map(b"".join)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(texts, st.integers(1, 9), st.integers(1, 20))
def test_each_line_is_in_one_partition(tmp_path_factory, content, parts, block):
    path = tmp_path_factory.mktemp("text") / "file.txt"
    path.write_bytes(content)
    splits = [split for part in files.text_splits([str(path)], parts) for split in part]
    wanted = lines_of(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_BLOCK", block)
        assert [line for split in splits for line in files.read_lines(split)] == wanted
        raw = [line for split in splits for line in files.read_raw_lines(split)]
        assert [line.decode("utf-8", "replace") for line in raw] == wanted
        placed = [pair for split in splits for pair in files.placed_lines(split)]
    places = [0, *(found.end() for found in re.finditer(rb"\r\n|\n|\r", content))]
    assert placed == list(zip(places, wanted, strict=False))


def test_names_of_files(sc, tmp_path):
    for name, content in [("a.txt", "a\n"), ("b.txt", "b"), ("c.log", "c"), ("_hidden", "x"), (".hidden", "x")]:
        (tmp_path / name).write_text(content)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "d.txt").write_text("d")
    assert sorted(sc.textFile(str(tmp_path)).collect()) == ["a", "b", "c"]
    assert sc.textFile(f"{tmp_path}/*.txt").collect() == ["a", "b"]
    assert sc.textFile(f"file://{tmp_path}/[bc].*,{tmp_path}/more").collect() == ["b", "c", "d"]
    assert sc.wholeTextFiles(f"{tmp_path}/*.txt").collect() == [
        (f"file:{tmp_path}/a.txt", "a\n"),
        (f"file:{tmp_path}/b.txt", "b"),
    ]
    assert sc.binaryFiles(f"{tmp_path}/c.log").collect() == [(f"file:{tmp_path}/c.log", b"c")]
    later = sc.textFile(f"{tmp_path}/later")
    (tmp_path / "later").write_text("now")
    assert later.collect() == ["now"]


@pytest.mark.parametrize(
    ("codec", "ending", "opener"), [(None, "", open), ("GzipCodec", ".gz", gzip.open), ("BZip2Codec", ".bz2", bz2.open)]
)
def test_texts_come_back(sc, tmp_path, codec, ending, opener):
    lines = [f"line {n} ä" for n in range(1000)]
    sc.parallelize(lines, 3).saveAsTextFile(f"{tmp_path}/out", codec and f"org.apache.hadoop.io.compress.{codec}")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["_SUCCESS", *(f"part-0000{part}{ending}" for part in range(3))]
    with opener(tmp_path / "out" / names[1], "rb") as file:
        assert file.read() == "".join(f"{line}\n" for line in lines[:333]).encode()
    assert sc.textFile(f"{tmp_path}/out", 5).collect() == lines
    assert sc.textFile(f"{tmp_path}/out", use_unicode=False).first() == lines[0].encode()


def test_nothing_is_half_written(sc, tmp_path):
    with pytest.raises(ZeroDivisionError):
        sc.parallelize([1, 0], 2).map(lambda n: 1 // n).saveAsTextFile(f"{tmp_path}/out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000"]


@pytest.mark.parametrize("size", [0, 1, 3])
def test_pickles_come_back(sc, tmp_path, size):
    elements = [1, "x", (2, [3]), {4: {5}}, None, lambda: 6]
    sc.parallelize(elements, 2).saveAsPickleFile(f"{tmp_path}/out", size)
    found = sc.pickleFile(f"{tmp_path}/out").collect()
    assert found[:5] == elements[:5]
    assert found[5]() == 6
    (tmp_path / "other").write_text("x")
    with pytest.raises(ValueError, match="is no file of pickles"):
        sc.pickleFile(f"{tmp_path}/other").collect()


def test_records(sc, tmp_path):
    (tmp_path / "records").write_bytes(b"abcdef")
    assert sc.binaryRecords(f"{tmp_path}/records", 2).collect() == [b"ab", b"cd", b"ef"]
    with pytest.raises(ValueError, match="has 6 bytes, which are no records of 4"):
        sc.binaryRecords(f"{tmp_path}/records", 4).collect()

"""Lines and elements of files, in pieces of any size, compressed or not."""

import bz2
import gzip
import json

import pyarrow as pa
import pytest

from ironlake.lakehouse.loaders import files
from ironlake.lakehouse.loaders.files import elements, lines, log_files

EVENTS = [{"name": f'a"\\]{{ {i}', "args": {"deep": [1, {"z": "],"}]}, "ts": i} for i in range(50)]
WHOLE = json.dumps(EVENTS)
INSIDE = json.dumps({"other": [1], "traceEvents": EVENTS, "end": {"traceEvents": 3}}, indent=1)


def texts(batches):
    return [text for batch in batches for text in batch["text"].to_pylist()]


def written(tmp_path, content, name="log"):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


@pytest.mark.parametrize("chunk", [1, 7, 1000, files._CHUNK])
def test_lines_in_any_pieces(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(files, "_CHUNK", chunk)
    file = written(tmp_path, b"a\n\nb\r\nlatin \xe9\n\xc3\xa9 last")
    batches = list(lines(file))
    assert texts(batches) == ["a", "", "b\r", "latin é", "é last"]
    assert [number for batch in batches for number in batch["number"].to_pylist()] == [1, 2, 3, 4, 5]
    assert set(batches[0]["file"].to_pylist()) == {file}


@pytest.mark.parametrize("chunk", [64, 1000, files._CHUNK])
@pytest.mark.parametrize("content", [WHOLE, INSIDE, WHOLE[:-1], "\ufeff " + WHOLE])
def test_elements_in_any_pieces(tmp_path, monkeypatch, chunk, content):
    monkeypatch.setattr(files, "_CHUNK", chunk)
    batches = list(elements(written(tmp_path, content), "traceEvents"))
    assert [json.loads(text) for text in texts(batches)] == EVENTS
    assert [number for batch in batches for number in batch["number"].to_pylist()] == list(range(1, 51))


def test_elements_of_damaged_arrays(tmp_path):
    assert texts(elements(written(tmp_path, ' [ 1 , "a,]" , {} x , [2]] , 5'), "k")) == ["1 ", '"a,]" ', "{} x ", "[2]"]
    assert texts(elements(written(tmp_path, '[{"a": 1}, {"b'), "k")) == ['{"a": 1}', '{"b']
    assert texts(elements(written(tmp_path, "[]"), "k")) == []
    with pytest.raises(ValueError, match="is no JSON array, and has no array 'k'"):
        texts(elements(written(tmp_path, '{"a": 1}'), "k"))


def test_what_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_CHUNK", 10)
    monkeypatch.setattr(files, "_LONGEST", 30)
    with pytest.raises(ValueError, match="line 2 of .* is longer than 30 bytes"):
        texts(lines(written(tmp_path, "a\n" + "x" * 50)))
    with pytest.raises(ValueError, match="element 2 of .* is longer than 30 bytes"):
        texts(elements(written(tmp_path, '[1, "' + "x" * 50), "k"))


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lambda text: pa.compress(text, "zstd", asbytes=True)]
)
def test_compressed_files_whatever_their_name(tmp_path, compress):
    assert texts(lines(written(tmp_path, compress(b"one\ntwo")))) == ["one", "two"]


def test_a_compressed_file_that_breaks_off(tmp_path):
    with pytest.raises(OSError, match="[Tt]runcated"):
        texts(lines(written(tmp_path, gzip.compress(WHOLE.encode())[:-20])))


def test_log_files(tmp_path):
    for name in ("events_10", "events_2", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    expected = [str(tmp_path / "events_2"), str(tmp_path / "events_10")]
    assert log_files(str(tmp_path)) == log_files(str(tmp_path / "ev*")) == expected
    assert log_files(expected[0]) == expected[:1]
    for missing in ("nothing", "nothing*", ""):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            log_files(missing and str(tmp_path / missing))

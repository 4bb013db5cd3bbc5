"""The log of a table: which of its files make up a version, and deletion vectors."""

import datetime as dt
import json
import os
import zlib

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from ironlake.lakehouse.deletion_vectors import (
    VectorError,
    decode,
    deleted_rows,
    encode,
    vector_path,
    z85_decode,
    z85_encode,
)
from ironlake.lakehouse.log import Log, LogError
from ironlake.lakehouse.snapshot import open_snapshot
from ironlake.lakehouse.storage import Storage


@pytest.fixture
def path(tmp_path):
    """A table of five versions, a row in each."""
    for number in range(5):
        write_deltalake(tmp_path / "t", pa.table({"id": [number]}), mode="append")
    return tmp_path / "t"


def rows(path, version=None):
    return open_snapshot(path, version, "").rows


def test_checkpoints_stand_for_commits(path):
    DeltaTable(path, version=2).create_checkpoint()
    assert Log(Storage.of(str(path))).segment().checkpoint == 2
    for version in (0, 1):
        (path / "_delta_log" / f"{version:020}.json").unlink()
    assert [rows(path, version) for version in (2, 3, 4)] == [3, 4, 5]
    with pytest.raises(ValueError, match="has no version 1; available are 2 to 4"):
        rows(path, 1)


def test_compacted_commits_stand_for_theirs(path):
    log = path / "_delta_log"
    actions = [line for version in (1, 2, 3) for line in (log / f"{version:020}.json").read_text().splitlines()]
    kept = [line for line in actions if "commitInfo" not in json.loads(line)]
    (log / f"{1:020}.{3:020}.compacted.json").write_text("\n".join(kept))
    names = Log(Storage.of(str(path))).segment().commits
    assert [name[:20].lstrip("0") for name in names] == ["", "1", "4"]
    assert (rows(path), rows(path, 2)) == (5, 3)


def test_a_checkpoint_with_a_missing_part_is_none(path):
    (path / "_delta_log" / f"{3:020}.checkpoint.{1:010}.{2:010}.parquet").write_bytes(b"half")
    assert Log(Storage.of(str(path))).segment().checkpoint is None
    assert rows(path) == 5


def test_a_hint_that_is_wrong_does_no_harm(path):
    (path / "_delta_log" / "_last_checkpoint").write_text('{"version": 99')
    assert rows(path) == 5


def test_a_gap_is_told(path):
    (path / "_delta_log" / f"{2:020}.json").unlink()
    with pytest.raises(ValueError, match="the commit of version 2 is missing, version 4 needs it"):
        rows(path)
    assert rows(path, 1) == 2


def test_the_version_of_a_time(path):
    for version in range(5):
        file = path / "_delta_log" / f"{version:020}.json"
        time = dt.datetime(2024, 1, 1 + version, tzinfo=dt.UTC).timestamp()
        os.utime(file, (time, time))

    def at(text):
        return open_snapshot(path, None, "", text).version

    assert [at("2024-01-01"), at("2024-01-03 12:00:00"), at("2024-01-04 00:30:00+01")] == [0, 2, 2]
    assert at("2030-01-01") == 4
    with pytest.raises(ValueError, match="has no version of 2023-12-31 .*; the first commit that is left is of 2024"):
        at("2023-12-31")
    with pytest.raises(ValueError, match="timestamp is 'noon'"):
        at("noon")
    file = path / "_delta_log" / f"{1:020}.json"
    head, *rest = file.read_text().splitlines()
    late = int(dt.datetime(2024, 1, 2, 18, tzinfo=dt.UTC).timestamp() * 1000)
    lines = [
        json.dumps({"commitInfo": {"inCommitTimestamp": late}}),
        *[each for each in (head, *rest) if "commitInfo" not in each],
    ]
    file.write_text("\n".join(lines))
    assert (at("2024-01-02 12:00:00"), at("2024-01-02 18:00:00")) == (0, 1)


def test_a_feature_that_is_not_known(path):
    file = path / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in file.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {
                "minReaderVersion": 3, "minWriterVersion": 7,
                "readerFeatures": ["timeMachine"], "writerFeatures": ["timeMachine"],
            }  # fmt: skip
    file.write_text("\n".join(map(json.dumps, actions)))
    with pytest.raises(ValueError, match="needs the reader feature 'timeMachine'; known are columnMapping"):
        rows(path)


def test_a_damaged_commit(path):
    (path / "_delta_log" / f"{4:020}.json").write_text('{"add": {"path": ')
    with pytest.raises(ValueError, match="a file of the log is damaged"):
        rows(path)


def test_a_log_without_anything(tmp_path):
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(ValueError, match="the log has no commits"):
        rows(tmp_path)
    (tmp_path / "_delta_log" / f"{5:020}.json").write_text("{}")
    log = Log(Storage.of(str(tmp_path)))
    with pytest.raises(LogError, match="the commit of version 0 is missing, version 5 needs it"):
        log.segment()


# ------------------------------------------------------------------------------------------------------ deletion vectors


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**34) | st.integers(0, 200_000), unique=True, max_size=300), st.booleans())
def test_bitmaps_are_read_as_they_were_written(numbers, dense):
    rows = np.unique(np.array(numbers, np.int64))
    if dense:
        rows = np.union1d(rows, np.arange(70_000, 150_000))  # containers that are bitmaps
    assert (decode(encode(rows)) == rows).all()


def test_runs_are_read():
    """Two runs in one container, 3-5 and 10: written out by hand."""
    runs = np.array([2, 3, 2, 10, 0], "<u2").tobytes()
    head = (0x303B).to_bytes(4, "little") + b"\x01" + np.array([0, 3], "<u2").tobytes()
    payload = (1681511377).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(4) + head + runs
    assert decode(payload).tolist() == [3, 4, 5, 10]


@settings(deadline=None)
@given(st.integers(0, 60), st.binary(max_size=80))
def test_damaged_bitmaps_never_crash(cut, noise):
    payload = encode(np.array([1, 5, 70_000, 2**33]))
    for damaged in (payload[:cut], payload[:cut] + noise, payload[:16] + noise):
        try:
            decode(damaged)
        except VectorError as error:
            assert "damaged" in str(error)  # noqa: PT017


def stored(tmp_path, rows, name="deletion_vector_00000000-0000-0000-0000-000000000001.bin"):
    payload = encode(np.array(rows))
    checksum = zlib.crc32(payload).to_bytes(4, "big")
    (tmp_path / name).write_bytes(b"\x01" + len(payload).to_bytes(4, "big") + payload + checksum)
    return {"storageType": "p", "pathOrInlineDv": str(tmp_path / name), "offset": 1, "sizeInBytes": len(payload),
            "cardinality": len(rows)}  # fmt: skip


def test_vectors_in_files(tmp_path):
    vector, storage = stored(tmp_path, [2, 7]), Storage.of(str(tmp_path))
    assert deleted_rows(storage, vector).tolist() == [2, 7]
    name = z85_encode(bytes(15) + b"\x01")
    assert vector_path(f"ab{name}") == "ab/deletion_vector_00000000-0000-0000-0000-000000000001.bin"
    assert deleted_rows(storage, {**vector, "storageType": "u", "pathOrInlineDv": name}).tolist() == [2, 7]
    file = tmp_path / "deletion_vector_00000000-0000-0000-0000-000000000001.bin"
    for wrong, message in (
        ({"cardinality": 3}, "has 2 rows, its descriptor says 3"),
        ({"sizeInBytes": 3}, "has not the size of its descriptor"),
        ({"offset": 2}, "has not the size of its descriptor"),
        ({"storageType": "x"}, "is stored as 'x'"),
    ):
        with pytest.raises(VectorError, match=message):
            deleted_rows(storage, {**vector, **wrong})
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    with pytest.raises(VectorError, match="checksum is wrong"):
        deleted_rows(storage, vector)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        deleted_rows(storage, vector)


@settings(deadline=None)
@given(st.binary(max_size=40).map(lambda content: content[: len(content) // 4 * 4]))
def test_z85(content):
    assert z85_decode(z85_encode(content)) == content
    with pytest.raises(VectorError, match="is no Z85"):
        z85_decode("~~~~~")

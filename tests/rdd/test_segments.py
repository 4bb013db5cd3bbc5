"""Where the files of tasks are: in shared memory as long as there is room."""

import os
import shutil
import warnings
from pathlib import Path

import pytest
from disturbed import unharmed

from ironlake.rdd import segments


def test_settings_of_memory(context_with) -> None:
    sc = context_with("local[1]", spark__driver__memory="1m", spark__memory__fraction=0.5)
    assert sc._blocks.limit == 1 << 19


def test_no_room_in_shared_memory(context_with, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/dev/shm")
    monkeypatch.setattr(segments.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.warns(UserWarning, match="there is no room in /dev/shm"):
        sc = context_with("local[2]")
    assert sc._segments.is_relative_to(sc._folder)
    assert unharmed(sc.parallelize([(1, 2), (1, 3)], 2)).reduceByKey(lambda a, b: a + b).collect() == [(1, 5)]


def test_shared_memory_that_fills_up(context_with, monkeypatch: pytest.MonkeyPatch) -> None:
    sc = context_with("local[2]")
    pairs = sc.parallelize([(place % 7, place) for place in range(100)], 3).mapValues(lambda x: x / 3)
    expected = pairs.reduceByKey(lambda a, b: a + b).collect()
    usage = shutil.disk_usage("/dev/shm")
    monkeypatch.setattr(segments.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    kept = pairs.reduceByKey(lambda a, b: a + b).cache()
    with pytest.warns(UserWarning, match="no more room in shared memory"):
        assert kept.collect() == expected
    assert list((sc._folder / "segments").glob("shuffle-*"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one warning is enough
        assert pairs.groupByKey().mapValues(sum).keys().collect() == [key for key, _ in expected]
    assert kept.collect() == expected


def test_a_file_that_does_not_fit_goes_on_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ironlake.rdd.batches import Batch

    (tmp_path / segments.OVERFLOW).mkdir()
    written, room = os.write, [3000]

    def write(file: int, content: memoryview) -> int:
        if not room:
            return written(file, content)
        if room[0] == 0:
            room.clear()
            raise OSError(28, "No space left on device")
        count = written(file, content[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(segments.os, "write", write)
    with segments.SegmentWriter(tmp_path / "file") as writer:
        sections = [writer.write([Batch.of(list(range(place, place + 200)))]) for place in range(4)]
    monkeypatch.undo()
    assert not room
    assert [path.name for path in tmp_path.iterdir()] == [segments.OVERFLOW]
    assert [path.name for path in (tmp_path / segments.OVERFLOW).iterdir()] == ["file"]
    for place, section in enumerate(sections):
        (batch,) = segments.read_section(section, check=True)
        assert batch.objects() == list(range(place, place + 200))

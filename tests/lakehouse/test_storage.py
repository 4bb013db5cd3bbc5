"""Files of a directory, while others write there."""

import os

import pytest

from ironlake.lakehouse.storage import Storage


@pytest.fixture
def storage(tmp_path):
    return Storage.of(tmp_path)


def test_a_file_comes_whole_and_once(storage, tmp_path):
    assert storage.create("a", b"first")
    assert not storage.create("a", b"second")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a", b"first")]


@pytest.mark.parametrize("listing", ["entries", "files"])
def test_a_file_that_goes_meanwhile_hides_no_other(storage, tmp_path, monkeypatch, listing):
    for name in ("a", "draft", "z"):
        storage.create(name, b"")
    scan = os.scandir

    def scandir(path):
        found = list(scan(path))
        (tmp_path / "draft").unlink()
        return _Scanned(found)

    monkeypatch.setattr("os.scandir", scandir)
    assert sorted(entry.path for entry in getattr(storage, listing)()) == ["a", "z"]


class _Scanned(list):
    """What `os.scandir` gives, read beforehand."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

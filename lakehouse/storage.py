"""The directory of a table, on a local disk or in an object store, and the private database that reads from it."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    import pyarrow.fs

_local = threading.local()


@dataclass(frozen=True)
class Storage:
    """Where a table lives.

    Attributes
    ----------
    root : str
        The absolute path of the directory, or its URL.
    filesystem : pyarrow.fs.FileSystem
        What reaches it.
    folder : str
        The directory, as the file system names it.
    """

    root: str
    filesystem: pyarrow.fs.FileSystem
    folder: str

    @classmethod
    def of(cls, root: str, options: Mapping[str, Any] | None = None) -> Storage:
        """The storage of an absolute path or of a URL such as ``s3://bucket/table``.

        Parameters
        ----------
        root : str
            The directory.
        options : mapping, optional
            Arguments of the file system, as `pyarrow.fs.S3FileSystem` and its kin take them.
        """
        import pyarrow.fs

        if "://" not in root:
            return cls(root, pyarrow.fs.LocalFileSystem(), root)
        if not options:
            filesystem, folder = pyarrow.fs.FileSystem.from_uri(root)
            return cls(root.rstrip("/"), filesystem, folder.rstrip("/"))
        url = urlsplit(root)
        kinds = {"s3": "S3FileSystem", "s3a": "S3FileSystem", "gs": "GcsFileSystem", "abfss": "AzureFileSystem"}
        filesystem = getattr(pyarrow.fs, kinds[url.scheme])(**options)
        return cls(root.rstrip("/"), filesystem, f"{url.netloc}{url.path}".rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether the table is on a local disk."""
        return "://" not in self.root

    def entries(self, folder: str) -> list[pyarrow.fs.FileInfo]:
        """What is in a folder below the root; nothing if there is no such folder."""
        import pyarrow.fs

        selector = pyarrow.fs.FileSelector(f"{self.folder}/{folder}", allow_not_found=True)
        return list(self.filesystem.get_file_info(selector))

    def read(self, location: str) -> bytes:
        """The content of a file that `locate` named.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        """
        with self.filesystem.open_input_stream(self._plain(location)) as stream:
            content: bytes = stream.read()
        return content

    def exist(self, locations: list[str]) -> list[bool]:
        """Which of some files there are."""
        import pyarrow.fs

        found = self.filesystem.get_file_info([self._plain(location) for location in locations])
        return [info.type == pyarrow.fs.FileType.File for info in found]

    def longest(self, locations: list[str]) -> int:
        """The size of the largest of some files, in bytes."""
        found = self.filesystem.get_file_info([self._plain(location) for location in locations])
        return max(info.size or 0 for info in found)

    def create(self, path: str, content: bytes) -> bool:
        """Write a whole file below the root of a local table, unless there is one: whether this was the one to do so.

        Whatever interrupts it, the file is there with all of its content or not at all.
        """
        target = Path(self.root, path)
        draft = target.with_name(f".{uuid.uuid4()}.tmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, target)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def replace(self, path: str, content: bytes) -> None:
        """Write a whole file below the root of a local table, in the place of one that there may be."""
        draft = Path(self.root, path).with_name(f".{uuid.uuid4()}.tmp")
        draft.write_bytes(content)
        draft.replace(Path(self.root, path))

    def remove(self, path: str) -> None:
        """Remove a file below the root, if there is one."""
        Path(self.root, path).unlink(missing_ok=True)

    def locate(self, path: str) -> str:
        """A file's name for DuckDB, from a path below the root or an absolute one, not URL-encoded."""
        if path.startswith("file:"):
            return "/" + path.removeprefix("file:").lstrip("/")
        if "://" in path or (path.startswith("/") and self.is_local):
            return path
        return f"{self.root}/{path}"

    def _plain(self, location: str) -> str:
        if self.is_local:
            return location
        if location.startswith(self.root):
            return self.folder + location[len(self.root) :]
        url = urlsplit(location)
        return f"{url.netloc}{url.path}"


def database() -> duckdb.DuckDBPyConnection:
    """The thread's own connection to the private database that reads logs and plans scans."""
    if getattr(_local, "owner", None) is not _database():
        _local.owner = _database()
        _local.connection = _local.owner.cursor()
    connection: duckdb.DuckDBPyConnection = _local.connection
    return connection


def scratch() -> duckdb.DuckDBPyConnection:
    """A database of its own for one change to a table; what does not fit into memory goes to the temporary folder."""
    import duckdb

    connection = duckdb.connect(config={"temp_directory": f"{tempfile.gettempdir()}/ironlake-{uuid.uuid4()}"})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET enable_progress_bar = {sys.stdout.isatty()}")  # not into files and pipes
    return connection


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection

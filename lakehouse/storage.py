"""Where tables are: a directory on a local disk or in an object store, and the private database that reads from it.

A `Storage` is the one place that knows how files are listed, read, written, created atomically and removed. The rest
of the lakehouse names a file by its *path* below the root or by its *location*, which is what DuckDB opens.
"""

from __future__ import annotations

import abc
import datetime as dt
import functools
import os
import re
import shutil
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from ironlake.udf.engine import check_external_access

if TYPE_CHECKING:
    import duckdb

#: Characters in a path that the deltalake library mistakes for URL syntax, or DuckDB for a pattern of file names.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f%*?\[\]\\^|]")
#: The kinds of URL, by what reads and writes there.
SCHEMES = ("s3", "s3a", "gs", "abfs", "abfss", "az")
_CHUNK_BYTES = 8_388_608
Given = TypeVar("Given")
Found = TypeVar("Found")
_local = threading.local()


@dataclass(frozen=True)
class Entry:
    """A file in a listing: its path below the root, its size in bytes, when it was written, a store's mark of it."""

    path: str
    size: int
    modified: dt.datetime
    mark: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Storage(abc.ABC):
    """A directory; two of them are equal if their roots are.

    Attributes
    ----------
    root : str
        The absolute path of the directory, or its URL.
    """

    root: str

    @staticmethod
    def of(root: str | Path | Storage, where: str = "", options: Mapping[str, Any] | None = None) -> Storage:
        """The storage of a path or of a URL such as ``s3://bucket/table``.

        `where` starts the error messages, such as ``"ironlake.open: "``; options of an object store are remembered
        for all that is below the URL.

        Raises
        ------
        ValueError
            The path contains a character that deltalake or DuckDB would misread, or the URL is of an unknown kind.
        ImportError
            The library that reaches object stores is not installed.
        PermissionError
            A function asks for it in a database without external access.
        """
        if isinstance(root, Storage):
            return root
        text = str(root)
        check_external_access(f"{where}the path {text!r}")
        if text.startswith("file:"):
            text = unquote("/" + text.removeprefix("file:").lstrip("/"))
        plain = text if "://" in text else str(Path(text).expanduser().resolve())
        if unusable := _UNUSABLE.search(plain):
            raise ValueError(
                f"{where}the path {plain!r} contains {unusable.group()!r}, which a table's path cannot; rename the "
                "directory"
            )
        if "://" not in text:
            if options:
                raise ValueError(f"{where}storage_options are given, but {plain!r} is on a local disk")
            return Disk(plain)
        url = urlsplit(text)
        if url.scheme not in SCHEMES or not url.netloc or url.query or url.fragment:
            raise ValueError(
                f"{where}{text!r} is not a URL of tables; expected a path, or a URL such as 's3://bucket/folder', "
                "'gs://bucket/folder' or 'abfss://container@account.dfs.core.windows.net/folder'"
            )
        from .object_store import ObjectStore, remember

        store = ObjectStore(f"{url.scheme}://{url.netloc}/{url.path.strip('/')}".rstrip("/"))
        if options is not None:
            remember(store.root, options)
        store.reach(_database())
        return store

    @property
    def is_local(self) -> bool:
        """Whether the directory is on a local disk."""
        return "://" not in self.root

    @property
    def path(self) -> Path | str:
        """The root for people: a path on a local disk, a text if it is a URL."""
        return Path(self.root) if self.is_local else self.root

    @property
    def parents(self) -> list[Storage]:
        """The directories above, the nearest first."""
        found, root = [], self.root
        while (above := root.rpartition("/")[0]) and not above.endswith(("/", ":")):
            found.append(type(self)(above))
            root = above
        return found

    def at(self, path: str) -> Storage:
        """A directory below the root."""
        return type(self)(f"{self.root}/{path}")

    def locate(self, path: str) -> str:
        """A file's location, from a path below the root or an absolute one, not URL-encoded."""
        if path.startswith("file:"):
            return "/" + path.removeprefix("file:").lstrip("/")
        if "://" in path or (path.startswith("/") and self.is_local):
            return path
        return f"{self.root}/{path}"

    def relative(self, location: str) -> str:
        """The path of a location that is below the root."""
        return location[len(self.root) :].lstrip("/")

    @abc.abstractmethod
    def map(self, function: Callable[[Given], Found], given: Iterable[Given]) -> list[Found]:
        """What a function that looks at files finds for each of some things."""

    @abc.abstractmethod
    def is_file(self) -> bool:
        """Whether the root is a file instead of a directory."""

    @abc.abstractmethod
    def is_free(self) -> bool:
        """Whether a table may begin here: there is nothing yet, or an empty directory."""

    @abc.abstractmethod
    def has_folder(self, path: str = "") -> bool:
        """Whether there is a folder below the root, or the root itself; in an object store, one with a file in it."""

    @abc.abstractmethod
    def has_files(self, path: str) -> bool:
        """Whether there is a file in a folder below the root, drafts left out."""

    @abc.abstractmethod
    def folders(self, path: str = "") -> list[str]:
        """The names of the folders in a folder below the root, sorted; none if there is no such folder."""

    @abc.abstractmethod
    def entries(self, path: str = "") -> list[Entry]:
        """The files in a folder below the root; none if there is no such folder."""

    @abc.abstractmethod
    def files(self) -> Iterator[Entry]:
        """All files below the root, in no order."""

    @abc.abstractmethod
    def read(self, location: str) -> bytes:
        """The content of a file.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        """

    @abc.abstractmethod
    def open(self, location: str) -> IO[bytes]:
        """A file to read parts of."""

    @abc.abstractmethod
    def nearby(self) -> AbstractContextManager[Callable[[list[str]], list[str]]]:
        """A function that gives, for locations of small files, those of copies on a local disk, if need be."""

    @abc.abstractmethod
    def exist(self, locations: list[str]) -> list[bool]:
        """Which of some files there are."""

    @abc.abstractmethod
    def create(self, path: str, content: bytes) -> bool:
        """Write a whole file below the root, unless there is one: whether this was the one to do so.

        Whatever interrupts it, the file is there with all of its content or not at all.
        """

    @abc.abstractmethod
    def replace(self, path: str, content: bytes) -> None:
        """Write a whole file below the root, in the place of one that there may be."""

    @abc.abstractmethod
    def copy(self, path: str, source: IO[bytes]) -> None:
        """Write a file below the root from an open one."""

    @abc.abstractmethod
    def prepare(self, path: str) -> None:
        """Let files be written to a folder below the root."""

    @abc.abstractmethod
    def remove(self, paths: Iterable[str]) -> None:
        """Remove files below the root, those that there are."""

    @abc.abstractmethod
    def tidy(self) -> None:
        """Remove the folders below the root that are empty, and then the root if it is."""

    @abc.abstractmethod
    def reach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a database open locations of this kind."""


class Disk(Storage):
    """A directory on a local disk."""

    def map(self, function: Callable[[Given], Found], given: Iterable[Given]) -> list[Found]:
        """One after the other, since disks answer at once."""
        return list(map(function, given))

    def is_file(self) -> bool:
        """Whether the root is a file."""
        return Path(self.root).is_file()

    def is_free(self) -> bool:
        """Whether there is nothing yet, or an empty directory."""
        root = Path(self.root)
        return not root.exists() or (root.is_dir() and not any(root.iterdir()))

    def has_folder(self, path: str = "") -> bool:
        """Whether there is such a directory."""
        return Path(self.root, path).is_dir()

    def has_files(self, path: str) -> bool:
        """Whether there is a file in a directory that is no draft."""
        try:
            with os.scandir(f"{self.root}/{path}") as entries:
                return any(entry.name[0] != "." and entry.is_file() for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def folders(self, path: str = "") -> list[str]:
        """The names of the directories in a directory."""
        try:
            with os.scandir(f"{self.root}/{path}") as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def entries(self, path: str = "") -> list[Entry]:
        """The files in a directory."""
        try:
            with os.scandir(f"{self.root}/{path}") as entries:
                return list(self._listed(entry for entry in entries if entry.is_file()))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self) -> Iterator[Entry]:
        """All files below the root, without symbolic links."""
        folders = [self.root] if self.has_folder() else []
        while folders:
            entries: list[os.DirEntry[str]] = []
            with suppress(FileNotFoundError), os.scandir(folders.pop()) as scanned:
                entries = list(scanned)
            folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            yield from self._listed(entry for entry in entries if entry.is_file(follow_symlinks=False))

    def _listed(self, entries: Iterable[os.DirEntry[str]]) -> Iterator[Entry]:
        """Some files, but for those that another process removed since the directory was read, such as its drafts."""
        for entry in entries:
            with suppress(FileNotFoundError):
                stat = entry.stat()
                modified = dt.datetime.fromtimestamp(stat.st_mtime, dt.UTC)
                yield Entry(self.relative(entry.path), stat.st_size, modified)

    def read(self, location: str) -> bytes:
        """The content of a file."""
        return Path(location).read_bytes()

    def open(self, location: str) -> IO[bytes]:
        """A file to read parts of."""
        return Path(location).open("rb")

    def nearby(self) -> AbstractContextManager[Callable[[list[str]], list[str]]]:
        """Files on a disk are near as they are."""
        return nullcontext(lambda locations: locations)

    def exist(self, locations: list[str]) -> list[bool]:
        """Which of some files there are."""
        return [os.path.isfile(location) for location in locations]  # noqa: PTH113 - for each file of a scan

    def create(self, path: str, content: bytes) -> bool:
        """Write a whole file, unless there is one, by giving a finished draft its name."""
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
        """Write a whole file in the place of one that there may be."""
        target = Path(self.root, path)
        draft = target.with_name(f".{uuid.uuid4()}.tmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.replace(target)

    def copy(self, path: str, source: IO[bytes]) -> None:
        """Write a file from an open one."""
        target = Path(self.root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK_BYTES)

    def prepare(self, path: str) -> None:
        """Make a directory."""
        Path(self.root, path).mkdir(parents=True, exist_ok=True)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, those that there are."""
        for path in paths:
            Path(self.root, path).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove directories that are empty."""
        for folder, _, _ in os.walk(self.root, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()

    def reach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Every database opens local files."""


def database() -> duckdb.DuckDBPyConnection:
    """The thread's own connection to the private database that reads logs and plans scans."""
    if getattr(_local, "owner", None) is not _database():
        _local.owner = _database()
        _local.connection = _local.owner.cursor()
    connection: duckdb.DuckDBPyConnection = _local.connection
    return connection


def scratch(storage: Storage | None = None) -> duckdb.DuckDBPyConnection:
    """A database of its own for one change to a table; what does not fit into memory goes to the temporary folder."""
    import duckdb

    connection = duckdb.connect(config={"temp_directory": f"{tempfile.gettempdir()}/ironlake-{uuid.uuid4()}"})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET enable_progress_bar = {sys.stdout.isatty()}")  # not into files and pipes
    if storage is not None:
        storage.reach(connection)
    return connection


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection

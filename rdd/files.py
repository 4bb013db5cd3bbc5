"""RDDs from files and files from RDDs: texts, pickles and records of bytes."""

from __future__ import annotations

import bz2
import glob
import gzip
import pickle
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import Base
from .lineage import Node
from .streams import Elements, Stream

if TYPE_CHECKING:
    from .rdd import RDD
    from .task import Task

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
_CODECS = {"GzipCodec": (".gz", gzip.open), "BZip2Codec": (".bz2", bz2.open)}
#: The first bytes of a file of pickles.
_MAGIC = b"ironlake pickles 1\n"
#: What some programs begin texts in UTF-8 with.
_MARK = b"\xef\xbb\xbf"
#: What ends lines.
_ENDS = re.compile(rb"\r\n|\n|\r")
#: Bytes of a text that are read together.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Split:
    """Bytes of a file that one task reads."""

    path: str
    start: int
    end: int


class FileNode(Node):
    """What a function reads from files, or parts of them; the files are looked for when somebody asks.

    Parameters
    ----------
    name : str
        The files, as `files_of` takes them.
    cut : callable
        The parts of the files that each partition reads.
    read : callable
        The elements of a part.
    """

    def __init__(
        self,
        number: int,
        name: str,
        cut: Callable[[list[str]], list[list[Split]]],
        read: Callable[[Split], Iterable[Any]],
        operation: str,
    ) -> None:
        super().__init__(number, None)
        self.name_of_files, self.cut, self.read, self.operation = name, cut, read, operation
        self._splits: list[list[Split]] | None = None

    @property
    def splits(self) -> list[list[Split]]:
        """The parts of files that each partition reads."""
        if self._splits is None:
            self._splits = self.cut(files_of(self.name_of_files))
        return self._splits

    def _count_partitions(self) -> int:
        return len(self.splits)

    def compute(self, split: int, task: Task) -> Stream:
        return Elements(self._elements(task.input(self, split), task))

    def _elements(self, parts: list[Split], task: Task) -> Iterator[Any]:
        for part in parts:
            task.metrics.input_bytes += part.end - part.start or Path(part.path).stat().st_size
            for element in self.read(part):
                task.metrics.input_rows += 1
                yield element

    def inputs(self, split: int) -> list[Split]:
        return self.splits[split]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_splits": None, "cut": None}


def files_of(names: str) -> list[str]:
    """The files that a name stands for: a path, a pattern, a directory, or several with commas between.

    Hidden files and those that begin with ``_`` are left out of directories and patterns.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    found: list[str] = []
    for name in names.split(","):
        path = name.strip().removeprefix("file://")
        matches = [path] if Path(path).exists() else sorted(glob.glob(path))  # noqa: PTH207 - patterns may be absolute
        if not matches:
            raise FileNotFoundError(f"Input path does not exist: {path}")
        for match in matches:
            if Path(match).is_dir():
                found += sorted(str(each) for each in Path(match).iterdir() if each.name[0] not in "._")
            else:
                found.append(match)
    return [path for path in found if Path(path).is_file()]


def open_compressed(ending: str) -> Callable[..., Any]:
    """What opens files whose names end so."""
    return _OPENERS.get(ending, open)


def text_splits(paths: list[str], minimum: int, compressed: bool = True) -> list[list[Split]]:
    """Files cut into at least so many parts where that can be done: not if endings say that they are compressed."""
    total = sum(Path(path).stat().st_size for path in paths)
    goal = max(1, total // max(minimum, 1))
    size = max(1, min(goal, 32 << 20))
    splits = []
    for path in paths:
        length = Path(path).stat().st_size
        if (compressed and Path(path).suffix in _OPENERS) or not length:
            splits.append([Split(path, 0, length)])
            continue
        start = 0
        while length - start > 1.1 * size:
            splits.append([Split(path, start, start + size)])
            start += size
        splits.append([Split(path, start, length)])
    return splits


def read_lines(split: Split) -> Iterator[str]:
    """The lines that begin in a part of a file, as texts."""
    for place, block in _blocks(split):
        content = _text(block, place)
        if "\r" in content:
            content = content.replace("\r\n", "\n").replace("\r", "\n")
        lines = content.split("\n")
        yield from lines if lines[-1] else lines[:-1]


def read_raw_lines(split: Split) -> Iterator[bytes]:
    """The lines that begin in a part of a file, as bytes."""
    for place, block in _blocks(split):
        content = block if place else block.removeprefix(_MARK)
        if b"\r" in content:
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = content.split(b"\n")
        yield from lines if lines[-1] else lines[:-1]


def placed_lines(split: Split) -> Iterator[tuple[int, str]]:
    """The lines that begin in a part of a file, each with the byte at which it begins."""
    for place, block in _blocks(split):
        start = 0
        for found in _ENDS.finditer(block):
            yield place + start, _text(block[start : found.start()], place + start)
            start = found.end()
        if rest := _text(block[start:], place + start):
            yield place + start, rest


def _text(line: bytes, place: int) -> str:
    return (line if place else line.removeprefix(_MARK)).decode("utf-8", "replace")


def placed_parts(split: Split, separator: bytes) -> Iterator[tuple[int, str]]:
    """What stands in a file between separators, each part with the byte at which it begins."""
    with open_compressed(Path(split.path).suffix)(split.path, "rb") as file:
        parts = file.read().split(separator)
    place = 0
    for number, part in enumerate(parts):
        if part or number < len(parts) - 1:
            yield place, part.decode("utf-8", "replace")
        place += len(part) + len(separator)


def _blocks(split: Split) -> Iterator[tuple[int, bytes]]:
    """The lines that begin in a part of a file, many at a time, with the byte at which they begin."""
    is_compressed = Path(split.path).suffix in _OPENERS
    end = sys.maxsize if is_compressed else split.end
    with open_compressed(Path(split.path).suffix)(split.path, "rb") as file:
        place = split.start
        if place:
            file.seek(place - 1)
            place += len(file.readline()) - 1  # a line that began before
        while place < end and (block := file.read(min(_BLOCK, end - place))):
            block += b"" if block.endswith(b"\n") else file.readline()
            yield place, block
            place += len(block)


def saved_elements(path: str) -> Iterator[Any]:
    """The elements of a file of pickles."""
    with Path(path).open("rb") as file:
        if file.readline() != _MAGIC:
            raise ValueError(f"{path} is no file of pickles that saveAsPickleFile wrote")
        while size := file.read(8):
            yield from pickle.loads(file.read(int.from_bytes(size, "little")))


class Saving(Base):
    """The part of `RDD` that writes files: a directory with one for each partition, and ``_SUCCESS`` at the end."""

    def saveAsTextFile(self, path: str, compressionCodecClass: str | None = None) -> None:
        """Write the elements as lines of text.

        Parameters
        ----------
        path : str
            A directory that does not exist.
        compressionCodecClass : str, optional
            Hadoop's name of a compression: its GzipCodec or BZip2Codec.

        Raises
        ------
        FileExistsError
            The directory exists.
        """
        ending: str = ""
        opener: Callable[..., Any] = open
        if compressionCodecClass is not None:
            name = compressionCodecClass.rsplit(".", 1)[-1]
            if name not in _CODECS:
                raise ValueError(
                    f"saveAsTextFile: the codec {compressionCodecClass} is not known; expected {', '.join(_CODECS)}"
                )
            ending, opener = _CODECS[name]

        def write(file: Any, elements: Iterator[Any]) -> None:
            for element in elements:
                text = element if isinstance(element, bytes) else str(element).encode("utf-8")
                file.write(text + b"\n")

        self._save(path, ending, opener, write)

    def saveAsPickleFile(self, path: str, batchSize: int = 10) -> None:
        """Write the elements so that `SparkContext.pickleFile` reads them back.

        Parameters
        ----------
        path : str
            A directory that does not exist.
        batchSize : int
            Elements of a pickle; 0 lets it be chosen.

        Raises
        ------
        FileExistsError
            The directory exists.
        """
        import itertools

        import cloudpickle

        rows = batchSize if batchSize > 0 else 1000

        def write(file: Any, elements: Iterator[Any]) -> None:
            file.write(_MAGIC)
            while part := list(itertools.islice(elements, rows)):
                content = cloudpickle.dumps(part)
                file.write(len(content).to_bytes(8, "little") + content)

        self._save(path, "", open, write)

    @staticmethod
    def _folder_of(path: str) -> Path:
        """The directory that is to be written, which must not exist."""
        folder = Path(str(path).removeprefix("file://"))
        if folder.exists():
            raise FileExistsError(f"Output directory {folder} already exists")
        return folder

    def _save(
        self,
        path: str,
        ending: str,
        opener: Callable[..., Any],
        write: Callable[[Any, Iterator[Any]], None],
        prefix: str = "part-",
    ) -> None:
        folder = self._folder_of(path)
        folder.mkdir(parents=True)

        def save(split: int, elements: Iterator[Any]) -> Iterable[Any]:
            draft = folder / f".part-{split:05}.{uuid.uuid4().hex}"
            try:
                with opener(draft, "wb") as file:
                    write(file, elements)
                draft.replace(folder / f"{prefix}{split:05}{ending}")
            finally:
                draft.unlink(missing_ok=True)
            return ()

        rdd: RDD = self.mapPartitionsWithIndex(save)  # type: ignore[attr-defined]
        rdd.context.runJob(rdd, list)
        for draft in folder.glob(".part-*"):  # of tasks that were killed
            draft.unlink()
        (folder / "_SUCCESS").touch()

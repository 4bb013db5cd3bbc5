"""RDDs from files."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import FileNode, Split, read_lines, read_raw_lines, saved_elements, text_splits

if TYPE_CHECKING:
    from .rdd import RDD


class Reading:
    """The part of `SparkContext` that reads files; paths may be patterns, directories, or several with commas."""

    @property
    def defaultMinPartitions(self) -> int:
        raise NotImplementedError

    def _next_id(self) -> int:
        raise NotImplementedError

    def textFile(self, name: str, minPartitions: int | None = None, use_unicode: bool = True) -> RDD:
        """An RDD of the lines of text files; those that end in .gz or .bz2 are uncompressed.

        Parameters
        ----------
        name : str
            The files.
        minPartitions : int, optional
            At least how many partitions; files are cut at lines.
        use_unicode : bool
            Decode UTF-8; otherwise lines are bytes.
        """
        read = read_lines if use_unicode else read_raw_lines
        count = minPartitions or self.defaultMinPartitions
        return self._lazily(name, lambda paths: text_splits(paths, count), read, f"textFile {name}")

    def wholeTextFiles(self, path: str, minPartitions: int | None = None, use_unicode: bool = True) -> RDD:
        """An RDD of pairs of each file's path and its content."""
        return self._whole(
            path, minPartitions, lambda content: content.decode() if use_unicode else content, "wholeTextFiles"
        )

    def binaryFiles(self, path: str, minPartitions: int | None = None) -> RDD:
        """An RDD of pairs of each file's path and its bytes."""
        return self._whole(path, minPartitions, lambda content: content, "binaryFiles")

    def _whole(self, path: str, minimum: int | None, decode: Callable[[bytes], Any], operation: str) -> RDD:
        def read(split: Split) -> Iterable[tuple[str, Any]]:
            content = Path(split.path).read_bytes()
            return [(f"file:{Path(split.path).absolute()}", decode(content))]

        def cut(paths: list[str]) -> list[list[Split]]:
            count = min(len(paths), minimum or self.defaultMinPartitions)
            bounds = [place * len(paths) // count for place in range(count + 1)] if count else [0]
            return [[Split(each, 0, 0) for each in paths[start:end]] for start, end in itertools.pairwise(bounds)]

        return self._lazily(path, cut, read, f"{operation} {path}")

    def binaryRecords(self, path: str, recordLength: int) -> RDD:
        """An RDD of the records of one length that files consist of, as bytes.

        Raises
        ------
        ValueError
            `recordLength` is not positive; an action finds files of which it is no part.
        """
        if recordLength < 1:
            raise ValueError(f"SparkContext.binaryRecords: recordLength is {recordLength}; expected 1 or more")

        def read(split: Split) -> Iterator[bytes]:
            with Path(split.path).open("rb") as file:
                while record := file.read(recordLength):
                    if len(record) < recordLength:
                        size = Path(split.path).stat().st_size
                        raise ValueError(f"{split.path} has {size} bytes, which are no records of {recordLength}")
                    yield record

        return self._lazily(path, lambda paths: [[Split(each, 0, 0)] for each in paths], read, f"binaryRecords {path}")

    def pickleFile(self, name: str, minPartitions: int | None = None) -> RDD:
        """An RDD of the elements that `RDD.saveAsPickleFile` wrote."""
        return self._lazily(
            name,
            lambda paths: [[Split(each, 0, 0)] for each in paths],
            lambda split: saved_elements(split.path),
            f"pickleFile {name}",
        )

    def _lazily(
        self,
        name: str,
        cut: Callable[[list[str]], list[list[Split]]],
        read: Callable[[Split], Iterable[Any]],
        operation: str,
    ) -> RDD:
        """An RDD of files that are looked for when somebody asks for its partitions."""
        from .rdd import RDD

        if not isinstance(name, str | os.PathLike):
            raise TypeError(f"SparkContext: the path is {name!r}; expected a text")
        return RDD(FileNode(self._next_id(), os.fspath(name), cut, read, operation), self)  # type: ignore[arg-type]

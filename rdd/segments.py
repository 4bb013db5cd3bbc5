"""Files in which tasks leave batches for other tasks: outputs of shuffles, kept partitions, large inputs.

A file holds sections, each a stream of Arrow's IPC per batch; where a section begins and what its checksum is stands in the
driver's memory, not in the file. A file is written under a name of its attempt and renamed when it is whole, so that
nobody reads what a task that failed has left. Readers map files into memory: typed columns are not copied.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from .batches import Batch


@dataclass(frozen=True)
class Section:
    """Where some batches are.

    Attributes
    ----------
    path : str
        The file.
    offset, length : int
        The section's bytes.
    rows : int
        Elements in it.
    checksum : int
        CRC-32 of the bytes.
    """

    path: str
    offset: int
    length: int
    rows: int
    checksum: int


class MissingSegment(Exception):
    """A file that another task has left is gone, or its content is damaged."""


class SegmentWriter:
    """Writes one file, section after section; as a context it is renamed to its final name at the end, or removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._draft = path.with_name(f"{path.name}.{os.getpid()}.{id(self)}.attempt")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._draft.open("wb")

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None:
            self._draft.replace(self.path)
        else:
            self._draft.unlink(missing_ok=True)

    def write(self, batches: Iterable[Batch]) -> Section:
        """Append a section."""
        start, rows, checksum = self._file.tell(), 0, 0
        for batch in batches:
            content = batch.to_bytes()
            size = content.size.to_bytes(8, "little")
            checksum = zlib.crc32(content, zlib.crc32(size, checksum))
            self._file.write(size)
            self._file.write(content)
            self._file.write(bytes(-content.size % 8))
            rows += len(batch)
        return Section(str(self.path), start, self._file.tell() - start, rows, checksum)


def read_section(section: Section, check: bool = False) -> Iterator[Batch]:
    """The batches of a section, mapped from the file.

    Raises
    ------
    MissingSegment
        The file is gone or too short, or, with `check`, not what was written.
    """
    if not section.length:
        return
    try:
        with pa.memory_map(section.path) as file:
            content = file.read_buffer(section.offset + section.length)
    except (OSError, pa.ArrowException) as error:
        raise MissingSegment(f"{section.path}: {error}") from None
    if content.size < section.offset + section.length:
        raise MissingSegment(f"{section.path} ends before byte {section.offset + section.length}")
    parts = list(_parts(content, section))
    if check:
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part, zlib.crc32(part.size.to_bytes(8, "little"), checksum))
        if checksum != section.checksum:
            raise MissingSegment(f"{section.path}: the checksum of the bytes from {section.offset} on is wrong")
    for part in parts:
        yield Batch.from_bytes(part)


def _parts(content: pa.Buffer, section: Section) -> Iterator[pa.Buffer]:
    place, end = section.offset, section.offset + section.length
    view = memoryview(content)
    while place < end:
        size = int.from_bytes(view[place : place + 8], "little")
        if place + 8 + size > end:
            raise MissingSegment(f"{section.path}: a batch at byte {place} ends outside its section")
        yield content.slice(place + 8, size)
        place += 8 + size + -size % 8

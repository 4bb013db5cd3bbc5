"""Files in which tasks leave batches for other tasks: outputs of shuffles, kept partitions, large inputs.

A file holds sections, each a stream of Arrow's IPC per batch; where a section begins and what its checksum is stands
in the driver's memory, not in the file. A file is written under a name of its attempt and renamed when it is whole,
so that nobody reads what a task that failed has left. Readers map files into memory: typed columns are not copied.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .batches import Batch
from .running import running_task

if TYPE_CHECKING:
    import pyarrow as pa

#: In a folder in shared memory, a link to the one on the disk, where files go if there is no more room.
OVERFLOW = "overflow"
#: Bytes of a file system that files leave free.
_SPARED = 64 << 20
#: Bytes of shared memory without which it is not used at all.
_LEAST_SHARED = 512 << 20


@dataclass
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
    """Writes one file, section after section; as a context it is renamed to its final name at the end, or removed.

    If there is no more room in shared memory, the file goes to the disk.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sections: list[Section] = []
        self._place = 0
        self._open(path)
        if shutil.disk_usage(path.parent).free < _SPARED:
            self._overflow()

    def _open(self, path: Path) -> None:
        self.path = path
        self._draft = path.with_name(f"{path.name}.{os.getpid()}.{id(self)}.attempt")
        self._file = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self._file)
        if kind is None:
            self._draft.replace(self.path)
        else:
            self._draft.unlink(missing_ok=True)

    def write(self, batches: Iterable[Batch]) -> Section:
        """Append a section."""
        start, rows, checksum = self._place, 0, 0
        for batch in batches:
            content = batch.to_bytes()
            size = content.size.to_bytes(8, "little")
            checksum = zlib.crc32(content, zlib.crc32(size, checksum))
            for part in (size, content, bytes(-content.size % 8)):
                self._put(memoryview(part))
            rows += len(batch)
        section = Section(str(self.path), start, self._place - start, rows, checksum)
        self._sections.append(section)
        return section

    def _put(self, content: memoryview) -> None:
        while content:
            try:
                written = os.write(self._file, content)
            except OSError as error:
                if error.errno != errno.ENOSPC or not self._overflow():
                    raise
                continue
            self._place += written
            content = content[written:]

    def _overflow(self) -> bool:
        """Go on on the disk; False if there is no other place."""
        folder = self.path.parent / OVERFLOW
        if not folder.is_dir():
            return False
        os.close(self._file)
        draft, place = self._draft, self._place
        self._open(folder / self.path.name)
        self._place = 0
        with draft.open("rb") as before:
            while self._place < place:
                self._put(memoryview(before.read(min(1 << 20, place - self._place))))
        draft.unlink()
        for section in self._sections:
            section.path = str(self.path)
        if (task := running_task()) is not None:
            task.metrics.is_overflowing = True
        return True


def read_section(section: Section, check: bool = False) -> Iterator[Batch]:
    """The batches of a section, mapped from the file.

    Raises
    ------
    MissingSegment
        The file is gone or too short, or, with `check`, not what was written.
    """
    if not section.length:
        return
    import pyarrow as pa

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


def segment_folder(disk: Path) -> Path:
    """The directory where tasks write: one of its own in shared memory if there is room, else one on the disk.

    One in shared memory has a link to the disk, for what it has no room for.
    """
    on_disk = disk / "segments"
    on_disk.mkdir()
    shared = Path("/dev/shm")
    if shared.is_dir() and os.access(shared, os.W_OK):
        if shutil.disk_usage(shared).free >= _LEAST_SHARED:
            folder = Path(tempfile.mkdtemp(prefix="ironlake-rdd-", dir=shared))
            (folder / OVERFLOW).symlink_to(on_disk)
            return folder
        warnings.warn(f"there is no room in {shared}; shuffles and kept partitions go to {on_disk}", stacklevel=2)
    return on_disk

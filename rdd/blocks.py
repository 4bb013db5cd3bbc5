"""The kept partitions of all RDDs: where each is, how much memory they take, and which have to go.

Source: Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 5.3.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .batches import Batch
from .segments import Section, SegmentWriter
from .task import Key

if TYPE_CHECKING:
    from .levels import StorageLevel


@dataclass
class Block:
    """A kept partition.

    Attributes
    ----------
    content : list of Batch or of Section
        Its elements, in the driver's memory or in files.
    worker : str
        Whose it is; it is lost with that worker.
    level : StorageLevel
        How it is kept.
    nbytes : int
        Its size.
    in_memory : bool
        Whether it counts as memory: files of workers are in memory if they are in a file system that is.
    """

    content: list[Batch] | list[Section]
    worker: str
    level: StorageLevel
    nbytes: int
    in_memory: bool


class Blocks:
    """All kept partitions, in bounded memory.

    A new partition that does not fit makes room by taking partitions of the RDD that was used longest ago; unless that
    is its own, since then a scan in a circle would take away what it needs next: the new one is not kept in memory.

    Parameters
    ----------
    limit : int
        Bytes of memory for all.
    spill : pathlib.Path
        The directory for partitions that are kept on disk.

    Attributes
    ----------
    memory : int
        Bytes of memory that kept partitions take.
    """

    def __init__(self, limit: int, spill: Path) -> None:
        self.limit, self._spill = limit, spill
        self.memory = 0
        self._blocks: dict[Key, Block] = {}
        self._used: dict[int, int] = {}
        self._clock = itertools.count()
        self._lock = threading.RLock()

    def find(self, key: Key) -> Block | None:
        """A partition, if it is kept; the RDD counts as used."""
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._used[key[0]] = next(self._clock)
            return block

    def put(self, key: Key, content: list[Batch] | list[Section], worker: str, level: StorageLevel) -> None:
        """Keep a partition, as its level says."""
        with self._lock:
            self.remove(key)
            nbytes = sum(part.length if isinstance(part, Section) else part.nbytes for part in content)
            block = Block(content, worker, level, nbytes, level.useMemory)
            if not level.keeps:  # any more: somebody called unpersist while the task ran
                _discard(block)
                return
            self._used[key[0]] = next(self._clock)
            if block.in_memory and not self._make_room(key, nbytes):
                block.in_memory = False
            if not block.in_memory and not level.useDisk:
                _discard(block)
                return
            if not block.in_memory:
                self._to_disk(key, block)
            self._blocks[key] = block
            self.memory += nbytes if block.in_memory else 0

    def in_files(self, key: Key, folder: str) -> list[Section]:
        """A partition, moved to a file if it was in the driver's memory, so that workers can read it."""
        with self._lock:
            block = self._blocks[key]
            if any(isinstance(part, Batch) for part in block.content):
                with SegmentWriter(Path(folder, f"kept-{key[0]}-{key[1]}-driver")) as writer:
                    block.content = [writer.write(part for part in block.content if isinstance(part, Batch))]
            return [part for part in block.content if isinstance(part, Section)]

    def _make_room(self, key: Key, nbytes: int) -> bool:
        """Let partitions go until another one fits; False if it cannot."""
        while self.memory + nbytes > self.limit:
            others = {each for each, block in self._blocks.items() if block.in_memory}
            if not others:
                return False
            oldest = min({each[0] for each in others}, key=lambda rdd: self._used.get(rdd, -1))
            if oldest == key[0]:
                return False
            victim = min(each for each in others if each[0] == oldest)
            block = self._blocks[victim]
            if block.level.useDisk:
                self._to_disk(victim, block)
                self.memory -= block.nbytes
            else:
                self.remove(victim)
        return True

    def _to_disk(self, key: Key, block: Block) -> None:
        """Move a partition to the disk."""
        before = Block(block.content, block.worker, block.level, block.nbytes, block.in_memory)
        path = self._spill / f"kept-{key[0]}-{key[1]}"
        if block.content and isinstance(block.content[0], Section):
            path.parent.mkdir(parents=True, exist_ok=True)
            source = Path(block.content[0].path)
            shutil.copyfile(source, path)
            block.content = [Section(str(path), *_place(part)) for part in block.content if isinstance(part, Section)]
        else:
            with SegmentWriter(path) as writer:
                block.content = [writer.write(part for part in block.content if isinstance(part, Batch))]
        block.in_memory, block.worker = False, "driver"
        _discard(before)

    def remove(self, key: Key) -> None:
        """Keep a partition no longer."""
        with self._lock:
            if block := self._blocks.pop(key, None):
                self.memory -= block.nbytes if block.in_memory else 0
                _discard(block)

    def remove_rdd(self, rdd: int) -> None:
        """Keep the partitions of an RDD no longer."""
        with self._lock:
            for key in [key for key in self._blocks if key[0] == rdd]:
                self.remove(key)

    def remove_worker(self, worker: str) -> list[Key]:
        """Forget what was lost with a worker; which partitions these are."""
        with self._lock:
            lost = [key for key, block in self._blocks.items() if block.worker == worker]
            for key in lost:
                self.remove(key)
            return lost

    def remove_missing(self, rdd: int) -> None:
        """Forget the partitions of an RDD whose files are gone."""
        with self._lock:
            for key, block in list(self._blocks.items()):
                if key[0] == rdd and not all(
                    Path(part.path).exists() for part in block.content if isinstance(part, Section)
                ):
                    self.remove(key)

    def kept(self, rdd: int) -> list[Block]:
        """The partitions of an RDD that are kept."""
        with self._lock:
            return [block for key, block in self._blocks.items() if key[0] == rdd]

    def sizes(self) -> dict[int, tuple[int, int, int]]:
        """For each RDD how many partitions are kept, and their bytes in memory and on disk."""
        found: dict[int, tuple[int, int, int]] = {}
        with self._lock:
            for (rdd, _), block in self._blocks.items():
                count, memory, disk = found.get(rdd, (0, 0, 0))
                size = (block.nbytes, 0) if block.in_memory else (0, block.nbytes)
                found[rdd] = count + 1, memory + size[0], disk + size[1]
        return found


def _place(section: Section) -> tuple[int, int, int, int]:
    return section.offset, section.length, section.rows, section.checksum


def _discard(block: Block) -> None:
    """Remove the files of a partition."""
    for part in block.content:
        if isinstance(part, Section):
            Path(part.path).unlink(missing_ok=True)

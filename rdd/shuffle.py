"""Shuffles: pairs go to the partition that the partitioner gives their keys.

The map side writes one file a task, with a section for each partition that will read it; where they are is kept by the
driver. The reading side takes the sections in the order of the partitions that wrote them, whichever came first, so
that a partition that is computed again has the same elements in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .batches import BATCH_ROWS, OBJECT, Batch
from .hashing import portable_hash
from .keyed import RangePartition
from .lineage import Node, Partitioner, Wide
from .segments import MissingSegment, Section, SegmentWriter, read_section
from .spilling import size_of
from .streams import Batches, Elements, Stream
from .tiers.grouping import joined, parts_of, scattered

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from .task import Task

#: Pairs that a map task holds before it writes them out.
_HELD = 1_000_000


class FetchFailed(Exception):
    """An output of a map task is gone: the task has to be run again.

    Attributes
    ----------
    shuffle_id, map_split : int
        Which.
    """

    def __init__(self, shuffle_id: int, map_split: int, reason: str) -> None:
        super().__init__(shuffle_id, map_split, reason)
        self.shuffle_id, self.map_split, self.reason = shuffle_id, map_split, reason

    def __str__(self) -> str:
        return f"the output of partition {self.map_split} in shuffle {self.shuffle_id} cannot be read: {self.reason}"


class Shuffled(Node):
    """The pairs of the parent, spread by a partitioner."""

    operation = "partitionBy"

    def __init__(self, number: int, parent: Node, shuffle_id: int, partitioner: Partitioner) -> None:
        super().__init__(number, partitioner.numPartitions, (Wide(parent, shuffle_id, partitioner),), partitioner)
        self.shuffle_id, self.map_splits = shuffle_id, parent.partitions

    def compute(self, split: int, task: Task) -> Stream:
        return Batches(self._read(task.input(self, split), task))

    def _read(self, outputs: list[tuple[int, list[Section]]], task: Task) -> Iterator[Batch]:
        for map_split, sections in outputs:
            for section in sections:
                task.metrics.shuffle_read_bytes += section.length
                try:
                    yield from read_section(section, check=True)
                except MissingSegment as error:
                    raise FetchFailed(self.shuffle_id, map_split, str(error)) from None

    def __getstate__(self) -> dict[str, Any]:
        # The parent's lineage is not the reading task's business.
        return {**self.__dict__, "dependencies": ()}


def write_output(dependency: Wide, split: int, path: Path, task: Task) -> list[list[Section]]:
    """Run the map side of a shuffle for a partition: for each partition that will read it, its sections."""
    with _Scatter(dependency.partitioner, path, task.assignment.memory) as scatter:
        stream = dependency.parent.iterator(split, task)
        for part in stream.parts() if isinstance(stream, Elements) else stream.batches():
            if isinstance(part, Batch):
                scatter.add_batch(part)
            else:
                scatter.add_pairs(part)
    task.metrics.shuffle_write_bytes += sum(section.length for part in scatter.sections for section in part)
    return scatter.sections


class _Scatter:
    """Pairs on their way to partitions: held until there are many, or `memory` bytes in columns, then written out.

    Attributes
    ----------
    sections : list of list of Section
        For each partition where its pairs are, in their order.
    """

    def __init__(self, partitioner: Partitioner, path: Path, memory: int) -> None:
        self._count, self._function = partitioner.numPartitions, partitioner.partitionFunc
        self.sections: list[list[Section]] = [[] for _ in range(self._count)]
        self._pairs: list[list[Any]] = [[] for _ in range(self._count)]
        self._batches: list[list[Batch]] = [[] for _ in range(self._count)]
        self._held = self._bytes = 0
        self._memory = memory
        self._writer = SegmentWriter(path)

    def __enter__(self) -> _Scatter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self._flush()
        self._writer.__exit__(kind, *rest)

    def add_pairs(self, pairs: list[Any]) -> None:
        """Take pairs, one by one."""
        held, function, count = self._pairs, self._function, self._count
        for pair in pairs:
            held[function(pair[0]) % count].append(pair)
        self._held += len(pairs)
        self._bytes += size_of(pairs, len(pairs))
        if self._held >= _HELD or self._bytes > self._memory:
            self._flush()

    def add_batch(self, batch: Batch) -> None:
        """Take a batch of pairs."""
        parts = self._parts_of(batch)
        if parts is None:
            for pair in batch.objects():
                self._pairs[self._function(pair[0]) % self._count].append(pair)
        else:
            for place, part in enumerate(scattered(batch, parts, self._count)):
                if part is not None:
                    self._settle(place)
                    self._batches[place].append(part)
        self._held += len(batch)
        self._bytes += batch.nbytes
        if self._held >= _HELD or self._bytes > self._memory:
            self._flush()

    def _parts_of(self, batch: Batch) -> np.ndarray | None:
        """The partition of each pair; None if Python has to tell."""
        if self._function is portable_hash:
            return parts_of(batch, self._count)
        return self._function.parts_of(batch) if isinstance(self._function, RangePartition) else None

    def _settle(self, place: int) -> None:
        """Make a batch of the pairs of a partition that came one by one."""
        pairs = self._pairs[place]
        if pairs:
            self._batches[place] += (
                Batch.of(pairs[start : start + BATCH_ROWS]) for start in range(0, len(pairs), BATCH_ROWS)
            )
            self._pairs[place] = []

    def _flush(self) -> None:
        """Write out what is held."""
        for place in range(self._count):
            self._settle(place)
            if batches := self._batches[place]:
                together = joined(batches) if len(batches) > 1 and batches[0].kind != OBJECT else None
                self.sections[place].append(self._writer.write([together] if together is not None else batches))
                self._batches[place] = []
        self._held = self._bytes = 0

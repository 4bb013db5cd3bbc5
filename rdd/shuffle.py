"""Shuffles: pairs go to the partition that the partitioner gives their keys.

The map side writes one file a task, with a section for each partition that will read it; where they are is kept by the
driver. The reading side takes the sections in the order of the partitions that wrote them, whichever came first, so
that a partition that is computed again has the same elements in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .batches import BATCH_ROWS, Batch
from .lineage import Node, Partitioner, Wide
from .segments import MissingSegment, Section, SegmentWriter, read_section
from .streams import Batches, Stream

if TYPE_CHECKING:
    from pathlib import Path

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

    def __init__(self, id: int, parent: Node, shuffle_id: int, partitioner: Partitioner) -> None:
        super().__init__(id, partitioner.numPartitions, (Wide(parent, shuffle_id, partitioner),), partitioner)
        self.shuffle_id = shuffle_id

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
    partitioner = dependency.partitioner
    count, function = partitioner.numPartitions, partitioner.partitionFunc
    sections: list[list[Section]] = [[] for _ in range(count)]
    with SegmentWriter(path) as writer:
        held: list[list[Any]] = [[] for _ in range(count)]
        number = 0
        for pair in dependency.parent.iterator(split, task):
            held[function(pair[0]) % count].append(pair)
            number += 1
            if number % _HELD == 0:
                _flush(held, sections, writer)
        _flush(held, sections, writer)
    task.metrics.shuffle_write_bytes += sum(section.length for part in sections for section in part)
    return sections


def _flush(held: list[list[Any]], sections: list[list[Section]], writer: SegmentWriter) -> None:
    for place, pairs in enumerate(held):
        if pairs:
            batches = (Batch.of(pairs[start : start + BATCH_ROWS]) for start in range(0, len(pairs), BATCH_ROWS))
            sections[place].append(writer.write(batches))
            held[place] = []

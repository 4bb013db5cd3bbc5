"""Where lineage begins: collections of the driver, ranges, Arrow tables and lines of files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .batches import BATCH_ROWS, Batch
from .lineage import Node
from .segments import Section, SegmentWriter, read_section
from .streams import Batches, Stream

if TYPE_CHECKING:
    from .task import Task


#: Bytes of a slice from which on it goes to workers in a file.
_SENT = 1 << 18


class Given(Node):
    """Batches of the driver, for each partition its own; tasks are given theirs."""

    def __init__(self, number: int, slices: Sequence[list[Batch]], operation: str) -> None:
        super().__init__(number, len(slices))
        self._slices, self.operation = slices, operation
        self.rows = sum(len(batch) for part in slices for batch in part)
        self._files: dict[int, Section] = {}

    def compute(self, split: int, task: Task) -> Stream:
        given = task.input(self, split)
        return Batches(task.metrics.read(read_section(given) if isinstance(given, Section) else given))

    def inputs(self, split: int) -> list[Batch]:
        return self._slices[split]

    def inputs_of_worker(self, split: int, folder: str) -> list[Batch] | Section:
        """The same for another process: large slices are written to a file once, rather than sent for each job."""
        batches = self._slices[split]
        if sum(batch.nbytes for batch in batches) < _SENT:
            return batches
        if split not in self._files:
            with SegmentWriter(Path(folder, f"parallelize-{self.id}-{split}")) as writer:
                self._files[split] = writer.write(batches)
        return self._files[split]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_slices": None, "_files": None}


class Parallelized(Given):
    """A collection of the driver in slices."""

    def __init__(self, number: int, slices: Sequence[Sequence[Any]]) -> None:
        batches = [
            [Batch.of(part[start : start + BATCH_ROWS]) for start in range(0, len(part), BATCH_ROWS)] for part in slices
        ]
        super().__init__(number, batches, "parallelize")


class Empty(Node):
    """No elements, in no partitions."""

    operation = "emptyRDD"

    def __init__(self, number: int) -> None:
        super().__init__(number, 0)


def slices_of(collection: Sequence[Any], count: int) -> list[Sequence[Any]]:
    """A collection in as many slices, cut where PySpark cuts it: ranges evenly, others between batches of elements."""
    if isinstance(collection, range):
        length = len(collection)
        return [collection[place * length // count : (place + 1) * length // count] for place in range(count)]
    rows = max(1, min(len(collection) // count, 1024))
    batches = -(-len(collection) // rows)
    bounds = [place * batches // count * rows for place in range(count + 1)]
    return [collection[start:end] for start, end in itertools.pairwise(bounds)]

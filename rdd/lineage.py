"""Lineage: how each partition of an RDD follows from partitions of others.

A `Node` answers the five questions of the paper's table 3: which partitions there are, which other nodes they depend on
and how, how the elements of one are computed, by which partitioner they are spread, and where a partition is best
computed. It is what tasks carry to worker processes; an `RDD` is a node with a context.

Source: Zaharia and others: Resilient Distributed Datasets, NSDI (2012), sections 4 and 5.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .hashing import portable_hash
from .levels import StorageLevel
from .spilling import by_key
from .streams import Batches, Elements, Stream, gathered
from .tiers.grouping import Reducible, reduced
from .tiers.steps import Step, stream_of_step

if TYPE_CHECKING:
    from .task import Task

#: A function of a partition: its number and its elements to elements.
PartitionFunction = Callable[[int, Iterator[Any]], Iterable[Any]]


class Partitioner:
    """Spreads keys over partitions; equal ones put equal keys into the same partition.

    Parameters
    ----------
    numPartitions : int
        How many partitions there are.
    partitionFunc : callable
        The number of a key, of which the remainder by `numPartitions` counts.
    """

    def __init__(self, numPartitions: int, partitionFunc: Callable[[Any], int] = portable_hash) -> None:
        self.numPartitions, self.partitionFunc = numPartitions, partitionFunc

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Partitioner)
            and self.numPartitions == other.numPartitions
            and self.partitionFunc == other.partitionFunc
        )

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, key: Any) -> int:
        return self.partitionFunc(key) % self.numPartitions


@dataclass(frozen=True)
class Narrow:
    """A dependency by which a partition needs some partitions of the parent, and the parent's feed few children.

    Attributes
    ----------
    parent : Node
        The parent.
    parents_of : callable
        The partitions of the parent that a partition needs.
    """

    parent: Node
    parents_of: Callable[[int], Sequence[int]]


@dataclass(frozen=True)
class Wide:
    """A dependency by which a partition may need parts of all partitions of the parent: a shuffle.

    Attributes
    ----------
    parent : Node
        The parent, whose elements are pairs of key and value.
    shuffle_id : int
        The number of the shuffle.
    partitioner : Partitioner
        What spreads the keys.
    """

    parent: Node
    shuffle_id: int
    partitioner: Partitioner


class Node:
    """One step of lineage.

    Attributes
    ----------
    id : int
        Its number in the context.
    dependencies : tuple of Narrow and Wide
        What its partitions follow from.
    partitioner : Partitioner or None
        What spread the keys of the elements, if something did.
    operation : str
        What the step is called, as users know it.
    """

    operation = "RDD"

    def __init__(
        self,
        number: int,
        partitions: int | None,
        dependencies: tuple[Narrow | Wide, ...] = (),
        partitioner: Partitioner | None = None,
    ) -> None:
        self.id, self._partitions, self.dependencies, self.partitioner = number, partitions, dependencies, partitioner
        self.level = StorageLevel.NONE
        self.name: str | None = None
        self.is_barrier = False
        self.checkpoint: str | None = None
        self.checkpoint_path: str | None = None
        self.is_cut = False

    @property
    def partitions(self) -> int:
        """How many partitions there are; nobody looks at files before somebody asks."""
        if self._partitions is None:
            self._partitions = self._count_partitions()
        return self._partitions

    def _count_partitions(self) -> int:
        return self.dependencies[0].parent.partitions

    def compute(self, split: int, task: Task) -> Stream:
        """The elements of a partition, from those of the parents."""
        raise NotImplementedError

    def iterator(self, split: int, task: Task) -> Stream:
        """The elements of a partition: those that were kept, or computed ones, which are kept if they should be."""
        if self.checkpoint_path is not None:
            from .files import saved_elements

            return Elements(saved_elements(f"{self.checkpoint_path}/part-{split:05}"))
        if self.level.keeps:
            return task.storage.get_or_compute(self, split, task)
        return self.compute(split, task)

    def inputs(self, split: int) -> Any:
        """What a task needs to be given to compute a partition, besides the node itself."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def preferred_locations(self, split: int) -> Sequence[str]:
        """The workers on which a partition is best computed."""
        return ()


class Transformed(Node):
    """A function of each partition of one parent."""

    def __init__(
        self, number: int, parent: Node, function: PartitionFunction, keeps_partitioner: bool, name: str
    ) -> None:
        super().__init__(number, None, (Narrow(parent, same_split),), parent.partitioner if keeps_partitioner else None)
        self.function, self.operation = function, name
        self.is_barrier = parent.is_barrier

    @property
    def parent(self) -> Node:
        """The node whose partitions are transformed."""
        return self.dependencies[0].parent

    def compute(self, split: int, task: Task) -> Stream:
        return Elements(self.function(split, iter(self.parent.iterator(split, task))))


class Elementwise(Transformed):
    """A function of each element: ``map``, ``filter``, ``flatMap`` and those of pairs.

    Attributes
    ----------
    user : callable
        The user's function of an element, which the tiers may compile.
    """

    def __init__(
        self, number: int, parent: Node, function: PartitionFunction, keeps_partitioner: bool, name: str, user: Any
    ) -> None:
        super().__init__(number, parent, function, keeps_partitioner, name)
        self.user = user

    def compute(self, split: int, task: Task) -> Stream:
        stream = self.parent.iterator(split, task)
        python = functools.partial(self.function, split)
        step = Step(self.operation, self.user, python, functools.partial(task.note_tier, self.id), task.changed)
        return stream_of_step(step, stream)


class Reduced(Node):
    """The values of each key of the parent's partition put together by a function, keys as they first come."""

    operation = "reduceByKey"

    def __init__(self, number: int, parent: Node, user: Callable[[Any, Any], Any]) -> None:
        super().__init__(number, None, (Narrow(parent, same_split),), parent.partitioner)
        self.user = user

    def compute(self, split: int, task: Task) -> Stream:
        stream = self.dependencies[0].parent.iterator(split, task)
        wanted = Reducible(self.user, isinstance(stream, Elements))
        batches, elements = gathered(stream, wanted, lambda batches: reduced(batches, self.user))
        if batches is not None:
            found = reduced(batches, self.user)
            if found is not None:
                task.note_tier(self.id, "T1", "")
                return Batches([found])
            elements = iter(Batches(batches))
        reason = "there are few pairs, their keys are no integers or texts, or the function cannot be compiled"
        task.note_tier(self.id, "T2", reason)
        return Elements(by_key([(self._absorb, elements)]))

    def _absorb(self, values: dict[Any, Any], pairs: Iterable[tuple[Any, Any]]) -> None:
        user = self.user
        for key, value in pairs:
            values[key] = user(values[key], value) if key in values else value


class Union(Node):
    """The partitions of several parents, one after the other."""

    operation = "union"

    def __init__(self, number: int, parents: Sequence[Node]) -> None:
        starts = [sum(parent.partitions for parent in parents[:place]) for place in range(len(parents))]
        ranges = [
            Narrow(parent, _Range(start, parent.partitions)) for start, parent in zip(starts, parents, strict=True)
        ]
        super().__init__(number, sum(parent.partitions for parent in parents), tuple(ranges))

    def compute(self, split: int, task: Task) -> Stream:
        for dependency in self.dependencies:
            if found := dependency.parents_of(split):  # type: ignore[union-attr]
                return dependency.parent.iterator(found[0], task)
        raise IndexError(split)


class AlignedUnion(Node):
    """The union of parents with one partitioner: each partition takes those of its number."""

    operation = "union"

    def __init__(self, number: int, parents: Sequence[Node]) -> None:
        dependencies = tuple(Narrow(parent, same_split) for parent in parents)
        super().__init__(number, parents[0].partitions, dependencies, parents[0].partitioner)

    def compute(self, split: int, task: Task) -> Stream:
        return Elements(
            element for dependency in self.dependencies for element in dependency.parent.iterator(split, task)
        )


class Coalesced(Node):
    """Neighbouring partitions of the parent as one."""

    operation = "coalesce"

    def __init__(self, number: int, parent: Node, partitions: int) -> None:
        count = max(1, min(partitions, parent.partitions)) if parent.partitions else 0
        super().__init__(number, count, (Narrow(parent, _Neighbours(parent.partitions, count)),))

    def compute(self, split: int, task: Task) -> Stream:
        (dependency,) = self.dependencies
        parts = dependency.parents_of(split)  # type: ignore[union-attr]
        return Elements(element for part in parts for element in dependency.parent.iterator(part, task))


class Cartesian(Node):
    """All pairs of elements of two parents."""

    operation = "cartesian"

    def __init__(self, number: int, left: Node, right: Node) -> None:
        width = right.partitions
        dependencies = Narrow(left, _Quotient(width)), Narrow(right, _Remainder(width))
        super().__init__(number, left.partitions * width, dependencies)

    def compute(self, split: int, task: Task) -> Stream:
        left, right = (dependency.parent for dependency in self.dependencies)
        row, column = divmod(split, right.partitions)
        return Elements((one, other) for one in left.iterator(row, task) for other in right.iterator(column, task))


class Zipped(Node):
    """Pairs of the elements of two parents that stand in the same places."""

    operation = "zip"

    def __init__(self, number: int, left: Node, right: Node) -> None:
        super().__init__(number, left.partitions, (Narrow(left, same_split), Narrow(right, same_split)))

    def compute(self, split: int, task: Task) -> Stream:
        left, right = (iter(dependency.parent.iterator(split, task)) for dependency in self.dependencies)
        return Elements(_zipped(left, right))


def _zipped(left: Iterator[Any], right: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    nothing = object()
    for one in left:
        other = next(right, nothing)
        if other is nothing:
            raise ValueError("Can only zip with RDD which has the same number of elements in each partition")
        yield one, other
    if next(right, nothing) is not nothing:
        raise ValueError("Can only zip with RDD which has the same number of elements in each partition")


def same_split(split: int) -> Sequence[int]:
    """The partition of the same number."""
    return (split,)


@dataclass(frozen=True)
class _Range:
    start: int
    count: int

    def __call__(self, split: int) -> Sequence[int]:
        return (split - self.start,) if self.start <= split < self.start + self.count else ()


@dataclass(frozen=True)
class _Neighbours:
    parents: int
    count: int

    def __call__(self, split: int) -> Sequence[int]:
        return range(split * self.parents // self.count, (split + 1) * self.parents // self.count)


@dataclass(frozen=True)
class _Quotient:
    width: int

    def __call__(self, split: int) -> Sequence[int]:
        return (split // self.width,)


@dataclass(frozen=True)
class _Remainder:
    width: int

    def __call__(self, split: int) -> Sequence[int]:
        return (split % self.width,)

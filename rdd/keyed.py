"""Steps of lineage that look at keys: groups of several RDDs, joins, and order."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .batches import Batch
from .lineage import Narrow, Node, same_split
from .resultiterable import ResultIterable
from .spilling import Absorb, by_key, in_order
from .streams import Batches, Elements, Stream, gathered
from .tiers.grouping import group_batches, is_keyed, joined
from .tiers.joining import join_batches
from .tiers.sorting import has_order, is_sortable, sort_batch, sort_keys

if TYPE_CHECKING:
    import numpy as np

    from .task import Task


class Cogrouped(Node):
    """For each key of any parent the values of all; the parents are spread by one partitioner."""

    operation = "cogroup"

    def __init__(self, number: int, parents: Sequence[Node]) -> None:
        dependencies = tuple(Narrow(parent, same_split) for parent in parents)
        super().__init__(number, None, dependencies, parents[0].partitioner)

    def compute(self, split: int, task: Task) -> Stream:
        streams = (dependency.parent.iterator(split, task) for dependency in self.dependencies)
        groups = grouped_values(streams, len(self.dependencies))
        return Elements((key, tuple(map(ResultIterable, values))) for key, values in groups)


def grouped_values(streams: Iterator[Any], width: int) -> Iterable[tuple[Any, tuple[list[Any], ...]]]:
    """The values of each key in each stream, keys as they first come."""

    def into(place: int) -> Absorb:
        def absorb(groups: dict[Any, tuple[list[Any], ...]], pairs: Iterable[tuple[Any, Any]]) -> None:
            for key, value in pairs:
                found = groups.get(key)
                if found is None:
                    found = groups[key] = tuple([] for _ in range(width))
                found[place].append(value)

        return absorb

    return by_key((into(place), stream) for place, stream in enumerate(streams))


class Grouped(Node):
    """The values of each key of the parent's partition, in their order, keys as they first come."""

    operation = "groupByKey"

    def __init__(self, number: int, parent: Node) -> None:
        super().__init__(number, None, (Narrow(parent, same_split),), parent.partitioner)

    def compute(self, split: int, task: Task) -> Stream:
        batches, elements = gathered(self.dependencies[0].parent.iterator(split, task), _is_keyed)
        if batches is not None:
            found = group_batches(batches)
            if found is not None:
                task.metrics.tier = task.metrics.tier or "T1"
                return Batches([found])
            elements = iter(Batches(batches))
        groups = grouped_values(iter([elements]), 1)
        return Elements((key, ResultIterable(values)) for key, (values,) in groups)


class Joined(Node):
    """For each key the pairs of a value of the one and one of the other parent."""

    operation = "join"

    def __init__(self, number: int, left: Node, right: Node, keeps_left: bool, keeps_right: bool) -> None:
        dependencies = Narrow(left, same_split), Narrow(right, same_split)
        super().__init__(number, None, dependencies, left.partitioner)
        self.keeps_left, self.keeps_right = keeps_left, keeps_right

    def compute(self, split: int, task: Task) -> Stream:
        streams: list[Any] = [dependency.parent.iterator(split, task) for dependency in self.dependencies]
        if not (self.keeps_left or self.keeps_right):
            left, streams[0] = gathered(streams[0], _is_keyed)
            if left is not None:
                right, streams[1] = gathered(streams[1], _is_keyed)
                found = join_batches(left, right) if right is not None else None
                if found is not None:
                    task.metrics.tier = task.metrics.tier or "T1"
                    return Batches([found])
                streams[0] = Batches(left)
                streams[1] = streams[1] if right is None else Batches(right)
        return Elements(self._pairs(iter(streams)))

    def _pairs(self, streams: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
        for key, (ours, theirs) in grouped_values(streams, 2):
            one = ours or ([None] if self.keeps_right else [])
            other = theirs or ([None] if self.keeps_left else [])
            for pair in itertools.product(one, other):
                yield key, pair


def _is_keyed(batch: Batch) -> bool:
    return not batch.is_small and is_keyed(batch.kind)


class RangePartition:
    """Keys to partitions by bounds between these, in rising or falling order.

    Attributes
    ----------
    bounds : list
        What `keyfunc` gives for the largest keys of all partitions but the last.
    keyfunc : callable or None
        What keys are compared by; None is the keys themselves.
    ascending : bool
        Whether the first partition has the least keys.
    """

    def __init__(self, bounds: list[Any], keyfunc: Callable[[Any], Any] | None, ascending: bool) -> None:
        self.bounds, self.keyfunc, self.ascending = bounds, keyfunc, ascending

    def __call__(self, key: Any) -> int:
        place = bisect_left(self.bounds, key if self.keyfunc is None else self.keyfunc(key))
        return place if self.ascending else len(self.bounds) - place

    def parts_of(self, batch: Batch) -> np.ndarray | None:
        """The partition of each pair of a batch; None if Python has to tell."""
        import numpy as np

        if self.keyfunc is not None or not is_sortable(batch) or not self.bounds:
            return None
        if {type(bound) for bound in self.bounds} != {int if batch.kind[1][0] == "int" else float}:
            return None
        keys, bounds = sort_keys(batch), np.array(self.bounds)
        if bounds.dtype != keys.dtype or (bounds != bounds).any():  # integers too large, or NaN
            return None
        places = np.searchsorted(bounds, keys, side="left")
        return (places if self.ascending else len(self.bounds) - places).astype(np.int32)


class Sorted(Node):
    """The pairs of each partition in the order of their keys; equal keys stay in their order."""

    operation = "sortByKey"

    def __init__(self, number: int, parent: Node, keyfunc: Callable[[Any], Any] | None, ascending: bool) -> None:
        super().__init__(number, None, (Narrow(parent, same_split),), parent.partitioner)
        self.keyfunc, self.ascending = keyfunc, ascending

    def compute(self, split: int, task: Task) -> Stream:
        stream = self.dependencies[0].parent.iterator(split, task)
        elements: Iterator[Any] = iter(())
        batches = None
        if self.keyfunc is None:
            batches, elements = gathered(stream, lambda batch: not batch.is_small and has_order(batch.kind))
        if batches is not None:
            batch = joined(batches)
            if batch is not None and is_sortable(batch):
                task.metrics.tier = task.metrics.tier or "T1"
                return Batches([sort_batch(batch, self.ascending)])
            elements = iter(Batches(batches))
        keyfunc = self.keyfunc
        key = (lambda pair: pair[0]) if keyfunc is None else (lambda pair: keyfunc(pair[0]))
        return Elements(in_order(elements if keyfunc is None else stream, key, not self.ascending))

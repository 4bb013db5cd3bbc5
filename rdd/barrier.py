"""Stages whose tasks run at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .rdd import RDD


class RDDBarrier:
    """An RDD whose next transformation runs on all partitions at the same time.

    Attributes
    ----------
    rdd : RDD
        The RDD.
    """

    def __init__(self, rdd: RDD) -> None:
        self.rdd = rdd

    def mapPartitions(self, f: Callable[[Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False) -> RDD:
        """As that of `RDD`; within `f`, ``BarrierTaskContext.get()`` waits for the other tasks."""
        return _marked(self.rdd.mapPartitions(f, preservesPartitioning))

    def mapPartitionsWithIndex(
        self, f: Callable[[int, Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False
    ) -> RDD:
        """As that of `RDD`; within `f`, ``BarrierTaskContext.get()`` waits for the other tasks."""
        return _marked(self.rdd.mapPartitionsWithIndex(f, preservesPartitioning))


def _marked(rdd: RDD) -> RDD:
    rdd._node.is_barrier = True
    return rdd

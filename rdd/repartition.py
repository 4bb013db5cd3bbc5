"""Elements spread evenly over partitions, whatever they are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .lineage import Partitioner

if TYPE_CHECKING:
    from .rdd import RDD

#: Elements that go to one partition together.
_TOGETHER = 10


def spread(rdd: RDD, count: int) -> RDD:
    """The elements dealt out to partitions in small groups, each partition beginning at a place of its own."""

    def dealt(split: int, elements: Iterator[Any]) -> Iterator[tuple[int, Any]]:
        start = random.Random(split).randrange(count)
        for place, element in enumerate(elements):
            yield (start + place // _TOGETHER) % count, element

    shuffled = rdd.mapPartitionsWithIndex(dealt)._shuffled(Partitioner(count, int))
    return shuffled._transformed(lambda _, pairs: (element for _, element in pairs), False, "repartition")

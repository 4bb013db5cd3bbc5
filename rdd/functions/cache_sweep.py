"""What an iteration costs when only a part of the data fits into memory, by what is evicted."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Literal

from ironlake.udf.engine import table

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_READS = 1_000_000


@table
def cache_sweep_simulate(
    memory_fraction: list[float],
    hit_s: float = 11.5,
    miss_s: float = 68.8,
    policy: Literal["rdd_lru", "lru", "fifo", "belady"] = "rdd_lru",
    partitions: int = 100,
    iterations: int = 10,
) -> pa.Table:
    """Simulate a job that reads all partitions of an RDD in each iteration, for memory that holds a part of them.

    Parameters
    ----------
    memory_fraction : the parts of the RDD that fit, from 0 to 1; whole partitions are kept.
    hit_s, miss_s : seconds of an iteration if all partitions are in memory, and if none is. The defaults are those of
        figure 12 of the paper, logistic regression on 100 GB.
    policy : what is evicted for a partition that does not fit. ``rdd_lru`` is the rule of RDDs: a partition of the RDD
        that was used longest ago, unless that is the RDD of the new partition, which then is not kept. ``lru``: the
        partition that was used longest ago. ``fifo``: the one that was kept longest ago. ``belady``: the one that is
        needed last (the best that any policy can do if each partition read is kept).
    partitions : of the RDD.
    iterations : how often it is read; the first finds nothing in memory and is not counted.

    Returns
    -------
    TABLE
        A row per fraction, in their order: ``memory_fraction`` DOUBLE, ``hit_ratio`` DOUBLE (the part of the reads that
        found their partition), ``seconds`` DOUBLE (of an iteration).

    Raises
    ------
    ValueError
        If a fraction is not between 0 and 1, seconds are negative, or there are fewer than 1 partition or 2 iterations.

    References
    ----------
    Zaharia and others: Resilient Distributed Datasets, NSDI (2012), sections 5.3 and 6.4, figure 12; Belady: A study of
    replacement algorithms for virtual-storage computers, IBM Systems Journal 5 (1966).

    Examples
    --------
    FROM cache_sweep_simulate([0, 0.25, 0.5, 0.75, 1]);
    SELECT hit_ratio FROM cache_sweep_simulate([0.9], policy => 'lru');
    """
    import pyarrow as pa

    for fraction in memory_fraction:
        if fraction is None or not 0 <= fraction <= 1:
            raise ValueError(f"argument memory_fraction must be numbers between 0 and 1, got {fraction}")
    if not (0 <= hit_s < float("inf") and 0 <= miss_s < float("inf")):
        raise ValueError(f"arguments hit_s and miss_s must be seconds, 0 or more, got {hit_s} and {miss_s}")
    if partitions < 1 or iterations < 2 or partitions * iterations > _MOST_READS:
        raise ValueError(
            f"arguments partitions and iterations must be at least 1 and 2, and at most {_MOST_READS} reads, got "
            f"{partitions} and {iterations}"
        )
    capacities = [int(fraction * partitions + 1e-9) for fraction in memory_fraction]
    ratios = [_KEPT[policy](partitions, iterations, capacity).ratio() for capacity in capacities]
    seconds = [ratio * hit_s + (1 - ratio) * miss_s for ratio in ratios]
    names = ("memory_fraction", "hit_ratio", "seconds")
    return pa.table(
        [pa.array(column, pa.float64()) for column in (memory_fraction, ratios, seconds)], names=list(names)
    )


class _Cache:
    """Partitions of one RDD in memory that is scanned again and again.

    Attributes
    ----------
    kept : dict of int to None
        The partitions in memory, in the order in which they came or, for ``lru``, were used.
    """

    def __init__(self, partitions: int, iterations: int, capacity: int) -> None:
        self.partitions, self.iterations, self.capacity = partitions, iterations, capacity
        self.kept: dict[int, None] = {}

    def ratio(self) -> float:
        """The part of the reads after the first scan that found their partition."""
        if not self.capacity:
            return 0.0
        hits = 0
        for iteration in range(self.iterations):
            for partition in range(self.partitions):
                if partition in self.kept:
                    hits += iteration > 0
                    self.use(partition)
                elif len(self.kept) < self.capacity or self.evict(partition):
                    self.kept[partition] = None
        return hits / (self.partitions * (self.iterations - 1))

    def use(self, partition: int) -> None:
        """A partition was found."""

    def evict(self, partition: int) -> bool:
        """Make room for a partition; False if it is not kept."""
        raise NotImplementedError


class _RddLru(_Cache):
    def evict(self, partition: int) -> bool:
        return False  # the RDD used longest ago is the only one, that of the new partition


class _Fifo(_Cache):
    def evict(self, partition: int) -> bool:
        del self.kept[next(iter(self.kept))]
        return True


class _Lru(_Fifo):
    def use(self, partition: int) -> None:
        del self.kept[partition]
        self.kept[partition] = None


class _Belady(_Cache):
    def ratio(self) -> float:
        self.order: list[int] = []
        return super().ratio()

    def evict(self, partition: int) -> bool:
        """A scan in a circle needs the partition last that it has just passed."""
        if not self.order:
            self.order = sorted(self.kept)
        place = bisect.bisect_left(self.order, partition) - 1
        del self.kept[self.order.pop(place)]
        bisect.insort(self.order, partition)
        return True


_KEPT = {"rdd_lru": _RddLru, "lru": _Lru, "fifo": _Fifo, "belady": _Belady}

"""What the driver learns from an RDD."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import operator
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .base import Base
from .batches import Batch
from .statcounter import StatCounter
from .tiers.folding import Collect, CountEach, Reduce, Sum


class Actions(Base):
    """The part of `RDD` that runs jobs."""

    def collect(self) -> list[Any]:
        """All elements."""
        parts = self.context.runJob(self, Collect())
        return [each for part in parts for each in (part.objects() if isinstance(part, Batch) else part)]

    def collectWithJobGroup(self, groupId: str, description: str, interruptOnCancel: bool = False) -> list[Any]:
        """Deprecated; use `SparkContext.setJobGroup` and `collect`."""
        import warnings

        warnings.warn("collectWithJobGroup is deprecated; use setJobGroup", FutureWarning, stacklevel=2)
        self.context.setJobGroup(groupId, description, interruptOnCancel)
        return self.collect()

    def toLocalIterator(self, prefetchPartitions: bool = False) -> Iterator[Any]:
        """All elements, a partition at a time; with `prefetchPartitions` the next is computed meanwhile."""
        splits = iter(range(self.getNumPartitions()))
        ahead = self._computed_ahead(splits) if prefetchPartitions else map(self._compute_one, splits)
        return itertools.chain.from_iterable(ahead)

    def _compute_one(self, split: int) -> list[Any]:
        return self.context.runJob(self, list, [split])

    def _computed_ahead(self, splits: Iterator[int]) -> Iterator[list[Any]]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as thread:
            following = [thread.submit(self._compute_one, split) for split in itertools.islice(splits, 1)]
            while following:
                current = following.pop()
                following += [thread.submit(self._compute_one, split) for split in itertools.islice(splits, 1)]
                yield current.result()

    def foreach(self, f: Callable[[Any], None]) -> None:
        """Call a function with each element."""

        def each(elements: Iterator[Any]) -> Iterable[Any]:
            for element in elements:
                f(element)
            return ()

        self.context.runJob(self, each)

    def foreachPartition(self, f: Callable[[Iterator[Any]], Iterable[Any] | None]) -> None:
        """Call a function with the elements of each partition."""

        def each(elements: Iterator[Any]) -> Iterable[Any]:
            return f(elements) or ()

        self.context.runJob(self, each)

    def reduce(self, f: Callable[[Any, Any], Any]) -> Any:
        """The elements put together by a function, in each partition and then of all.

        Raises
        ------
        ValueError
            There are none.
        """
        parts = self.context.runJob(self, Reduce(f))
        if not parts:
            raise ValueError("Can not reduce() empty RDD")
        return functools.reduce(f, parts)

    def treeReduce(self, f: Callable[[Any, Any], Any], depth: int = 2) -> Any:
        """As `reduce`, with partitions put together in several levels of tasks.

        Raises
        ------
        ValueError
            There are no elements, or `depth` is less than 1.
        """
        if depth < 1:
            raise ValueError(f"Depth cannot be smaller than 1 but got {depth}.")
        nothing = None, True

        def either(one: tuple[Any, bool], other: tuple[Any, bool]) -> tuple[Any, bool]:
            if one[1]:
                return other
            return one if other[1] else (f(one[0], other[0]), False)

        value, is_empty = self.map(lambda x: (x, False)).treeAggregate(nothing, either, either, depth)  # type: ignore[attr-defined]
        if is_empty:
            raise ValueError("Cannot reduce empty RDD.")
        return value

    def fold(self, zeroValue: Any, op: Callable[[Any, Any], Any]) -> Any:
        """The elements put together by a function from a zero on, in each partition and then of all."""
        parts = self.context.runJob(self, lambda elements: [functools.reduce(op, elements, zeroValue)])
        return functools.reduce(op, parts, zeroValue)

    def aggregate(self, zeroValue: Any, seqOp: Callable[[Any, Any], Any], combOp: Callable[[Any, Any], Any]) -> Any:
        """Elements put into a zero by one function in each partition, and what comes of it together by another."""
        parts = self.context.runJob(self, lambda elements: [functools.reduce(seqOp, elements, zeroValue)])
        return functools.reduce(combOp, parts, zeroValue)

    def treeAggregate(
        self, zeroValue: Any, seqOp: Callable[[Any, Any], Any], combOp: Callable[[Any, Any], Any], depth: int = 2
    ) -> Any:
        """As `aggregate`, with partitions put together in several levels of tasks.

        Raises
        ------
        ValueError
            `depth` is less than 1.
        """
        if depth < 1:
            raise ValueError(f"Depth cannot be smaller than 1 but got {depth}.")
        if self.getNumPartitions() == 0:
            return zeroValue
        parts = self.mapPartitions(lambda elements: [functools.reduce(seqOp, elements, zeroValue)])  # type: ignore[attr-defined]
        count = parts.getNumPartitions()
        scale = max(math.ceil(count ** (1 / depth)), 2)
        while count > scale + count / scale:
            count //= scale
            width = count
            parts = (
                parts.mapPartitionsWithIndex(lambda split, made, width=width: ((split % width, each) for each in made))
                .reduceByKey(combOp, width)
                .values()
            )
        return parts.reduce(combOp)

    def max(self, key: Callable[[Any], Any] | None = None) -> Any:
        """The largest element, by a function of it if there is one."""
        return self.reduce(max if key is None else lambda a, b: max(a, b, key=key))

    def min(self, key: Callable[[Any], Any] | None = None) -> Any:
        """The least element, by a function of it if there is one."""
        return self.reduce(min if key is None else lambda a, b: min(a, b, key=key))

    def sum(self) -> Any:
        """The sum of the elements."""
        return functools.reduce(operator.add, self.context.runJob(self, Sum()), 0)

    def count(self) -> int:
        """How many elements there are."""
        return sum(self._count_each(range(self.getNumPartitions())))

    def stats(self) -> StatCounter:
        """Count, mean, variance and extremes of the elements in one pass."""
        parts = self.context.runJob(self, lambda elements: [StatCounter(elements)])
        return functools.reduce(StatCounter.mergeStats, parts, StatCounter())

    def mean(self) -> Any:
        """The mean of the elements."""
        return self.stats().mean()

    def variance(self) -> Any:
        """The variance of the elements."""
        return self.stats().variance()

    def stdev(self) -> Any:
        """The standard deviation of the elements."""
        return self.stats().stdev()

    def sampleStdev(self) -> Any:
        """The standard deviation that the elements let expect of what they are a sample of."""
        return self.stats().sampleStdev()

    def sampleVariance(self) -> Any:
        """The variance that the elements let expect of what they are a sample of."""
        return self.stats().sampleVariance()

    def histogram(self, buckets: int | list[Any] | tuple[Any, ...]) -> tuple[Any, list[int]]:
        """How many elements are in each bucket: as many of one width, or between given bounds.

        Returns
        -------
        tuple
            The bounds, and the number in each bucket; the last bucket holds its upper bound too.

        Raises
        ------
        ValueError, TypeError
            The bounds are no bounds.
        """
        from .histogram import histogram

        return histogram(self, buckets)  # type: ignore[arg-type]

    def countByValue(self) -> dict[Any, int]:
        """How often each element is there."""
        total: dict[Any, int] = defaultdict(int)
        for part in self.context.runJob(self, CountEach()):
            for element, count in part.items():
                total[element] += count
        return total

    def top(self, num: int, key: Callable[[Any], Any] | None = None) -> list[Any]:
        """The largest elements, the largest first."""
        parts = self.context.runJob(self, lambda elements: [heapq.nlargest(num, elements, key=key)])
        return functools.reduce(lambda a, b: heapq.nlargest(num, a + b, key=key), parts) if parts else []

    def takeOrdered(self, num: int, key: Callable[[Any], Any] | None = None) -> list[Any]:
        """The least elements, the least first.

        Raises
        ------
        ValueError
            `num` is negative.
        """
        if num < 0:
            raise ValueError("top N cannot be negative.")
        if num == 0 or self.getNumPartitions() == 0:
            return []
        parts = self.context.runJob(self, lambda elements: [heapq.nsmallest(num, elements, key=key)])
        return functools.reduce(lambda a, b: heapq.nsmallest(num, a + b, key=key), parts)

    def take(self, num: int) -> list[Any]:
        """The first elements; computes the first partition, and then as many more as it takes."""
        found: list[Any] = []
        total, tried = self.getNumPartitions(), 0
        while len(found) < num and tried < total:
            count = 1
            if tried:
                guess = tried * 4 if not found else int(1.5 * num * tried / len(found)) - tried
                count = min(max(guess, 1), tried * 4)
            missing = num - len(found)
            splits = range(tried, min(tried + count, total))
            found += self.context.runJob(self, functools.partial(_first, missing), splits)[:missing]
            tried += count
        return found

    def first(self) -> Any:
        """The first element.

        Raises
        ------
        ValueError
            There are none.
        """
        for element in self.take(1):
            return element
        raise ValueError("RDD is empty")

    def isEmpty(self) -> bool:
        """Whether there are no elements."""
        return self.getNumPartitions() == 0 or not self.take(1)

    def takeSample(self, withReplacement: bool, num: int, seed: int | None = None) -> list[Any]:
        """A sample of a size; counts the elements first.

        Raises
        ------
        ValueError
            `num` is negative, or too large.
        """
        from .sampling import sample_fraction

        if num < 0:
            raise ValueError("Sample size cannot be negative.")
        if num > sys.maxsize - int(10.0 * math.sqrt(sys.maxsize)):
            raise ValueError(f"Sample size cannot be greater than {sys.maxsize - int(10.0 * math.sqrt(sys.maxsize))}.")
        total = self.count() if num else 0
        if not num or not total:
            return []
        import random

        chance = random.Random(seed)
        if not withReplacement and num >= total:
            everything = self.collect()
            chance.shuffle(everything)
            return everything
        fraction = sample_fraction(num, total, withReplacement)
        found: list[Any] = self.sample(withReplacement, fraction, seed).collect()  # type: ignore[attr-defined]
        while len(found) < num:
            found = self.sample(withReplacement, fraction, chance.randint(0, sys.maxsize)).collect()  # type: ignore[attr-defined]
        chance.shuffle(found)
        return found[:num]

    def countApprox(self, timeout: int, confidence: float = 0.95) -> int:
        """How many elements there are, as far as that can be told within a time in milliseconds."""
        from .approximate import approximate_sum

        counts = self.mapPartitions(lambda elements: [float(sum(1 for _ in elements))])  # type: ignore[attr-defined]
        return int(approximate_sum(counts, timeout, confidence))

    def sumApprox(self, timeout: int, confidence: float = 0.95) -> Any:
        """The sum of the elements, with bounds, as far as that can be told within a time in milliseconds."""
        from .approximate import approximate_sum

        sums = self.mapPartitions(lambda elements: [float(sum(elements))])  # type: ignore[attr-defined]
        return approximate_sum(sums, timeout, confidence)

    def meanApprox(self, timeout: int, confidence: float = 0.95) -> Any:
        """The mean of the elements, with bounds, as far as that can be told within a time in milliseconds."""
        from .approximate import approximate_mean

        return approximate_mean(self, timeout, confidence)  # type: ignore[arg-type]

    def countApproxDistinct(self, relativeSD: float = 0.05) -> int:
        """About how many different elements there are.

        Parameters
        ----------
        relativeSD : float
            The relative standard deviation of the answer.

        Raises
        ------
        ValueError
            `relativeSD` is less than 0.000017.
        """
        from .approximate import HyperLogLog

        if relativeSD < 0.000017:
            raise ValueError("relativeSD should be greater than 0.000017")
        parts = self.context.runJob(self, lambda elements: [HyperLogLog(relativeSD).add(elements)])
        return functools.reduce(HyperLogLog.merge, parts, HyperLogLog(relativeSD)).count()

    def collectAsMap(self) -> dict[Any, Any]:
        """Pairs as a dictionary."""
        return dict(self.collect())

    def countByKey(self) -> dict[Any, int]:
        """How often each key is there."""
        return self.map(operator.itemgetter(0)).countByValue()  # type: ignore[attr-defined,no-any-return]

    def reduceByKeyLocally(self, func: Callable[[Any, Any], Any]) -> dict[Any, Any]:
        """The values of each key put together by a function, as a dictionary in the driver."""

        def reduced(pairs: Iterable[tuple[Any, Any]], into: dict[Any, Any]) -> dict[Any, Any]:
            for key, value in pairs:
                into[key] = func(into[key], value) if key in into else value
            return into

        parts = self.context.runJob(self, lambda pairs: [reduced(pairs, {})])
        return functools.reduce(lambda all_, part: reduced(part.items(), all_), parts, {})

    def lookup(self, key: Any) -> list[Any]:
        """The values of a key; if the keys were spread by a partitioner, of its partition only."""
        values = self.filter(lambda pair: pair[0] == key).values()  # type: ignore[attr-defined]
        if self.partitioner is not None:
            return self.context.runJob(values, list, [self.partitioner(key)])
        return values.collect()  # type: ignore[no-any-return]


def _first(count: int, elements: Iterator[Any]) -> Iterator[Any]:
    return itertools.islice(elements, count)

"""RDDs of pairs: what brings equal keys together."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .base import Base
from .hashing import portable_hash
from .keyed import Cogrouped, Grouped, Joined, RangePartition, Sorted
from .lineage import Node, Partitioner, Reduced
from .shuffle import Shuffled
from .spilling import by_key

if TYPE_CHECKING:
    from .rdd import RDD

Hash = Callable[[Any], int]


def same_key(key: Any) -> Any:
    """The key itself, which pairs are in the order of where nobody says otherwise."""
    return key


class Pairs(Base):
    """The part of `RDD` that shuffles."""

    def partitionBy(self, numPartitions: int | None, partitionFunc: Hash = portable_hash) -> RDD:
        """The pairs spread over partitions by their keys; the RDD itself if it is spread that way."""
        partitioner = Partitioner(self._reducers(numPartitions), partitionFunc)
        if self.partitioner == partitioner:
            return self  # type: ignore[return-value]
        return self._shuffled(partitioner)

    def _shuffled(self, partitioner: Partitioner) -> RDD:
        context = self.context
        node = Shuffled(context._next_id(), self._node, context._next_shuffle_id(), partitioner)
        context._scheduler.when_unused(node, functools.partial(context._scheduler.forget, node.shuffle_id))
        return self._new(node)

    def _reducers(self, numPartitions: int | None) -> int:
        if numPartitions is not None:
            return checked_partitions(numPartitions)
        configured = self.context._conf.get("spark.default.parallelism")
        return int(configured) if configured is not None else self.getNumPartitions()

    def combineByKey(
        self,
        createCombiner: Callable[[Any], Any],
        mergeValue: Callable[[Any, Any], Any],
        mergeCombiners: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: Hash = portable_hash,
    ) -> RDD:
        """The values of each key put together: into a combiner in each partition, and combiners of all.

        Parameters
        ----------
        createCombiner, mergeValue, mergeCombiners : callable
            A combiner of one value; of a combiner and a value; of two combiners. The first argument may be changed.
        numPartitions : int, optional
            The partitions of the result.
        partitionFunc : callable
            Spreads the keys.
        """
        count = self._reducers(numPartitions)

        def combined(combiners: dict[Any, Any], pairs: Iterable[tuple[Any, Any]]) -> None:
            for key, value in pairs:
                combiners[key] = mergeValue(combiners[key], value) if key in combiners else createCombiner(value)

        def merged(combiners: dict[Any, Any], pairs: Iterable[tuple[Any, Any]]) -> None:
            for key, value in pairs:
                combiners[key] = mergeCombiners(combiners[key], value) if key in combiners else value

        local = self.mapPartitions(lambda pairs: by_key([(combined, pairs)]), preservesPartitioning=True)  # type: ignore[attr-defined]
        together = local.partitionBy(count, partitionFunc)
        return together.mapPartitions(lambda pairs: by_key([(merged, pairs)]), preservesPartitioning=True)  # type: ignore[no-any-return]

    def reduceByKey(
        self, func: Callable[[Any, Any], Any], numPartitions: int | None = None, partitionFunc: Hash = portable_hash
    ) -> RDD:
        """The values of each key put together by a function, in each partition and then of all."""
        count = self._reducers(numPartitions)
        local = self._new(Reduced(self.context._next_id(), self._node, func))
        together = local.partitionBy(count, partitionFunc)
        return self._new(Reduced(self.context._next_id(), together._node, func))

    def aggregateByKey(
        self,
        zeroValue: Any,
        seqFunc: Callable[[Any, Any], Any],
        combFunc: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: Hash = portable_hash,
    ) -> RDD:
        """The values of each key put into a zero by one function, and what comes of it together by another."""
        return self.combineByKey(
            lambda value: seqFunc(copy.deepcopy(zeroValue), value), seqFunc, combFunc, numPartitions, partitionFunc
        )

    def foldByKey(
        self,
        zeroValue: Any,
        func: Callable[[Any, Any], Any],
        numPartitions: int | None = None,
        partitionFunc: Hash = portable_hash,
    ) -> RDD:
        """The values of each key put together by a function from a zero on."""
        return self.aggregateByKey(zeroValue, func, func, numPartitions, partitionFunc)

    def groupByKey(self, numPartitions: int | None = None, partitionFunc: Hash = portable_hash) -> RDD:
        """The values of each key together, in the order in which they come."""
        spread = self.partitionBy(self._reducers(numPartitions), partitionFunc)
        return self._new(Grouped(self.context._next_id(), spread._node))

    def groupBy(
        self, f: Callable[[Any], Any], numPartitions: int | None = None, partitionFunc: Hash = portable_hash
    ) -> RDD:
        """The elements for which a function gives the same, together."""
        return self.map(lambda element: (f(element), element)).groupByKey(numPartitions, partitionFunc)  # type: ignore[attr-defined,no-any-return]

    def distinct(self, numPartitions: int | None = None) -> RDD:
        """Each different element once."""
        alone = self.map(lambda element: (element, True)).reduceByKey(lambda one, _: one, numPartitions)  # type: ignore[attr-defined]
        return alone.map(lambda pair: pair[0])  # type: ignore[no-any-return]

    def intersection(self, other: RDD) -> RDD:
        """The elements that are in both, once each."""
        ours = self.map(lambda element: (element, None))  # type: ignore[attr-defined]
        both = ours.cogroup(self._checked(other, "intersection").map(lambda element: (element, None)))
        return both.filter(lambda pair: all(pair[1])).keys()  # type: ignore[no-any-return]

    def subtractByKey(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """The pairs whose key is not one of the other's."""

        def ours(pair: tuple[Any, Any]) -> Iterable[Any]:
            values, others = pair[1]
            return values if not others else ()

        both = self.cogroup(self._checked(other, "subtractByKey"), numPartitions)
        return both.flatMap(lambda pair: [(pair[0], value) for value in ours(pair)])

    def subtract(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """The elements that are not in the other."""
        theirs = self._checked(other, "subtract").map(lambda element: (element, True))
        return self.map(lambda element: (element, True)).subtractByKey(theirs, numPartitions).keys()  # type: ignore[attr-defined,no-any-return]

    def cogroup(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """For each key of either the values of both."""
        return cogrouped([self, self._checked(other, "cogroup")], numPartitions)  # type: ignore[list-item]

    def groupWith(self, other: RDD, *others: RDD) -> RDD:
        """For each key of any the values of all."""
        return cogrouped([self, *(self._checked(each, "groupWith") for each in (other, *others))], None)  # type: ignore[list-item]

    def join(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """For each key of both all pairs of a value of this and one of the other."""
        return _joined(self, self._checked(other, "join"), numPartitions, False, False)  # type: ignore[arg-type]

    def leftOuterJoin(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """As `join`, and None for the other where it lacks a key."""
        return _joined(self, self._checked(other, "leftOuterJoin"), numPartitions, True, False)  # type: ignore[arg-type]

    def rightOuterJoin(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """As `join`, and None for this where it lacks a key."""
        return _joined(self, self._checked(other, "rightOuterJoin"), numPartitions, False, True)  # type: ignore[arg-type]

    def fullOuterJoin(self, other: RDD, numPartitions: int | None = None) -> RDD:
        """As `join`, and None for either where it lacks a key."""
        return _joined(self, self._checked(other, "fullOuterJoin"), numPartitions, True, True)  # type: ignore[arg-type]

    def sortByKey(
        self,
        ascending: bool = True,
        numPartitions: int | None = None,
        keyfunc: Callable[[Any], Any] = same_key,
    ) -> RDD:
        """The pairs in the order of their keys, over all partitions; equal keys stay in their order.

        A sample of the keys, which is a job of its own, says where the partitions are cut.
        """
        count, by = self._reducers(numPartitions), None if keyfunc is same_key else keyfunc
        if count == 1:
            alone = self.coalesce(1) if self.getNumPartitions() > 1 else self  # type: ignore[attr-defined]
            return self._sorted(alone._node, by, ascending)
        total = self.count()  # type: ignore[attr-defined]
        if not total:
            return self  # type: ignore[return-value]
        sample = self.sample(False, min(count * 20.0 / total, 1.0), 1).keys().collect()  # type: ignore[attr-defined]
        keys = sorted(sample, key=by)
        cuts = [keys[int(len(keys) * (place + 1) / count)] for place in range(count - 1)] if keys else []
        bounds = cuts if by is None else [by(key) for key in cuts]
        spread = self.partitionBy(count, RangePartition(bounds, by, ascending))
        return self._sorted(spread._node, by, ascending)

    def _sorted(self, node: Node, keyfunc: Callable[[Any], Any] | None, ascending: bool) -> RDD:
        return self._new(Sorted(self.context._next_id(), node, keyfunc, ascending))

    def sortBy(self, keyfunc: Callable[[Any], Any], ascending: bool = True, numPartitions: int | None = None) -> RDD:
        """The elements in the order of what a function gives for them."""
        return self.keyBy(keyfunc).sortByKey(ascending, numPartitions).values()  # type: ignore[attr-defined,no-any-return]

    def repartitionAndSortWithinPartitions(
        self,
        numPartitions: int | None = None,
        partitionFunc: Hash = portable_hash,
        ascending: bool = True,
        keyfunc: Callable[[Any], Any] = same_key,
    ) -> RDD:
        """The pairs spread over partitions by their keys, and in the order of these in each."""
        spread = self.partitionBy(numPartitions, partitionFunc)
        return self._sorted(spread._node, None if keyfunc is same_key else keyfunc, ascending)


def cogrouped(rdds: list[RDD], numPartitions: int | None) -> RDD:
    """For each key of any of the RDDs a tuple of the values of each."""
    spread = _spread_alike(rdds, numPartitions)
    return rdds[0]._new(Cogrouped(rdds[0].context._next_id(), [rdd._node for rdd in spread]))


def _spread_alike(rdds: list[RDD], numPartitions: int | None) -> list[RDD]:
    """The RDDs with their keys in the same partitions: as many as all have together, unless somebody says."""
    if numPartitions is None:
        configured = rdds[0].context._conf.get("spark.default.parallelism")
        numPartitions = int(configured) if configured is not None else union_partitions(rdds)
    return [rdd.partitionBy(numPartitions) for rdd in rdds]


def checked_partitions(numPartitions: Any) -> int:
    """A number of partitions.

    Raises
    ------
    ValueError
        It is not positive.
    """
    if int(numPartitions) < 1:
        raise ValueError(f"numPartitions is {numPartitions}; expected 1 or more")
    return int(numPartitions)


def union_partitions(rdds: list[RDD]) -> int:
    """How many partitions the union of RDDs has."""
    first = rdds[0].partitioner
    if first is not None and all(rdd.partitioner == first for rdd in rdds):
        return rdds[0].getNumPartitions()
    return sum(rdd.getNumPartitions() for rdd in rdds)


def _joined(left: RDD, right: RDD, numPartitions: int | None, keeps_left: bool, keeps_right: bool) -> RDD:
    one, other = _spread_alike([left, right], numPartitions)
    return left._new(Joined(left.context._next_id(), one._node, other._node, keeps_left, keeps_right))

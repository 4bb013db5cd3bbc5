"""RDDs from RDDs, without a shuffle."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .base import Base
from .lineage import AlignedUnion, Cartesian, Coalesced, Elementwise, Transformed, Union, Zipped

if TYPE_CHECKING:
    from .rdd import RDD


class Transformations(Base):
    """The part of `RDD` that makes others, partition by partition."""

    def map(self, f: Callable[[Any], Any], preservesPartitioning: bool = False) -> RDD:
        """An RDD of what a function makes of each element."""
        return self._elementwise(f, lambda _, elements: map(f, elements), preservesPartitioning, "map")

    def flatMap(self, f: Callable[[Any], Iterable[Any]], preservesPartitioning: bool = False) -> RDD:
        """An RDD of all that a function makes of each element."""
        return self._elementwise(
            f, lambda _, elements: itertools.chain.from_iterable(map(f, elements)), preservesPartitioning, "flatMap"
        )

    def filter(self, f: Callable[[Any], bool]) -> RDD:
        """An RDD of the elements for which a function is true."""
        return self._elementwise(f, lambda _, elements: filter(f, elements), True, "filter")

    def mapPartitions(self, f: Callable[[Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False) -> RDD:
        """An RDD of what a function makes of the elements of each partition."""
        return self._transformed(lambda _, elements: f(elements), preservesPartitioning, "mapPartitions")

    def mapPartitionsWithIndex(
        self, f: Callable[[int, Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False
    ) -> RDD:
        """An RDD of what a function makes of each partition's number and elements."""
        return self._transformed(f, preservesPartitioning, "mapPartitionsWithIndex")

    def mapPartitionsWithSplit(
        self, f: Callable[[int, Iterator[Any]], Iterable[Any]], preservesPartitioning: bool = False
    ) -> RDD:
        """Deprecated; use `mapPartitionsWithIndex`."""
        import warnings

        warnings.warn("mapPartitionsWithSplit is deprecated; use mapPartitionsWithIndex", FutureWarning, stacklevel=2)
        return self.mapPartitionsWithIndex(f, preservesPartitioning)

    def mapValues(self, f: Callable[[Any], Any]) -> RDD:
        """Pairs with their values changed by a function; keys stay where they are."""
        return self._elementwise(f, lambda _, pairs: ((key, f(value)) for key, value in pairs), True, "mapValues")

    def flatMapValues(self, f: Callable[[Any], Iterable[Any]]) -> RDD:
        """A pair for all that a function makes of each pair's value; keys stay where they are."""
        return self._elementwise(
            f, lambda _, pairs: ((key, each) for key, value in pairs for each in f(value)), True, "flatMapValues"
        )

    def keyBy(self, f: Callable[[Any], Any]) -> RDD:
        """Pairs of what a function makes of each element, and the element."""
        return self._elementwise(f, lambda _, elements: ((f(each), each) for each in elements), False, "keyBy")

    def keys(self) -> RDD:
        """The keys of pairs."""
        return self.map(lambda pair: pair[0])

    def values(self) -> RDD:
        """The values of pairs."""
        return self.map(lambda pair: pair[1])

    def glom(self) -> RDD:
        """An RDD of lists, one for each partition."""
        return self._transformed(lambda _, elements: [list(elements)], False, "glom")

    def union(self, other: RDD) -> RDD:
        """The elements of both, those that are in both twice.

        The result has the partitions of both; or as many as each, if both were spread by one partitioner.
        """
        return union(self, [self._checked(other, "union")])  # type: ignore[arg-type]

    def __add__(self, other: RDD) -> RDD:
        """The union.

        Raises
        ------
        TypeError
            `other` is no RDD.
        """
        if not isinstance(other, Base):
            raise TypeError(f"can only add an RDD to an RDD, not {type(other).__name__}")
        return self.union(other)

    def cartesian(self, other: RDD) -> RDD:
        """All pairs of an element of this and one of the other."""
        return self._new(Cartesian(self.context._next_id(), self._node, self._checked(other, "cartesian")._node))

    def zip(self, other: RDD) -> RDD:
        """Pairs of the elements in the same places of both.

        Raises
        ------
        ValueError
            They have different numbers of partitions; or of elements in one, which an action finds.
        """
        if self.getNumPartitions() != self._checked(other, "zip").getNumPartitions():
            raise ValueError("Can only zip with RDD which has the same number of partitions")
        return self._new(Zipped(self.context._next_id(), self._node, other._node))

    def zipWithIndex(self) -> RDD:
        """Pairs of each element and its place in the RDD; counts the elements of all partitions but the last first."""
        starts = [0]
        if self.getNumPartitions() > 1:
            counts = self._count_each(range(self.getNumPartitions() - 1))
            starts += list(itertools.accumulate(counts))
        return self._transformed(
            lambda split, elements: zip(elements, itertools.count(starts[split])), False, "zipWithIndex"
        )

    def zipWithUniqueId(self) -> RDD:
        """Pairs of each element and a number that no other has; runs no job."""
        count = self.getNumPartitions()
        return self._transformed(
            lambda split, elements: zip(elements, itertools.count(split, count)), False, "zipWithUniqueId"
        )

    def coalesce(self, numPartitions: int, shuffle: bool = False) -> RDD:
        """The same elements in fewer partitions, neighbours put together; with a shuffle also in more.

        Raises
        ------
        ValueError
            `numPartitions` is not positive.
        """
        if not numPartitions > 0:
            raise ValueError("Number of partitions must be positive.")
        if not shuffle:
            return self._new(Coalesced(self.context._next_id(), self._node, numPartitions))
        from .repartition import spread

        return spread(self, numPartitions)  # type: ignore[arg-type]

    def repartition(self, numPartitions: int) -> RDD:
        """The same elements spread evenly over partitions."""
        return self.coalesce(numPartitions, shuffle=True)

    def pipe(self, command: str, env: dict[str, str] | None = None, checkCode: bool = False) -> RDD:
        """The lines that a program prints when it is given the elements of a partition as lines.

        Parameters
        ----------
        command : str
            The program and its arguments; no shell looks at it.
        env : dict, optional
            Environment variables beside those that there are.
        checkCode : bool
            Let the task fail if the program returns anything but 0.
        """

        def piped(elements: Iterator[Any]) -> Iterator[str]:
            program = subprocess.Popen(
                shlex.split(command), env={**os.environ, **(env or {})}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert program.stdin is not None
            assert program.stdout is not None
            failures: list[BaseException] = []

            def feed(sink: Any) -> None:
                try:
                    with sink:
                        for element in elements:
                            sink.write(f"{str(element).rstrip(chr(10))}\n".encode())
                except BrokenPipeError:
                    pass  # the program has read enough
                except BaseException as error:
                    failures.append(error)

            feeder = threading.Thread(target=feed, args=(program.stdin,), daemon=True)
            feeder.start()
            with program.stdout as lines:
                for line in lines:
                    yield line.decode().rstrip("\n")
            feeder.join()
            code = program.wait()
            if failures:
                raise failures[0]
            if checkCode and code:
                raise RuntimeError(f"Pipe function `{command}' exited with error code {code}")

        return self.mapPartitions(piped)

    def setName(self, name: str) -> RDD:
        """Give the RDD a name, which drawings and logs show."""
        self._node.name = name
        return self  # type: ignore[return-value]

    def _transformed(
        self, function: Callable[[int, Iterator[Any]], Iterable[Any]], keeps_partitioner: bool, name: str
    ) -> RDD:
        return self._new(Transformed(self.context._next_id(), self._node, function, keeps_partitioner, name))

    def _elementwise(
        self, user: Any, function: Callable[[int, Iterator[Any]], Iterable[Any]], keeps_partitioner: bool, name: str
    ) -> RDD:
        return self._new(Elementwise(self.context._next_id(), self._node, function, keeps_partitioner, name, user))


def union(first: RDD, others: list[RDD]) -> RDD:
    """The union of some RDDs: side by side, or partition by partition if all have one partitioner."""
    nodes = [first._node, *(other._node for other in others)]
    partitioner = nodes[0].partitioner
    aligned = len(nodes) > 1 and partitioner is not None and all(node.partitioner == partitioner for node in nodes)
    kind = AlignedUnion if aligned else Union
    return first._new(kind(first.context._next_id(), nodes))

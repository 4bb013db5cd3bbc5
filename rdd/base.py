"""What all parts of `RDD` share: a node of lineage and the context that runs jobs."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NoReturn

from .tiers.folding import Count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .context import SparkContext
    from .lineage import Node
    from .rdd import RDD


#: What PySpark's users know the steps as.
SPARK_NAMES = {
    "Parallelized": "ParallelCollectionRDD", "Given": "ParallelCollectionRDD", "DeltaFiles": "FileScanRDD",
    "Transformed": "PythonRDD", "Elementwise": "PythonRDD", "Shuffled": "ShuffledRDD", "Union": "UnionRDD",
    "AlignedUnion": "PartitionerAwareUnionRDD",
    "Coalesced": "CoalescedRDD", "Cartesian": "CartesianRDD", "Zipped": "ZippedPartitionsRDD", "FileNode": "HadoopRDD",
    "Empty": "EmptyRDD", "Reduced": "PythonRDD", "Sampled": "PythonRDD", "Sorted": "PythonRDD",
    "Joined": "CoGroupedRDD", "Grouped": "PythonRDD", "Cogrouped": "CoGroupedRDD",
}  # fmt: skip


class Base:
    """A node of lineage with its context.

    Attributes
    ----------
    context : SparkContext
        The context.
    """

    def __init__(self, node: Node, context: SparkContext) -> None:
        self._node, self.context = node, context

    @property
    def ctx(self) -> SparkContext:
        """The context."""
        return self.context

    def id(self) -> int:
        """A number that no other RDD of the context has."""
        return self._node.id

    def name(self) -> str | None:
        """The name that `setName` gave."""
        return self._node.name

    def getNumPartitions(self) -> int:
        """How many partitions there are."""
        return self._node.partitions

    @property
    def partitioner(self) -> Any:
        """What spread the keys over the partitions, if something did."""
        return self._node.partitioner

    def _new(self, node: Node) -> RDD:
        from .rdd import RDD

        return RDD(node, self.context)

    def _checked(self, other: Any, method: str) -> RDD:
        """Another RDD of the same context.

        Raises
        ------
        TypeError
            It is no RDD.
        ValueError
            It is one of another context.
        """
        if not isinstance(other, Base):
            raise TypeError(f"RDD.{method}: expected an RDD, not {_kind(other)}")
        if other.context is not self.context:
            raise ValueError(f"RDD.{method}: the RDDs are of different SparkContexts")
        return other  # type: ignore[return-value]

    def _count_each(self, splits: Sequence[int]) -> list[int]:
        return self.context.runJob(self, Count(), list(splits))

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            "an RDD is used inside a function that tasks run, or is to be broadcast; only the driver can transform "
            "RDDs and run actions: collect one and broadcast what comes, or join the two (SPARK-5063)"
        )

    def __repr__(self) -> str:
        name = f"{self._node.name} " if self._node.name else ""
        kind = SPARK_NAMES.get(type(self._node).__name__, type(self._node).__name__)
        return f"{name}{kind}[{self._node.id}] at {self._node.operation}"


def _kind(value: object) -> str:
    return f"{type(value).__name__} {value!r:.60}"

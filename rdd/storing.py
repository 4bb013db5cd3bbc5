"""Keeping partitions, and cutting lineage."""

from __future__ import annotations

import functools
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import SPARK_NAMES, Base
from .levels import StorageLevel
from .lineage import Narrow, Wide

if TYPE_CHECKING:
    from .rdd import RDD


#: Bytes of a checkpoint whose speed tells that of others.
_MEASURED = 1 << 20


class Storing(Base):
    """The part of `RDD` that keeps partitions for later jobs."""

    @property
    def is_cached(self) -> bool:
        """Whether partitions are kept once they are computed."""
        return self._node.level.keeps

    @property
    def is_checkpointed(self) -> bool:
        """Whether the RDD is marked for a checkpoint or has one."""
        return self._node.checkpoint is not None

    def cache(self) -> RDD:
        """Keep the partitions in memory once they are computed."""
        return self.persist(StorageLevel.MEMORY_ONLY)

    def persist(self, storageLevel: StorageLevel = StorageLevel.MEMORY_ONLY) -> RDD:
        """Keep the partitions once they are computed.

        Raises
        ------
        TypeError
            `storageLevel` is none.
        ValueError
            They are kept in another way already.
        """
        if not isinstance(storageLevel, StorageLevel):
            raise TypeError(f"RDD.persist: storageLevel is {storageLevel!r}; expected a StorageLevel")
        if self._node.level.keeps and storageLevel != self._node.level:
            raise ValueError("Cannot change storage level of an RDD after it was already assigned a level")
        if not self._node.level.keeps:
            self._keep(storageLevel)
        return self  # type: ignore[return-value]

    def _keep(self, level: StorageLevel) -> None:
        self._node.level = level
        forget = functools.partial(self.context._blocks.remove_rdd, self._node.id)
        self.context._scheduler.when_unused(self._node, forget)

    def unpersist(self, blocking: bool = False) -> RDD:
        """Keep the partitions no longer."""
        self._node.level = StorageLevel.NONE
        self.context._blocks.remove_rdd(self._node.id)
        return self  # type: ignore[return-value]

    def getStorageLevel(self) -> StorageLevel:
        """How partitions are kept."""
        return self._node.level

    def checkpoint(self) -> None:
        """Mark the RDD: the next action on it also writes it to the checkpoint directory, and forgets its lineage.

        Raises
        ------
        RuntimeError
            `SparkContext.setCheckpointDir` was not called.
        """
        if self.context.getCheckpointDir() is None:
            raise RuntimeError("Checkpoint directory has not been set in the SparkContext")
        if self._node.checkpoint is None:
            self._node.checkpoint = "reliable"

    def localCheckpoint(self) -> None:
        """Mark the RDD: the next action on it also keeps its partitions on this machine, and forgets its lineage."""
        if self._node.checkpoint is None:
            self._node.checkpoint = "local"
            if not self._node.level.keeps:
                self._keep(StorageLevel.MEMORY_AND_DISK)

    def isCheckpointed(self) -> bool:
        """Whether the RDD was written and its lineage is forgotten."""
        return self._node.is_cut

    def isLocallyCheckpointed(self) -> bool:
        """Whether the RDD is marked by `localCheckpoint`."""
        return self._node.checkpoint == "local"

    def getCheckpointFile(self) -> str | None:
        """The directory of the checkpoint, if there is one."""
        return self._node.checkpoint_path

    def cleanShuffleDependencies(self, blocking: bool = False) -> None:
        """Remove the outputs of the shuffles that this RDD depends on; they are computed again when needed."""
        visits: list[Any] = [self._node]
        while visits:
            for dependency in visits.pop().dependencies:
                visits.append(dependency.parent)
                if isinstance(dependency, Wide):
                    self.context._scheduler.forget(dependency.shuffle_id)

    def _checkpoint_marked(self) -> None:
        """Write what is marked for a checkpoint in the lineage; called when an action on it is done."""
        visits, seen = [self._node], set()
        while visits:
            node = visits.pop()
            if node.id in seen:
                continue
            seen.add(node.id)
            parents = [dependency.parent for dependency in node.dependencies]
            if node.checkpoint and not node.is_cut:
                self._write_checkpoint(node)
            else:
                visits += parents
        self._checkpoint_chosen()

    def _checkpoint_chosen(self) -> None:
        """Write what `SparkContext.setAutoCheckpoint` lets be chosen."""
        auto = self.context._auto
        if auto is None:
            return
        self.context._auto = None  # writing is a job too
        try:
            for node in auto.chosen(self._node, self.context._scheduler):
                started, nbytes = time.perf_counter(), sum(block.nbytes for block in self.context._blocks.kept(node.id))
                node.checkpoint = "reliable"
                self._write_checkpoint(node)
                if nbytes > _MEASURED:
                    auto.speed = nbytes / (time.perf_counter() - started)
        finally:
            self.context._auto = auto

    def _write_checkpoint(self, node: Any) -> None:
        rdd = self._new(node)
        kind, node.checkpoint = node.checkpoint, None  # the job below is an action on it too
        try:
            self._write(rdd, kind)
        finally:
            node.checkpoint = kind
        node.dependencies, node.is_cut = (), True

    def _write(self, rdd: RDD, kind: str) -> None:
        if kind == "local":
            self.context.runJob(rdd, lambda elements: [sum(1 for _ in elements)])  # keeps what is not kept yet
        else:
            path = Path(self.context.getCheckpointDir() or "", f"rdd-{rdd.id()}")
            try:
                rdd.saveAsPickleFile(str(path))
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise
            rdd._node.checkpoint_path = str(path)


def lineage_text(rdd: RDD) -> str:
    """The lineage as text, a line for each step, named as Spark names them; each shuffle begins a deeper level."""
    lines: list[str] = []
    seen: set[int] = set()

    def show(node: Any, margin: str, mark: str) -> None:
        kept = rdd.context._blocks.kept(node.id)
        stored = f" [{node.level}]" if node.level.keeps else ""
        name = f"{node.name} " if node.name else ""
        kind = SPARK_NAMES.get(type(node).__name__, type(node).__name__)
        if not lines and kind != "PythonRDD":
            lines.append(f"{margin}{mark}{name}PythonRDD[{node.id}] at {node.operation}{stored}")
            mark = " |  "
        lines.append(f"{margin}{mark}{name}{kind}[{node.id}] at {node.operation}, {node.partitions} partitions{stored}")
        if kept:
            size = sum(block.nbytes for block in kept)
            lines.append(f"{margin} |      kept: {len(kept)} of {node.partitions} partitions, {size} bytes")
        if node.id in seen:
            return
        seen.add(node.id)
        for dependency in node.dependencies:
            is_narrow = isinstance(dependency, Narrow)
            show(dependency.parent, margin if is_narrow else margin + "    ", " |  " if is_narrow else "+-")

    show(rdd._node, "", f"({rdd.getNumPartitions()}) ")
    return "\n".join(lines)


def unique_folder(root: str) -> Path:
    """A new directory for checkpoints."""
    path = Path(root, str(uuid.uuid4()))
    path.mkdir(parents=True)
    return path

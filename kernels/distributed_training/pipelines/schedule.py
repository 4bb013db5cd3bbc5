"""What a pipeline schedule is: for each worker, the order of its operations.

A *stage* is a part of the model, a *pipeline* a replica of the model whose stages are spread over the workers, a
*chunk* one of the stages that a worker holds of a pipeline. Operations work on *units*: micro-batches, or halves of
them where a schedule halves the backward pass.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int32]


def rows_of(*columns: Any) -> list[tuple[Any, ...]]:
    """The rows of the Arrow columns that a relation function gets."""
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


class Kind(enum.IntEnum):
    """What an operation computes; the names are those of PyTorch's schedules."""

    F = 0
    """The forward pass."""
    B = 1
    """The whole backward pass."""
    I = 2  # noqa: E741
    """The part of it that gives the gradient of the input, which the stage before waits for."""
    W = 3
    """The part that gives the gradient of the weights, which nothing waits for."""


#: An operation: kind, pipeline, stage, first unit.
Operation = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Schedule:
    """The operations of all workers, one worker after the other, each in its order.

    Attributes
    ----------
    name : str
        What the schedule is called.
    micro_batches : int
        Micro-batches of a step.
    worker_of : array of int32, (pipelines, stages)
        The worker that holds a stage.
    offsets : array of int64, (workers + 1,)
        Where the operations of each worker begin.
    kind, pipeline, stage, unit : array of int32
        The operations; `unit` is the first one that an operation is on.
    forward_span : int
        Units that a forward pass is on.
    units : int
        Units of a step.
    paired : array of bool
        Whether a forward pass runs together with the operation behind it, a backward pass.
    is_synchronous : bool
        Whether all workers wait for the end of a step before the next one.
    """

    name: str
    micro_batches: int
    worker_of: Integers
    offsets: npt.NDArray[np.int64]
    kind: Integers
    pipeline: Integers
    stage: Integers
    unit: Integers
    forward_span: int = 1
    units: int = 0
    paired: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    is_synchronous: bool = True

    @classmethod
    def of(
        cls, name: str, micro_batches: int, worker_of: Any, orders: Sequence[Iterable[Operation]], **more: Any
    ) -> Schedule:
        """A schedule from the operations of each worker; one that is followed by its pair has kind ``~F``."""
        lists = [list(order) for order in orders]
        table = np.array([each for order in lists for each in order], np.int32).reshape(-1, 4)
        return cls.of_columns(name, micro_batches, worker_of, [len(order) for order in lists], table.T, **more)

    @classmethod
    def of_slots(
        cls, name: str, micro_batches: int, worker_of: Any, slot: Any, kind: Any, pipeline: Any, stage: Any, unit: Any
    ) -> Schedule:
        """A schedule from operations in any order, each with a slot in the order of its worker."""
        worker_of = np.ascontiguousarray(worker_of, np.int32)
        given = (np.asarray(each, np.int32) for each in (slot, kind, pipeline, stage, unit))
        slot, *columns = np.broadcast_arrays(*given)
        worker = worker_of[columns[1], columns[2]]
        counts = np.bincount(worker.ravel())
        slots = int(slot.max()) + 1
        place = worker * np.int64(slots) + slot
        table = np.empty((4, place.size), np.int32)
        if (counts == slots).all():
            for row, column in zip(table, columns, strict=True):
                row[place] = column
        else:
            order = np.argsort(place, axis=None)
            for row, column in zip(table, columns, strict=True):
                row[:] = column.ravel()[order]
        return cls.of_columns(name, micro_batches, worker_of, counts, table)

    @classmethod
    def of_columns(
        cls, name: str, micro_batches: int, worker_of: Any, counts: Any, table: Any, **more: Any
    ) -> Schedule:
        """A schedule from the columns of the operations of all workers, and their number on each of them."""
        kind, pipeline, stage, unit = (np.ascontiguousarray(column, np.int32) for column in table)
        paired = kind < 0
        return cls(
            name,
            micro_batches,
            np.ascontiguousarray(worker_of, np.int32),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.where(paired, ~kind, kind) if paired.any() else kind,
            pipeline,
            stage,
            unit,
            **{"paired": paired, "units": micro_batches, **more},
        )

    @property
    def workers(self) -> int:
        """Workers of the pipelines."""
        return len(self.offsets) - 1

    @property
    def pipelines(self) -> int:
        """Replicas of the model."""
        return int(self.worker_of.shape[0])

    @property
    def stages(self) -> int:
        """Stages of the model."""
        return int(self.worker_of.shape[1])

    @property
    def chunks(self) -> int:
        """Stages of a pipeline on a worker."""
        return self.stages // self.workers

    @property
    def worker(self) -> Integers:
        """The worker of each operation."""
        return np.repeat(np.arange(self.workers, dtype=np.int32), np.diff(self.offsets))

    @property
    def chunk(self) -> Integers:
        """Which of the worker's stages of a pipeline each operation is on, by depth."""
        chunks = np.zeros_like(self.worker_of)
        for pipeline, row in enumerate(self.worker_of):
            seen = [0] * self.workers
            for stage, worker in enumerate(row):
                chunks[pipeline, stage] = seen[worker]
                seen[worker] += 1
        return chunks[self.pipeline, self.stage]

    @property
    def micro_batch(self) -> Integers:
        """The first micro-batch of each operation."""
        return self.unit // np.int32(self.units // self.micro_batches)

"""What every try of every task did: the event log of a context, in memory and as a table of a lake."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from .blocks import Blocks
    from .lineage import Node
    from .stages import Stage
    from .task import Assignment, Metrics

SUCCESS, FAILED, KILLED, FETCH_FAILED, WORKER_LOST = "SUCCESS", "FAILED", "KILLED", "FETCH_FAILED", "WORKER_LOST"

#: The columns of ``rdd_task_trace`` and their Arrow types.
TASK_COLUMNS = {
    "app_id": "string", "job_id": "int32", "stage_id": "int32", "stage_attempt": "int32", "partition": "int32",
    "attempt": "int32", "worker": "string", "launch_ms": "int64", "finish_ms": "int64", "run_ms": "int64",
    "cpu_ns": "int64", "gc_ms": "int64", "deserialize_ms": "int64", "result_serialize_ms": "int64",
    "input_bytes": "int64", "input_rows": "int64", "shuffle_read_local_bytes": "int64",
    "shuffle_read_remote_bytes": "int64", "shuffle_write_bytes": "int64", "spill_mem_bytes": "int64",
    "spill_disk_bytes": "int64", "peak_mem_bytes": "int64", "locality": "string", "speculative": "bool",
    "status": "string", "reason": "string", "tier": "string",
}  # fmt: skip
#: The columns of ``rdd_lineage_trace`` and their Arrow types; ``parents`` is a list.
LINEAGE_COLUMNS = {
    "app_id": "string", "rdd_id": "int32", "name": "string", "scope": "string", "parents": "int32", "dep": "string",
    "partitions": "int32", "storage_level": "string", "cached_partitions": "int32", "mem_bytes": "int64",
    "disk_bytes": "int64",
}  # fmt: skip
#: Characters of a reason.
_REASON = 500


@dataclass(eq=False)
class Attempt:
    """A try of a task that runs.

    Attributes
    ----------
    stage : Stage
        Its stage.
    assignment : Assignment
        What it was told.
    is_twin : bool
        Whether it runs beside another try that is slow.
    launch_ms : int
        When it began, in milliseconds since 1970.
    since : float
        The same by the clock of `time.monotonic`.
    """

    stage: Stage
    assignment: Assignment
    is_twin: bool = False
    launch_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    since: float = field(default_factory=time.monotonic)


class EventLog:
    """The tries of tasks that have ended, the latest of them if there are very many.

    Parameters
    ----------
    application : str
        The number of the application.
    most : int
        How many rows are kept in memory.
    folder : str or None
        The directory of the lake to which rows are appended, besides.
    """

    def __init__(self, application: str, most: int, folder: str | None) -> None:
        self._application, self._folder = application, folder
        self._rows: deque[tuple[Any, ...]] = deque(maxlen=most)
        self._unsaved: list[tuple[Any, ...]] = []
        self._lineage: list[tuple[Any, ...]] = []
        self._known: set[int] = set()
        self._most = most
        self._lock = threading.Lock()

    def begin(self, stage: Stage, assignment: Assignment, is_twin: bool = False) -> Attempt:
        """A task is about to run."""
        with self._lock:
            stage.status.active += 1
        return Attempt(stage, assignment, is_twin)

    def end(self, attempt: Attempt, status: str, reason: object = None, metrics: Metrics | None = None) -> None:
        """A task has ended, however it did."""
        row = self._row(attempt, status, reason, metrics)
        with self._lock:
            counts = attempt.stage.status
            counts.active -= 1
            counts.completed += status == SUCCESS
            counts.failed += status not in (SUCCESS, KILLED)
            self._rows.append(row)
            if self._folder is not None:
                self._unsaved.append(row)
            is_full = len(self._unsaved) >= self._most
        if is_full:
            self.save()

    def _row(self, attempt: Attempt, status: str, reason: object, metrics: Metrics | None) -> tuple[Any, ...]:
        told, did = attempt.assignment, metrics
        return (
            self._application, attempt.stage.job.id, told.stage_id, told.stage_attempt, told.split, told.attempt,
            told.worker or "driver", attempt.launch_ms, time.time_ns() // 1_000_000,
            did and did.run_ms, did and did.cpu_ns, None, did and did.deserialize_ms, None,
            did and did.input_bytes, did and did.input_rows, did and did.shuffle_read_bytes, did and 0,
            did and did.shuffle_write_bytes, did and did.spill_mem_bytes, did and did.spill_disk_bytes,
            did and did.peak_mem_bytes, "PROCESS_LOCAL" if told.worker is None else "NODE_LOCAL", attempt.is_twin,
            status, None if reason is None else str(reason)[:_REASON], did and (did.tier or "T2"),
        )  # fmt: skip

    def table(self) -> pa.Table:
        """A row for each try of a task, in the order in which they ended."""
        with self._lock:
            rows = list(self._rows)
        return _table(rows, TASK_COLUMNS)

    def note_lineage(self, root: Node, blocks: Blocks) -> None:
        """Remember the RDDs that a job depends on, if the log goes to a lake; each once."""
        if self._folder is None:
            return
        visits = [root]
        while visits:
            node = visits.pop()
            with self._lock:
                if node.id in self._known:
                    continue
                self._known.add(node.id)
                self._lineage.append(self._lineage_row(node, blocks))
            visits += [each.parent for each in node.dependencies]

    def _lineage_row(self, node: Node, blocks: Blocks) -> tuple[Any, ...]:
        from .base import SPARK_NAMES

        kept = blocks.kept(node.id)
        in_memory = sum(block.nbytes for block in kept if block.in_memory)
        kinds = {type(each).__name__ for each in node.dependencies}
        dependency = (
            "both" if len(kinds) > 1 else {"Narrow": "narrow", "Wide": "shuffle"}[kinds.pop()] if kinds else None
        )
        where = [word for word, is_so in (("DISK", node.level.useDisk), ("MEMORY", node.level.useMemory)) if is_so]
        return (
            self._application, node.id, SPARK_NAMES.get(type(node).__name__, type(node).__name__), node.operation,
            [each.parent.id for each in node.dependencies], dependency, node.partitions, " ".join(where) or "NONE",
            len(kept), in_memory, sum(block.nbytes for block in kept) - in_memory,
        )  # fmt: skip

    def save(self) -> None:
        """Append what was not written yet to ``rdd_task_trace`` and ``rdd_lineage_trace`` of the lake."""
        with self._lock:
            tasks, self._unsaved = self._unsaved, []
            lineage, self._lineage = self._lineage, []
        if self._folder is None:
            return
        from ironlake import lakehouse

        lake = lakehouse.open(self._folder.removeprefix("file://"))
        if tasks:
            lake.write("rdd_task_trace", _table(tasks, TASK_COLUMNS), mode="append")
        if lineage:
            lake.write("rdd_lineage_trace", _table(lineage, LINEAGE_COLUMNS), mode="append")


def _table(rows: list[tuple[Any, ...]], columns: dict[str, str]) -> pa.Table:
    import pyarrow as pa

    types = {name: pa.list_(pa.int32()) if name == "parents" else pa.type_for_alias(of) for name, of in columns.items()}
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    arrays = [pa.array(column, types[name]) for name, column in zip(columns, values, strict=True)]
    return pa.table(arrays, names=list(columns))

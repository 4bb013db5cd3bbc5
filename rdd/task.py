"""A task: one partition of a stage, computed in the driver or in a worker process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .batches import Batch, is_immutable
from .running import running_task, set_running
from .segments import OVERFLOW, MissingSegment, Section, SegmentWriter, read_section
from .shuffle import write_output
from .streams import Batches, Stream

if TYPE_CHECKING:
    from .accumulators import TaskAccumulator
    from .lineage import Node

#: A number and a partition: of a node whose input or kept elements these are.
Key = tuple[int, int]


@dataclass
class Metrics:
    """What a task did, as the event log has it; None is not known.

    Attributes
    ----------
    run_ms, deserialize_ms : int
        Milliseconds that it took, without and for reading the stage.
    cpu_ns : int
        Nanoseconds of CPU of its thread.
    input_rows, input_bytes : int
        What it read from collections of the driver, files and kept partitions.
    shuffle_read_bytes, shuffle_write_bytes : int
        What it read and wrote of shuffles.
    spill_mem_bytes, spill_disk_bytes : int
        What it moved out of memory: its size there, and on disk.
    peak_mem_bytes, resident_bytes : int or None
        The most memory that the worker process had, and what it has at the end.
    is_overflowing : bool
        Whether a file went to the disk since there was no room in shared memory.
    tier : str
        What computed it.
    """

    run_ms: int = 0
    deserialize_ms: int = 0
    cpu_ns: int = 0
    input_rows: int = 0
    input_bytes: int = 0
    shuffle_read_bytes: int = 0
    shuffle_write_bytes: int = 0
    spill_mem_bytes: int = 0
    spill_disk_bytes: int = 0
    peak_mem_bytes: int | None = None
    resident_bytes: int | None = None
    is_overflowing: bool = False
    tier: str = ""

    def read(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Count batches that come from where lineage begins, or from kept partitions."""
        for batch in batches:
            self.input_rows += len(batch)
            self.input_bytes += batch.nbytes
            yield batch


@dataclass
class Assignment:
    """What a task is told besides its stage.

    Attributes
    ----------
    stage_id, stage_attempt, split, attempt, number : int
        The stage, its partition that is to be computed, which try this is, and a number of its own.
    inputs : dict
        What sources and shuffles need to be read.
    kept : dict
        Partitions of nodes that were kept, as batches or as sections of files.
    folder : str
        Where it may write files.
    memory : int
        Bytes of elements that it may hold to sort or group them.
    properties : dict of str to str
        Local properties of the job.
    worker : str or None
        Who computes it; None is the driver.
    """

    stage_id: int
    stage_attempt: int
    split: int
    attempt: int
    number: int
    inputs: dict[Key, Any]
    kept: dict[Key, list[Batch] | list[Section]]
    folder: str
    memory: int
    properties: dict[str, str] = field(default_factory=dict)
    worker: str | None = None


@dataclass
class Outcome:
    """What a task says when it is done.

    Attributes
    ----------
    value : object
        The result, or for the map side of a shuffle, the sections that each partition will read.
    kept : dict
        Partitions that it has kept: their batches, or sections of files.
    updates : dict
        What was added to accumulators.
    metrics : Metrics
        What it did.
    tiers : dict
        How the steps with functions were done, and why not better.
    """

    value: Any
    kept: dict[Key, list[Batch] | list[Section]]
    updates: dict[tuple[int, int | None], Any]
    metrics: Metrics
    tiers: dict[int, tuple[str, str]] = field(default_factory=dict)


class KeptLost(Exception):
    """A partition that was kept is gone: it has to be computed again.

    Attributes
    ----------
    node, split : int
        Which.
    """

    def __init__(self, node: int, split: int, reason: str) -> None:
        super().__init__(node, split, reason)
        self.node, self.split, self.reason = node, split, reason

    def __str__(self) -> str:
        return f"partition {self.split} of RDD {self.node}, which was kept, cannot be read: {self.reason}"


class Storage:
    """The kept partitions that one task finds and makes."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self.made: dict[Key, list[Batch] | list[Section]] = {}

    def get_or_compute(self, node: Node, split: int, task: Task) -> Stream:
        """The elements of a partition that should be kept: found, or computed and then kept."""
        key = node.id, split
        for kept in (self.made, self._assignment.kept):
            if key in kept:
                try:
                    return Batches(list(task.metrics.read(_read(kept[key]))))
                except MissingSegment as error:
                    raise KeptLost(*key, str(error)) from None
        batches = list(node.compute(split, task).batches())
        self.made[key] = batches if self._assignment.worker is None else self._write(key, batches)
        return Batches(batches)

    def _write(self, key: Key, batches: list[Batch]) -> list[Section]:
        name = f"kept-{key[0]}-{key[1]}-{self._assignment.number}"
        with SegmentWriter(Path(self._assignment.folder, name)) as writer:
            return [writer.write(batches)]


#: Elements, and bytes, of kept partitions that a process has at hand, decoded where somebody has asked for that.
_AT_HAND, _BYTES_AT_HAND = 2_000_000, 1 << 28
_at_hand: OrderedDict[tuple[str, int], tuple[Section, list[Batch]]] = OrderedDict()
_holding = threading.Lock()


def _read(content: list[Batch] | list[Section]) -> Iterator[Batch]:
    for part in content:
        if not isinstance(part, Section):
            yield part
            continue
        key = part.path, part.offset
        with _holding:
            known, batches = _at_hand.pop(key, (None, []))
        if known != part or not Path(part.path).exists():  # a partition that is lost is computed again
            batches = list(read_section(part))
        if all(is_immutable(batch.kind) for batch in batches):
            with _holding:
                _at_hand[key] = part, batches
                while (
                    sum(section.rows for section, _ in _at_hand.values()) > _AT_HAND
                    or sum(section.length for section, _ in _at_hand.values()) > _BYTES_AT_HAND
                ):
                    _at_hand.popitem(last=False)
        yield from batches


class Task:
    """A partition being computed.

    Attributes
    ----------
    assignment : Assignment
        What it was told.
    storage : Storage
        Kept partitions.
    metrics : Metrics
        What it did so far.
    tiers : dict
        For steps that may be done on columns the tier, and why it is not a better one.
    changed : frozenset
        What the functions of the stage change.
    accumulators : dict
        The accumulators that its functions refer to, as this task sees them.
    barrier : callable or None
        Waits for the other tasks of a barrier stage, and gives back what each says.
    """

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.storage = Storage(assignment)
        self.metrics = Metrics()
        self.tiers: dict[int, tuple[str, str]] = {}
        self.changed: frozenset[tuple[int, str]] = frozenset()
        self.accumulators: dict[tuple[int, int | None], TaskAccumulator] = {}
        self._spilled: list[Path] = []
        self.barrier: Callable[[str | None], list[str]] | None = None

    def input(self, node: Node, split: int) -> Any:
        """What a node needs to be given to compute a partition."""
        return self.assignment.inputs[node.id, split]

    def spill_path(self) -> Path:
        """A new file on the disk, which is removed when the task ends."""
        folder = Path(self.assignment.folder)
        overflow = folder / OVERFLOW
        name = f"spill-{len(self._spilled)}-{self.assignment.number}"
        self._spilled.append((overflow if overflow.is_dir() else folder) / name)
        return self._spilled[-1]

    def note_tier(self, node: int, tier: str, reason: str) -> None:
        """Note how a step is done, and why not better."""
        self.tiers[node] = tier, reason
        self.metrics.tier = max(self.metrics.tier, tier)

    def run(self, binary: bytes) -> Outcome:
        """Compute what the stage says of the partition."""
        from .accumulators import updates_of
        from .staging import changed, load_stage

        before, started, cpu = running_task(), time.perf_counter(), time.thread_time_ns()
        loaded = started
        set_running(self)
        try:
            node, work = load_stage(binary)
            loaded = time.perf_counter()
            self.changed = changed(node, work)
            value = work(node, self)
        finally:
            set_running(before)
            for path in self._spilled:
                path.unlink(missing_ok=True)
            self.metrics.deserialize_ms = round((loaded - started) * 1000)
            self.metrics.run_ms = round((time.perf_counter() - loaded) * 1000)
            self.metrics.cpu_ns = time.thread_time_ns() - cpu
        return Outcome(value, self.storage.made, updates_of(self.accumulators), self.metrics, self.tiers)


@dataclass(frozen=True)
class ResultWork:
    """A function of the elements of a partition, whose result goes to the driver."""

    function: Callable[[int, Stream], Any]

    def __call__(self, node: Node, task: Task) -> Any:
        split = task.assignment.split
        return self.function(split, node.iterator(split, task))


@dataclass(frozen=True)
class ShuffleWork:
    """The map side of a shuffle."""

    shuffle_id: int
    partitioner: Any

    def __call__(self, node: Node, task: Task) -> Any:
        from .lineage import Wide

        told = task.assignment
        name = f"shuffle-{self.shuffle_id}-{told.split}-{told.number}"
        return write_output(Wide(node, self.shuffle_id, self.partitioner), told.split, Path(told.folder, name), task)


def remove_files(assignment: Assignment) -> None:
    """Remove what a try of a task that did not succeed has left in the folder: files, whole and unfinished ones."""
    for folder in (Path(assignment.folder), Path(assignment.folder, OVERFLOW)):
        for path in folder.glob(f"*-{assignment.number}*") if folder.is_dir() else ():
            if path.name.split(".")[0].endswith(f"-{assignment.number}"):
                path.unlink(missing_ok=True)

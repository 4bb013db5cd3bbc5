"""From an action to tasks: lineage is cut into stages at shuffles, and only what is missing is computed.

An action asks for partitions of an RDD. Walking back through narrow dependencies, as far as partitions that are kept,
leads to shuffles; each whose map side is not complete is a stage of its own that has to run first. A stage is a task per
missing partition. If a task finds that the output of a map task is gone, that is computed again, and nothing else.

Source: Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 5.1.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .lineage import Narrow, Node, Wide
from .segments import Section
from .shuffle import FetchFailed, Shuffled
from .task import Assignment, KeptLost, Key, Outcome, ResultWork, ShuffleWork, dump_stage

if TYPE_CHECKING:
    from .blocks import Blocks
    from .execution import Execution
    from .streams import Stream

#: How often a stage is run again because outputs were lost.
MOST_RESUBMISSIONS = 4


class JobCancelled(Exception):
    """The job was cancelled while it ran."""


@dataclass
class Job:
    """An action that runs.

    Attributes
    ----------
    id : int
        Its number.
    properties : dict of str to str
        Local properties of the thread that started it.
    group : str or None
        Its job group.
    tags : set of str
        Its tags.
    stages : list of int
        The stages that were run for it.
    status : str
        RUNNING, SUCCEEDED or FAILED.
    """

    id: int
    properties: dict[str, str]
    group: str | None = None
    tags: frozenset[str] = frozenset()
    stages: list[int] = field(default_factory=list)
    status: str = "RUNNING"
    cancelled: str | None = None

    def check(self) -> None:
        """Raise what there is to raise if somebody has cancelled the job."""
        if self.cancelled is not None:
            raise JobCancelled(f"Job {self.id} cancelled {self.cancelled}")


@dataclass
class Stage:
    """Tasks that run alike on partitions of a node.

    Attributes
    ----------
    id, attempt : int
        Its number, and which try this is.
    node : Node
        Whose partitions are computed.
    work : ResultWork or ShuffleWork
        What is done with them.
    splits : list of int
        Which partitions.
    binary : bytes
        Node and work, as tasks get them.
    """

    id: int
    attempt: int
    node: Node
    work: ResultWork | ShuffleWork
    splits: list[int]
    job: Job
    binary: bytes = b""
    is_barrier: bool = False
    active: int = 0
    completed: int = 0
    failed: int = 0


class Scheduler:
    """Runs jobs.

    Parameters
    ----------
    blocks : Blocks
        Kept partitions.
    execution : Execution
        What runs tasks.
    count : callable
        Takes what tasks have added to accumulators.
    folder : str
        Where tasks write files.
    """

    def __init__(
        self, blocks: Blocks, execution: Execution, count: Callable[[Outcome, int], None], folder: str
    ) -> None:
        self.blocks, self.execution, self._count, self._folder = blocks, execution, count, folder
        self.outputs: dict[int, dict[int, list[list[Section]]]] = {}
        self.jobs: dict[int, Job] = {}
        self.stages: dict[int, Stage] = {}
        self._job_ids, self._stage_ids, self._task_numbers = itertools.count(), itertools.count(), itertools.count()
        self._shuffle_stages: dict[int, int] = {}
        self._shuffling = threading.RLock()

    def run(
        self,
        node: Node,
        function: Callable[[int, Stream], Any],
        splits: Sequence[int],
        job: Job,
        handle: Callable[[int, Any], None],
    ) -> None:
        """Apply a function to partitions of a node and hand each result over, in the order in which they come.

        Raises
        ------
        JobCancelled
            Somebody cancelled the job.
        Exception
            Whatever the user's functions raise.
        """
        self.jobs[job.id] = job
        missing = list(dict.fromkeys(splits))
        stage_id = next(self._stage_ids)
        try:
            for attempt in itertools.count():
                self._prepare(node, missing, job)
                stage = Stage(stage_id, attempt, node, ResultWork(function), missing, job)
                done: set[int] = set()
                try:
                    for split, outcome in self._tasks(stage):
                        done.add(split)
                        handle(split, outcome.value)
                except (FetchFailed, KeptLost) as error:
                    self._lose(error, attempt)
                    missing = [split for split in missing if split not in done]
                    continue
                break
            job.status = "SUCCEEDED"
        except BaseException:
            job.status = "FAILED"
            raise

    def new_job(self, properties: dict[str, str], group: str | None, tags: Iterable[str]) -> Job:
        """A job that has not begun."""
        return Job(next(self._job_ids), properties, group, frozenset(tags))

    def _prepare(self, node: Node, splits: Sequence[int], job: Job) -> None:
        """Complete the shuffles that partitions of a node need, those first that others need."""
        with self._shuffling:  # jobs of other threads wait, rather than run the same stage
            for wide in self._wide(node, splits):
                self._complete(wide, job)

    def _complete(self, wide: Wide, job: Job) -> None:
        """Run the missing tasks of the map side of a shuffle."""
        outputs = self.outputs.setdefault(wide.shuffle_id, {})
        for attempt in itertools.count():
            missing = [split for split in range(wide.parent.partitions) if split not in outputs]
            if not missing:
                return
            self._prepare(wide.parent, missing, job)
            stage_id = self._shuffle_stages.setdefault(wide.shuffle_id, next(self._stage_ids))
            work = ShuffleWork(wide.shuffle_id, wide.partitioner)
            try:
                for split, outcome in self._tasks(Stage(stage_id, attempt, wide.parent, work, missing, job)):
                    outputs[split] = outcome.value
            except (FetchFailed, KeptLost) as error:
                self._lose(error, attempt)

    def _wide(self, node: Node, splits: Iterable[int]) -> list[Wide]:
        """The shuffles on which partitions of a node depend, up to those that are kept."""
        found: dict[int, Wide] = {}
        seen: set[Key] = set()
        visits = [(node, split) for split in splits]
        while visits:
            current, split = visits.pop()
            key = current.id, split
            if key in seen:
                continue
            seen.add(key)
            if current.level.keeps and self.blocks.find(key):
                continue
            for dependency in current.dependencies:
                if isinstance(dependency, Wide):
                    found[dependency.shuffle_id] = dependency
                else:
                    visits += [(dependency.parent, each) for each in dependency.parents_of(split)]
        return [found[shuffle_id] for shuffle_id in sorted(found)]

    def _tasks(self, stage: Stage) -> Iterator[tuple[int, Outcome]]:
        """Run the tasks of a stage; each partition with what came of it, as they are done."""
        if stage.id not in stage.job.stages:
            stage.job.stages.append(stage.id)
        self.stages[stage.id] = stage
        stage.binary = dump_stage(stage.node, stage.work)
        nodes = list(_nodes(stage.node))
        levels = {each.id: each.level for each in nodes}
        stage.is_barrier = any(each.is_barrier for each in nodes)
        for assignment, outcome in self.execution.run(
            stage, lambda split, worker: self._assignment(stage, split, worker)
        ):
            for key, content in outcome.kept.items():
                self.blocks.put(key, content, assignment.worker or "driver", levels[key[0]])
            self._count(outcome, assignment.split)
            yield assignment.split, outcome

    def _assignment(self, stage: Stage, split: int, worker: str | None) -> Assignment:
        """What a task of a stage is told; without a worker it runs in the driver."""
        inputs: dict[Key, Any] = {}
        kept: dict[Key, Any] = {}
        visits = [(stage.node, split)]
        while visits:
            node, part = visits.pop()
            key = node.id, part
            if key in inputs or key in kept:
                continue
            if node.level.keeps and (block := self.blocks.find(key)):
                kept[key] = block.content if worker is None else self.blocks.in_files(key, self._folder)
                continue
            if isinstance(node, Shuffled):
                outputs = self.outputs.get(node.shuffle_id, {})
                inputs[key] = [(map_split, outputs[map_split][part]) for map_split in sorted(outputs)]
            elif (given := node.inputs(part)) is not None:
                inputs[key] = given
            for dependency in node.dependencies:
                if isinstance(dependency, Narrow):
                    visits += [(dependency.parent, each) for each in dependency.parents_of(part)]
        number = next(self._task_numbers)
        properties = stage.job.properties
        return Assignment(stage.id, stage.attempt, split, 0, number, inputs, kept, self._folder, properties, worker)

    def forget(self, shuffle_id: int) -> None:
        """Remove the outputs of a shuffle."""
        from pathlib import Path

        for sections in self.outputs.pop(shuffle_id, {}).values():
            for path in {section.path for part in sections for section in part}:
                Path(path).unlink(missing_ok=True)

    def _lose(self, error: FetchFailed | KeptLost, attempt: int) -> None:
        """Forget what a task has left that is gone, so that it is computed again."""
        if attempt + 1 >= MOST_RESUBMISSIONS:
            raise RuntimeError(f"a stage failed {attempt + 1} times, last because {error}") from error
        if isinstance(error, KeptLost):
            self.blocks.remove((error.node, error.split))
        else:
            self.outputs.get(error.shuffle_id, {}).pop(error.map_split, None)


def _nodes(root: Node) -> Iterator[Node]:
    """A node and those that it depends on narrowly."""
    seen: set[int] = set()
    visits = [root]
    while visits:
        node = visits.pop()
        if node.id not in seen:
            seen.add(node.id)
            yield node
            visits += [each.parent for each in node.dependencies if isinstance(each, Narrow)]

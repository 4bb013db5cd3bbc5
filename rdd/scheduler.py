"""From an action to tasks: lineage is cut into stages at shuffles, and only what is missing is computed.

An action asks for partitions of an RDD. Walking back through narrow dependencies, as far as partitions that are kept,
one comes to shuffles; each whose map side is not complete is a stage of its own that has to run first. A stage is a
task per missing partition. If a task finds that the output of a map task is gone, that is computed again, and nothing
else.

Source: Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 5.1.
"""

from __future__ import annotations

import itertools
import threading
import warnings
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lineage import Narrow, Node, Wide
from .segments import Section
from .shuffle import FetchFailed, Shuffled
from .sources import Given
from .stages import Job, Stage, StageStatus
from .staging import dump_stage
from .task import Assignment, KeptLost, Key, Outcome, ResultWork, ShuffleWork

if TYPE_CHECKING:
    from .blocks import Blocks
    from .events import EventLog
    from .execution import Execution
    from .progress import Showing
    from .settings import Settings
    from .streams import Stream

#: Seconds between looks at whether a job was cancelled.
_INTERVAL = 0.1
#: Jobs and stages that are remembered.
_REMEMBERED = 1000


class Scheduler:
    """Runs jobs.

    Parameters
    ----------
    settings : Settings
        How often stages are tried, and how much memory tasks use.
    blocks : Blocks
        Kept partitions.
    execution : Execution
        What runs tasks.
    count : callable
        Takes what tasks have added to accumulators.
    events : EventLog
        Told about all tasks.
    folder : str
        Where tasks write files.
    showing : callable
        Shows a job to the user.
    """

    def __init__(
        self,
        settings: Settings,
        blocks: Blocks,
        execution: Execution,
        count: Callable[[Outcome, int], None],
        events: EventLog,
        folder: str,
        showing: Showing,
    ) -> None:
        self.blocks, self.execution, self.events = blocks, execution, events
        self._count, self._folder, self._most_resubmissions = count, folder, settings.resubmissions
        self.task_memory, self.showing = settings.task_memory, showing
        self.outputs: dict[int, dict[int, list[list[Section]]]] = {}
        self.jobs: dict[int, Job] = {}
        self.tiers: dict[int, tuple[str, str]] = {}
        self.stages: dict[int, StageStatus] = {}
        self.seconds: dict[tuple[str, int], dict[int, float]] = {}
        self._job_ids, self._stage_ids, self._serials = itertools.count(), itertools.count(), itertools.count()
        self._task_numbers = itertools.count()
        self._shuffle_stages: dict[int, int] = {}
        self._compares, self._lost = settings.compares, dict[Key, list[list[int]]]()
        self._shuffling = threading.RLock()
        self._unused: deque[Callable[[], None]] = deque()
        self._has_warned = False
        self._running = threading.Condition()
        self._runs = Counter[int]()

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
        _shorten(self.jobs)
        self._clean()
        with self._running:
            self._runs[threading.get_ident()] += 1
        try:
            with self.showing(job, self.stages):
                self._results(node, function, splits, job, handle)
            job.status = "SUCCEEDED"
            self.events.note_lineage(node, self.blocks)
        except BaseException:
            job.status = "FAILED"
            raise
        finally:
            with self._running:
                self._runs[threading.get_ident()] -= 1
                self._running.notify_all()
            self._clean()

    def _results(
        self,
        node: Node,
        function: Callable[[int, Stream], Any],
        splits: Sequence[int],
        job: Job,
        handle: Callable[[int, Any], None],
    ) -> None:
        """Run the last stage of a job until nothing is missing, and before it those that it needs."""
        missing = list(dict.fromkeys(splits))
        stage_id = None
        attempt = vain = 0
        while missing:
            self.execution.pool.bury()
            self._prepare(node, missing, job)
            stage_id = next(self._stage_ids) if stage_id is None else stage_id
            stage = Stage(stage_id, attempt, next(self._serials), node, ResultWork(function), missing, job)
            done: set[int] = set()
            try:
                for split, outcome in self._tasks(stage):
                    done.add(split)
                    handle(split, outcome.value)
            except (FetchFailed, KeptLost) as error:
                attempt, vain = attempt + 1, 0 if done else vain + 1
                self._lose(error, vain)
            missing = [split for split in missing if split not in done]

    def cancel(self, chosen: Callable[[Job], bool], reason: str) -> None:
        """Cancel the running jobs that are chosen."""
        for job in list(self.jobs.values()):
            if job.status == "RUNNING" and job.cancelled is None and chosen(job):
                job.cancelled = reason

    def wait_for_others(self, seconds: float) -> None:
        """Wait until the jobs of other threads have ended."""
        own = threading.get_ident()
        with self._running:
            self._running.wait_for(lambda: sum(self._runs.values()) == self._runs[own], seconds)

    def when_unused(self, thing: object, clean: Callable[[], None]) -> None:
        """Do something, before or after some job, when a node is not referred to any more."""
        weakref.finalize(thing, self._unused.append, clean).atexit = False

    def _clean(self) -> None:
        """Remove what belongs to nodes that are gone."""
        while self._unused:
            self._unused.popleft()()

    def new_job(self, properties: dict[str, str], group: str | None, tags: Iterable[str]) -> Job:
        """A job that has not begun."""
        return Job(next(self._job_ids), properties, group, frozenset(tags))

    def _prepare(self, node: Node, splits: Sequence[int], job: Job) -> None:
        """Complete the shuffles that partitions of a node need, those first that others need."""
        while not self._shuffling.acquire(timeout=_INTERVAL):  # jobs of other threads do not run the same stage
            job.check()
        try:
            needed: list[Wide] = []  # each for the one before; lineage may be deeper than Python's stack
            tries, vain = Counter[int](), Counter[int]()
            while True:
                last = needed[-1] if needed else None
                target, parts = (node, splits) if last is None else (last.parent, self._missing(last))
                if last is not None and not parts:
                    needed.pop()
                elif before := [each for each in self._wide(target, parts) if self._missing(each)]:
                    needed.append(before[0])
                elif last is None:
                    return
                else:
                    self._run_maps(last, list(parts), job, tries, vain)
        finally:
            self._shuffling.release()

    def _missing(self, wide: Wide) -> list[int]:
        """The partitions on the map side of a shuffle that have to be computed."""
        outputs = self.outputs.get(wide.shuffle_id, {})
        return [split for split in range(wide.parent.partitions) if split not in outputs]

    def _run_maps(self, wide: Wide, missing: list[int], job: Job, tries: Counter[int], vain: Counter[int]) -> None:
        """Run missing tasks of the map side of a shuffle; maybe not all can be done."""
        number = wide.shuffle_id
        outputs = self.outputs.setdefault(number, {})
        if number not in self._shuffle_stages:
            self._shuffle_stages[number] = next(self._stage_ids)
        work = ShuffleWork(number, wide.partitioner)
        stage = Stage(self._shuffle_stages[number], tries[number], next(self._serials), wide.parent, work, missing, job)
        tries[number] += 1
        before = len(outputs)
        try:
            for split, outcome in self._tasks(stage):
                outputs[split] = outcome.value
                self._compare(number, split, outcome.value)
        except (FetchFailed, KeptLost) as error:
            vain[number] = 0 if len(outputs) > before else vain[number] + 1
            self._lose(error, vain[number])

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
        self.stages[stage.id] = stage.status
        _shorten(self.stages)
        stage.binary = dump_stage(stage.node, stage.work)
        nodes = list(_nodes(stage.node))
        by_number = {each.id: each for each in nodes}
        stage.is_barrier = any(each.is_barrier for each in nodes)
        for assignment, outcome in self.execution.run(
            stage, lambda split, worker: self._assignment(stage, split, worker)
        ):
            self._note_seconds(stage, assignment.split, outcome)
            for key, content in outcome.kept.items():
                self.blocks.put(key, content, assignment.worker or "driver", by_number[key[0]].level)
            if outcome.metrics.is_overflowing and not self._has_warned:
                self._has_warned = True
                warnings.warn("there is no more room in shared memory; shuffles go to the disk", stacklevel=2)
            self._count(outcome, assignment.split)
            if assignment.split == stage.splits[0]:
                self.tiers.update(outcome.tiers)
            yield assignment.split, outcome

    def _note_seconds(self, stage: Stage, split: int, outcome: Outcome) -> None:
        """Remember how long the outputs of a shuffle and kept partitions took, for who has to choose checkpoints."""
        made = [("node", key[0]) for key in outcome.kept]
        if isinstance(stage.work, ShuffleWork):
            made.append(("shuffle", stage.work.shuffle_id))
        for name in made:
            self.seconds.setdefault(name, {})[split] = outcome.metrics.run_ms / 1000

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
                inputs[key] = self._sections(node, part)
            elif isinstance(node, Given) and worker is not None:
                inputs[key] = node.inputs_of_worker(part, self._folder)
            elif (given := node.inputs(part)) is not None:
                inputs[key] = given
            for dependency in node.dependencies:
                if isinstance(dependency, Narrow):
                    visits += [(dependency.parent, each) for each in dependency.parents_of(part)]
        number = next(self._task_numbers)
        return Assignment(
            stage.id, stage.attempt, split, 0, number, inputs, kept, self._folder, self.task_memory,
            stage.job.properties, worker,
        )  # fmt: skip

    def _sections(self, node: Shuffled, part: int) -> list[tuple[int, list[Section]]]:
        """What a partition reads of a shuffle, in the order of the partitions that wrote it.

        Raises
        ------
        FetchFailed
            The shuffle is not complete (any more): it was not needed as long as a partition was kept that now is not.
        """
        outputs = self.outputs.get(node.shuffle_id, {})
        found = []
        for map_split in range(node.map_splits):
            if (sections := outputs.get(map_split)) is None:
                raise FetchFailed(node.shuffle_id, map_split, "it is not there any more")
            found.append((map_split, sections[part]))
        return found

    def forget(self, shuffle_id: int) -> None:
        """Remove the outputs of a shuffle."""
        for sections in self.outputs.pop(shuffle_id, {}).values():
            _remove(sections)
        self._shuffle_stages.pop(shuffle_id, None)
        self.seconds.pop(("shuffle", shuffle_id), None)

    def _lose(self, error: FetchFailed | KeptLost, vain: int) -> None:
        """Forget what a task has missed, and what else of its kind is gone, so that it is computed again."""
        if vain >= self._most_resubmissions:
            raise RuntimeError(f"a stage failed {vain} times without any progress, last because {error}") from error
        if isinstance(error, KeptLost):
            self.blocks.remove((error.node, error.split))
            self.blocks.remove_missing(error.node)
            return
        outputs = self.outputs.get(error.shuffle_id, {})
        gone = [split for split, sections in outputs.items() if split == error.map_split or not _exists(sections)]
        for split in gone:
            sections = outputs.pop(split)
            if self._compares:
                self._lost[error.shuffle_id, split] = _checksums(sections)
            _remove(sections)

    def _compare(self, shuffle_id: int, split: int, sections: list[list[Section]]) -> None:
        """Warn if an output that was lost is now another one."""
        before = self._lost.pop((shuffle_id, split), None)
        if before is not None and before != _checksums(sections):
            warnings.warn(
                f"partition {split} of the map side of shuffle {shuffle_id} was computed again, and differs: its "
                "functions do not always give the same",
                stacklevel=2,
            )


def _checksums(sections: list[list[Section]]) -> list[list[int]]:
    return [[section.checksum for section in part] for part in sections]


def _paths(sections: list[list[Section]]) -> set[str]:
    return {section.path for part in sections for section in part}


def _exists(sections: list[list[Section]]) -> bool:
    return all(Path(path).exists() for path in _paths(sections))


def _remove(sections: list[list[Section]]) -> None:
    for path in _paths(sections):
        Path(path).unlink(missing_ok=True)


def _shorten(remembered: dict[int, Any]) -> None:
    """Forget the first of very many."""
    while len(remembered) > _REMEMBERED:
        remembered.pop(next(iter(remembered)), None)


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

"""Worker processes: they start when they are needed, may die at any time, and are replaced.

A job takes idle workers, gives each a task, and gives it back when there is none left; jobs of several threads share
them. A worker that dies loses the partitions that it kept; its task is run elsewhere.
"""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import statistics
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from .failures import WorkerLost
from .forkserver import ForkServer
from .task import Assignment, Outcome

if TYPE_CHECKING:
    from .scheduler import Stage

Assign = Callable[[int, str | None], Assignment]

#: How often a task may lose its worker to a signal from outside.
_MOST_LOSSES = 4
#: Seconds between looks at what does not send a message.
_INTERVAL = 0.1


@dataclass(frozen=True)
class Speculation:
    """When a task that is slow gets a twin: the settings ``spark.speculation``."""

    is_on: bool = False
    multiplier: float = 3.0
    quantile: float = 0.9
    least_seconds: float = 0.1


@dataclass(eq=False)
class Worker:
    """A worker process, as the driver sees it."""

    name: str
    pid: int
    connection: Connection
    stages: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=16))
    files: int = 0

    def send(self, *message: Any) -> None:
        """Send a message; that the worker is gone is noticed when it does not answer."""
        try:
            self.connection.send_bytes(pickle.dumps(message))
        except OSError:
            pass

    def receive(self) -> Any:
        """The next message; None if the worker is gone."""
        try:
            return pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return None

    def kill(self) -> None:
        """End the process, whatever it does."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@dataclass
class _Running:
    """A task that runs."""

    assignment: Assignment
    since: float


class Pool:
    """Worker processes.

    Parameters
    ----------
    slots : int
        How many.
    server : ForkServer
        What starts them.
    speculation : Speculation
        When slow tasks get twins.
    lost : callable
        Told the name of a worker that is gone.
    files : callable
        The directory of added files, and the paths to import from.
    """

    def __init__(
        self,
        slots: int,
        server: ForkServer,
        speculation: Speculation,
        lost: Callable[[str], None],
        files: Callable[[], tuple[str, list[str]]],
        barrier_seconds: float,
    ) -> None:
        self.slots = slots
        self._server, self._speculation, self._lost, self._files = server, speculation, lost, files
        self._barrier_seconds = barrier_seconds
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self._killed: set[str] = set()
        self._names = itertools.count()
        self._changed = threading.Condition()

    def run(
        self, stage: Stage, splits: Sequence[int], assign: Assign, tries: int
    ) -> Iterator[tuple[Assignment, Outcome]]:
        """Run a task for each partition; each with what came of it, as they are done."""
        waiting, running = deque(splits), dict[Worker, _Running]()
        failures, losses, done = Counter[int](), Counter[int](), set[int]()
        seconds: list[float] = []
        try:
            while waiting or running:
                stage.job.check()
                while waiting and (worker := self._take(wait_for_one=not running, stage=stage)):
                    split = waiting.popleft()
                    self._begin(worker, stage, assign(split, worker.name), failures[split], running)
                for worker in self._answering(running):
                    task = running.pop(worker)
                    split = task.assignment.split
                    message = worker.receive()
                    if message is None:
                        self._bury(worker, split, losses, failures, tries)
                        if not self._is_elsewhere(split, running) and split not in done:
                            waiting.appendleft(split)
                        continue
                    self._give_back(worker)
                    if message[0] == "failed":
                        failures[split] += 1
                        if split in done or self._is_elsewhere(split, running):
                            continue
                        if message[2] or failures[split] >= tries:
                            raise message[1]
                        waiting.append(split)
                    elif split not in done:
                        done.add(split)
                        seconds.append(time.monotonic() - task.since)
                        self._end_twins(split, running)
                        yield task.assignment, message[1]
                if self._speculation.is_on:
                    waiting.extend(self._slow(len(splits), seconds, running))
        finally:
            for worker in running:  # of no use any more
                worker.kill()
                self._forget(worker)

    def run_together(self, stage: Stage, splits: Sequence[int], assign: Assign) -> Iterator[tuple[Assignment, Outcome]]:
        """Run the tasks of a barrier stage, all at the same time.

        Raises
        ------
        ValueError
            There are fewer workers than tasks.
        """
        if len(splits) > self.slots:
            raise ValueError(
                f"a barrier stage has {len(splits)} partitions, which run at the same time, and the context runs "
                f"{self.slots} tasks; use fewer partitions or a master with more"
            )
        stage.job.properties["ironlake.barrier.tasks"] = str(len(splits))
        running: dict[Worker, _Running] = {}
        said: dict[Worker, str] = {}
        since = time.monotonic()
        try:
            for split in splits:
                worker = self._take(wait_for_one=True, stage=stage)
                assert worker is not None
                self._begin(worker, stage, assign(split, worker.name), 0, running)
            while running:
                stage.job.check()
                for worker in self._answering(running):
                    message = worker.receive()
                    if message is None:
                        raise WorkerLost(f"the worker of partition {running[worker].assignment.split} has ended")
                    if message[0] == "barrier":
                        said[worker] = message[1]
                        since = time.monotonic() if len(said) == 1 else since
                        continue
                    task = running.pop(worker)
                    self._give_back(worker)
                    if message[0] == "failed":
                        raise message[1]
                    yield task.assignment, message[1]
                if said and len(said) == len(splits):
                    messages = [said[worker] for worker in running]
                    for worker in running:
                        worker.send("gathered", messages)
                    said.clear()
                elif said and time.monotonic() - since > self._barrier_seconds:
                    raise RuntimeError(
                        f"{len(said)} of {len(splits)} tasks waited at a barrier for {self._barrier_seconds:g} s"
                    )
        finally:
            stage.job.properties.pop("ironlake.barrier.tasks", None)
            for worker in running:
                worker.kill()
                self._forget(worker)

    def kill(self, place: int) -> None:
        """End one of the workers, as a machine that fails would."""
        with self._changed:
            workers = sorted(self._workers, key=lambda worker: worker.pid)
            if not workers:
                return
            worker = workers[place % len(workers)]
            self._killed.add(worker.name)
        worker.kill()

    def stop(self) -> None:
        """End all workers."""
        with self._changed:
            for worker in self._workers:
                worker.kill()
                worker.connection.close()
            self._workers.clear()
            self._idle.clear()
        self._server.stop()

    def _take(self, wait_for_one: bool, stage: Stage) -> Worker | None:
        """An idle worker, or a new one if there may be more; waits for one if asked to."""
        with self._changed:
            while True:
                while self._idle:
                    worker = self._idle.pop()
                    if not worker.connection.poll():  # an idle worker has nothing to say but that it is gone
                        return worker
                    self._forget(worker)
                if len(self._workers) < self.slots:
                    name = f"worker-{next(self._names)}"
                    worker = Worker(name, *self._server.fork(name))
                    self._workers.add(worker)
                    return worker
                if not wait_for_one:
                    return None
                self._changed.wait(_INTERVAL)
                stage.job.check()

    def _give_back(self, worker: Worker) -> None:
        with self._changed:
            self._idle.append(worker)
            self._changed.notify_all()

    def _forget(self, worker: Worker) -> None:
        """A worker is gone, and with it what it kept."""
        with self._changed:
            self._workers.discard(worker)
            worker.connection.close()
            self._changed.notify_all()
        self._lost(worker.name)

    def _begin(
        self, worker: Worker, stage: Stage, assignment: Assignment, attempt: int, running: dict[Worker, _Running]
    ) -> None:
        assignment.attempt = attempt
        root, paths = self._files()
        if worker.files != len(paths) + 1:
            worker.send("files", root, paths)
            worker.files = len(paths) + 1
        key = stage.id, id(stage)
        if key not in worker.stages:
            worker.send("stage", key, stage.binary)
            worker.stages.append(key)
        sys.stdout.flush()
        worker.send("task", key, assignment)
        running[worker] = _Running(assignment, time.monotonic())

    def _answering(self, running: dict[Worker, _Running]) -> list[Worker]:
        """The workers that have something to say, after waiting a little."""
        ready = set(wait([worker.connection for worker in running], _INTERVAL))
        return [worker for worker in running if worker.connection in ready]

    def _bury(self, worker: Worker, split: int, losses: Counter[int], failures: Counter[int], tries: int) -> None:
        """Decide what it means that a worker has ended while it ran a task.

        Raises
        ------
        WorkerLost
            The task has ended too many workers.
        """
        self._forget(worker)
        if worker.name in self._killed:
            return
        losses[split] += 1
        code = self._server.exit_code(worker.pid)
        from_outside = code in (-signal.SIGKILL, -signal.SIGTERM, None)
        if not from_outside:
            failures[split] += losses[split] > 1 or tries == 1
        if failures[split] >= tries or losses[split] > _MOST_LOSSES:
            ended = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"
            hint = "; it may have run out of memory: more partitions make tasks smaller" if from_outside else ""
            raise WorkerLost(f"{losses[split]} workers ended by {ended} while they computed partition {split}{hint}")

    @staticmethod
    def _is_elsewhere(split: int, running: dict[Worker, _Running]) -> bool:
        return any(task.assignment.split == split for task in running.values())

    def _end_twins(self, split: int, running: dict[Worker, _Running]) -> None:
        for worker in [worker for worker, task in running.items() if task.assignment.split == split]:
            del running[worker]
            worker.kill()
            self._forget(worker)

    def _slow(self, count: int, seconds: list[float], running: dict[Worker, _Running]) -> list[int]:
        """The partitions whose tasks run much longer than others did and have no twin."""
        rule = self._speculation
        if not seconds or len(seconds) < rule.quantile * count:
            return []
        limit = max(rule.multiplier * statistics.median(seconds), rule.least_seconds)
        tasks = Counter(task.assignment.split for task in running.values())
        now = time.monotonic()
        return [
            task.assignment.split
            for task in running.values()
            if now - task.since > limit and tasks[task.assignment.split] == 1
        ]

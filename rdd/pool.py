"""Worker processes: they start when they are needed, may die at any time, and are replaced.

A job takes idle workers, gives each a task, and gives it back when there is none left; jobs of several threads share
them. A worker that dies loses the partitions that it kept; its task is run elsewhere.
"""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from .events import FAILED, FETCH_FAILED, KILLED, SUCCESS, WORKER_LOST, Attempt, EventLog
from .failures import JobCancelled, WorkerLost, is_lost_input
from .forkserver import ForkServer
from .shuffle import FetchFailed
from .task import Assignment, KeptLost, Outcome, remove_files
from .workerprocess import Worker

if TYPE_CHECKING:
    from .settings import Settings
    from .stages import Stage

Assign = Callable[[int, str | None], Assignment]

#: How often a task may lose its worker to a signal from outside.
_MOST_LOSSES = 4
#: Seconds between looks at what does not send a message.
_INTERVAL = 0.1


class Pool:
    """Worker processes.

    Parameters
    ----------
    settings : Settings
        How many there are, when slow tasks get twins, how long tasks wait for each other, how large workers may become.
    server : ForkServer
        What starts them.
    events : EventLog
        Told when tasks begin and end.
    lost : callable
        Told the name of a worker that is gone, and with it what it kept.
    files : callable
        The directory of added files, and the paths to import from.
    """

    def __init__(
        self,
        settings: Settings,
        server: ForkServer,
        events: EventLog,
        lost: Callable[[str], object],
        files: Callable[[], tuple[str, list[str]]],
    ) -> None:
        self.slots = settings.slots
        self._server, self._speculation, self._events = server, settings.speculation, events
        self._lost, self._files = lost, files
        self._silence_seconds = settings.silence_seconds
        self._barrier_seconds, self._most_memory = settings.barrier_seconds, settings.most_memory
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self._killed: set[str] = set()
        self._names = itertools.count()
        self._changed = threading.Condition()
        self._gathering = threading.Lock()
        self._is_stopped = False

    def run(
        self, stage: Stage, splits: Sequence[int], assign: Assign, tries: int
    ) -> Iterator[tuple[Assignment, Outcome]]:
        """Run a task for each partition; each with what came of it, as they are done.

        Raises
        ------
        FetchFailed, KeptLost
            A task did not find what another has left. The tasks that ran with it were waited for.
        """
        waiting, running = deque(splits), dict[Worker, Attempt]()
        failures, losses, begun, done = Counter[int](), Counter[int](), Counter[int](), set[int]()
        seconds: list[float] = []
        missing: BaseException | None = None
        try:
            while waiting or running:
                stage.job.check()
                while waiting and (worker := self._take(wait_for_one=not running, stage=stage)):
                    split = waiting.popleft()
                    begun[split] += 1
                    try:
                        self._begin(worker, stage, assign, split, begun[split] - 1, running)
                    except (FetchFailed, KeptLost) as error:
                        missing = error
                        waiting.clear()
                for worker in self._answering(running):
                    if worker not in running:
                        continue  # the twin of a task that has just been done
                    message = worker.receive()  # if that is interrupted, the worker still counts as running
                    if message is not None and message[0] == "alive":
                        continue
                    task = running.pop(worker)
                    split = task.assignment.split
                    if message is None:
                        self._drop(task, WORKER_LOST, "the worker process has ended")
                        self._forget(worker)
                        stage.job.check()
                        self._count_loss(worker, split, losses, failures, tries)
                        if not self._is_elsewhere(split, running) and split not in done and missing is None:
                            waiting.appendleft(split)
                    elif message[0] == "failed":
                        is_lost = is_lost_input(message[1])
                        self._drop(task, FETCH_FAILED if is_lost else FAILED, _told(message[1]))
                        self._give_back(worker, None)
                        if is_lost:
                            missing = missing or message[1]
                            waiting.clear()
                            continue
                        failures[split] += 1
                        if split in done or self._is_elsewhere(split, running):
                            continue
                        if message[2] or failures[split] >= tries:
                            raise message[1]
                        if missing is None:
                            waiting.append(split)
                    else:
                        done.add(split)
                        seconds.append(time.monotonic() - task.since)
                        self._end_twins(split, running)
                        self._events.end(task, SUCCESS, None, message[1].metrics)
                        self._give_back(worker, message[1])
                        yield task.assignment, message[1]
                if missing is None:
                    slow = self._speculation.slow(len(splits), seconds, list(running.values()))
                    waiting.extend(split for split in slow if split not in waiting)
                waiting = deque(split for split in waiting if split not in done)
            if missing is not None:
                raise missing
        finally:
            self._abandon(running)

    def run_together(
        self, stage: Stage, splits: Sequence[int], assign: Assign, tries: int
    ) -> list[tuple[Assignment, Outcome]]:
        """Run the tasks of a barrier stage, all at the same time; if one fails, all are run again.

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
        try:
            for attempt in itertools.count(1):
                failed = self._try_together(stage, splits, assign, attempt - 1)
                if isinstance(failed, list):
                    return failed
                if failed[1] or attempt >= tries:
                    raise failed[0]
        finally:
            stage.job.properties.pop("ironlake.barrier.tasks", None)
        raise AssertionError("a stage is tried at least once")

    def _try_together(
        self, stage: Stage, splits: Sequence[int], assign: Assign, attempt: int
    ) -> list[tuple[Assignment, Outcome]] | tuple[BaseException, bool]:
        """What came of all tasks of a barrier stage, or an error and whether it is of no use to try again."""
        running: dict[Worker, Attempt] = {}
        said: dict[Worker, str] = {}
        results: list[tuple[Assignment, Outcome]] = []
        since = time.monotonic()
        try:
            with self._gathering:  # two stages that each wait for the other's workers would wait for ever
                for split in splits:
                    worker = self._take(wait_for_one=True, stage=stage)
                    assert worker is not None
                    self._begin(worker, stage, assign, split, attempt, running)
            while running:
                stage.job.check()
                for worker in self._answering(running):
                    message = worker.receive()
                    if message is not None and message[0] == "alive":
                        continue
                    if message is not None and message[0] == "barrier":
                        since = since if said else time.monotonic()
                        said[worker] = message[1]
                        continue
                    task = running.pop(worker)
                    if message is None:
                        self._drop(task, WORKER_LOST, "the worker process has ended")
                        self._forget(worker)
                        lost = f"the worker of partition {task.assignment.split} of a barrier stage has ended"
                        return WorkerLost(lost), False
                    if message[0] == "failed":
                        is_lost = is_lost_input(message[1])
                        self._drop(task, FETCH_FAILED if is_lost else FAILED, _told(message[1]))
                        self._give_back(worker, None)
                        return message[1], message[2]
                    self._events.end(task, SUCCESS, None, message[1].metrics)
                    self._give_back(worker, message[1])
                    results.append((task.assignment, message[1]))
                if said and len(said) == len(splits):
                    messages = [said[worker] for worker in running]
                    for worker in running:
                        worker.send("gathered", messages)
                    said.clear()
                elif said and time.monotonic() - since > self._barrier_seconds:
                    waited = f"{len(said)} of {len(splits)} tasks waited at a barrier for {self._barrier_seconds:g} s"
                    return RuntimeError(waited), True
            return results
        finally:
            self._abandon(running)

    def kill(self, place: int) -> None:
        """End one of the workers, as a machine that fails would."""
        with self._changed:
            workers = sorted(self._workers, key=lambda worker: worker.pid)
            if not workers:
                return
            worker = workers[place % len(workers)]
            self._killed.add(worker.name)
            worker.kill()
            if worker in self._idle:
                self._idle.remove(worker)
                worker.end()
                self._forget(worker)

    def bury(self) -> None:
        """Notice which idle workers are gone, and what is lost with them."""
        with self._changed:
            for worker in [worker for worker in self._idle if worker.connection.poll()]:
                self._idle.remove(worker)  # an idle worker has nothing to say but that it is gone
                self._forget(worker)

    def stop(self) -> None:
        """End all workers; jobs of other threads notice."""
        with self._changed:
            self._is_stopped = True
            for worker in self._workers:
                worker.kill()
            for worker in self._idle:
                worker.connection.close()
            self._workers.clear()
            self._idle.clear()
            self._changed.notify_all()
        self._server.stop()

    def _take(self, wait_for_one: bool, stage: Stage) -> Worker | None:
        """An idle worker, or a new one if there may be more; waits for one if asked to."""
        with self._changed:
            while True:
                if self._is_stopped:
                    raise JobCancelled(f"Job {stage.job.id} cancelled because SparkContext was shut down")
                self.bury()
                if self._idle:
                    return self._idle.pop()
                if len(self._workers) < self.slots:
                    name = f"worker-{next(self._names)}"
                    worker = Worker(name, *self._server.fork(name))
                    self._workers.add(worker)
                    return worker
                if not wait_for_one:
                    return None
                self._changed.wait(_INTERVAL)
                stage.job.check()

    def _give_back(self, worker: Worker, outcome: Outcome | None) -> None:
        """A worker has no task any more; it is replaced if it has become too large."""
        size = outcome.metrics.resident_bytes if outcome is not None else None
        if size is not None and size > self._most_memory:
            worker.end()
            self._forget(worker, keeps=True)
            return
        with self._changed:
            if not self._is_stopped:
                self._idle.append(worker)
            self._changed.notify_all()

    def _forget(self, worker: Worker, keeps: bool = False) -> None:
        """A worker is gone, and what it kept with it, unless that is known to be whole."""
        with self._changed:
            self._workers.discard(worker)
            worker.connection.close()
            self._changed.notify_all()
        if not keeps:
            self._lost(worker.name)

    def _abandon(self, running: dict[Worker, Attempt]) -> None:
        """End the workers whose tasks nobody waits for any more."""
        for worker in running:
            worker.kill()
        for worker, task in running.items():
            worker.end()
            self._drop(task, KILLED, task.stage.job.cancelled or "its result is not needed any more")
            self._forget(worker, keeps=True)
        running.clear()

    def _drop(self, task: Attempt, status: str, reason: str) -> None:
        """Write down that a try of a task did not succeed, and remove its files."""
        remove_files(task.assignment)
        self._events.end(task, status, reason)

    def _begin(
        self, worker: Worker, stage: Stage, assign: Assign, split: int, attempt: int, running: dict[Worker, Attempt]
    ) -> None:
        """Give a worker a task."""
        try:
            assignment = assign(split, worker.name)
        except BaseException:
            self._give_back(worker, None)
            raise
        assignment.attempt = attempt
        worker.heard = time.monotonic()
        running[worker] = self._events.begin(stage, assignment, self._is_elsewhere(split, running))
        root, paths = self._files()
        if worker.files != len(paths) + 1:
            worker.send("files", root, paths)
            worker.files = len(paths) + 1
        key = stage.id, stage.serial
        if key not in worker.stages:
            worker.send("stage", key, stage.binary)
            worker.stages.append(key)
        sys.stdout.flush()
        worker.send("task", key, assignment)

    def _answering(self, running: dict[Worker, Attempt]) -> list[Worker]:
        """The workers that have something to say, after waiting a little; those that hang are ended."""
        started = time.monotonic()
        ready = set(wait([worker.connection for worker in running], _INTERVAL))
        now = time.monotonic()
        if now - started < 2 * _INTERVAL:  # else it was this process that stood still
            for worker in running:
                if worker.connection not in ready and now - worker.heard > self._silence_seconds:
                    worker.kill()
        return [worker for worker in running if worker.connection in ready]

    def _count_loss(self, worker: Worker, split: int, losses: Counter[int], failures: Counter[int], tries: int) -> None:
        """Decide what it means that a worker has ended while it ran a task.

        Raises
        ------
        WorkerLost
            The task has ended too many workers.
        """
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
    def _is_elsewhere(split: int, running: dict[Worker, Attempt]) -> bool:
        return any(task.assignment.split == split for task in running.values())

    def _end_twins(self, split: int, running: dict[Worker, Attempt]) -> None:
        twins = {worker: task for worker, task in running.items() if task.assignment.split == split}
        for worker in twins:
            del running[worker]
        self._abandon(twins)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

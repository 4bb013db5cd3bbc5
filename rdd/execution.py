"""Where tasks run: small jobs in the driver, others in worker processes."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .batches import Batch
from .events import FAILED, FETCH_FAILED, KILLED, SUCCESS
from .failures import is_final, is_lost_input, with_place
from .sources import Given
from .task import Assignment, Outcome, ResultWork, Task, remove_files
from .visiting import stays_in_driver

if TYPE_CHECKING:
    from .events import EventLog
    from .pool import Assign, Pool
    from .stages import Stage

#: CPU seconds that a job may take in the driver before its other tasks go to worker processes.
_PATIENCE = 0.3
#: Elements of the driver's collections that the driver computes with itself.
_FEW = 50_000


class Execution:
    """Runs the tasks of stages.

    Parameters
    ----------
    pool : Pool
        Worker processes, which start when they are needed.
    events : EventLog
        Told when tasks begin and end.
    tries : int
        How often a task is tried.
    """

    def __init__(self, pool: Pool, events: EventLog, tries: int) -> None:
        self.pool, self._events, self.tries = pool, events, tries

    def run(self, stage: Stage, assign: Assign) -> Iterator[tuple[Assignment, Outcome]]:
        """Run a task for each partition of a stage; each with what came of it, as they are done."""
        if stage.is_barrier:
            yield from self.pool.run_together(stage, stage.splits, assign, self.tries)
            return
        waiting = deque(stage.splits)
        started = time.thread_time()
        is_small = _is_small(stage) and stays_in_driver(stage)
        while waiting:
            spent = time.thread_time() - started
            done = len(stage.splits) - len(waiting)
            is_slow = done > 0 and spent / done * len(waiting) > _PATIENCE and len(waiting) > 1
            if not is_small or is_slow:
                yield from self.pool.run(stage, list(waiting), assign, self.tries)
                return
            yield self._in_driver(stage, waiting.popleft(), assign)

    def _in_driver(self, stage: Stage, split: int, assign: Assign) -> tuple[Assignment, Outcome]:
        for attempt in range(self.tries):
            stage.job.check()
            assignment = assign(split, None)
            assignment.attempt = attempt
            task = self._events.begin(stage, assignment)
            try:
                outcome = Task(assignment).run(stage.binary)
            except BaseException as error:
                remove_files(assignment)
                status = FETCH_FAILED if is_lost_input(error) else FAILED if isinstance(error, Exception) else KILLED
                self._events.end(task, status, f"{type(error).__name__}: {error}")
                if not isinstance(error, Exception):
                    raise
                if attempt + 1 == self.tries or is_final(error):
                    raise with_place(error, assignment) from error.__cause__
                continue
            self._events.end(task, SUCCESS, None, outcome.metrics)
            if isinstance(stage.work, ResultWork):
                outcome.value = _apart(outcome.value)
            return assignment, outcome
        raise AssertionError("a task is tried at least once")


def _is_small(stage: Stage) -> bool:
    """Whether a stage reads few elements, as far as that is known without computing."""
    rows, visits, seen = 0, [stage.node], set()
    while visits:
        node = visits.pop()
        if node.id in seen:
            continue
        seen.add(node.id)
        rows += node.rows if isinstance(node, Given) else 0
        visits += [dependency.parent for dependency in node.dependencies]
    return rows <= _FEW


def _apart(value: Any) -> Any:
    """A result as it would come from another process: it shares nothing that can be changed."""
    if isinstance(value, int | float | str | bytes | bool | None):
        return value
    if isinstance(value, list) and all(isinstance(each, Batch) for each in value):
        return value
    if isinstance(value, list) and all(isinstance(each, int | float | str | bytes | bool | None) for each in value):
        return value
    import cloudpickle

    return pickle.loads(cloudpickle.dumps(value))

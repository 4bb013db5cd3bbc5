"""What a running task can ask about itself, and tasks of a barrier stage about each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .running import running_task
from .task import Task


class TaskContext:
    """The running task; ``TaskContext.get()`` in a function that runs in one, None elsewhere."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @classmethod
    def get(cls) -> Any:
        """The task that runs here."""
        task = running_task()
        return None if task is None else TaskContext(task)

    def stageId(self) -> int:
        """The number of its stage."""
        return self._task.assignment.stage_id

    def partitionId(self) -> int:
        """The number of its partition."""
        return self._task.assignment.split

    def attemptNumber(self) -> int:
        """How often the task was tried before."""
        return self._task.assignment.attempt

    def taskAttemptId(self) -> int:
        """A number that no other try of any task has."""
        return self._task.assignment.number

    def getLocalProperty(self, key: str) -> str | None:
        """A local property of the thread that started the job."""
        return self._task.assignment.properties.get(key)

    def cpus(self) -> int:
        """Cores for the task."""
        return 1

    def cpuAmount(self) -> Decimal:
        """Cores for the task, exactly."""
        return Decimal(1)

    def resources(self) -> dict[str, Any]:
        """Resources for the task beside cores: none."""
        return {}


@dataclass(frozen=True)
class BarrierTaskInfo:
    """A task of a barrier stage.

    Attributes
    ----------
    address : str
        Where it runs: host and port, of which the port is 0, since nobody listens.
    """

    address: str


class BarrierTaskContext(TaskContext):
    """The running task of a barrier stage, whose tasks run at the same time and can wait for each other."""

    @classmethod
    def get(cls) -> BarrierTaskContext:
        """The task that runs here.

        Raises
        ------
        RuntimeError
            None does, or not in a barrier stage.
        """
        task = running_task()
        if task is None or task.barrier is None:
            raise RuntimeError("It is not in a barrier stage")
        return cls(task)

    def barrier(self) -> None:
        """Wait until all tasks of the stage have come this far."""
        self.allGather()

    def allGather(self, message: str = "") -> list[str]:
        """Wait for all tasks of the stage, and get what each of them says, in the order of their partitions."""
        if not isinstance(message, str):
            raise TypeError("Argument `message` must be of type `str`")
        assert self._task.barrier is not None
        return [json.loads(each) for each in self._task.barrier(json.dumps(message))]

    def getTaskInfos(self) -> list[BarrierTaskInfo]:
        """The tasks of the stage, in the order of their partitions."""
        count = int(self._task.assignment.properties["ironlake.barrier.tasks"])
        return [BarrierTaskInfo("127.0.0.1:0") for _ in range(count)]

"""What jobs and stages are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .blocks import Blocks
    from .scheduler import Scheduler


class SparkJobInfo(NamedTuple):
    """A job: its number, its stages, and RUNNING, SUCCEEDED or FAILED."""

    jobId: int
    stageIds: list[int]
    status: str


class SparkStageInfo(NamedTuple):
    """A stage: its number, which try it is, its name, and how many tasks there are and what they do."""

    stageId: int
    currentAttemptId: int
    name: str
    numTasks: int
    numActiveTasks: int
    numCompletedTasks: int
    numFailedTasks: int


class SparkExecutorInfo(NamedTuple):
    """What runs tasks: this machine. Its memory, in bytes, is that of kept partitions; nobody listens at its port."""

    host: str
    port: int
    cacheSize: int
    numRunningTasks: int
    usedOnHeapStorageMemory: int
    usedOffHeapStorageMemory: int
    totalOnHeapStorageMemory: int
    totalOffHeapStorageMemory: int


class StatusTracker:
    """Tells what jobs and stages are doing; made by `SparkContext.statusTracker`."""

    def __init__(self, scheduler: Scheduler, blocks: Blocks) -> None:
        self._scheduler, self._blocks = scheduler, blocks

    def getJobIdsForGroup(self, jobGroup: str | None = None) -> list[int]:
        """The jobs of a group, or those of none."""
        return [job.id for job in list(self._scheduler.jobs.values()) if job.group == jobGroup]

    def getExecutorInfos(self) -> list[SparkExecutorInfo]:
        """What runs tasks: one entry, for this machine."""
        active = sum(stage.active for stage in list(self._scheduler.stages.values()))
        used, limit = self._blocks.memory, self._blocks.limit
        return [SparkExecutorInfo("127.0.0.1", 0, used, active, used, 0, limit, 0)]

    def getActiveStageIds(self) -> list[int]:
        """The stages that run."""
        return [stage.id for stage in list(self._scheduler.stages.values()) if stage.active]

    def getActiveJobsIds(self) -> list[int]:
        """The jobs that run."""
        return [job.id for job in list(self._scheduler.jobs.values()) if job.status == "RUNNING"]

    def getJobInfo(self, jobId: int) -> SparkJobInfo | None:
        """A job, if there is one of this number."""
        job = self._scheduler.jobs.get(jobId)
        return None if job is None else SparkJobInfo(job.id, list(job.stages), job.status)

    def getStageInfo(self, stageId: int) -> SparkStageInfo | None:
        """A stage, if there is one of this number."""
        stage = self._scheduler.stages.get(stageId)
        if stage is None:
            return None
        return SparkStageInfo(
            stage.id, stage.attempt, stage.name, stage.tasks, stage.active, stage.completed, stage.failed,
        )  # fmt: skip

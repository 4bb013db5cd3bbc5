"""Jobs of a context: their groups, tags and properties, which belong to the thread, and their cancelling."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .failures import JobCancelled
from .stages import Job

if TYPE_CHECKING:
    from .base import Base
    from .scheduler import Scheduler
    from .streams import Stream

_GROUP, _DESCRIPTION, _TAGS = "spark.jobGroup.id", "spark.job.description", "spark.job.tags"


class JobControl:
    """The part of `SparkContext` that starts and cancels jobs."""

    _local: threading.local
    _scheduler: Scheduler

    def _properties(self) -> dict[str, str]:
        """The local properties of this thread."""
        if not hasattr(self._local, "properties"):
            self._local.properties = {}
        found: dict[str, str] = self._local.properties
        return found

    def setLocalProperty(self, key: str, value: str | None) -> None:
        """Set a property for the jobs of this thread, which tasks can ask for; None takes it away."""
        if value is None:
            self._properties().pop(key, None)
        else:
            self._properties()[key] = value

    def getLocalProperty(self, key: str) -> str | None:
        """A property of the jobs of this thread."""
        return self._properties().get(key)

    def setJobGroup(self, groupId: str, description: str, interruptOnCancel: bool = False) -> None:
        """Put the jobs that this thread starts from now on into a group, which can be cancelled."""
        self.setLocalProperty(_GROUP, groupId)
        self.setLocalProperty(_DESCRIPTION, description)
        self.setInterruptOnCancel(interruptOnCancel)

    def setInterruptOnCancel(self, interruptOnCancel: bool) -> None:
        """Accepted for PySpark's sake: cancelled tasks are ended in any case."""
        self.setLocalProperty("spark.job.interruptOnCancel", str(interruptOnCancel).lower())

    def setJobDescription(self, value: str) -> None:
        """Describe the jobs that this thread starts from now on."""
        self.setLocalProperty(_DESCRIPTION, value)

    def addJobTag(self, tag: str) -> None:
        """Give a tag to the jobs that this thread starts from now on.

        Raises
        ------
        ValueError
            The tag is empty or has a comma in it.
        """
        if not tag:
            raise ValueError("Spark job tag cannot be an empty string.")
        if "," in tag:
            raise ValueError("Spark job tag cannot contain ','.")
        self._set_tags(self.getJobTags() | {tag})

    def removeJobTag(self, tag: str) -> None:
        """Take a tag away from the jobs that this thread starts from now on."""
        self._set_tags(self.getJobTags() - {tag})

    def getJobTags(self) -> set[str]:
        """The tags of the jobs that this thread starts."""
        return set(filter(None, (self.getLocalProperty(_TAGS) or "").split(",")))

    def clearJobTags(self) -> None:
        """Take all tags away from the jobs that this thread starts from now on."""
        self._set_tags(set())

    def _set_tags(self, tags: set[str]) -> None:
        self.setLocalProperty(_TAGS, ",".join(sorted(tags)) or None)

    def cancelJobGroup(self, groupId: str) -> None:
        """Cancel the jobs of a group that run."""
        self._cancel(lambda job: job.group == groupId, f"part of cancelled job group {groupId}")

    def cancelJobsWithTag(self, tag: str) -> None:
        """Cancel the jobs with a tag that run."""
        self._cancel(lambda job: tag in job.tags, f"part of cancelled job tags {tag}")

    def cancelAllJobs(self) -> None:
        """Cancel all jobs that run."""
        self._cancel(lambda job: True, "as part of cancellation of all jobs")

    def _cancel(self, chosen: Callable[[Job], bool], reason: str) -> None:
        self._scheduler.cancel(chosen, reason)

    def _run(
        self,
        rdd: Base,
        function: Callable[[int, Stream], Any],
        splits: Sequence[int],
        handle: Callable[[int, Any], None],
    ) -> None:
        """Run a job in this thread, with the thread's properties."""
        self._start(self._job(), rdd, function, splits, handle)

    def _job(self) -> Job:
        properties = dict(self._properties())
        return self._scheduler.new_job(properties, properties.get(_GROUP), self.getJobTags())

    def _start(
        self,
        job: Job,
        rdd: Base,
        function: Callable[[int, Stream], Any],
        splits: Sequence[int],
        handle: Callable[[int, Any], None],
    ) -> None:
        count = rdd.getNumPartitions()
        if wrong := [split for split in splits if not 0 <= split < count]:
            raise IndexError(f"there is no partition {wrong[0]}; the RDD has {count}")
        self._scheduler.run(rdd._node, function, splits, job, handle)

    def _run_for(self, rdd: Base, seconds: float) -> list[Any]:
        """The elements of the partitions that are done within a time; then the job is cancelled."""
        results: dict[int, list[Any]] = {}
        job = self._job()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                self._start(job, rdd, _elements, range(rdd.getNumPartitions()), results.__setitem__)
            except JobCancelled:
                pass
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        deadline = time.monotonic() + seconds
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            job.cancelled = "since its time is up"
        if errors:
            raise errors[0]
        return [element for split in sorted(results) for element in results[split]]


class InheritableThread(threading.Thread):
    """A thread whose jobs begin with the local properties of the thread that makes it.

    Parameters
    ----------
    target, args, kwargs
        As of `threading.Thread`.
    session
        Accepted for PySpark's sake.
    """

    def __init__(self, target: Callable[..., Any], *args: Any, session: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "target": inheritable_thread_target(target)})


def inheritable_thread_target(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function for a thread, whose jobs begin with the local properties that this thread has now.

    Parameters
    ----------
    f : callable
        The function.

    Returns
    -------
    callable
        One that calls it.
    """
    from .context import SparkContext

    context = SparkContext._active_spark_context
    properties = dict(context._properties()) if context is not None else {}

    @functools.wraps(f)
    def inheriting(*args: Any, **kwargs: Any) -> Any:
        if context is not None:
            context._local.properties = dict(properties)
        return f(*args, **kwargs)

    return inheriting


def _elements(_: int, elements: Stream) -> list[Any]:
    return list(elements)

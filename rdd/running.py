"""Which task a thread computes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .task import Task

_running = threading.local()


def running_task() -> Task | None:
    """The task that this thread computes."""
    return getattr(_running, "task", None)


def set_running(task: Task | None) -> None:
    """Say which task this thread computes."""
    _running.task = task

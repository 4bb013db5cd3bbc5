"""Twins of tasks that are slow: the first that is done counts, and the other is ended."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Attempt


@dataclass(frozen=True)
class Speculation:
    """When a task that is slow gets a twin: the settings ``spark.speculation``."""

    is_on: bool = False
    multiplier: float = 3.0
    quantile: float = 0.9
    least_seconds: float = 0.1

    def slow(self, count: int, seconds: list[float], running: list[Attempt]) -> list[int]:
        """The partitions of a stage of `count` tasks whose tasks run much longer than others did, and have no twin."""
        if not self.is_on or not seconds or len(seconds) < self.quantile * count:
            return []
        limit = max(self.multiplier * statistics.median(seconds), self.least_seconds)
        tasks = Counter(task.assignment.split for task in running)
        now = time.monotonic()
        return [
            task.assignment.split for task in running if now - task.since > limit and tasks[task.assignment.split] == 1
        ]

"""A bar for each stage of the job that runs, on terminals."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .stages import Job, StageStatus

#: Shows a job with its stages as long as the context is open.
Showing = Callable[["Job", dict[int, "StageStatus"]], AbstractContextManager[None]]

#: Seconds that a job may take before its bars appear, and between looks at it.
_PATIENCE, _INTERVAL = 0.5, 0.1


def showing(is_wanted: bool) -> Showing:
    """What shows jobs: bars if they are wanted and standard error is a terminal, else nothing."""
    return Bars() if is_wanted and sys.stderr.isatty() else _nothing


def _nothing(job: Job, stages: dict[int, StageStatus]) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


class Bars:
    """Shows one job at a time; jobs of other threads run meanwhile without being seen.

    Parameters
    ----------
    patience : float
        Seconds until the bars appear.
    console : rich.console.Console, optional
        Where; standard error by default.
    """

    def __init__(self, patience: float = _PATIENCE, console: Any = None) -> None:
        self._patience, self._console = patience, console
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, job: Job, stages: dict[int, StageStatus]) -> Iterator[None]:
        """Show a job as long as the context is open."""
        if not self._lock.acquire(blocking=False):
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._show, args=(job, stages, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._lock.release()

    def _show(self, job: Job, stages: dict[int, StageStatus], ended: threading.Event) -> None:
        if ended.wait(self._patience):
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=self._console or Console(stderr=True), transient=True) as progress:
            bars: dict[int, Any] = {}
            is_last = False
            while not is_last:
                is_last = ended.wait(_INTERVAL)
                for status in [stages[number] for number in list(job.stages) if number in stages]:
                    if status.id not in bars:
                        bars[status.id] = progress.add_task(f"stage {status.id} {status.name}")
                    progress.update(bars[status.id], total=status.tasks, completed=status.completed)

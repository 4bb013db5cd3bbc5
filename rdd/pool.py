"""Worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .execution import is_final
from .task import Assignment, Outcome, Task

if TYPE_CHECKING:
    from .scheduler import Stage


class Pool:
    """Stand-in that runs tasks in the driver, until there are workers."""

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def run(
        self, stage: Stage, splits: list[int], assign: Callable[[int], Assignment], tries: int
    ) -> Iterator[tuple[Assignment, Outcome]]:
        """Run tasks."""
        for split in splits:
            for attempt in range(tries):
                stage.job.check()
                assignment = assign(split)
                assignment.attempt = attempt
                try:
                    outcome = Task(assignment).run(stage.binary)
                except Exception as error:
                    if attempt + 1 == tries or is_final(error):
                        raise
                    continue
                yield assignment, outcome
                break

    def stop(self) -> None:
        """Stop them."""

    def wake(self) -> None:
        """Let jobs look whether they are cancelled."""

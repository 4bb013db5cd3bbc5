"""Variables that the driver and tasks share: broadcast values and accumulators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .accumulators import Accumulator, AccumulatorParam, accumulator_param
from .base import Base
from .broadcast import Broadcast

if TYPE_CHECKING:
    from .scheduler import Scheduler
    from .task import Outcome


class Variables:
    """The part of `SparkContext` that makes shared variables."""

    _folder: Path
    _scheduler: Scheduler
    _accumulator_ids: Iterator[int]
    _accumulators: dict[int, Accumulator[Any]]
    _next_id: Callable[[], int]
    _check_usable: Callable[[], None]

    def broadcast(self, value: Any) -> Broadcast[Any]:
        """A value that all tasks can read, sent once to each process."""
        self._check_usable()
        if isinstance(value, Base):
            value.__reduce__()
        folder = self._folder / "broadcast"
        folder.mkdir(exist_ok=True)
        made = Broadcast(folder / str(self._next_id()), value)
        self._scheduler.when_unused(made, functools.partial(made._path.unlink, missing_ok=True))
        return made

    def accumulator(
        self, value: Any, accum_param: AccumulatorParam[Any] | None = None, *, exactly_once: bool = False
    ) -> Accumulator[Any]:
        """A variable that tasks add to.

        Parameters
        ----------
        value : object
            What it begins with.
        accum_param : AccumulatorParam, optional
            How values are added up; needed for all but numbers.
        exactly_once : bool
            Count what is added for a partition the first time only, however often it is computed.

        Raises
        ------
        TypeError
            `value` is no number, and `accum_param` is missing.
        """
        made = Accumulator(next(self._accumulator_ids), value, accumulator_param(value, accum_param), exactly_once)
        self._accumulators[made.aid] = made
        return made

    def _count(self, outcome: Outcome, split: int) -> None:
        for (aid, node), update in outcome.updates.items():
            self._accumulators[aid].count(update, node, split)

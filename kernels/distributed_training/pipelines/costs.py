"""How long the operations of a pipeline take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .schedule import Kind, Schedule

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Costs:
    """What the operations on a micro-batch take, in any unit of time.

    Attributes
    ----------
    time : array of float64, (4, stages)
        Of F, B, I and W, on each stage of the model.
    comm_time : float
        Between the end of an operation and the start of one on another worker that needs its result.
    """

    time: Floats
    comm_time: float = 0.0

    @classmethod
    def of(
        cls,
        stages: int,
        chunks: int,
        forward_time: float,
        backward_time: float,
        weight_time: float | None,
        comm_time: float,
        stage_forward_times: Sequence[float] | None = None,
    ) -> Costs:
        """Costs from the arguments of the SQL functions, in which a worker's chunks share the times.

        Raises
        ------
        ValueError
            A time is negative or not finite, or there are not as many as stages.
        """
        named = {"forward_time": forward_time, "backward_time": backward_time, "comm_time": comm_time}
        if weight_time is not None:
            named["weight_time"] = weight_time
        for name, value in named.items():
            if not 0 <= value < math.inf or (value == 0 and name in ("forward_time", "backward_time")):
                raise ValueError(f"argument {name} must be a time greater than 0, got {value}")
        if weight_time is None:
            weight_time = backward_time / 2
        if weight_time > backward_time:
            raise ValueError(
                f"argument weight_time is {weight_time}, more than the backward_time {backward_time} that it is part of"
            )
        scale = np.ones(stages)
        if stage_forward_times is not None:
            scale = np.array(stage_forward_times, float) * chunks / forward_time
            if len(scale) != stages:
                raise ValueError(
                    f"argument stage_forward_times has {len(scale)} times, but there are {stages} stages (one for each "
                    "chunk of each worker)"
                )
            if not (np.isfinite(scale) & (scale > 0)).all():
                raise ValueError(
                    f"argument stage_forward_times must be greater than 0, got {list(stage_forward_times)}"
                )
        times = np.array([forward_time, backward_time, backward_time - weight_time, weight_time]) / chunks
        return cls(np.outer(times, scale), comm_time)

    def durations(self, schedule: Schedule) -> Floats:
        """What each operation of a schedule takes."""
        time = self.time * (schedule.micro_batches / schedule.units)
        time[Kind.F] *= schedule.forward_span
        taken: Floats = time[schedule.kind, schedule.stage]
        return taken

"""Measured times of operations in place of given ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .costs import Costs, Floats
from .schedule import Kind, Schedule

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Samples:
    """The measured times, in seconds, of each kind of operation on each stage."""

    seconds: dict[tuple[int, int], Floats]

    def draw(self, schedule: Schedule, costs: Costs, generator: np.random.Generator) -> Floats:
        """A time for each operation of a schedule, drawn from the measured ones of its kind and stage."""
        duration = costs.durations(schedule)
        for (kind, stage), seconds in sorted(self.seconds.items()):
            own = np.flatnonzero((schedule.kind == kind) & (schedule.stage == stage))
            duration[own] *= generator.choice(seconds, len(own)) / costs.time[kind, stage]
        return duration


def measured(rows: pa.Table, costs: Costs) -> tuple[Costs, Samples]:
    """Costs with the mean of the measured times, and the times themselves.

    If there are times of W, those of B are times of the rest of the backward pass (I).

    Raises
    ------
    ValueError
        A column is missing, or there is no time of any operation of any stage.
    """
    if missing := {"op", "stage", "dur_us"} - set(rows.column_names):
        raise ValueError(f"argument trace has no column {sorted(missing)[0]!r}; expected op, stage and dur_us")
    names, stages = np.array(rows["op"].to_pylist(), object), np.array(rows["stage"].to_pylist(), object)
    seconds = np.array(rows["dur_us"].to_pylist(), float) / 1e6
    if (seconds < 0).any():
        raise ValueError("argument trace has a negative dur_us")
    is_split = "W" in names
    kinds = {"F": Kind.F, "B": Kind.I if is_split else Kind.B, "I": Kind.I, "W": Kind.W}
    found: dict[tuple[int, int], Floats] = {}
    for name, number in kinds.items():
        for stage in range(costs.time.shape[1]):
            own = seconds[(names == name) & (stages == stage)]
            if len(own := own[np.isfinite(own)]):
                found[int(number), stage] = own
    if not found:
        raise ValueError("argument trace has no time of an operation F, B, I or W on one of the stages")
    time = costs.time.copy()
    for (kind, stage), own in found.items():
        time[kind, stage] = own.mean()
    if is_split:
        time[Kind.B] = time[Kind.I] + time[Kind.W]
    else:
        # Both parts of the backward pass as given, in proportion.
        time[Kind.I] = time[Kind.B] * costs.time[Kind.I] / costs.time[Kind.B]
        time[Kind.W] = time[Kind.B] * costs.time[Kind.W] / costs.time[Kind.B]
    return replace(costs, time=time), Samples(found)

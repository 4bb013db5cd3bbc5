"""Schedules that a list scheduler finds: whoever can start first takes the most urgent of its operations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .costs import Costs
from .schedule import Integers, Schedule
from .simulator import simulate


@dataclass(frozen=True)
class Urgency:
    """What makes an operation urgent among those of a worker that can start at the same time.

    Attributes
    ----------
    forward, backward, weight : float
        That it is of this kind.
    order : float
        That its unit, or block of units, comes first.
    depth : float
        For each stage that is before it.
    block : int
        Units that are equally urgent.
    """

    forward: float = 0.0
    backward: float = 0.0
    weight: float = 0.0
    order: float = 1.0
    depth: float = 0.0
    block: int = 1

    @property
    def weights(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """As the kernel takes them."""
        kinds = [self.forward, self.backward, self.backward, self.weight]
        return np.array([*kinds, self.order, self.depth, self.block])


def list_schedule(
    name: str,
    micro_batches: int,
    worker_of: Integers,
    costs: Costs,
    urgency: Urgency,
    *,
    cap: float,
    pipeline_of: Integers | None = None,
    units: int | None = None,
    forward_span: int = 1,
    is_split: bool = False,
    in_flight: int | None = None,
) -> Schedule | None:
    """The schedule of a list scheduler; None if it comes to a stop, since the memory holds nothing that can go on.

    Parameters
    ----------
    cap : the most memory for activations of a worker, in those of a micro-batch on all its chunks.
    in_flight : most units between forward and backward pass of a first chunk.
    """
    from . import list_scheduling_kernels

    units = units or micro_batches
    workers, stages = int(worker_of.max()) + 1, worker_of.shape[1]
    part = micro_batches / units
    time = costs.time * part
    time[0] *= forward_span
    limit = np.full(stages, units, np.int64)
    if in_flight is not None:
        limit[:workers] = in_flight
    counts, table = list_scheduling_kernels.schedule(
        np.ascontiguousarray(worker_of, np.int32),
        workers,
        np.zeros(units, np.int32) if pipeline_of is None else pipeline_of,
        forward_span,
        time,
        is_split,
        float(costs.comm_time),
        part * workers / stages,
        np.full(workers, float(cap)),
        limit,
        urgency.weights,
    )
    if counts[0] < 0:
        return None
    return Schedule.of_columns(name, micro_batches, worker_of, counts, table.T, forward_span=forward_span, units=units)


def best_of(name: str, candidates: Iterable[Schedule | None], costs: Costs, cap: float) -> Schedule:
    """The schedule that ends first; of equal ones that whose workers idle least, then that with the least memory.

    Raises
    ------
    ValueError
        There is none.
    """
    found: list[tuple[float, float, float, Schedule]] = []
    for candidate in candidates:
        if candidate is None:
            continue
        run = simulate(candidate, costs)
        if run.peak_activations.max() <= cap + 1e-9:
            found.append((run.makespan, run.stage_span_bubble, run.peak_activations.max(), candidate))
    if not found:
        raise ValueError(
            f"{name} needs more than max_activations {cap:g} (micro-batches whose activations a worker holds)"
        )
    return min(found, key=lambda each: each[:3])[3]

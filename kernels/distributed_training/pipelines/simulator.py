"""The event simulation of a schedule, and what it tells.

Each worker runs its operations in their order, each as soon as the worker is free and what it needs has arrived.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .costs import Costs, Floats
from .schedule import Kind, Schedule


@dataclass(frozen=True, eq=False)
class Simulation:
    """When the operations of a schedule run.

    Attributes
    ----------
    schedule : Schedule
        What was simulated.
    duration, start, end : arrays of float64
        Of each operation.
    before : array of int64
        The operation that each one waited for last; -1 if none.
    """

    schedule: Schedule
    duration: Floats
    start: Floats
    end: Floats
    before: npt.NDArray[np.int64]

    @property
    def makespan(self) -> float:
        """From the start of the first operation to the end of the last one."""
        return float(self.end.max())

    @functools.cached_property
    def busy(self) -> Floats:
        """What each worker computes."""
        return np.add.reduceat(self.duration, self.schedule.offsets[:-1])

    @property
    def bubble_ratio(self) -> float:
        """The part of the makespan in which workers idle, on average."""
        return max(0.0, 1.0 - float(self.busy.mean()) / self.makespan)  # rounded

    @functools.cached_property
    def spans(self) -> Floats:
        """From each worker's first start to its last end."""
        offsets = self.schedule.offsets
        spans: Floats = np.maximum.reduceat(self.end, offsets[:-1]) - self.start[offsets[:-1]]
        return spans

    @property
    def stage_span_bubble(self) -> float:
        """The largest part of a worker's own span in which it idles (what "zero bubble" counts)."""
        return max(0.0, float((1.0 - self.busy / self.spans).max()))

    @functools.cached_property
    def phase_bubbles(self) -> tuple[float, float, float]:
        """The bubble ratio in parts: before a worker's first backward pass, in between, after its last forward pass."""
        schedule, idle = self.schedule, np.zeros(3)
        for worker in range(schedule.workers):
            own = slice(schedule.offsets[worker], schedule.offsets[worker + 1])
            start, end, kind = self.start[own], self.end[own], schedule.kind[own]
            is_forward = kind == Kind.F
            gaps = start - np.concatenate([[0.0], end[:-1]])
            gaps[1:][start[1:] == start[:-1]] = 0.0  # a pair
            back, forth = start[~is_forward].min(), start[is_forward].max()
            phase = np.where(start <= back, 0, np.where(start <= forth, 1, 2))
            idle += np.bincount(phase, gaps, minlength=3)
            idle[2] += self.makespan - end.max()
        warmup, steady, drain = idle / (schedule.workers * self.makespan)
        return float(warmup), float(steady), float(drain)

    @functools.cached_property
    def activations(self) -> Floats:
        """What each worker holds after each operation, in activations of a micro-batch on all its chunks."""
        schedule = self.schedule
        size = schedule.micro_batches / schedule.units / schedule.chunks
        change = np.array([schedule.forward_span * size, -size, -size / 2, -size / 2])[schedule.kind]
        total: Floats = np.cumsum(change)
        before = np.concatenate([[0.0], total])[schedule.offsets[:-1]]
        held: Floats = total - np.repeat(before, np.diff(schedule.offsets))
        return held

    @property
    def peak_activations(self) -> Floats:
        """The most that each worker holds."""
        return np.maximum.reduceat(self.activations, self.schedule.offsets[:-1])

    @functools.cached_property
    def critical_path(self) -> npt.NDArray[np.int64]:
        """The chain of operations that ends last, each waiting for the one before, first to last."""
        path, at = [], int(np.argmax(self.end))
        while at >= 0:
            path.append(at)
            at = int(self.before[at])
        return np.array(path[::-1], np.int64)

    def on_critical_path(self, *kinds: Kind) -> int:
        """Operations of some kinds on the critical path."""
        return int(np.isin(self.schedule.kind[self.critical_path], kinds).sum())


class DeadlockError(ValueError):
    """A schedule in which workers wait for each other."""


def simulate(schedule: Schedule, costs: Costs, duration: Floats | None = None) -> Simulation:
    """Run a schedule.

    Parameters
    ----------
    schedule : what to run.
    costs : what its operations take.
    duration : of each operation, if they are not those of the costs.

    Raises
    ------
    DeadlockError
        Operations wait for each other, or for one that is missing; the first of each worker are told.
    """
    from . import simulator_kernels

    if duration is None:
        duration = costs.durations(schedule)
    start, end, before = simulator_kernels.run(
        schedule.offsets,
        schedule.kind,
        schedule.pipeline,
        schedule.stage,
        schedule.unit,
        schedule.forward_span,
        schedule.paired,
        schedule.worker_of,
        schedule.units,
        duration,
        float(costs.comm_time),
    )
    simulation = Simulation(schedule, duration, start, end, before)
    if np.isnan(start).any():
        raise DeadlockError(f"{schedule.name}: {'; '.join(_waiting(simulation))}")
    return simulation


def _waiting(simulation: Simulation) -> list[str]:
    """For each worker that stands still, the first operation that it cannot start."""
    schedule, found = simulation.schedule, []
    done = {
        (schedule.kind[op] == Kind.F, schedule.pipeline[op], schedule.stage[op], schedule.unit[op] + more)
        for op in np.flatnonzero(~np.isnan(simulation.start))
        if schedule.kind[op] != Kind.W
        for more in range(schedule.forward_span if schedule.kind[op] == Kind.F else 1)
    }
    for worker in range(schedule.workers):
        own = np.arange(schedule.offsets[worker], schedule.offsets[worker + 1])
        own = own[np.isnan(simulation.start[own])]
        if not len(own):
            continue
        op = own[0]
        kind, stage, unit = Kind(schedule.kind[op]), schedule.stage[op], schedule.unit[op]
        needed = {
            Kind.F: [(True, stage - 1)] if stage else [],
            Kind.W: [(False, stage)],
        }.get(kind, [(True, stage), *([(False, stage + 1)] if stage + 1 < schedule.stages else [])])
        missing = [
            f"{'forward' if is_forward else 'backward'} pass of stage {at}"
            for is_forward, at in needed
            if (is_forward, schedule.pipeline[op], at, unit) not in done
        ]
        if missing:
            found.append(
                f"worker {worker} cannot start {kind.name} of stage {stage} on micro-batch {unit}: it waits for the "
                f"{' and the '.join(missing)}"
            )
    return found

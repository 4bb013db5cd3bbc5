"""The all-reduce of gradients between the replicas of each stage.

Source: Chimera, SC 2021, section 3.2 (eager synchronization, and only where it fits into bubbles).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from .schedule import Kind
from .simulator import Simulation

Launch = Literal["after", "eager", "eager_opt"]


class Synchronization(NamedTuple):
    """The all-reduce of a stage's gradients, as a worker that holds a replica of it takes part."""

    worker: int
    pipeline: int
    stage: int
    start: float
    end: float


def synchronizations(simulation: Simulation, launch: Launch, seconds: float) -> list[Synchronization]:
    """When the gradients of each stage are summed up over its replicas; one at a time on each worker.

    ``eager``: as soon as the last backward pass of the stage has ended on all replicas. ``after``: when their workers
    have nothing more to compute. ``eager_opt``: eagerly where that ends before the workers have computed everything, as
    it does for the outer stages, else after.
    """
    schedule, end = simulation.schedule, simulation.end
    finished = np.maximum.reduceat(end, schedule.offsets[:-1])
    last = np.zeros(schedule.worker_of.shape)
    is_backward = schedule.kind != Kind.F
    np.maximum.at(last, (schedule.pipeline[is_backward], schedule.stage[is_backward]), end[is_backward])
    free = np.zeros(schedule.workers)
    found: list[Synchronization] = []
    for stage in sorted(range(schedule.stages), key=lambda stage: last[:, stage].max()):
        workers = schedule.worker_of[:, stage]
        done = float(finished[workers].max())
        start = max(float(last[:, stage].max()), float(free[workers].max()))
        if launch == "after" or (launch == "eager_opt" and start + seconds > done):
            start = max(done, float(free[workers].max()))
        free[workers] = start + seconds
        found += [
            Synchronization(int(worker), pipeline, stage, start, start + seconds)
            for pipeline, worker in enumerate(workers)
        ]
    return found

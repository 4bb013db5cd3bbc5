"""The time of a training step whose pipeline is simulated, operation by operation."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .pipelines.catalogue import Request, build
from .pipelines.costs import Costs
from .pipelines.schedule import Schedule
from .pipelines.simulator import simulate
from .runs import SCHEDULES

#: From so many micro-batches per stage on a pipeline only repeats itself.
_STEADY = 4
#: Schedules whose order depends on what operations take.
_BY_COSTS = ("zb_h1",)


def simulated_seconds(run: Any, machine: Any, constants: Any, known: dict[bytes, float] | None = None) -> float:
    """[s] of a step: of its pipeline by simulation, with the last stage's loss, and of the rest by `step_seconds`.

    ``known`` keeps the times of pipelines from run to run, for runs of the same model, machine and constants.
    """
    from .step_time_kernels import COMPONENTS, pipeline_parts, step_seconds

    seconds, overlapped = np.zeros(len(COMPONENTS)), np.zeros(len(COMPONENTS))
    total = step_seconds(run, machine, constants, seconds, overlapped)
    if run["pp"] == 1:
        return float(total)
    rest, *parts = pipeline_parts(run, machine, constants, seconds)
    key, known = pipeline_of(run), {} if known is None else known
    if key not in known:
        known[key] = _pipeline_seconds(run, *parts)
    return float(rest + known[key])


def pipeline_of(run: Any) -> bytes:
    """What the time of a run's pipeline depends on; runs that only save memory in different ways share it."""
    names = ("tp", "pp", "dp", "ep", "micro_batch", "chunks", "schedule", "recompute", "seq_parallel")
    return b"".join(run[name].tobytes() for name in names)


def _pipeline_seconds(run: Any, forward: float, backward: float, loss: float, message: float) -> float:
    """[s] of all micro-batches; a long pipeline repeats itself."""
    pp, chunks = int(run["pp"]), int(run["chunks"])
    m = int(run["global_batch"] / (run["dp"] * run["micro_batch"]))
    share = np.ones(pp * chunks)
    share[-1] += loss * chunks / (forward + backward)
    weight = backward / 2
    time = np.outer(np.array([forward, backward, backward - weight, weight]) / chunks, share)
    costs, name = Costs(time, message), SCHEDULES[int(run["schedule"])]
    few = min(m, _STEADY * pp)
    longest = _makespan(name, Request(pp, few, chunks), costs)
    if few < m:  # as long again for each further round of micro-batches
        longest += (m - few) / pp * (longest - _makespan(name, Request(pp, few - pp, chunks), costs))
    return longest


def _makespan(name: str, request: Request, costs: Costs) -> float:
    schedule = build(name, request, costs) if name in _BY_COSTS else _schedule(name, request)
    return simulate(schedule, costs).makespan


@functools.lru_cache(maxsize=256)
def _schedule(name: str, request: Request) -> Schedule:
    """A schedule that is the same whatever its operations take; plans share them."""
    return build(name, request, Costs(np.ones((4, request.stages * request.chunks))))

"""Chimera: pipelines in opposite directions over the same workers fill each other's bubbles.

Source: Li, Hoefler: Chimera, SC 2021, section 3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .costs import Costs
from .list_scheduling import Urgency, best_of, list_schedule
from .schedule import Integers, Kind, Schedule

F, B = Kind.F, Kind.B


def placement(workers: int, pipelines: int) -> Integers:
    """The worker of each stage of each pipeline: half of them go down, half go up, shifted against each other.

    Raises
    ------
    ValueError
        There is no such placement.
    """
    if workers < 2 or workers % 2:
        raise ValueError(f"chimera needs an even number of stages, from 2 on, got {workers}")
    legal = [2 * half for half in range(1, workers // 2 + 1) if workers // 2 % half == 0]
    if pipelines not in legal:
        raise ValueError(
            f"chimera with {workers} stages needs pipelines that are one of {', '.join(map(str, legal))} (half of them "
            f"divides half of the stages), got {pipelines}"
        )
    half = pipelines // 2
    shifts = np.arange(half)[:, None] * (workers // half)
    down = (np.arange(workers)[None] + shifts) % workers
    return np.concatenate([down, workers - 1 - down]).astype(np.int32)


def chimera(workers: int, micro_batches: int, pipelines: int) -> Schedule:
    """Blocks of as many micro-batches as there are workers, dealt to the pipelines; a block starts as the last drains.

    The forward pass of the j-th micro-batch of a pipeline's share of block U belongs at ``2 D U + 2 j + stage``, its
    backward pass at ``2 D U + 2 j + 2 D - 1 - stage``; no two operations of a worker meet.
    """
    worker_of = placement(workers, pipelines)
    unit, block, pipeline, place = _dealt(workers, micro_batches, pipelines)[:, :, None]
    stage = np.arange(workers)
    first = 2 * workers * block + 2 * place
    slot = np.stack([first + stage, first + 2 * workers - 1 - stage])
    kind = np.array([F, B])[:, None, None]
    return Schedule.of_slots("chimera", micro_batches, worker_of, slot, kind, pipeline, stage, unit)


def _dealt(workers: int, micro_batches: int, pipelines: int) -> npt.NDArray[np.int64]:
    """Each micro-batch, its block, its pipeline and its place in the pipeline's share of the block, as four rows."""
    unit = np.arange(micro_batches)
    block, inside = np.divmod(unit, workers)
    share, larger = np.divmod(np.minimum(workers, micro_batches - block * workers), pipelines)
    # The first `larger` pipelines get one more.
    bound = larger * (share + 1)
    early = inside < bound
    rest = np.maximum(share, 1)
    pipeline = np.where(early, inside // (share + 1), larger + (inside - bound) // rest)
    place = np.where(early, inside % (share + 1), (inside - bound) % rest)
    return np.stack([unit, block, pipeline, place])


def forward_doubling(workers: int, micro_batches: int, pipelines: int, costs: Costs) -> Schedule:
    """Forward passes on two micro-batches at once, which take as long as a backward pass (section 3.5)."""
    if micro_batches % 2 or micro_batches < 2 * workers:
        raise ValueError(
            f"chimera_forward_doubling needs an even number of micro_batches, at least {2 * workers} (twice the "
            f"stages), got {micro_batches}"
        )
    return _equalized("chimera_forward_doubling", workers, micro_batches, 1, pipelines, costs)


def backward_halving(workers: int, micro_batches: int, pipelines: int, costs: Costs) -> Schedule:
    """Backward passes on halves of micro-batches, which take as long as a forward pass (section 3.5)."""
    return _equalized("chimera_backward_halving", workers, micro_batches, 2, pipelines, costs)


def _equalized(name: str, workers: int, micro_batches: int, parts: int, pipelines: int, costs: Costs) -> Schedule:
    """Forward passes on two units, backward passes on one, in the order that a list scheduler finds.

    A micro-batch has `parts` units. Forward passes on two micro-batches need twice the memory.
    """
    worker_of = placement(workers, pipelines)
    units = micro_batches * parts
    pipeline_of = np.repeat(_dealt(workers, units // 2, pipelines)[2], 2).astype(np.int32)
    cap = 2 * workers / parts
    tried = [
        list_schedule(
            name, micro_batches, worker_of, costs, Urgency(forward=forward, depth=1, block=2 * workers),
            cap=cap, pipeline_of=pipeline_of, units=units, forward_span=2
        )
        for forward in (-2, 2)
    ]  # fmt: skip
    return best_of(name, tried, costs, cap)

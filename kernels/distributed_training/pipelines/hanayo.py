"""Hanayo: each worker holds several chunks, through which micro-batches go in waves, down and up the workers.

Source: Liu and others: Hanayo, SC 2023. The order is that of a list scheduler with the memory of 1F1B, since the
paper's own was not at hand.
"""

from __future__ import annotations

import itertools

import numpy as np

from .costs import Costs
from .list_scheduling import Urgency, best_of, list_schedule
from .schedule import Schedule
from .zero_bubble import in_v

_URGENCIES = [Urgency(forward=forward, order=1e-6, depth=depth) for forward in (-2, 2) for depth in (0.1, 1)]


def hanayo(workers: int, micro_batches: int, chunks: int, costs: Costs, cap: float | None) -> Schedule:
    """Waves over an even number of chunks.

    Raises
    ------
    ValueError
        The number is odd, or nothing fits the memory.
    """
    if chunks % 2:
        raise ValueError(f"hanayo needs an even number of chunks, two for each wave, got {chunks}")
    cap = cap or workers
    worker_of = np.tile(in_v(workers), chunks // 2)
    in_flight = range(3 * workers // 2, 2 * workers + 1)
    tried = (
        list_schedule("hanayo", micro_batches, worker_of, costs, urgency, cap=cap, in_flight=limit)
        for urgency, limit in itertools.product(_URGENCIES, in_flight)
    )
    return best_of("hanayo", tried, costs, cap)

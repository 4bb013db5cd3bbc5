"""The loop of the event simulation."""

from __future__ import annotations

import numba as nb
import numpy as np

F, B, I, W = 0, 1, 2, 3  # noqa: E741


@nb.njit(cache=True)
def run(offsets, kind, pipeline, stage, unit, span, paired, worker_of, units, duration, comm_time):
    """When operations start and end, if each worker runs its own in their order as soon as what they need is there.

    Returns
    -------
    start, end : arrays of float64
        Of each operation; NaN for those that never can start.
    before : array of int64
        The operation that each one waited for last; -1 if none.
    """
    pipelines, stages = worker_of.shape
    count, workers = len(kind), len(offsets) - 1
    start, end = np.full(count, np.nan), np.full(count, np.nan)
    before = np.full(count, -1, np.int64)
    # The operation that made a forward result, and the gradient of an input.
    forward = np.full((pipelines, stages, units), -1, np.int64)
    backward = np.full((pipelines, stages, units), -1, np.int64)
    next_ = offsets[:-1].copy()
    free = np.zeros(workers)
    moved = True
    while moved:
        moved = False
        for worker in range(workers):
            while next_[worker] < offsets[worker + 1]:
                first = next_[worker]
                last = first + 1 if paired[first] else first
                at, cause = free[worker], first - 1 if first > offsets[worker] else -1
                ready = True
                for op in range(first, last + 1):
                    p, s, k = pipeline[op], stage[op], kind[op]
                    for u in range(unit[op], unit[op] + (span if k == F else 1)):
                        for side in range(2):
                            if k == F:
                                if side == 1 or s == 0:
                                    continue
                                needed, there = forward[p, s - 1, u], worker_of[p, s - 1]
                            elif side == 0:
                                needed, there = (backward if k == W else forward)[p, s, u], worker
                            elif k == W or s == stages - 1:
                                continue
                            else:
                                needed, there = backward[p, s + 1, u], worker_of[p, s + 1]
                            if needed < 0:
                                ready = False
                                break
                            time = end[needed] + (comm_time if there != worker else 0.0)
                            if time >= at and (time > at or there != worker):
                                at, cause = time, needed
                        if not ready:
                            break
                    if not ready:
                        break
                if not ready:
                    break
                finish = at + (duration[first] if last == first else duration[first] + duration[last])
                for op in range(first, last + 1):
                    start[op], end[op], before[op] = at, finish, cause
                    p, s, k = pipeline[op], stage[op], kind[op]
                    if k == F:
                        for u in range(unit[op], unit[op] + span):
                            forward[p, s, u] = op
                    elif k != W:
                        backward[p, s, unit[op]] = op
                free[worker] = finish
                next_[worker] = last + 1
                moved = True
    return start, end, before

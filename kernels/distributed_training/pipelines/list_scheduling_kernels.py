"""List scheduling: give the worker that can start first the most urgent of its operations, again and again."""

from __future__ import annotations

import numba as nb
import numpy as np

F, B, I, W = 0, 1, 2, 3  # noqa: E741


@nb.njit(cache=True)
def schedule(worker_of, workers, pipeline_of, span, duration, is_split, comm_time, size, cap, limit, urgency):
    """The operations of all workers, in the order in which a list scheduler takes them.

    Parameters
    ----------
    worker_of : (pipelines, stages), the worker of each stage.
    pipeline_of : (units,), the pipeline that computes each unit.
    span : units of a forward pass.
    duration : (4, stages), of each kind of operation.
    is_split : whether backward passes are split into I and W.
    size : memory of a unit's activations of a stage.
    cap : (workers,), the most memory.
    limit : (stages,), most units of a pipeline between forward and backward pass of a stage.
    urgency : (7,), what makes an operation urgent among those that can start at the same time, as weights of: being an
        F, B, I, W; the unit, the depth of the stage; and the units that make up a block, the first of which counts.

    Returns
    -------
    counts : (workers,) operations of each worker; -1 in the first place if the scheduler came to a stop.
    table : (operations, 4) kind, pipeline, stage and first unit, by worker.
    """
    pipelines, stages = worker_of.shape
    units = len(pipeline_of)
    kinds = 3 if is_split else 2
    backward = I if is_split else B
    # The units of each pipeline, in order.
    own = np.zeros(pipelines, np.int64)
    unit_of = np.zeros((pipelines, units), np.int64)
    for unit in range(units):
        unit_of[pipeline_of[unit], own[pipeline_of[unit]]] = unit
        own[pipeline_of[unit]] += 1
    total = 0
    for p in range(pipelines):
        total += stages * (own[p] // span + own[p] * (kinds - 1))
    done_f = np.zeros((pipelines, stages, units))
    done_b = np.zeros((pipelines, stages, units))
    next_f = np.zeros((pipelines, stages), np.int64)
    next_b = np.zeros((pipelines, stages), np.int64)
    next_w = np.zeros((pipelines, stages), np.int64)
    free, memory = np.zeros(workers), np.zeros(workers)
    held = np.zeros((workers, pipelines * stages, 2), np.int64)
    holds = np.zeros(workers, np.int64)
    for p in range(pipelines):
        for s in range(stages):
            worker = worker_of[p, s]
            held[worker, holds[worker], 0], held[worker, holds[worker], 1] = p, s
            holds[worker] += 1
    # The best operation of each worker: when it can start, its urgency, kind, pipeline, stage.
    stale = np.ones(workers, np.bool_)
    best_time, best_urgency = np.full(workers, np.inf), np.zeros(workers)
    best = np.zeros((workers, 3), np.int64)
    table = np.zeros((total, 4), np.int32)
    worker_at = np.zeros(total, np.int64)
    counts = np.zeros(workers, np.int64)
    for step in range(total):
        for worker in range(workers):
            if not stale[worker]:
                continue
            stale[worker] = False
            best_time[worker] = np.inf
            for index in range(holds[worker]):
                p, s = held[worker, index]
                for choice in range(kinds):
                    kind = F if choice == 0 else backward if choice == 1 else W
                    ready = 0.0
                    if kind == F:
                        at = next_f[p, s]
                        if at + span > own[p] or at - next_b[p, s] + span > limit[s]:
                            continue
                        if memory[worker] + span * size > cap[worker] + 1e-9:
                            continue
                        if s > 0:
                            if next_f[p, s - 1] < at + span:
                                continue
                            ready = done_f[p, s - 1, at + span - 1]
                            ready += comm_time if worker_of[p, s - 1] != worker else 0.0
                    elif kind == W:
                        at = next_w[p, s]
                        if at >= next_b[p, s]:
                            continue
                        ready = done_b[p, s, at]
                    else:
                        at = next_b[p, s]
                        if at >= next_f[p, s]:
                            continue
                        ready = done_f[p, s, at]
                        if s + 1 < stages:
                            if next_b[p, s + 1] <= at:
                                continue
                            other = done_b[p, s + 1, at] + (comm_time if worker_of[p, s + 1] != worker else 0.0)
                            ready = max(ready, other)
                    time = max(ready, free[worker])
                    wanted = urgency[kind] + urgency[5] * s - urgency[4] * (unit_of[p, at] // urgency[6])
                    if time < best_time[worker] or (time == best_time[worker] and wanted > best_urgency[worker]):
                        best_time[worker], best_urgency[worker] = time, wanted
                        best[worker, 0], best[worker, 1], best[worker, 2] = kind, p, s
        worker = np.argmin(best_time)
        if best_time[worker] == np.inf:
            counts[0] = -1
            return counts, table
        kind, p, s = best[worker]
        end = best_time[worker] + duration[kind, s]
        table[step, 0], table[step, 1], table[step, 2] = kind, p, s
        worker_at[step] = worker
        counts[worker] += 1
        free[worker] = end
        stale[worker] = True
        if kind == F:
            at = next_f[p, s]
            done_f[p, s, at : at + span] = end
            next_f[p, s] += span
            memory[worker] += span * size
            if s + 1 < stages:
                stale[worker_of[p, s + 1]] = True
        elif kind == W:
            at = next_w[p, s]
            next_w[p, s] += 1
            memory[worker] -= size / 2
        else:
            at = next_b[p, s]
            done_b[p, s, at] = end
            next_b[p, s] += 1
            memory[worker] -= size / 2 if is_split else size
            if s > 0:
                stale[worker_of[p, s - 1]] = True
        table[step, 3] = unit_of[p, at]
    # By worker, in order.
    place = np.zeros(workers, np.int64)
    place[1:] = np.cumsum(counts)[:-1]
    ordered = np.empty_like(table)
    for step in range(total):
        ordered[place[worker_at[step]]] = table[step]
        place[worker_at[step]] += 1
    return counts, ordered

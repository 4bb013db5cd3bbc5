"""All ways to split a training run over devices."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .runs import SCHEDULES, divisors

_F1B, _INTERLEAVED, _CHIMERA = (SCHEDULES.index(name) for name in ("1f1b", "interleaved_1f1b", "chimera"))


def candidates(
    base: Any, gpus: int, widest: int, schedules: Sequence[int], stages: Sequence[int], recomputes: Sequence[int],
    offloads: Sequence[int],
) -> Any:  # fmt: skip
    """All runs of a model on so many devices, as an array of `runs.RUN`.

    Parameters
    ----------
    base : a run with the model and the batch.
    gpus : devices.
    widest : the most tensor-parallel ones.
    schedules, stages, recomputes, offloads : what to try, as numbers.
    """
    splits = np.array(list(_splits(base, gpus, widest, schedules)), np.float64).reshape(-1, 6)
    ways = np.array(list(itertools.product(recomputes, (0, 1), stages, offloads)), np.float64)
    runs = np.repeat(base[None], len(splits) * len(ways))
    for names, table in (
        (("tp", "pp", "dp", "micro_batch", "chunks", "schedule"), np.repeat(splits, len(ways), axis=0)),
        (("recompute", "seq_parallel", "zero_stage", "offload"), np.tile(ways, (len(splits), 1))),
    ):
        for name, values in zip(names, table.T, strict=True):
            runs[name] = values
    pieces = 128 * runs["tp"]
    runs["vocab"] = np.ceil(runs["vocab"] / pieces) * pieces
    pointless = ((runs["tp"] == 1) & (runs["seq_parallel"] > 0)) | ((runs["dp"] == 1) & (runs["zero_stage"] > 0))
    return runs[~pointless]


def _splits(base: Any, gpus: int, widest: int, schedules: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Devices, micro-batch, chunks and schedule of each way to split a model and its batch."""
    layers, heads, batch = (int(base[name]) for name in ("layers", "heads", "global_batch"))
    for tp in divisors(gpus):
        if tp > widest or heads % tp:
            continue
        for pp in divisors(gpus // tp):
            dp = gpus // tp // pp
            if layers % pp or batch % dp:
                continue
            for micro_batch, chunks, schedule in itertools.product(
                divisors(batch // dp), divisors(layers // pp), schedules
            ):
                if _schedule_fits(schedule, pp, chunks, batch // dp // micro_batch):
                    yield tp, pp, dp, micro_batch, chunks, schedule


def _schedule_fits(schedule: int, pp: int, chunks: int, micro_batches: int) -> bool:
    """Whether a schedule takes such a pipeline; a single stage is scheduled by 1f1b."""
    if pp == 1 or schedule == _F1B:
        return chunks == 1 and schedule == _F1B
    if schedule == _INTERLEAVED:
        return chunks > 1 and micro_batches % pp == 0
    return chunks == 1 and (schedule != _CHIMERA or (pp % 2 == 0 and micro_batches % pp == 0))

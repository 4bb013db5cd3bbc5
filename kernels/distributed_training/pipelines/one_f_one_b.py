"""Schedules in which a micro-batch is computed forward and backward by one chain of workers (or two, in turn).

Source: GPipe (NeurIPS 2019), PipeDream (SOSP 2019), PipeDream-2BW (ICML 2021), DAPPLE (PPoPP 2021), GEMS (SC 2020),
Megatron-LM PTD-P (SC 2021, section 2.2), breadth-first pipelines (MLSys 2023).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from .schedule import Integers, Kind, Schedule

F, B = Kind.F, Kind.B


def in_line(workers: int, chunks: int = 1) -> Integers:
    """One pipeline that goes through all workers in order, once for each chunk."""
    return np.tile(np.arange(workers, dtype=np.int32), chunks)[None]


def gpipe(workers: int, micro_batches: int) -> Schedule:
    """All forward passes, then all backward passes."""
    return dataclasses.replace(looped_bfs(workers, micro_batches, 1), name="gpipe")


def one_f_one_b(workers: int, micro_batches: int, name: str = "1f1b", is_synchronous: bool = True) -> Schedule:
    """Forward passes until the first gradient can arrive, then one of each kind in turn (DAPPLE, PipeDream)."""
    made = _in_turn(workers, micro_batches, 1, np.arange(workers)[::-1])
    return dataclasses.replace(made, name=name, is_synchronous=is_synchronous)


def interleaved(workers: int, micro_batches: int, chunks: int) -> Schedule:
    """1F1B over several chunks of each worker, a group of micro-batches as large as the pipeline at a time.

    Raises
    ------
    ValueError
        The micro-batches are not a multiple of the workers.
    """
    if micro_batches % workers:
        raise ValueError(
            f"interleaved_1f1b needs micro_batches that are a multiple of the {workers} stages, got {micro_batches}; "
            f"the next one is {-(-micro_batches // workers) * workers}"
        )
    behind = np.arange(workers)[::-1]
    ahead = behind if chunks == 1 else 2 * behind + (chunks - 1) * workers
    return _in_turn(workers, micro_batches, chunks, ahead)


def _in_turn(workers: int, micro_batches: int, chunks: int, ahead: npt.NDArray[np.int64]) -> Schedule:
    """Some forward passes ahead, then a forward and a backward pass in turn, then the backward passes that are left."""
    count = micro_batches * chunks
    lead = np.minimum(ahead, count).astype(np.int32)[:, None]
    at, worker = np.arange(count, dtype=np.int32), np.arange(workers, dtype=np.int32)[:, None]
    forward = np.where(at < lead, at, 2 * at - lead)
    backward = np.where(at < count - lead, 2 * at + lead + 1, at + count)
    group, inside = np.divmod(at, workers * chunks)
    chunk = inside // workers
    unit = group * workers + inside % workers if chunks > 1 else at
    stage = np.stack([chunk * workers + worker, (chunks - 1 - chunk) * workers + worker])
    kind = np.array([F, B], np.int32)[:, None, None]
    slot = np.stack([forward, backward])
    return Schedule.of_slots("interleaved_1f1b", micro_batches, in_line(workers, chunks), slot, kind, 0, stage, unit)


def looped_bfs(workers: int, micro_batches: int, chunks: int) -> Schedule:
    """All micro-batches through one chunk before the next, forward and then backward."""
    at = np.arange(2 * chunks * micro_batches)
    turn, unit = np.divmod(at, micro_batches)
    chunk = np.where(turn < chunks, turn, 2 * chunks - 1 - turn)
    stage = chunk * workers + np.arange(workers)[:, None]
    kind = np.where(turn < chunks, F, B)
    return Schedule.of_slots("looped_bfs", micro_batches, in_line(workers, chunks), at, kind, 0, stage, unit)


def gems(workers: int, micro_batches: int) -> Schedule:
    """Two replicas in opposite directions take micro-batches in turn; one starts as the other goes back."""
    line = np.arange(workers)
    at = np.arange(2 * micro_batches)
    unit = at // 2
    return Schedule.of_slots(
        "gems", micro_batches, np.stack([line, line[::-1]]), at, at % 2 * B, unit % 2, line[:, None], unit
    )

"""Schedules in which a micro-batch is computed forward and backward by one chain of workers (or two, in turn).

Source: GPipe (NeurIPS 2019), PipeDream (SOSP 2019), PipeDream-2BW (ICML 2021), DAPPLE (PPoPP 2021), GEMS (SC 2020),
Megatron-LM PTD-P (SC 2021, section 2.2), breadth-first pipelines (MLSys 2023).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .schedule import Integers, Kind, Operation, Schedule

F, B = Kind.F, Kind.B


def in_line(workers: int, chunks: int = 1) -> Integers:
    """One pipeline that goes through all workers in order, once for each chunk."""
    return np.tile(np.arange(workers, dtype=np.int32), chunks)[None]


def gpipe(workers: int, micro_batches: int) -> Schedule:
    """All forward passes, then all backward passes."""

    def order(worker: int) -> Iterator[Operation]:
        yield from ((F, 0, worker, unit) for unit in range(micro_batches))
        yield from ((B, 0, worker, unit) for unit in range(micro_batches))

    return Schedule.of("gpipe", micro_batches, in_line(workers), [order(worker) for worker in range(workers)])


def one_f_one_b(workers: int, micro_batches: int, name: str = "1f1b", is_synchronous: bool = True) -> Schedule:
    """Forward passes until the first gradient can arrive, then one of each kind in turn (DAPPLE, PipeDream)."""

    def order(worker: int) -> Iterator[Operation]:
        ahead = min(micro_batches, workers - 1 - worker)
        yield from ((F, 0, worker, unit) for unit in range(ahead))
        for unit in range(ahead, micro_batches):
            yield F, 0, worker, unit
            yield B, 0, worker, unit - ahead
        yield from ((B, 0, worker, unit) for unit in range(micro_batches - ahead, micro_batches))

    orders = [order(worker) for worker in range(workers)]
    return Schedule.of(name, micro_batches, in_line(workers), orders, is_synchronous=is_synchronous)


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
    count = micro_batches * chunks

    def operation(kind: Kind, worker: int, at: int) -> Operation:
        group, inside = divmod(at, workers * chunks)
        chunk = inside // workers
        chunk = chunk if kind == F else chunks - 1 - chunk
        return kind, 0, chunk * workers + worker, group * workers + inside % workers

    def order(worker: int) -> Iterator[Operation]:
        ahead = min(count, 2 * (workers - 1 - worker) + (chunks - 1) * workers)
        yield from (operation(F, worker, at) for at in range(ahead))
        for at in range(ahead, count):
            yield operation(F, worker, at)
            yield operation(B, worker, at - ahead)
        yield from (operation(B, worker, at) for at in range(count - ahead, count))

    orders = [order(worker) for worker in range(workers)]
    return Schedule.of("interleaved_1f1b", micro_batches, in_line(workers, chunks), orders)


def looped_bfs(workers: int, micro_batches: int, chunks: int) -> Schedule:
    """All micro-batches through one chunk before the next, forward and then backward."""

    def order(worker: int) -> Iterator[Operation]:
        for chunk in range(chunks):
            yield from ((F, 0, chunk * workers + worker, unit) for unit in range(micro_batches))
        for chunk in reversed(range(chunks)):
            yield from ((B, 0, chunk * workers + worker, unit) for unit in range(micro_batches))

    orders = [order(worker) for worker in range(workers)]
    return Schedule.of("looped_bfs", micro_batches, in_line(workers, chunks), orders)


def gems(workers: int, micro_batches: int) -> Schedule:
    """Two replicas in opposite directions take micro-batches in turn; one starts as the other goes back."""
    line = np.arange(workers, dtype=np.int32)

    def order(worker: int) -> Iterator[Operation]:
        stage = (worker, workers - 1 - worker)
        for unit in range(micro_batches):
            yield F, unit % 2, stage[unit % 2], unit
            yield B, unit % 2, stage[unit % 2], unit

    orders = [order(worker) for worker in range(workers)]
    return Schedule.of("gems", micro_batches, np.stack([line, line[::-1]]), orders)

"""Zero-bubble schedules: the gradient of the weights, which nothing waits for, fills what would be bubbles.

Source: Qi and others: Zero Bubble Pipeline Parallelism, ICLR 2024 (ZB-H1, ZB-H2); Pipeline Parallelism with
Controllable Memory, NeurIPS 2024 (ZB-V, V-Half, V-Min).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from .costs import Costs
from .list_scheduling import Urgency, best_of, list_schedule
from .one_f_one_b import in_line
from .schedule import Integers, Kind, Operation, Schedule

F, I, W = Kind.F, Kind.I, Kind.W  # noqa: E741
#: Gradients of inputs, then forward passes, and gradients of weights when there is nothing else.
_LINE = Urgency(forward=1, backward=2, order=1e-6)
#: Either comes first, depending on which chunk is behind.
_V = (Urgency(forward=3, backward=2, order=1e-6, depth=0.1), Urgency(forward=1, backward=2, order=1e-6, depth=0.1))


def in_v(workers: int) -> Integers:
    """One pipeline that goes through all workers and back."""
    line = np.arange(workers, dtype=np.int32)
    return np.concatenate([line, line[::-1]])[None]


def zb_h1(workers: int, micro_batches: int, costs: Costs, cap: float | None) -> Schedule:
    """With the memory of 1F1B; a third of its bubble if F, I and W take the same time."""
    cap = cap or min(workers, micro_batches)
    return _in_line("zb_h1", workers, micro_batches, costs, cap)


def zb_h2(workers: int, micro_batches: int, costs: Costs, cap: float | None) -> Schedule:
    """With as much memory as leaves no bubble between a worker's operations, twice that of 1F1B."""
    cap = cap or 2 * workers - 0.5
    return _in_line("zb_h2", workers, micro_batches, costs, cap)


def zb_v(workers: int, micro_batches: int, costs: Costs, cap: float | None) -> Schedule:
    """Two chunks in a V: no bubble with the memory of 1F1B."""
    return _in_v("zb_v", workers, micro_batches, costs, cap or workers, [2 * workers, 2 * workers - 1])


def v_half(workers: int, micro_batches: int, costs: Costs, cap: float | None) -> Schedule:
    """Two chunks in a V, with half of the memory of 1F1B."""
    tried = range(max(2, 3 * workers // 4 - 1), 7 * workers // 8 + 3)
    return _in_v("v_half", workers, micro_batches, costs, cap or workers // 2 + 1, tried, (2, 1, 2, 1))


def v_min(workers: int, micro_batches: int, costs: Costs, cap: float | None) -> Schedule:
    """Two chunks in a V, with a third of the memory of 1F1B."""
    tried = range(max(2, 2 * workers // 3), 3 * workers // 4 + 2)
    return _in_v("v_min", workers, micro_batches, costs, cap or -(-(workers + 2) // 3), tried, (1, 1, 1, 1))


def _in_line(name: str, workers: int, micro_batches: int, costs: Costs, cap: float) -> Schedule:
    found = list_schedule(name, micro_batches, in_line(workers), costs, _LINE, cap=cap, is_split=True)
    return best_of(name, [found], costs, cap)


def _in_v(
    name: str,
    workers: int,
    micro_batches: int,
    costs: Costs,
    cap: float,
    in_flight: Iterable[int],
    steps: tuple[int, int, int, int] | None = None,
) -> Schedule:
    """The best of what list schedulers find, and of repeated blocks whose passes go through the workers in steps."""
    worker_of = in_v(workers)
    tried: list[Schedule | None] = [
        list_schedule(name, micro_batches, worker_of, costs, urgency, cap=cap, is_split=True, in_flight=limit)
        for urgency, limit in itertools.product(_V, in_flight)
    ]
    if steps is not None:
        tried += _blocks(name, workers, micro_batches, steps)
    return best_of(name, tried, costs, cap)


def _blocks(name: str, workers: int, micro_batches: int, steps: tuple[int, int, int, int]) -> Iterator[Schedule]:
    """Schedules that repeat the passes of one micro-batch every six slots (controllable memory, section 3).

    The passes of a micro-batch (down and up the V, and back) go from worker to worker in some steps; what each worker
    does of it takes slots that differ modulo six. `steps` are those of the four passes: the shorter, the less memory.
    """
    line = np.arange(workers)
    for turn, loss, back in itertools.product(range(1, 7), repeat=3):
        down = steps[0] * line
        up = down[-1] + turn + steps[1] * line[::-1]
        back_up = up[0] + loss + steps[2] * line
        back_down = back_up[-1] + back + steps[3] * line[::-1]
        slots = np.stack([down, up, back_up, back_down])
        if any(len(set(own)) < 4 for own in (slots % 6).T.tolist()):
            continue
        orders = [
            _block(worker, 2 * workers - 1 - worker, slots[:, worker], micro_batches) for worker in range(workers)
        ]
        yield Schedule.of(name, micro_batches, in_v(workers), orders)


def _block(first: int, second: int, slots: np.ndarray[tuple[int], np.dtype[np.int64]], count: int) -> list[Operation]:
    """The operations of a worker, by the slots of the first micro-batch; W takes the free slots behind its I."""
    down, up, back_up, back_down = map(int, slots)
    free = set(range(6)) - {slot % 6 for slot in (down, up, back_up, back_down)}

    def behind(slot: int, residue: int) -> int:
        return slot + ((residue - slot) % 6 or 6)

    late = min(behind(back_up, residue) for residue in free)
    last = behind(back_down, (free - {late % 6}).pop())
    passes = [(down, F, first), (up, F, second), (back_up, I, second), (back_down, I, first)]
    passes += [(late, W, second), (last, W, first)]
    order = sorted((slot + 6 * unit, kind, stage, unit) for slot, kind, stage in passes for unit in range(count))
    return [(kind, 0, stage, unit) for _, kind, stage, unit in order]

"""Zero-bubble schedules: the gradient of the weights, which nothing waits for, fills what would be bubbles.

Source: Qi and others: Zero Bubble Pipeline Parallelism, ICLR 2024 (ZB-H1, ZB-H2); Pipeline Parallelism with
Controllable Memory, NeurIPS 2024 (ZB-V, V-Half, V-Min).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from .costs import Costs
from .list_scheduling import Urgency, best_of, list_schedule
from .one_f_one_b import in_line
from .schedule import Integers, Kind, Schedule

F, I, W = Kind.F, Kind.I, Kind.W  # noqa: E741
#: For each of the four passes through each worker, when it is.
Slots = npt.NDArray[np.int64]
#: Repeated blocks that are tried, those with the shortest waits first.
_MOST_BLOCKS = 8
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
    waits = sorted(itertools.product(range(1, 7), repeat=3), key=sum)
    found = 0
    for turn, loss, back in waits:
        down = steps[0] * line
        up = down[-1] + turn + steps[1] * line[::-1]
        back_up = up[0] + loss + steps[2] * line
        back_down = back_up[-1] + back + steps[3] * line[::-1]
        slots = np.stack([down, up, back_up, back_down])
        ordered = np.sort(slots % 6, axis=0)
        if (ordered[1:] == ordered[:-1]).any():
            continue
        yield _repeated(name, slots, micro_batches)
        found += 1
        if found == _MOST_BLOCKS:
            return


def _repeated(name: str, slots: Slots, micro_batches: int) -> Schedule:
    """The schedule that repeats a block, whose passes have slots on each worker; W takes the free ones behind I."""
    workers = slots.shape[1]
    first = np.arange(workers)
    second = 2 * workers - 1 - first
    table = np.empty((workers, 6, 3), np.int64)
    for worker, (down, up, back_up, back_down) in enumerate(slots.T.tolist()):
        free = set(range(6)) - {slot % 6 for slot in (down, up, back_up, back_down)}
        late = min(_behind(back_up, residue) for residue in free)
        last = _behind(back_down, (free - {late % 6}).pop())
        one, two = first[worker], second[worker]
        table[worker] = [
            (down, F, one), (up, F, two), (back_up, I, two), (back_down, I, one), (late, W, two), (last, W, one)
        ]  # fmt: skip
    unit = np.arange(micro_batches)
    slot = (table[:, :, 0, None] + 6 * unit).reshape(workers, -1)
    order = np.argsort(slot, axis=1)
    columns = [np.zeros_like(slot)]
    for values in (table[:, :, 1], table[:, :, 2]):
        columns.append(np.repeat(values, micro_batches, axis=1))
    columns.append(np.tile(unit, (workers, 6)))
    pipeline, kind, stage, units = (np.take_along_axis(column, order, 1).ravel() for column in columns)
    operations = (kind, pipeline, stage, units)
    return Schedule.of_columns(name, micro_batches, in_v(workers), [6 * micro_batches] * workers, operations)


def _behind(slot: int, residue: int) -> int:
    """The first slot behind one that has a residue modulo six."""
    return slot + ((residue - slot) % 6 or 6)

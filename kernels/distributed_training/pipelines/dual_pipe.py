"""DualPipe: forward and backward passes of micro-batches in opposite directions run together as one operation.

Source: DeepSeek-V3 Technical Report (2024), section 3.2.1 and figure 5; DualPipe's published description.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from .one_f_one_b import in_line
from .schedule import Kind, Operation, Schedule
from .zero_bubble import in_v

F, B, I, W = Kind.F, Kind.B, Kind.I, Kind.W  # noqa: E741


class _Order:
    """The operations of a worker on two parts of the model: 0 is where its first micro-batches come in, 1 the other."""

    def __init__(self, parts: list[tuple[int, int, list[int]]]) -> None:
        self.parts = parts  # pipeline, stage and units of each
        self.operations: list[Operation] = []
        self._forward, self._backward = [0, 0], [0, 0]
        self._weights: deque[tuple[int, int, int]] = deque()

    def forward(self, part: int, is_paired: bool = False) -> None:
        pipeline, stage, units = self.parts[part]
        kind = ~F if is_paired else F
        self.operations.append((kind, pipeline, stage, units[self._forward[part]]))
        self._forward[part] += 1

    def backward(self, part: int, is_split: bool = False) -> None:
        pipeline, stage, units = self.parts[part]
        unit = units[self._backward[part]]
        self._backward[part] += 1
        self.operations.append((I if is_split else B, pipeline, stage, unit))
        if is_split:
            self._weights.append((pipeline, stage, unit))

    def both(self, forward: int, backward: int) -> None:
        self.forward(forward, is_paired=True)
        self.backward(backward)

    def weight(self) -> None:
        self.operations.append((W, *self._weights.popleft()))


def _order(place: int, half: int, parts: list[tuple[int, int, list[int]]], *, turns: bool) -> list[Operation]:
    """The operations of a worker that is `place` steps from where its first micro-batches come in.

    `half` is how many steps there are to where they turn or meet the others; `turns` whether this worker is there.
    """
    order, count, rest = _Order(parts), len(parts[0][2]), half - place - 1
    for _ in range(2 * rest):
        order.forward(0)
    for _ in range(place + 1):
        order.forward(0)
        order.forward(1)
    for _ in range(rest):
        order.backward(1, is_split=True)
        order.weight()
        order.forward(1)
    for step in range(count - 2 * half + place + 1):
        if step == 0 and turns:
            order.forward(0)
            order.backward(1)
        else:
            order.both(0, 1)
        order.both(1, 0)
    for _ in range(rest):
        order.backward(1)
        order.both(1, 0)
    is_split = False
    for step in range(place + 1):
        is_split |= step == (place + 1) // 2 and place % 2 == 1
        order.backward(1, is_split)
        is_split |= step == (place + 1) // 2 and place % 2 == 0
        order.backward(0, is_split)
    for _ in range(rest):
        order.weight()
        order.backward(0, is_split=True)
    for _ in range(place + 1):
        order.weight()
    return order.operations


def dual_pipe(workers: int, micro_batches: int) -> Schedule:
    """Two replicas in opposite directions, half of the micro-batches on each."""
    if workers % 2 or micro_batches % 2 or micro_batches < 2 * workers:
        raise ValueError(
            f"dualpipe needs an even number of stages and of micro_batches, at least {2 * workers} (twice the stages), "
            f"got stages {workers} and micro_batches {micro_batches}"
        )
    line, share = in_line(workers)[0], micro_batches // 2
    orders = []
    for worker in range(workers):
        parts = [(0, worker, list(range(share))), (1, workers - 1 - worker, list(range(share, micro_batches)))]
        place = min(worker, workers - 1 - worker)
        if worker >= workers // 2:
            parts.reverse()
        orders.append(_order(place, workers // 2, parts, turns=place == workers // 2 - 1))
    return Schedule.of("dualpipe", micro_batches, np.stack([line, line[::-1]]), orders)


def dual_pipe_v(workers: int, micro_batches: int) -> Schedule:
    """One replica in a V: what DualPipe's first half of the workers does."""
    if micro_batches < 2 * workers:
        raise ValueError(
            f"dualpipe_v needs micro_batches that are at least {2 * workers} (twice the stages), got {micro_batches}"
        )
    units = list(range(micro_batches))
    orders = [
        _order(worker, workers, [(0, worker, units), (0, 2 * workers - 1 - worker, units)], turns=worker == workers - 1)
        for worker in range(workers)
    ]
    return Schedule.of("dualpipe_v", micro_batches, in_v(workers), orders)

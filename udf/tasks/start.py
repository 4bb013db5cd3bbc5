"""How training starts: the scale of the features, and the step size, both from a sample of the rows.

A model with standardised features is one float32 array of four padded parts: the weights of the features
``(x - mean) / scale``, their average over the steps, the inverse scales, and the means. The intercept belongs to the
standardised features as well. Without standardisation the array holds the weights alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .model import BINARY, CLASS
from .vectors import padded

#: With fewer rows than this ``step_size='auto'`` takes the middle.
_FEWEST_ROWS = 64
#: Step sizes that ``step_size='auto'`` tries: powers of two from this one on, where labels are of size 1.
_CANDIDATES, _LOWEST = 14, -10
#: A feature whose deviations in the sample are smaller than this, beside its mean, is constant there.
_CONSTANT = 1e-6


@njit
def copy_into(target: Any, source: Any, count: int) -> None:
    """Copy numbers; in compiled code an assignment of slices costs a second of compiling, for its error messages."""
    for index in range(count):
        target[index] = source[index]


@njit
def scale_of(model: Any, kept: Any, stride: int, width: int, centred: bool) -> None:
    """Fill in the inverse scales and the means of a model's features, from rows.

    Features are centred only where an intercept can take up what that changes; without one they are scaled about 0.
    """
    room, count = padded(width), len(kept) // stride
    for index in range(width):
        first, total, square = np.float64(kept[stride - width + index]), 0.0, 0.0
        for row in range(count):
            apart = kept[row * stride + stride - width + index] - first
            total += apart
            square += apart * apart
        mean = total / count
        deviation = math.sqrt(max(square / count - mean * mean, 0.0))
        mean += first
        if not centred:
            deviation, mean = math.hypot(deviation, mean), 0.0
        if deviation <= _CONSTANT * abs(mean):
            deviation = abs(mean) if mean != 0 else 1.0
        model[2 * room + index], model[3 * room + index] = 1 / deviation, mean


@njit
def rescale(model: Any, intercept: float, room: int, width: int) -> float:
    """Turn weights of plain features into those of standardised ones; gives the intercept that goes with them."""
    for index in range(width):
        intercept += model[index] * model[3 * room + index]
        model[index] /= model[2 * room + index]
        model[room + index] = model[index]
    return intercept


@njit
def shift(mine: Any, theirs: Any, start: int, room: int, width: int, share: float) -> float:
    """Move weights towards those of another model; gives what turns its intercept into one of the first's scale."""
    difference = 0.0
    if len(mine) == room:
        for index in range(room):
            mine[index] += share * (theirs[index] - mine[index])
        return difference
    for index in range(width):
        weight = theirs[start + index] * theirs[2 * room + index]
        difference += weight * (np.float64(mine[3 * room + index]) - theirs[3 * room + index])
        mine[start + index] += share * (weight / mine[2 * room + index] - mine[start + index])
    return difference


@njit
def unscaled_into(weights: Any, model: Any, intercepts: Any, averaged: bool) -> float:
    """Write the weights of the plain features, of the last step or averaged over steps; gives their intercept."""
    width = len(weights)
    room = padded(width)
    if len(model) == room:
        copy_into(weights, model, width)
        return intercepts[0]
    start, intercept = (room, intercepts[1]) if averaged else (0, intercepts[0])
    for index in range(width):
        weights[index] = model[start + index] * model[2 * room + index]
        intercept -= np.float64(weights[index]) * model[3 * room + index]
    return intercept


class Start:
    """The part of a task that chooses scales and step size."""

    def first_model(self, kept):
        """The model before the first step, with the scale of the rows, and its intercepts: the last and the average."""
        room = padded(self.width)
        model = np.zeros(4 * room, np.float32)
        if self.started:
            copy_into(model, self.weights[:], room)
        scale_of(model, kept, self.width + 2, self.width, self.fit_intercept)
        intercept = rescale(model, self.intercept, room, self.width)
        return model, np.array([intercept, intercept])

    def chosen_rate(self, model, intercepts, kept):
        """The step size: the option, or the best of 2^k / (d + 1), k = -10 ... 3, on the rows.

        The rows have ``d`` standardised features: ``d + 1`` is the mean square of a row with the intercept's 1.
        Each candidate is tried in one pass over the rows, scattered over the order they came in; what counts is the
        loss during the pass, before each step, and after it: one alone favours lucky ends. Where labels are real
        numbers, the range of ``k`` is widened by the binary logarithm of their size: how far weights have to go is
        proportional to it.
        """
        if not self.automatic:
            return self.rate
        stride = self.width + 2
        count, unit = len(kept) // stride, 1 / (self.width + 1)
        if count < _FEWEST_ROWS:
            return unit
        size = 0.0
        for row in range(count):
            size += np.float64(kept[row * stride]) ** 2
        size = math.sqrt(size / count)
        wider = 0 if self.labels in (BINARY, CLASS) or size == 0 else int(min(max(math.log2(size), -40), 40))
        rows = self.scattered(model, kept)
        best, chosen = math.inf, 0
        for power in range(_LOWEST + min(wider, 0), _LOWEST + _CANDIDATES + max(wider, 0)):
            trial, moved = model.copy(), intercepts.copy()
            during = self.epoch(trial, moved, rows, unit * 2.0**power, 0, True)
            loss = during + self.total_loss(trial, moved, rows) + count * self.penalty(trial)
            if loss < best:
                best, chosen = loss, power
        return unit * 2.0**chosen

    def scattered(self, model, kept):
        """At most 2,000 of the rows, standardised, in another order, neighbours far apart."""
        width, room = self.width, padded(self.width)
        stride = width + 2
        count = len(kept) // stride
        taken = min(count, 2000)
        hop = int(count * 0.618) | 1
        while math.gcd(hop, count) != 1:
            hop += 2
        rows = np.empty(taken * stride, np.float32)
        for row in range(taken):
            source, target = row * hop % count * stride, row * stride
            rows[target], rows[target + 1] = kept[source], kept[source + 1]
            for index in range(width):
                mean, inverse = model[3 * room + index], model[2 * room + index]
                rows[target + 2 + index] = (kept[source + 2 + index] - mean) * inverse
        return rows

"""The inner loops of logistic regression by incremental gradient descent, on plain arrays.

Weights are a float32 array, padded (see `vectors.padded`); the intercept is a float64. Kept rows stand end to end in
one float32 array, each behind its label. With margin ``z = w.x + b`` and label
``y = +1 or -1`` the loss of a row is ``log(1 + exp(-y z))`` and its step is

    w += a (1[y = 1] - sigmoid(z)) x,    b likewise,    then the proximal step of the penalty on w:
    L2: w /= 1 + a l2            L1: w = sign(w) max(|w| - a l1, 0)

(Bismarck, SIGMOD 2012, section 3.2). Sums of losses are kept as the logarithm of a running product, so that a row costs
one multiplication instead of one logarithm.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .vectors import add_scaled, dot, exp_of_negative, padded, sigmoid

#: Floating-point freedoms that leave NaN and infinity alone.
REORDER = frozenset({"reassoc", "contract", "nsz", "arcp"})

#: Rows on which ``step_size='auto'`` is chosen.
SAMPLE_ROWS = 2000
#: Fewer rows than this are too few to choose on: k = 0 is taken, see `choose_step`.
FEWEST_ROWS = 64
#: Step sizes that ``step_size='auto'`` tries.
_CANDIDATES = 14
#: Ceiling of the running product of (1 + exp(...)) factors.
FULL = 1e250


@njit
def shrink(weights: Any, width: int, rate: float, l1: float, l2: float) -> None:
    """The proximal step of the penalties."""
    scale, threshold = np.float32(1 / (1 + rate * l2)), np.float32(rate * l1)
    for index in range(width):
        size = max(abs(weights[index]) - threshold, np.float32(0))
        weights[index] = math.copysign(size * scale, weights[index])


@njit(fastmath=set(REORDER), inline="always")
def descend(weights: Any, intercept: float, features: Any, label: float, rate: float) -> tuple[float, float, float]:
    """The step on one row, without penalties and without the intercept's.

    Answers the agreement ``y z``, ``exp(-|y z|)``, of which the loss is made, and the step of the intercept.
    """
    score = dot(weights, features) + np.float32(intercept)
    scale = np.float32(rate) * (np.float32(label > 0) - sigmoid(score))
    add_scaled(weights, features, scale)
    agreement = label * score
    return agreement, exp_of_negative(-abs(agreement)), scale


@njit(fastmath=set(REORDER))
def decayed(rate: float, taken: float, decay: float) -> float:
    """The step size after so many steps: it falls with their square root, or stays constant with a ``decay`` of 0."""
    return rate / math.sqrt(1 + taken * decay)


class Penalty(NamedTuple):
    """What is added to the loss of each row."""

    l1: float
    l2: float


class StepSize(NamedTuple):
    """The step size ``rate / sqrt(1 + decay t)`` after ``t`` steps, and how much of it the intercept gets."""

    rate: float
    decay: float
    intercept: float


@njit
def epoch(
    weights: Any, intercept: float, kept: Any, width: int, step: StepSize, taken: float, penalty: Penalty
) -> tuple[float, float]:
    """One pass over kept rows: the new intercept and the sum of the losses, each taken before its step."""
    loss, product = 0.0, 1.0
    for row in range(len(kept) // (width + 1)):
        at = row * (width + 1)
        now = decayed(step.rate, taken + row, step.decay)
        agreement, tail, scale = descend(weights, intercept, kept[at + 1 : at + 1 + width], kept[at], now)
        intercept += step.intercept * scale
        if penalty.l1 > 0 or penalty.l2 > 0:
            shrink(weights, width, now, penalty.l1, penalty.l2)
        loss += max(-agreement, 0.0)
        product *= 1 + tail
        if product > FULL:
            loss += math.log(product)
            product = 1.0
    return intercept, loss + math.log(product)


@njit
def total_loss(weights: Any, intercept: float, kept: Any, width: int) -> float:
    """The sum of the losses without any step."""
    loss = 0.0
    for at in range(0, len(kept), width + 1):
        agreement = kept[at] * (dot(weights, kept[at + 1 : at + 1 + width]) + intercept)
        loss += max(-agreement, 0.0) + math.log1p(math.exp(-abs(agreement)))
    return loss


@njit
def choose_step(kept: Any, width: int, fit_intercept: bool, penalty: Penalty) -> StepSize:
    """The step size for ``'auto'``: of 2^k / (mean |x|^2 + c^2), k = -10 ... 3, the best on the rows.

    Each candidate is tried in one pass over the rows from zero weights, scattered over the order they came in; what
    counts is the loss during the pass, before each step, and after it: one alone favours lucky ends. ``c`` is
    the root mean square of a feature: the intercept is taken as the weight of a feature with the value ``c``, so that
    the scale of the features makes no difference.
    """
    stride = width + 1
    count = len(kept) // stride
    square = 0.0
    for value in kept:
        square += np.float64(value) * np.float64(value)
    square = square / count - 1  # without the labels
    constant = square / width if square > 0 else 1.0
    unit, decay, intercept = 1 / (square + constant), 1 / min(count, SAMPLE_ROWS), constant if fit_intercept else 0.0
    if count < FEWEST_ROWS:
        return StepSize(unit, decay, intercept)
    hop = int(count * 0.618) | 1
    while math.gcd(hop, count) != 1:
        hop += 2
    scattered = np.empty_like(kept)
    for row in range(count):
        source = row * hop % count
        for column in range(stride):
            scattered[row * stride + column] = kept[source * stride + column]
    best, chosen = math.inf, 0
    for index in range(_CANDIDATES):
        trial, step = np.zeros(padded(width), np.float32), StepSize(_candidate(unit, index), 0.0, intercept)
        moved, during = epoch(trial, 0.0, scattered, width, step, 0.0, penalty)
        loss = during + total_loss(trial, moved, scattered, width)
        if loss < best:
            best, chosen = loss, index
    return StepSize(_candidate(unit, chosen), decay, intercept)


@njit
def _candidate(unit: float, index: int) -> float:
    return unit * 2.0 ** (index - 10)

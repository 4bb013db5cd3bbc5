"""The inner loops of logistic regression by incremental gradient descent, on plain arrays.

Weights are one float32 array: a weight per feature, then the intercept. With margin ``z = w.x + b`` and label
``y = +1 or -1`` the loss of a row is ``log(1 + exp(-y z))`` and its step is

    w += a y sigmoid(-y z) x,    b += a y sigmoid(-y z),    then the proximal step of the penalty on w:
    L2: w /= 1 + a l2            L1: w = sign(w) max(|w| - a l1, 0)

(Bismarck, SIGMOD 2012, section 3.2). Sums of losses are kept as the logarithm of a running product, so that a row costs
one multiplication instead of one logarithm.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

#: Floating-point freedoms that leave NaN and infinity alone.
REORDER = frozenset({"reassoc", "contract", "nsz", "arcp"})

#: Rows on which ``step_size='auto'`` is chosen.
SAMPLE_ROWS = 2000
#: Fewer rows than this are too few to choose on: one over the mean squared length of a row is taken.
FEWEST_ROWS = 64
#: Ceiling of the running product of (1 + exp(...)) factors.
FULL = 1e250


@njit(fastmath=set(REORDER))
def margin(weights: Any, features: Any) -> float:
    """``w.x + b``."""
    total = np.float32(0)
    for index in range(len(features)):
        total += weights[index] * np.float32(features[index])
    return np.float64(total) + np.float64(weights[len(features)])


@njit(fastmath=set(REORDER))
def step(weights: Any, features: Any, scale: float, rate: float, l1: float, l2: float) -> None:
    """``w += scale x`` and the proximal step at ``rate``; the intercept is the caller's."""
    size = np.float32(scale)
    if l1 == 0 and l2 == 0:
        for index in range(len(features)):
            weights[index] += size * np.float32(features[index])
        return
    shrink, threshold = np.float32(1 / (1 + rate * l2)), np.float32(rate * l1)
    for index in range(len(features)):
        moved = weights[index] + size * np.float32(features[index])
        moved = math.copysign(max(abs(moved) - threshold, np.float32(0)), moved)
        weights[index] = moved * shrink


@njit(fastmath=set(REORDER))
def descend(
    weights: Any, features: Any, label: float, rate: float, l1: float, l2: float, intercept: bool
) -> tuple[float, float]:
    """The step on one row. Answers ``y z`` and ``exp(-|y z|)``, of which the loss is made."""
    agreement = label * margin(weights, features)
    tail = math.exp(-abs(agreement))
    slope = tail / (1 + tail) if agreement > 0 else 1 / (1 + tail)
    scale = rate * label * slope
    step(weights, features, scale, rate, l1, l2)
    if intercept:
        weights[len(features)] += np.float32(scale)
    return agreement, tail


@njit(fastmath=set(REORDER))
def decayed(rate: float, taken: int, automatic: bool) -> float:
    """The step size after so many steps: constant, or falling with the square root when it was chosen."""
    return rate / math.sqrt(1 + taken / SAMPLE_ROWS) if automatic else rate


@njit
def epoch(
    weights: Any, rows: Any, labels: Any, rate: float, taken: int, automatic: bool, l1: float, l2: float, intercept: bool
) -> float:
    """One pass over rows laid end to end; the sum of the losses, each taken before its step."""
    width = len(weights) - 1
    loss, product = 0.0, 1.0
    for row in range(len(labels)):
        features = rows[row * width : (row + 1) * width]
        now = decayed(rate, taken + row, automatic)
        agreement, tail = descend(weights, features, labels[row], now, l1, l2, intercept)
        loss += max(-agreement, 0.0)
        product *= 1 + tail
        if product > FULL:
            loss += math.log(product)
            product = 1.0
    return loss + math.log(product)


@njit
def total_loss(weights: Any, rows: Any, labels: Any) -> float:
    """The sum of the losses without any step."""
    width = len(weights) - 1
    loss = 0.0
    for row in range(len(labels)):
        agreement = labels[row] * margin(weights, rows[row * width : (row + 1) * width])
        loss += max(-agreement, 0.0) + math.log1p(math.exp(-abs(agreement)))
    return loss


@njit
def choose_rate(weights: Any, rows: Any, labels: Any, l1: float, l2: float, intercept: bool) -> float:
    """The step size for ``'auto'``: of 2^k / mean |x|^2, k = -10 ... 3, the largest within 1 % of the best.

    Each candidate is tried on the rows in one pass from the given weights, scattered over the order they came in.
    """
    count, width = len(labels), len(weights) - 1
    square = 0.0
    for value in rows:
        square += np.float64(value) * np.float64(value)
    unit = count / (square + count) if square > 0 else 1.0
    if count < FEWEST_ROWS:
        return unit
    stride = int(count * 0.618) | 1
    while math.gcd(stride, count) != 1:
        stride += 2
    shuffled, shuffled_labels = np.empty_like(rows), np.empty_like(labels)
    for position in range(count):
        source = position * stride % count
        shuffled[position * width : (position + 1) * width] = rows[source * width : (source + 1) * width]
        shuffled_labels[position] = labels[source]
    rates = unit * 2.0 ** np.arange(-10, 4)
    losses = np.empty(len(rates))
    for index in range(len(rates)):
        trial = weights.copy()
        epoch(trial, shuffled, shuffled_labels, rates[index], 0, False, l1, l2, intercept)
        losses[index] = total_loss(trial, shuffled, shuffled_labels)
        if not math.isfinite(losses[index]):
            losses[index] = math.inf
    best = losses.min()
    chosen = 0
    for index in range(len(rates)):
        if losses[index] <= best * 1.01:
            chosen = index
    return rates[chosen]

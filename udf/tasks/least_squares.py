"""The solvers of exact linear regression, from the second moments of the rows.

With ``S`` the mean products of centred features, ``c`` those with the centred label and ``v`` its mean square (see
`gram`), the mean loss of the weights ``w`` plus the penalties is

    (v - 2 c.w + w.S w) / 2  +  l1 |w|  +  l2 |w|^2 / 2

Without L1 the minimum solves ``(S + l2) w = c``; with it, coordinates take turns. The intercept follows from the means.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .vectors import REORDER

#: A feature depends on others if they leave less than this share of its variance unexplained.
_DEPENDENT = 1e-10
#: Weights that share less than this with a dependent feature are determined.
_SHARED = 1e-8
#: Coordinate descent ends when no weight moves the scores by more, and the duality gap is less, than this share of
#: the label's standard deviation and half its variance.
_TOLERANCE = 1e-10


@njit(fastmath=set(REORDER))
def _cholesky(matrix: Any) -> tuple[Any, Any]:
    """Pivoted Cholesky factor of a matrix with the diagonal 1 (or 0): ``matrix = factor^T factor``, and the pivots.

    It has as many lines as the matrix has rank. Line ``s`` is 0 in the columns of the pivots before pivot ``s``.
    """
    size = len(matrix)
    factor, pivots = np.zeros((size, size)), np.empty(size, np.int64)
    rest = np.diag(matrix).copy()
    for rank in range(size):
        pivot = np.argmax(rest)
        if not rest[pivot] > _DEPENDENT:
            return factor[:rank], pivots[:rank]
        line = factor[rank]
        line[:] = matrix[pivot]
        for before in range(rank):
            share = factor[before, pivot]
            for column in range(size):
                line[column] -= share * factor[before, column]
        line[pivots[:rank]] = 0.0
        root = math.sqrt(rest[pivot])
        for column in range(size):
            line[column] /= root
            rest[column] -= line[column] * line[column]
        pivots[rank], rest[pivot] = pivot, -1.0
    return factor, pivots


@njit
def _back(factor: Any, pivots: Any, right: Any) -> Any:
    """Solve ``U solution = right``, ``U`` being the factor in the columns of the pivots."""
    solution = right.copy()
    for line in range(len(pivots) - 1, -1, -1):
        for later in range(line + 1, len(pivots)):
            solution[line] -= factor[line, pivots[later]] * solution[later]
        solution[line] /= factor[line, pivots[line]]
    return solution


@njit
def _solve_pivots(factor: Any, pivots: Any, right: Any) -> Any:
    """Solve ``U^T U solution = right``, the right side in the order of the pivots."""
    solution = right.copy()
    for line in range(len(pivots)):
        for before in range(line):
            solution[line] -= factor[before, pivots[line]] * solution[before]
        solution[line] /= factor[line, pivots[line]]
    return _back(factor, pivots, solution)


@njit
def _dependencies(factor: Any, pivots: Any, dependent: Any) -> Any:
    """How dependent features are made of the pivots: a matrix with a row for each of them."""
    made_of = np.empty((len(dependent), len(pivots)))
    for index in range(len(dependent)):
        made_of[index] = _back(factor, pivots, factor[:, dependent[index]].copy())
    return made_of


@njit
def solve(products: Any, right: Any, l2: float) -> tuple[Any, Any, int]:
    """The weights, the diagonal of the inverse (NaN where a weight is not determined), and the rank.

    Features are scaled to the variance 1 first. If some are dependent, the weights in that scale have the smallest norm
    of all minima: with the dependent features ``T`` times the pivots, ``b`` the weights without the dependent ones,
    ``c = (1 + T T^T)^-1 T b`` are theirs, and ``b - T^T c`` those of the pivots.
    """
    size = len(right)
    scale = np.sqrt(np.diag(products) + l2)
    scale[scale == 0] = np.inf
    scaled = products.copy()
    for index in range(size):
        scaled[index, index] += l2
    scaled = scaled / scale / scale.reshape((size, 1))
    factor, pivots = _cholesky(scaled)
    chosen = np.zeros(size, np.bool_)
    chosen[pivots] = True
    dependent = np.flatnonzero(~chosen)
    basic = _solve_pivots(factor, pivots, (right / scale)[pivots])
    made_of = _dependencies(factor, pivots, dependent)
    rest = _smallest(made_of, basic)
    weights, inverse = np.zeros(size), np.full(size, np.nan)
    for index in range(len(dependent)):
        weights[dependent[index]] = rest[index]
        basic -= rest[index] * made_of[index]
    weights[pivots] = basic
    unit = np.zeros(len(pivots))
    spread = np.zeros(len(pivots))
    for column in range(len(pivots)):
        unit[:] = 0.0
        unit[column] = 1.0
        spread += _back(factor, pivots, unit) ** 2
    for index in range(len(pivots)):
        if len(dependent) == 0 or np.max(np.abs(made_of[:, index])) < _SHARED:
            inverse[pivots[index]] = spread[index] / scale[pivots[index]] ** 2
    return weights / scale, inverse, len(pivots)


@njit
def _smallest(made_of: Any, basic: Any) -> Any:
    """The weights of dependent features that make the norm of all weights smallest."""
    count = len(made_of)
    matrix, right = np.eye(count), np.zeros(count)
    for i in range(count):
        right[i] = np.sum(made_of[i] * basic)
        for j in range(count):
            matrix[i, j] += np.sum(made_of[i] * made_of[j])
    scale = np.sqrt(np.diag(matrix))
    factor, pivots = _cholesky(matrix / scale / scale.reshape((count, 1)))
    weights = np.zeros(count)
    weights[pivots] = _solve_pivots(factor, pivots, (right / scale)[pivots])
    return weights / scale


@njit(fastmath=set(REORDER))
def take_turns(products: Any, right: Any, variance: float, l1: float, l2: float, sweeps: int) -> Any:
    """Weights by coordinate descent: each in turn goes to its minimum, ``S(c - products.w without it, l1)``."""
    size = len(right)
    weights, rest = np.zeros(size), right.copy()
    enough = _TOLERANCE * math.sqrt(variance)
    for _ in range(sweeps):
        largest = 0.0
        for index in range(size):
            square = products[index, index]
            if square <= 0:
                continue
            pull = rest[index] + square * weights[index]
            moved = math.copysign(max(abs(pull) - l1, 0.0), pull) / (square + l2) - weights[index]
            if moved == 0:
                continue
            weights[index] += moved
            largest = max(largest, abs(moved) * math.sqrt(square))
            for other in range(size):
                rest[other] -= moved * products[index, other]
        if largest <= enough and _duality_gap(weights, rest, right, variance, l1, l2) <= _TOLERANCE * variance / 2:
            return weights
    raise ValueError("the weights have not settled after max_sweeps", sweeps, "; raise it, or l2")


@njit(fastmath=set(REORDER))
def _duality_gap(weights: Any, rest: Any, right: Any, variance: float, l1: float, l2: float) -> float:
    """How far the objective may be above its minimum, from the dual point that the residuals scaled down give."""
    steepest, size, square, explained, misfit = 0.0, 0.0, 0.0, 0.0, variance
    for index in range(len(weights)):
        weight = weights[index]
        steepest = max(steepest, abs(rest[index] - l2 * weight))
        size += abs(weight)
        square += weight * weight
        explained += weight * right[index]
        misfit -= weight * (right[index] + rest[index])
    shrink = min(1.0, l1 / steepest) if steepest > 0 else 1.0
    return (1 + shrink * shrink) * (misfit + l2 * square) / 2 + l1 * size - shrink * (variance - explained)


@njit
def two_sided_p(t: float, freedom: float) -> float:
    """The probability that Student's t is farther from 0 than ``t``.

    It is the regularised incomplete beta function ``I_x(freedom / 2, 1 / 2)`` at ``x = freedom / (freedom + t^2)``,
    by its continued fraction (DLMF 8.17.22), on the side of the mean on which that converges quickly.
    """
    if not 0 < abs(t) < math.inf:
        return math.nan if t != t else 1.0 if t == 0 else 0.0
    half, square = freedom / 2, t * t
    if half < 100:
        gammas = math.lgamma(half + 0.5) - math.lgamma(half)
    else:  # the difference of the two would lose digits
        gammas = math.log(half) / 2 - 1 / (8 * half) + 1 / (192 * half**3)
    above, below = freedom / (freedom + square), square / (freedom + square)
    front = math.exp(gammas - half * math.log1p(square / freedom)) * math.sqrt(below / math.pi)
    if above < (half + 1) / (half + 2.5):
        return front * _beta_fraction(above, half, 0.5) / half
    return 1 - 2 * front * _beta_fraction(below, 0.5, half)


@njit
def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, from the front by Lentz's method."""
    upper, lower = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value, step = lower, 1
    while step < 1_000_000:
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        upper, lower = 1 + even / upper, 1 / (1 + even * lower)
        value *= upper * lower
        upper, lower = 1 + odd / upper, 1 / (1 + odd * lower)
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
        step += 1
    return value

"""Solvers of the portfolio problem: the weights that minimise ``p.w + w.H w / 2`` with the sum 1.

It is a convex quadratic programme: ``p`` is the cost (``linear``), ``H`` the Hessian, twice the risk aversion times the
covariance, and the gradient is ``p + H w``. Only differences between assets matter, as the sum is fixed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .prox import nearest_on_simplex

#: A direction is flat if its curvature is below this share of the Hessian's numbers that it is made of.
_FLAT = 1e-12
#: Slopes that differ by less than this share of what they are made of are equal.
_EQUAL_SLOPES = 1e-12
#: An active set is found in about as many steps as there are assets.
_STEPS_PER_ASSET = 50
_NO_MINIMUM = (
    "without long_only there is no single best portfolio, as two differ by no risk; expected a "
    "risk_aversion above 0, assets that do not depend on each other, and more rows of returns than assets"
)


@njit
def _dot(left: Any, right: Any) -> float:
    total = 0.0
    for index in range(len(left)):
        total += left[index] * right[index]
    return total


@njit
def _measure(linear: Any, hessian: Any, weights: Any, slopes: Any, sizes: Any) -> None:
    """Write the gradient, and the sizes of what its numbers are sums of, against which rounding errors are measured."""
    for asset in range(len(weights)):
        slopes[asset], sizes[asset] = linear[asset], abs(linear[asset])
    for i in range(len(weights)):
        if weights[i] != 0:
            for j in range(len(weights)):
                slopes[j] += hessian[i, j] * weights[i]
                sizes[j] += abs(hessian[i, j] * weights[i])


@njit
def _way(hessian: Any, slopes: Any, free: Any, count: int, way: Any) -> bool:
    """Find the way to the minimum over the free assets with the sum kept; tell whether there is one.

    The asset of least variance makes up for what the others move, so that these have the Hessian of the differences,
    ``h_ij - h_ir - h_rj + h_rr``. It is factored (Cholesky) up to the first asset that adds no curvature; if there is
    one, the way is downhill along the direction that is flat.
    """
    balance = 0
    for place in range(count):
        if hessian[free[place], free[place]] < hessian[free[balance], free[balance]]:
            balance = place
    base = free[balance]
    factor, right, solved, flat = np.zeros((count, count)), np.zeros(count), count, -1
    for i in range(count):
        asset, rest = free[i], 0.0
        if i == balance:
            continue
        for j in range(i + 1):
            other = free[j]
            rest = hessian[asset, other] - hessian[asset, base] - hessian[base, other] + hessian[base, base]
            for k in range(j):
                rest -= factor[i, k] * factor[j, k]
            if j < i and j != balance:
                factor[i, j] = rest / factor[j, j]
        if rest <= _FLAT * (hessian[asset, asset] + hessian[base, base]):
            solved = flat = i
            break
        factor[i, i] = math.sqrt(rest)
        rest = slopes[base] - slopes[asset]
        for k in range(i):
            rest -= factor[i, k] * right[k]
        right[i] = rest / factor[i, i]
    for i in range(count):
        way[i] = 0.0
    if flat >= 0:
        way[flat] = 1.0
        for i in range(flat):
            right[i] = -factor[flat, i]
    total, downhill = way[flat] if flat >= 0 else 0.0, 0.0
    for i in range(solved - 1, -1, -1):
        if i != balance:
            rest = right[i]
            for k in range(i + 1, solved):
                rest -= factor[k, i] * way[k]
            way[i] = rest / factor[i, i]
            total += way[i]
    way[balance] = -total
    for i in range(count):
        downhill -= way[i] * slopes[free[i]]
    if flat >= 0 and downhill < 0:
        for i in range(count):
            way[i] = -way[i]
    return flat < 0


@njit
def _spread(linear: Any, hessian: Any, lower: Any, upper: Any, held: Any) -> Any:
    """Weights within the bounds with the sum 1, those of the best single assets as high as can be.

    Tells for each asset whether its lower (-1), its upper (1) or no bound (0) holds it; one asset at least is free.
    """
    size = len(linear)
    weights, rest = np.empty(size), 1.0
    for asset in range(size):
        weights[asset] = lower[asset] if lower[asset] > -math.inf else min(upper[asset], 0.0)
        rest -= weights[asset]
    for asset in range(size):
        if rest < 0 and lower[asset] == -math.inf:
            weights[asset] += rest
            rest = 0.0
    last = 0
    for asset in np.argsort(linear + np.diag(hessian) / 2):
        if rest > 0:
            last = asset
            before = weights[asset]
            weights[asset] = min(before + rest, upper[asset])
            rest -= weights[asset] - before
    for asset in range(size):
        held[asset] = -1 if weights[asset] <= lower[asset] else 1 if weights[asset] >= upper[asset] else 0
    if np.all(held != 0):
        held[last] = 0
    return weights


@njit
def _blocking(
    weights: Any, free: Any, count: int, way: Any, lower: Any, upper: Any, length: float
) -> tuple[float, int]:
    """How far the way leads, at most ``length``, and the place of the asset that meets a bound there, or -1."""
    blocking = -1
    for place in range(count):
        asset = free[place]
        room = upper[asset] - weights[asset] if way[place] > 0 else weights[asset] - lower[asset]
        if way[place] != 0 and room < length * abs(way[place]):
            length, blocking = room / abs(way[place]), place
    return length, blocking


@njit
def bounded_minimum(linear: Any, hessian: Any, lower: Any, upper: Any) -> Any:
    """The minimum over weights between bounds with the sum 1, by the primal active-set method.

    It begins with the best single assets. The free assets go to their minimum; one that meets a bound on the way is
    held there. At the minimum the held asset is freed that gains most by moving away from its bound; if there is none,
    it is the solution (Karush, Kuhn, Tucker). The active constraints are linearly independent, which rules out cycles.
    The bounds must leave room for the sum 1.
    """
    size = len(linear)
    held = np.zeros(size, np.int8)
    weights = _spread(linear, hessian, lower, upper, held)
    free, slopes, sizes, way = np.empty(size, np.int64), np.empty(size), np.empty(size), np.empty(size)
    count = 0
    for asset in range(size):
        if held[asset] == 0:
            free[count] = asset
            count += 1
    for _ in range(_STEPS_PER_ASSET * (size + 1)):
        _measure(linear, hessian, weights, slopes, sizes)
        curved = _way(hessian, slopes, free, count, way)
        length, blocking = _blocking(weights, free, count, way, lower, upper, 1.0 if curved else math.inf)
        if length == math.inf:
            raise ValueError(_NO_MINIMUM)
        for place in range(count):
            asset = free[place]
            weights[asset] = min(max(weights[asset] + length * way[place], lower[asset]), upper[asset])
        if blocking >= 0:
            asset = free[blocking]
            held[asset] = 1 if way[blocking] > 0 else -1
            weights[asset] = upper[asset] if way[blocking] > 0 else lower[asset]
            count -= 1
            for place in range(blocking, count):
                free[place] = free[place + 1]
            continue
        _measure(linear, hessian, weights, slopes, sizes)
        level, size_of_level, steepest = 0.0, 0.0, 0.0
        for place in range(count):
            level += slopes[free[place]] / count
            size_of_level += sizes[free[place]] / count
        for asset in range(size):
            gain = held[asset] * (slopes[asset] - level)
            movable = upper[asset] > lower[asset]
            if movable and gain > steepest and gain > _EQUAL_SLOPES * (sizes[asset] + size_of_level):
                steepest, free[count] = gain, asset
        if steepest == 0:
            return weights
        held[free[count]] = 0
        count += 1
    raise ValueError("the active set has not settled; expected assets whose returns are closer in size")


@njit
def free_minimum(linear: Any, hessian: Any) -> Any:
    """The minimum over all weights with the sum 1: one linear system, and once more for the rounding errors."""
    size = len(linear)
    weights, free, way = np.full(size, 1 / size), np.arange(size), np.empty(size)
    slopes, sizes = np.empty(size), np.empty(size)
    for _ in range(2):
        _measure(linear, hessian, weights, slopes, sizes)
        if not _way(hessian, slopes, free, size, way):
            raise ValueError(_NO_MINIMUM)
        for asset in range(size):
            weights[asset] += way[asset]
    return weights


@njit
def projected_gradient(linear: Any, hessian: Any, epochs: int, tolerance: float) -> Any:
    """The minimum over the simplex by gradient steps, each projected, with momentum that restarts when it leads uphill.

    It ends when ``w.g - min g``, by which the objective is at most above its minimum (Frank, Wolfe), is small.
    """
    size, curvature, steepest = len(linear), 0.0, 0.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += abs(hessian[i, j])
        curvature = max(curvature, total)  # in the end at least the largest eigenvalue
        steepest = max(steepest, abs(linear[i]))
    curvature = curvature if curvature > 0 else max(steepest, 1.0)
    weights, momentum = np.full(size, 1 / size), 1.0
    slopes, sizes = np.empty(size), np.empty(size)
    _measure(linear, hessian, weights, slopes, sizes)
    ahead, slopes_ahead = weights.copy(), slopes.copy()
    for _ in range(epochs):
        lowest = math.inf
        for asset in range(size):
            lowest = min(lowest, slopes[asset])
        if _dot(weights, slopes) - lowest <= tolerance * _dot(weights, sizes):
            return weights
        for asset in range(size):
            ahead[asset] -= slopes_ahead[asset] / curvature
        nearest = nearest_on_simplex(ahead)
        uphill = 0.0
        for asset in range(size):
            came_from = ahead[asset] + slopes_ahead[asset] / curvature
            uphill += (came_from - nearest[asset]) * (nearest[asset] - weights[asset])
        momentum = 1.0 if uphill > 0 else momentum
        grown = (1 + math.sqrt(1 + 4 * momentum * momentum)) / 2
        share, momentum = (momentum - 1) / grown, grown
        for asset in range(size):
            ahead[asset] = nearest[asset] + share * (nearest[asset] - weights[asset])
            slopes_ahead[asset] = -share * slopes[asset]
        weights = nearest
        _measure(linear, hessian, weights, slopes, sizes)
        for asset in range(size):  # the slopes are linear in the weights
            slopes_ahead[asset] += (1 + share) * slopes[asset]
    raise ValueError(
        "method 'sgd' has not settled; raise option tolerance, take 'exact', or raise option epochs from", epochs
    )

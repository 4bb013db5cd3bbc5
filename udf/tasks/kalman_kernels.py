"""Kalman filter and Rauch-Tung-Striebel smoother, one series at a time, in plain loops.

Arrays have one row per time; missing numbers of the series are NaN.

With a fixed model the covariances do not depend on the data, and soon repeat. Where one is that of the row before but
for its last bits, so are the gain and all that follows from them, and only the means are still computed. Series of one
model, as long as nothing is missing in them, go through the same covariances: the first of them computes these for all.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .kalman_matrices import COMPILED, add_sandwich, apply, factorise, identity_minus, observe, repeats, solve

#: Most rows whose covariances are kept for further series.
_COURSE_ROWS = 256


# --------------------------------------------------------------------------------------------------------------- filter


@njit(**COMPILED)
def _weigh(model: Any, predicted: Any, seen: Any, count: int, noise: Any, factor: Any, gain: Any) -> bool:
    """The gain ``K = P C' S^-1`` of the components seen, their noise and the Cholesky factor of ``S = C P C' + R``."""
    states = len(predicted)
    for i in range(states):
        for k in range(count):
            total = 0.0
            for j in range(states):
                total += predicted[i, j] * model.C[seen[k], j]
            gain[i, k] = total
    for k in range(count):
        for other in range(k + 1):
            noise[k, other] = noise[other, k] = model.R[seen[k], seen[other]]
            total = noise[k, other]
            for j in range(states):
                total += model.C[seen[k], j] * gain[j, other]
            factor[k, other] = total
    definite = factorise(factor, count, factor)
    for i in range(states):
        solve(factor, count, gain[i])
    return definite


class _Course(NamedTuple):
    """What the first rows of a series have in common with those of others, as long as nothing is missing.

    Attributes
    ----------
    known : (1,), how many rows of the others are known.
    covs, gains, factors, constants : of each of these rows, as in `_filter_rows`.
    """

    known: Any
    covs: Any
    gains: Any
    factors: Any
    constants: Any


@njit(**COMPILED)
def filter_series(starts: Any, y: Any, model: Any, keep: bool, means: Any, covs: Any, logliks: Any) -> tuple[int, bool]:
    """`_filter_rows` of many series: series i has the rows from ``starts[i]`` to ``starts[i + 1]``.

    Returns
    -------
    the row of its series whose innovation covariance is not positive definite, or -1, and whether all that came out is
    finite.
    """
    width, states, finite = y.shape[1], len(model.m0), True
    depth = min(np.diff(starts).max(), _COURSE_ROWS) if len(starts) > 2 else 0
    course = _Course(
        np.zeros(1, np.int64),
        np.empty((depth, states, states)),
        np.empty((depth, states, width)),
        np.empty((depth, width, width)),
        np.empty(depth),
    )
    for series in range(len(starts) - 1):
        first, last = starts[series], starts[series + 1]
        kept = (first, last) if keep else (0, 0)
        loglik, failed = _filter_rows(
            y[first:last], model, course, keep, means[kept[0] : kept[1]], covs[kept[0] : kept[1]]
        )
        if failed >= 0:
            return failed, finite
        logliks[series] = loglik
        finite = finite and math.isfinite(loglik)
        if keep and last > first:
            finite = finite and np.isfinite(means[last - 1]).all() and np.isfinite(covs[last - 1]).all()
    return -1, finite


@njit(**COMPILED)
def _filter_rows(y: Any, model: Any, course: Any, keep: bool, means: Any, covs: Any) -> tuple[float, int]:
    """Kalman filter: predict ``m = A m, P = A P A' + Q``, then update with the components that are not missing.

    The update is ``m += K r``, ``P = (I - K C) P (I - K C)' + K R K'`` (Joseph) for the innovation ``r = y - C m``,
    and adds ``-(log |2 pi S| + r' S^-1 r) / 2`` to the log-likelihood.

    Parameters
    ----------
    y : (rows, width).
    course : what is known of the covariances from series of the model before; what is found is added.
    keep : whether to store each row's estimate.
    means, covs : (rows, states) and (rows, states, states), filled if kept.

    Returns
    -------
    log-likelihood, and the row whose innovation covariance is not positive definite, or -1.
    """
    width, states = y.shape[1], len(model.m0)
    mean, predicted_mean, residual = model.m0.copy(), np.empty(states), np.empty(width)
    cov, predicted, rest = model.P0.copy(), np.empty((states, states)), np.empty((states, states))
    noise, factor, gain = np.empty((width, width)), np.empty((width, width)), np.empty((states, width))
    half, before = np.empty((states, max(states, width))), np.empty((states, states))
    seen, count, constant, loglik = np.zeros(width, np.int64), 0, 0.0, 0.0
    settled, whole = False, True
    for row in range(len(y)):
        count, same = observe(y[row], seen, count)
        settled, whole = settled and same, whole and count == width
        apply(model.A, mean, predicted_mean)
        if not settled:
            before[:] = cov
            if whole and row < course.known[0]:
                cov[:], gain[:], factor[:] = course.covs[row], course.gains[row], course.factors[row]
                constant = course.constants[row]
            else:
                predicted[:] = model.Q
                add_sandwich(model.A, cov, states, half, predicted)
                if not _weigh(model, predicted, seen, count, noise, factor, gain):
                    return loglik, row
                if count:
                    identity_minus(gain, model.C, seen, count, rest)
                    cov[:] = 0.0
                    add_sandwich(gain, noise, count, half, cov)
                    add_sandwich(rest, predicted, states, half, cov)
                else:
                    cov[:] = predicted
                constant = count * math.log(2 * math.pi)
                for k in range(count):
                    constant += 2 * math.log(factor[k, k])
                if whole and row < len(course.constants):
                    course.covs[row], course.gains[row], course.factors[row] = cov, gain, factor
                    course.constants[row] = constant
                    course.known[0] = row + 1
            settled = same and row > 0 and repeats(cov, before)
        for k in range(count):
            total = y[row, seen[k]]
            for j in range(states):
                total -= model.C[seen[k], j] * predicted_mean[j]
            residual[k] = total
        for i in range(states):
            total = predicted_mean[i]
            for k in range(count):
                total += gain[i, k] * residual[k]
            mean[i] = total
        loglik -= (constant + _squared_length(factor, count, residual)) / 2
        if keep:
            for i in range(states):
                means[row, i] = mean[i]
                for j in range(states):
                    covs[row, i, j] = cov[i, j]
    return loglik, -1


@njit(**COMPILED)
def _squared_length(factor: Any, size: int, vector: Any) -> float:
    """``vector' (factor factor')^-1 vector``; the vector is overwritten."""
    squares = 0.0
    for i in range(size):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * vector[k]
        vector[i] = total / factor[i, i]
        squares += vector[i] * vector[i]
    return squares


# ------------------------------------------------------------------------------------------------------------- smoother


@njit(**COMPILED)
def smooth_series(starts: Any, model: Any, means: Any, covs: Any) -> None:
    """`_smooth_rows` of many series: series i has the rows from ``starts[i]`` to ``starts[i + 1]``."""
    for series in range(len(starts) - 1):
        first, last = starts[series], starts[series + 1]
        _smooth_rows(model, means[first:last], covs[first:last])


@njit(**COMPILED)
def _smooth_rows(model: Any, means: Any, covs: Any) -> None:
    """Rauch-Tung-Striebel smoother, backwards and in place over the filter's estimates.

    With ``G = P A' (A P A' + Q)^-1`` it is ``m += G (m_next - A m)`` and, in a form that cannot lose definiteness,
    ``P = (I - G A) P (I - G A)' + G (P_next + Q) G'``.
    """
    rows, states = means.shape
    predicted, factor, gain = np.empty((states, states)), np.empty((states, states)), np.empty((states, states))
    rest, half, filtered = np.empty((states, states)), np.empty((states, states)), np.empty((states, states))
    own, change, every, settled = np.empty((states, states)), np.empty(states), np.arange(states), False
    for row in range(rows - 2, -1, -1):
        repeated = row < rows - 2 and repeats(covs[row], filtered)
        if not repeated:
            filtered[:] = covs[row]
            predicted[:] = model.Q
            add_sandwich(model.A, filtered, states, half, predicted)
            factorise(predicted, states, factor)
            for i in range(states):
                apply(model.A, filtered[i], gain[i])
                solve(factor, states, gain[i])
            identity_minus(gain, model.A, every, states, rest)
            own[:] = 0.0
            add_sandwich(rest, filtered, states, half, own)
            add_sandwich(gain, model.Q, states, half, own)
        settled = repeated and (settled or repeats(covs[row + 1], covs[row + 2]))
        if settled:
            covs[row] = covs[row + 1]
        else:
            covs[row] = own
            add_sandwich(gain, covs[row + 1], states, half, covs[row])
        apply(model.A, means[row], change)
        for i in range(states):
            change[i] = means[row + 1, i] - change[i]
        for i in range(states):
            for j in range(states):
                means[row, i] += gain[i, j] * change[j]

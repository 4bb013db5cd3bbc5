"""Kalman filter, Rauch-Tung-Striebel smoother and the MAP smoother, one series at a time, in plain loops.

States are few, so that a call of LAPACK would cost more than the arithmetic: matrices are small arrays and the loops
over them are written out. Arrays have one row per time; missing numbers of the series are NaN.

With a fixed model the covariances do not depend on the data, and soon repeat. Where one is that of the row before but
for its last bits, so are the gain and all that follows from them, and only the means are still computed. Series of one
model, as long as nothing is missing in them, go through the same covariances: the first of them computes these for all.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

#: How the kernels are compiled; ``nogil`` lets the series of a GROUP BY run side by side.
_COMPILED = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
#: A pivot below this part of its diagonal is rounding error.
_ROUNDING = 1e-14
#: The same after elimination has passed through many rows.
_SINGULAR = 1e-12
#: Most rows whose covariances are kept for further series.
_COURSE_ROWS = 256
#: Covariances of unit variance that differ by less count as equal.
_LAST_BITS = 4e-16


class StateSpace(NamedTuple):
    """The model ``x[t] = A x[t-1] + N(0, Q)``, ``y[t] = C x[t] + N(0, R)``, ``x[0] = N(m0, P0)``, rows from t = 1.

    Attributes
    ----------
    A, Q, P0 : (states, states).
    C : (width, states).
    R : (width, width).
    m0 : (states,).
    """

    A: Any
    C: Any
    Q: Any
    R: Any
    m0: Any
    P0: Any


# ------------------------------------------------------------------------------------------------------ small matrices


@njit(**_COMPILED)
def _apply(matrix: Any, vector: Any, out: Any) -> None:
    """``out = matrix vector``."""
    for i in range(len(out)):
        total = 0.0
        for j in range(len(vector)):
            total += matrix[i, j] * vector[j]
        out[i] = total


@njit(**_COMPILED)
def _add_sandwich(left: Any, middle: Any, inner: int, half: Any, out: Any) -> None:
    """``out += left middle left'`` for symmetric ``middle`` and ``out``, over the first ``inner`` columns."""
    for i in range(len(out)):
        for j in range(inner):
            total = 0.0
            for k in range(inner):
                total += left[i, k] * middle[k, j]
            half[i, j] = total
    for i in range(len(out)):
        for j in range(i + 1):
            total = out[i, j]
            for k in range(inner):
                total += half[i, k] * left[j, k]
            out[i, j] = out[j, i] = total


@njit(**_COMPILED)
def _factorise(matrix: Any, size: int, factor: Any) -> bool:
    """Cholesky factor of the leading block; False if it is not positive definite.

    A pivot of a semi-definite matrix that is zero but for rounding leaves a zero column, and `_solve` a zero there: a
    solution as good as any, if there is one.
    """
    definite = True
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i > j:
                factor[i, j] = total / factor[j, j] if factor[j, j] > 0 else 0.0
            elif total > _ROUNDING * matrix[i, i] and total < math.inf:
                factor[i, i] = math.sqrt(total)
            else:
                factor[i, i] = 0.0
                definite = False
    return definite


@njit(**_COMPILED)
def _solve(factor: Any, size: int, vector: Any) -> None:
    """Replace ``vector`` by the solution of ``factor factor' x = vector``."""
    for i in range(size):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * vector[k]
        vector[i] = total / factor[i, i] if factor[i, i] > 0 else 0.0
    for i in range(size - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, size):
            total -= factor[k, i] * vector[k]
        vector[i] = total / factor[i, i] if factor[i, i] > 0 else 0.0


@njit(**_COMPILED)
def _identity_minus(left: Any, right: Any, rows: Any, count: int, out: Any) -> None:
    """``out = I - left right``, over the given rows of ``right``."""
    for i in range(len(out)):
        for j in range(len(out)):
            total = 1.0 if i == j else 0.0
            for k in range(count):
                total -= left[i, k] * right[rows[k], j]
            out[i, j] = total


@njit(**_COMPILED)
def _repeats(left: Any, right: Any) -> bool:
    """Whether two covariances are the same but for the last bits, measured by their standard deviations."""
    for i in range(len(left)):
        for j in range(i + 1):
            if (left[i, j] - right[i, j]) ** 2 > _LAST_BITS**2 * left[i, i] * left[j, j]:
                return False
    return True


# --------------------------------------------------------------------------------------------------------------- filter


@njit(**_COMPILED)
def _observe(row: Any, seen: Any, count: int) -> tuple[int, bool]:
    """List the components that are there in ``seen``; gives how many, and whether they are those listed before."""
    found, same = 0, True
    for component in range(len(row)):
        if not math.isnan(row[component]):
            same = same and found < count and seen[found] == component
            seen[found] = component
            found += 1
    return found, same and found == count


@njit(**_COMPILED)
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
    definite = _factorise(factor, count, factor)
    for i in range(states):
        _solve(factor, count, gain[i])
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


@njit(**_COMPILED)
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


@njit(**_COMPILED)
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
        count, same = _observe(y[row], seen, count)
        settled, whole = settled and same, whole and count == width
        _apply(model.A, mean, predicted_mean)
        if not settled:
            before[:] = cov
            if whole and row < course.known[0]:
                cov[:], gain[:], factor[:] = course.covs[row], course.gains[row], course.factors[row]
                constant = course.constants[row]
            else:
                predicted[:] = model.Q
                _add_sandwich(model.A, cov, states, half, predicted)
                if not _weigh(model, predicted, seen, count, noise, factor, gain):
                    return loglik, row
                if count:
                    _identity_minus(gain, model.C, seen, count, rest)
                    cov[:] = 0.0
                    _add_sandwich(gain, noise, count, half, cov)
                    _add_sandwich(rest, predicted, states, half, cov)
                else:
                    cov[:] = predicted
                constant = count * math.log(2 * math.pi)
                for k in range(count):
                    constant += 2 * math.log(factor[k, k])
                if whole and row < len(course.constants):
                    course.covs[row], course.gains[row], course.factors[row] = cov, gain, factor
                    course.constants[row] = constant
                    course.known[0] = row + 1
            settled = same and row > 0 and _repeats(cov, before)
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


@njit(**_COMPILED)
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


@njit(**_COMPILED)
def smooth_series(starts: Any, model: Any, means: Any, covs: Any) -> None:
    """`_smooth_rows` of many series: series i has the rows from ``starts[i]`` to ``starts[i + 1]``."""
    for series in range(len(starts) - 1):
        first, last = starts[series], starts[series + 1]
        _smooth_rows(model, means[first:last], covs[first:last])


@njit(**_COMPILED)
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
        repeated = row < rows - 2 and _repeats(covs[row], filtered)
        if not repeated:
            filtered[:] = covs[row]
            predicted[:] = model.Q
            _add_sandwich(model.A, filtered, states, half, predicted)
            _factorise(predicted, states, factor)
            for i in range(states):
                _apply(model.A, filtered[i], gain[i])
                _solve(factor, states, gain[i])
            _identity_minus(gain, model.A, every, states, rest)
            own[:] = 0.0
            _add_sandwich(rest, filtered, states, half, own)
            _add_sandwich(gain, model.Q, states, half, own)
        settled = repeated and (settled or _repeats(covs[row + 1], covs[row + 2]))
        if settled:
            covs[row] = covs[row + 1]
        else:
            covs[row] = own
            _add_sandwich(gain, covs[row + 1], states, half, covs[row])
        _apply(model.A, means[row], change)
        for i in range(states):
            change[i] = means[row + 1, i] - change[i]
        for i in range(states):
            for j in range(states):
                means[row, i] += gain[i, j] * change[j]


# --------------------------------------------------------------------------------------------------------- MAP smoother


@njit(**_COMPILED)
def _weights(model: Any, seen: Any, count: int, noise: Any, factor: Any, weights: Any) -> None:
    """``weights = C' R^-1`` for the components seen: what a residual of each adds to the gradient."""
    for k in range(count):
        for other in range(count):
            noise[k, other] = model.R[seen[k], seen[other]]
    _factorise(noise, count, factor)
    for i in range(len(weights)):
        for k in range(count):
            weights[i, k] = model.C[seen[k], i]
        _solve(factor, count, weights[i])


@njit(**_COMPILED)
def minimise(y: Any, model: Any, precision: Any, below: Any, carried: Any, means: Any, covs: Any) -> bool:
    """The states with the least ``sum |y[t] - C x[t]|^2_R + sum over t > 1 of |x[t] - A x[t-1]|^2_Q``, exactly.

    ``|v|^2_R`` is ``v' R^-1 v``. Half the Hessian has the blocks ``C' R^-1 C + Q^-1 + A' Q^-1 A`` on its diagonal
    (without ``Q^-1`` in the first row, ``A' Q^-1 A`` in the last) and ``B = -Q^-1 A`` below it. Block Cholesky
    elimination runs down the rows, leaving factors in ``covs`` and right-hand sides in ``means``; substitution runs
    back up. The blocks of the Hessian's inverse are the covariances under a flat prior.

    Parameters
    ----------
    precision, below, carried : (states, states) each: ``Q^-1``, ``B`` and ``A' Q^-1 A``.

    Returns
    -------
    Whether there is one minimum; otherwise the rows leave some direction of the states open.
    """
    rows, width = y.shape
    states = len(precision)
    noise, factor, weights = np.empty((width, width)), np.empty((width, width)), np.empty((states, width))
    information, block, gain = np.zeros((states, states)), np.empty((states, states)), np.empty((states, states))
    seen, count, diagonal = np.zeros(width, np.int64), 0, np.empty(states)
    for row in range(rows):
        count, same = _observe(y[row], seen, count)
        if not same:
            _weights(model, seen, count, noise, factor, weights)
            for i in range(states):
                for j in range(states):
                    information[i, j] = 0.0
                    for k in range(count):
                        information[i, j] += weights[i, k] * model.C[seen[k], j]
        for i in range(states):
            means[row, i] = 0.0
            for k in range(count):
                means[row, i] += weights[i, k] * y[row, seen[k]]
            for j in range(states):
                block[i, j] = information[i, j] + (carried[i, j] if row < rows - 1 else 0.0)
                block[i, j] += precision[i, j] if row else 0.0
            diagonal[i] = block[i, i]
        if row:
            for i in range(states):
                gain[i] = below[i]
                _solve(covs[row - 1], states, gain[i])
                for j in range(states):
                    means[row, i] -= gain[i, j] * means[row - 1, j]
            for i in range(states):
                for j in range(states):
                    for k in range(states):
                        block[i, j] -= gain[i, k] * below[j, k]
        definite = _factorise(block, states, covs[row])
        for i in range(states):
            definite = definite and covs[row, i, i] ** 2 > _SINGULAR * diagonal[i]
        if not definite:
            return False
    _substitute(below, means, covs)
    return True


@njit(**_COMPILED)
def _substitute(below: Any, means: Any, covs: Any) -> None:
    """The way back of `minimise`, from the last row to the first: ``P = S^-1 + (S^-1 B') P_next (S^-1 B')'``."""
    rows, states = means.shape
    factor, half = np.empty((states, states)), np.empty((states, states))
    gain, column = np.empty((states, states)), np.empty(states)
    for row in range(rows - 1, -1, -1):
        factor[:] = covs[row]
        for i in range(states):
            covs[row, i] = 0.0
            covs[row, i, i] = 1.0
            _solve(factor, states, covs[row, i])
        if row < rows - 1:
            for i in range(states):
                column[:] = below[i]
                _solve(factor, states, column)
                gain[:, i] = column
                for j in range(states):
                    means[row, j] -= below[i, j] * means[row + 1, i]
            _add_sandwich(gain, covs[row + 1], states, half, covs[row])
        _solve(factor, states, means[row])


@njit(**_COMPILED)
def descend(y: Any, model: Any, precision: Any, step_size: float, decay: float, epochs: int, means: Any) -> int:
    """Incremental gradient descent on half the objective of `minimise`, one row's two terms after the other.

    Parameters
    ----------
    precision : (states, states), the inverse of Q.
    step_size, decay : pass e, counted from 0, has the step size ``step_size / (1 + decay e)``.
    means : (rows, states), where to start; overwritten.

    Returns
    -------
    The epoch in which the states became infinite, or -1.
    """
    width, states = y.shape[1], len(precision)
    noise, factor, weights = np.empty((width, width)), np.empty((width, width)), np.empty((states, width))
    change, slope, residual = np.empty(states), np.empty(states), np.empty(width)
    seen, count = np.zeros(width, np.int64), 0
    for epoch in range(epochs):
        rate, largest = step_size / (1 + decay * epoch), 0.0
        for row in range(len(y)):
            count, same = _observe(y[row], seen, count)
            if not same:
                _weights(model, seen, count, noise, factor, weights)
            for k in range(count):
                residual[k] = -y[row, seen[k]]
                for j in range(states):
                    residual[k] += model.C[seen[k], j] * means[row, j]
            for i in range(states):
                for k in range(count):
                    means[row, i] -= rate * weights[i, k] * residual[k]
            if row:
                _apply(model.A, means[row - 1], change)
                for i in range(states):
                    change[i] = means[row, i] - change[i]
                _apply(precision, change, slope)
                for i in range(states):
                    means[row, i] -= rate * slope[i]
                    for j in range(states):
                        means[row - 1, j] += rate * model.A[i, j] * slope[i]
            for i in range(states):
                largest += abs(means[row, i])
        if not largest < math.inf:
            return epoch
    return -1

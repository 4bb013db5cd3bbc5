"""The MAP smoother: the states that are most probable given all rows, exactly and by gradient descent.

Arrays have one row per time; missing numbers of the series are NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .kalman_matrices import COMPILED, add_sandwich, apply, factorise, observe, solve

#: A pivot below this part of its diagonal, after elimination has passed through many rows, is rounding error.
_SINGULAR = 1e-12


@njit(**COMPILED)
def _weights(model: Any, seen: Any, count: int, noise: Any, factor: Any, weights: Any) -> None:
    """``weights = C' R^-1`` for the components seen: what a residual of each adds to the gradient."""
    for k in range(count):
        for other in range(count):
            noise[k, other] = model.R[seen[k], seen[other]]
    factorise(noise, count, factor)
    for i in range(len(weights)):
        for k in range(count):
            weights[i, k] = model.C[seen[k], i]
        solve(factor, count, weights[i])


@njit(**COMPILED)
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
        count, same = observe(y[row], seen, count)
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
                solve(covs[row - 1], states, gain[i])
                for j in range(states):
                    means[row, i] -= gain[i, j] * means[row - 1, j]
            for i in range(states):
                for j in range(states):
                    for k in range(states):
                        block[i, j] -= gain[i, k] * below[j, k]
        definite = factorise(block, states, covs[row])
        for i in range(states):
            definite = definite and covs[row, i, i] ** 2 > _SINGULAR * diagonal[i]
        if not definite:
            return False
    _substitute(below, means, covs)
    return True


@njit(**COMPILED)
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
            solve(factor, states, covs[row, i])
        if row < rows - 1:
            for i in range(states):
                column[:] = below[i]
                solve(factor, states, column)
                gain[:, i] = column
                for j in range(states):
                    means[row, j] -= below[i, j] * means[row + 1, i]
            add_sandwich(gain, covs[row + 1], states, half, covs[row])
        solve(factor, states, means[row])


@njit(**COMPILED)
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
            count, same = observe(y[row], seen, count)
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
                apply(model.A, means[row - 1], change)
                for i in range(states):
                    change[i] = means[row, i] - change[i]
                apply(precision, change, slope)
                for i in range(states):
                    means[row, i] -= rate * slope[i]
                    for j in range(states):
                        means[row - 1, j] += rate * model.A[i, j] * slope[i]
            for i in range(states):
                largest += abs(means[row, i])
        if not largest < math.inf:
            return epoch
    return -1

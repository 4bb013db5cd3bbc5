"""Training of a softmax regression: the whole objective for L-BFGS, and steps on single rows.

Weights are a matrix with a row for each class, its intercept at the end, of standardised features: their scale is
taken out before, and put back into the weights after. Penalties are on the weights of the features as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .vectors import REORDER

#: Rows whose scores are held at a time.
_PIECE = 65_536
#: Rows on which the step size is chosen; its unit is ``2^k / mean square of a row``.
_SAMPLE, _LOWEST, _HIGHEST = 2000, -8, 4
#: The step size falls with ``1 / sqrt(1 + t / 2000)``.
_DECAY = 1 / 2000


class Rows(NamedTuple):
    """Labelled rows as numbers.

    Attributes
    ----------
    classes : the number of each row's class.
    features : rows x features, float64.
    weights : of the rows.
    """

    classes: np.ndarray
    features: np.ndarray
    weights: np.ndarray


class Solution(NamedTuple):
    """What training gives.

    Attributes
    ----------
    weights : a row for each class, its intercept at the end.
    loss : mean loss per row.
    history : mean loss and penalties after each epoch.
    converged : whether the tolerance was reached.
    """

    weights: np.ndarray
    loss: float
    history: list[float]
    converged: bool


class _Scaled(NamedTuple):
    """Rows with standardised features, and how to go back."""

    rows: Rows
    mean: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, rows: Rows) -> _Scaled:
        mean = np.average(rows.features, axis=0, weights=rows.weights)
        deviation = np.sqrt(np.average(np.square(rows.features - mean), axis=0, weights=rows.weights))
        constant = deviation <= 1e-12 * np.abs(mean)
        deviation[constant] = np.where(mean[constant] == 0, 1, np.abs(mean[constant]))
        return cls(rows._replace(features=(rows.features - mean) / deviation), mean, 1 / deviation)

    def inside(self, weights: np.ndarray, fit_intercept: bool) -> np.ndarray:
        """Weights of standardised features from those of plain ones."""
        made = weights.copy()
        made[:, :-1] /= self.inverse
        made[:, -1] += (weights[:, :-1] @ self.mean) * fit_intercept
        return made

    def outside(self, weights: np.ndarray, fit_intercept: bool) -> np.ndarray:
        """Weights of plain features from those of standardised ones."""
        made = weights.copy()
        made[:, :-1] *= self.inverse
        made[:, -1] = (weights[:, -1] - made[:, :-1] @ self.mean) * fit_intercept
        return made


def _scaled(rows: Rows, fit_intercept: bool) -> _Scaled:
    """Standardised rows; without an intercept they are only scaled, as a shift would need one."""
    scaled = _Scaled.of(rows)
    if fit_intercept:
        return scaled
    return _Scaled(rows._replace(features=rows.features * scaled.inverse), np.zeros_like(scaled.mean), scaled.inverse)


def loss_and_gradient(rows: Rows, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean loss of rows, and its gradient by the weights."""
    loss, gradient, mass = 0.0, np.zeros_like(weights), rows.weights.sum()
    for start in range(0, len(rows.classes), _PIECE):
        piece = slice(start, start + _PIECE)
        features, labels, weight = rows.features[piece], rows.classes[piece], rows.weights[piece]
        scores = features @ weights[:, :-1].T + weights[:, -1]
        scores -= scores.max(axis=1, keepdims=True)
        each = np.arange(len(labels))
        chosen = scores[each, labels]
        powers = np.exp(scores, out=scores)
        total = powers.sum(axis=1)
        loss += float(weight @ (np.log(total) - chosen))
        powers *= (weight / total)[:, None]
        powers[each, labels] -= weight
        gradient[:, :-1] += powers.T @ features
        gradient[:, -1] += powers.sum(axis=0)
    return loss / mass, gradient / mass


def minimize(rows: Rows, start: np.ndarray, l2: float, fit_intercept: bool, epochs: int, tolerance: float) -> Solution:
    """L-BFGS (SciPy's) from some weights."""
    from scipy.optimize import minimize as lbfgs

    scaled = _scaled(rows, fit_intercept)
    penalty = l2 * scaled.inverse**2
    history: list[float] = []

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(start.shape)
        loss, gradient = loss_and_gradient(scaled.rows, weights)
        gradient[:, :-1] += penalty * weights[:, :-1]
        gradient[:, -1] *= fit_intercept
        return loss + float((penalty * np.square(weights[:, :-1])).sum()) / 2, gradient.ravel()

    found = lbfgs(
        objective, scaled.inside(start, fit_intercept).ravel(), jac=True, method="L-BFGS-B",
        callback=lambda intermediate_result: history.append(float(intermediate_result.fun)),
        options={"maxiter": epochs, "ftol": tolerance, "gtol": 1e-10, "maxcor": 20},
    )  # fmt: skip
    weights = found.x.reshape(start.shape)
    if l2 == 0:
        weights -= weights.mean(axis=0)  # only differences count; those that sum to 0 are the shortest
    elif fit_intercept:
        weights[:, -1] -= weights[:, -1].mean()
    loss = loss_and_gradient(scaled.rows, weights)[0]
    return Solution(scaled.outside(weights, fit_intercept), loss, history or [float(found.fun)], bool(found.success))


@njit(cache=True, nogil=True, fastmath=set(REORDER))
def epoch(
    features: Any, classes: Any, row_weights: Any, order: Any, weights: Any, average: Any, inverse: Any, rate: float,
    taken: int, l1: float, l2: float, fit_intercept: bool, decay: float,
) -> float:  # fmt: skip
    """One pass of gradient steps over rows in a given order; gives the sum of the losses, each before its step."""
    count, width = weights.shape[0], weights.shape[1] - 1
    scores, loss = np.empty(count), 0.0
    for at in range(len(order)):
        row = order[at]
        highest = -np.inf
        for k in range(count):
            total = weights[k, width]
            for index in range(width):
                total += weights[k, index] * features[row, index]
            scores[k] = total
            highest = max(highest, total)
        chosen, total = scores[classes[row]] - highest, 0.0
        for k in range(count):
            scores[k] = math.exp(scores[k] - highest)
            total += scores[k]
        loss += row_weights[row] * (math.log(total) - chosen)
        now = rate / math.sqrt(1 + (taken + at) * decay)
        for k in range(count):
            slope = row_weights[row] * (scores[k] / total - (1.0 if k == classes[row] else 0.0))
            for index in range(width):
                weights[k, index] -= now * slope * features[row, index]
            if fit_intercept:
                weights[k, width] -= now * slope
            if l1 > 0 or l2 > 0:
                for index in range(width):
                    size = abs(weights[k, index]) - now * l1 * inverse[index]
                    shrunk = max(size, 0.0) / (1 + now * l2 * inverse[index] * inverse[index])
                    weights[k, index] = math.copysign(shrunk, weights[k, index])
        share = 2 / (2 + taken + at)
        for k in range(count):
            for index in range(width + 1):
                average[k, index] += share * (weights[k, index] - average[k, index])
    return loss


def descend(
    rows: Rows, start: np.ndarray, l1: float, l2: float, fit_intercept: bool, epochs: int, tolerance: float,
    step_size: float | None, seed: int,
) -> Solution:  # fmt: skip
    """Incremental gradient descent in shuffled order; the weights are averaged over the steps.

    Raises
    ------
    ValueError
        If the steps diverge.
    """
    scaled, random = _scaled(rows, fit_intercept), np.random.default_rng(seed)
    weights = scaled.inside(start, fit_intercept)
    average = weights.copy()

    def run(
        order: np.ndarray, weights: np.ndarray, average: np.ndarray, rate: float, taken: int, decay: float
    ) -> float:
        each = scaled.rows
        return float(
            epoch(each.features, each.classes, each.weights, order, weights, average, scaled.inverse, rate, taken, l1,
                  l2, fit_intercept, decay)
        )  # fmt: skip

    def penalty(weights: np.ndarray) -> float:
        sizes = np.abs(weights[:, :-1] * scaled.inverse)
        return float(l1 * sizes.sum() + l2 / 2 * np.square(sizes).sum())

    rate = step_size or _best_rate(run, penalty, scaled.rows, weights, random)
    history: list[float] = []
    loss, converged = math.inf, False
    for done in range(epochs):
        order = random.permutation(len(rows.classes))
        run(order, weights, average, rate, done * len(order), _DECAY)
        loss = loss_and_gradient(scaled.rows, average)[0]
        if not (math.isfinite(loss) and np.isfinite(weights).all()):
            raise ValueError(f"training diverged with step_size {rate:g}; try {rate / 8:g}, or 'auto'")
        history.append(loss + penalty(average))
        if done and history[-2] - history[-1] < tolerance * abs(history[-2]):
            converged = True
            break
    average[:, :-1][weights[:, :-1] == 0] = 0  # the average alone is 0 nowhere
    return Solution(scaled.outside(average, fit_intercept), loss, history, converged)


def _best_rate(
    run: Callable[..., float], penalty: Callable[..., float], rows: Rows, weights: np.ndarray, random: Any
) -> float:
    """The step size with the lowest loss on a sample: during a pass and after it, as for linear models."""
    sample = random.permutation(len(rows.classes))[:_SAMPLE]
    chosen = Rows(rows.classes[sample], rows.features[sample], rows.weights[sample])
    unit = 1 / (np.square(chosen.features).sum() / len(sample) + 1)
    best, found = math.inf, unit
    for power in range(_LOWEST, _HIGHEST):
        trial, rate = weights.copy(), unit * 2.0**power
        during = run(sample, trial, weights.copy(), rate, 0, 0.0) / chosen.weights.sum()
        loss = during + loss_and_gradient(chosen, trial)[0] + penalty(trial)
        if loss < best:
            best, found = loss, rate
    return found

"""L-BFGS: the optimum of a softmax regression, to the last digits.

With the scores ``z_k = w_k.x + b_k`` and ``p = softmax(z)`` the objective ``sum_i v_i (-log p_y) / sum_i v_i + l2 |W|^2
/ 2`` has the gradient ``sum_i v_i (p_k - [k = y]) x / sum_i v_i + l2 w_k`` by ``w_k``. Features are standardised on the
way; penalties are on the weights of the features as they are.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numba import njit

from ironlake.udf.engine import relation
from ironlake.udf.engine.sqltypes import Vector

from ..tasks.epochs import HEAD
from ..tasks.softmax import SoftmaxModel
from ..tasks.vectors import REORDER
from .preparation import moments
from .rows import Rows, collect

if TYPE_CHECKING:
    import pyarrow as pa

#: Fewer rows are not worth a thread.
_ROWS_OF_A_THREAD = 20_000
#: The iterations end where no slope is steeper.
_FLAT = 1e-10
#: Gradients from which the curvature is estimated.
_MEMORY = 20


def softmax_optimum(
    rows: Rows,
    names: list[str],
    l2: float = 0.0,
    fit_intercept: bool = True,
    iterations: int = 200,
    tolerance: float = 1e-9,
    init: np.ndarray[Any, Any] | None = None,
) -> SoftmaxModel:
    """Train a softmax regression to the optimum.

    Parameters
    ----------
    rows : the label of each is the number of its class.
    names : of the classes, two at least.
    l2 : weight of the penalty ``l2 |W|^2 / 2`` on each row's loss, not on the intercepts.
    iterations : most of them.
    tolerance : training ends after an iteration that lowers the objective by less than this fraction.
    init : weights to start from, a row for each class with its intercept at the end.
    """
    from scipy.optimize import minimize

    mean, inverse = moments(rows, fit_intercept)
    shape, penalty = (len(names), rows.width + 1), l2 * inverse**2
    mass = float(sum(piece[:, 1].sum(dtype=np.float64) for piece in rows.pieces()))
    threads = min(os.cpu_count() or 1, max(1, len(rows) // _ROWS_OF_A_THREAD))
    bounds = np.linspace(0, len(rows), threads + 1).astype(int)
    start = np.zeros(shape)
    if init is not None:
        start = np.array(init)
        start[:, -1] += start[:, :-1] @ mean
        start[:, :-1] /= inverse
    history: list[float] = []

    with ThreadPoolExecutor(threads) as pool:

        def loss_and_gradient(weights: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
            gradients = np.zeros((threads, *shape))
            parts = [
                pool.submit(_pass, rows.matrix, first, last, mean, inverse, weights, gradient)
                for first, last, gradient in zip(bounds[:-1], bounds[1:], gradients, strict=True)
            ]
            return sum(part.result() for part in parts) / mass, gradients.sum(axis=0) / mass

        def objective(flat: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
            weights = flat.reshape(shape)
            loss, gradient = loss_and_gradient(weights)
            gradient[:, :-1] += penalty * weights[:, :-1]
            gradient[:, -1] *= fit_intercept
            return loss + float((penalty * np.square(weights[:, :-1])).sum()) / 2, gradient.ravel()

        found = minimize(
            objective, start.ravel(), jac=True, method="L-BFGS-B",
            callback=lambda intermediate_result: history.append(float(intermediate_result.fun)),
            options={"maxiter": iterations, "ftol": tolerance, "gtol": _FLAT, "maxcor": _MEMORY},
        )  # fmt: skip
        weights = found.x.reshape(shape)
        if l2 == 0:
            weights -= weights.mean(axis=0)  # only differences count; those that sum to 0 are the shortest
        elif fit_intercept:
            weights[:, -1] -= weights[:, -1].mean()
        loss = loss_and_gradient(weights)[0]
    weights[:, :-1] *= inverse
    weights[:, -1] = (weights[:, -1] - weights[:, :-1] @ mean) * fit_intercept
    return SoftmaxModel(
        "softmax", weights[:, :-1].tolist(), weights[:, -1].tolist(), names, len(rows), len(history),
        bool(found.success), "tolerance" if found.success else "epochs", loss, history or [float(found.fun)],
        len(history), len(names) == 1,
    )  # fmt: skip


@njit(cache=True, nogil=True, fastmath=set(REORDER))
def _pass(matrix: Any, first: int, last: int, mean: Any, inverse: Any, weights: Any, gradient: Any) -> float:
    """The sum of the losses of rows; adds their gradient to what is there."""
    count, width, loss = weights.shape[0], weights.shape[1] - 1, 0.0
    line, scores = np.ones(width + 1), np.empty(count)
    for row in range(first, last):
        for index in range(width):
            line[index] = (matrix[row, HEAD + index] - mean[index]) * inverse[index]
        highest = -math.inf
        for k in range(count):
            score = 0.0
            for index in range(width + 1):
                score += weights[k, index] * line[index]
            scores[k] = score
            highest = max(highest, score)
        label, weight, total = int(matrix[row, 0]), np.float64(matrix[row, 1]), 0.0
        loss += weight * (highest - scores[label])
        for k in range(count):
            scores[k] = math.exp(scores[k] - highest)
            total += scores[k]
        loss += weight * math.log(total)
        for k in range(count):
            slope = weight * (scores[k] / total - (1.0 if k == label else 0.0))
            for index in range(width + 1):
                gradient[k, index] += slope * line[index]
    return loss


@relation
def lbfgs_fit(
    label: bool | int | str,
    features: Vector,
    sample_weight: float = 1.0,
    *,
    l2: float = 0.0,
    fit_intercept: bool = True,
    iterations: int = 200,
    tolerance: float = 1e-9,
    class_weight: Literal["balanced"] | None = None,
    init: SoftmaxModel | None = None,
    on_null: Literal["error", "skip"] = "error",
) -> SoftmaxModel | None:
    """Train a softmax (multinomial logistic) regression to the optimum, for labels of two classes or more.

    The loss of a row is ``-log p(label)`` with ``p = softmax(W x + b)``. Minimised is its mean over the rows, by
    weight, plus ``l2 |W|^2 / 2``. The rows of a group are held in memory; `softmax_fit` needs one pass and no memory
    for them.

    Parameters
    ----------
    label : the class of a row: text, integers or booleans.
    features : a row of numbers, the same length in all rows of a group.
    sample_weight : how much a row counts. It stands behind the options.
    l2 : weight of the penalty per row, not on the intercepts.
    fit_intercept : whether the model has intercepts.
    iterations : most of them.
    tolerance : training ends after an iteration that lowers the objective by less than this fraction.
    class_weight : ``'balanced'`` weighs rows so that all classes weigh the same.
    init : a model with the same classes to go on from.
    on_null : ``'skip'`` rows with a NULL, or refuse them with an ``'error'``.

    Returns
    -------
    STRUCT
        The model, see `SoftmaxModel`, its classes in order; NULL for a group without rows. `predict` takes it.

    Raises
    ------
    InvalidInputException
        If rows differ in length, a value is NULL, NaN or infinite, or all rows are of one class.

    References
    ----------
    Liu, Nocedal: On the Limited Memory BFGS Method for Large Scale Optimization, Mathematical Programming 45 (1989);
    Cox: The Regression Analysis of Binary Sequences, JRSS B 20 (1958).

    Examples
    --------
    SELECT lbfgs_fit(CASE WHEN sin(i) > 0.5 THEN 'up' WHEN sin(i) < -0.5 THEN 'down' ELSE 'flat' END,
                     [sin(i), cos(i)], {'l2': 0.001}) AS model
    FROM range(200) t(i);
    """
    import pyarrow as pa

    for name, value, low in (("l2", l2, 0), ("iterations", iterations, 1), ("tolerance", tolerance, 0)):
        if not low <= value < math.inf:
            raise ValueError(f"option {name} must be at least {low}, got {value}")
    names, numbers = _numbered(label)
    columns: dict[str, pa.Array] = {"label": numbers, "features": features}
    if isinstance(sample_weight, pa.Array):
        columns["sample_weight"] = sample_weight
    weight = "sample_weight" if len(columns) == 3 else None
    rows = collect([pa.record_batch(columns)], "label", "features", weight, on_null == "skip", math.inf)
    if len(rows) == 0:
        return None
    if len(names) < 2:
        raise ValueError(f"all rows are of the class {names[0]!r}; there is nothing to tell apart")
    weights: np.ndarray[Any, Any] = rows.matrix[:, 1]
    if not (weights >= 0).all() or not weights.sum() > 0:
        raise ValueError("sample_weight must be at least 0, and above 0 in some row")
    if class_weight == "balanced":
        classes = rows.matrix[:, 0].astype(np.int64)
        mass = np.bincount(classes, weights, len(names))
        weights *= (mass.sum() / (len(names) * np.maximum(mass, 1e-300)))[classes]
    start = None if init is None else _start(init, names, rows.width)
    return softmax_optimum(rows, names, l2, fit_intercept, iterations, tolerance, start)


def _numbered(label: pa.Array) -> tuple[list[str], pa.Array]:
    """The different labels as text, sorted, and the number of each row's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    dictionary = label.dictionary_encode()
    order = pc.array_sort_indices(dictionary.dictionary).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return dictionary.dictionary.take(order).cast(pa.string()).to_pylist(), pa.array(ranks).take(dictionary.indices)


def _start(init: Any, names: list[str], width: int) -> np.ndarray[Any, Any]:
    """The weights of a model, a row for each class with the intercept at the end."""
    if init["task"] != "softmax" or init["classes"] != names:
        raise ValueError(f"option init must be a softmax model of the classes {', '.join(names)}")
    weights = init["coefficients"]
    if len(weights) != len(names) or len(init["intercepts"]) != len(names) or {len(row) for row in weights} != {width}:
        raise ValueError(f"option init must be a model of {len(names)} classes and {width} features, as the rows have")
    return np.column_stack([np.array(weights, np.float64), np.array(init["intercepts"], np.float64)])

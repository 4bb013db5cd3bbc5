"""Softmax regression: a linear model with a score for each of several classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numba import njit

from ironlake.udf.engine import relation, scalar
from ironlake.udf.engine.sqltypes import INTEGER, Vector

from . import predict  # noqa: F401 - declares what is overloaded here
from .columns import matrix_of, numbers_of
from .softmax_training import Rows, Solution, descend, minimize
from .vectors import REORDER

if TYPE_CHECKING:
    import pyarrow as pa


class SoftmaxModel(NamedTuple):
    """A trained softmax regression as a SQL STRUCT.

    Attributes
    ----------
    task : ``softmax``.
    coefficients : for every class one weight per feature.
    intercepts : for every class.
    classes : the labels as text; in the order of their values if they are numbers, else of their text.
    n : rows trained on.
    epochs : passes over them.
    converged : whether the tolerance was reached.
    stop_reason : ``tolerance`` or ``epochs``.
    loss : mean loss per row.
    loss_history : mean loss and penalties after every epoch.
    """

    task: str
    coefficients: list[list[float]]
    intercepts: list[float]
    classes: list[str]
    n: int
    epochs: INTEGER
    converged: bool
    stop_reason: str
    loss: float
    loss_history: list[float]


@relation
def softmax_fit(
    label: bool | int | str,
    features: Vector,
    sample_weight: float = 1.0,
    *,
    method: Literal["lbfgs", "sgd"] = "lbfgs",
    l1: float = 0.0,
    l2: float = 0.0,
    fit_intercept: bool = True,
    epochs: int = 200,
    step_size: float | Literal["auto"] = "auto",
    tolerance: float | None = None,
    class_weight: Literal["balanced"] | None = None,
    init: SoftmaxModel | None = None,
    seed: int = 0,
    on_null: Literal["error", "skip"] = "error",
) -> SoftmaxModel | None:
    """Train a softmax (multinomial logistic) regression, for labels of any number of classes.

    The loss of a row is ``-log p(label)`` with ``p = softmax(W x + b)``. Minimised is its mean over the rows, by
    weight, plus ``l1 |W| + l2 |W|^2 / 2``. Features are standardised inside; the model is one of the features as they
    are. The rows of a group are held in memory.

    Parameters
    ----------
    label : the class of a row: text, integers or booleans.
    features : a row of numbers, the same length in all rows of a group.
    sample_weight : how much a row counts. It stands behind the options.
    method : ``'lbfgs'``: L-BFGS on all rows at once, to the optimum; ``'sgd'``: a gradient step for every row in
        shuffled order, ``W_k -= a (p_k - [k = label]) x``, with averaged weights.
    l1, l2 : weights of the penalties per row, not on the intercepts; ``l1`` is for ``'sgd'``.
    fit_intercept : whether the model has intercepts.
    epochs : most iterations of L-BFGS, or passes.
    step_size : of ``'sgd'``; ``'auto'`` tries powers of two on 2,000 rows. It falls with the root of the steps.
    tolerance : stop after an epoch that lowers the loss by less than this fraction; by default 1e-9, and 1e-4 with
        ``'sgd'``.
    class_weight : ``'balanced'`` weighs rows so that all classes weigh the same.
    init : a model with the same classes to go on from.
    seed : of the order of ``'sgd'``.
    on_null : ``'skip'`` rows with a NULL, or refuse them with an ``'error'``.

    Returns
    -------
    STRUCT
        The model, see `SoftmaxModel`; NULL for a group without rows. `predict` takes it.

    Raises
    ------
    InvalidInputException
        If rows differ in length, a value is NULL, NaN or infinite, all rows are of one class, or the steps diverge.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3; Cox: The
    Regression Analysis of Binary Sequences, JRSS B 20 (1958).

    Examples
    --------
    SELECT softmax_fit(CASE WHEN sin(i) > 0.5 THEN 'up' WHEN sin(i) < -0.5 THEN 'down' ELSE 'flat' END,
                       [sin(i), cos(i)], {'l2': 0.001}) AS model
    FROM range(200) t(i);
    """
    tolerance = {"lbfgs": 1e-9, "sgd": 1e-4}[method] if tolerance is None else tolerance
    _check(l1, l2, epochs, step_size, tolerance, method)
    names, rows = _rows(label, features, sample_weight, on_null == "skip")
    if rows is None:
        return None
    if class_weight == "balanced":
        mass = np.bincount(rows.classes, rows.weights, len(names))
        rows = rows._replace(weights=rows.weights * (rows.weights.sum() / (len(names) * mass))[rows.classes])
    start = np.zeros((len(names), rows.features.shape[1] + 1))
    if init is not None:
        start = _start(init, names, rows.features.shape[1])
    solution: Solution
    if method == "lbfgs":
        solution = minimize(rows, start, l2, fit_intercept, epochs, tolerance)
    else:
        rate = None if step_size == "auto" else float(step_size)
        solution = descend(rows, start, l1, l2, fit_intercept, epochs, tolerance, rate, seed)
    return SoftmaxModel(
        "softmax",
        solution.weights[:, :-1].tolist(),
        solution.weights[:, -1].tolist(),
        names,
        len(rows.classes),
        len(solution.history),
        solution.converged,
        "tolerance" if solution.converged else "epochs",
        solution.loss,
        solution.history,
    )


def _check(l1: float, l2: float, epochs: int, step_size: Any, tolerance: float, method: str) -> None:
    for name, value in {"l1": l1, "l2": l2, "tolerance": tolerance}.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"option {name} must be at least 0, got {value}")
    if l1 > 0 and method == "lbfgs":
        raise ValueError("option l1 needs {'method': 'sgd'}: L-BFGS wants a loss that is smooth")
    if epochs < 1:
        raise ValueError(f"option epochs must be at least 1, got {epochs}")
    if step_size != "auto" and not 0 < step_size < math.inf:
        raise ValueError(f"option step_size must be above 0, got {step_size}")


def _rows(
    label: pa.Array, features: pa.Array, sample_weight: pa.Array | float, skip_nulls: bool
) -> tuple[list[str], Rows | None]:
    """The classes, and the rows as numbers.

    Raises
    ------
    ValueError
        If a row has a NULL and they are not skipped, or no model can be trained on the rows.
    """
    import pyarrow as pa

    weight = sample_weight if isinstance(sample_weight, pa.Array) else pa.array(np.ones(len(label)))
    table = pa.record_batch({"label": label, "features": features, "sample_weight": weight})
    if any(column.null_count for column in table.columns):
        if not skip_nulls:
            name = next(name for name in table.schema.names if table[name].null_count)
            raise ValueError(f"the {name} of a row is NULL; filter such rows, or pass {{'on_null': 'skip'}}")
        table = table.drop_null()
    if table.num_rows == 0:
        return [], None
    names, classes = _classes(table["label"])
    if len(names) < 2:
        raise ValueError(f"all rows are of the class {names[0]!r}; there is nothing to tell apart")
    matrix = np.ascontiguousarray(matrix_of(table["features"], "features"), np.float64)
    weights = numbers_of(table["sample_weight"], "sample_weight").astype(np.float64)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(f"feature {column + 1} of row {row + 1} is NaN or infinite; filter such rows")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError("sample_weight must be at least 0, finite, and above 0 in some row")
    return names, Rows(classes, matrix, weights)


def _classes(label: pa.Array) -> tuple[list[str], np.ndarray]:
    """The different labels as text, sorted, and the number of each row's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    dictionary = label.dictionary_encode()
    order = pc.array_sort_indices(dictionary.dictionary).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return dictionary.dictionary.take(order).cast(pa.string()).to_pylist(), ranks[dictionary.indices.to_numpy()]


def _start(init: Any, names: list[str], width: int) -> np.ndarray:
    """The weights of a model, a row for each class with the intercept at the end."""
    if init["task"] != "softmax" or init["classes"] != names:
        raise ValueError(f"option init must be a softmax model of the classes {', '.join(names)}")
    weights = init["coefficients"]
    if len(weights) != len(names) or len(init["intercepts"]) != len(names) or {len(row) for row in weights} != {width}:
        raise ValueError(f"option init must be a model of {len(names)} classes and {width} features, as the rows have")
    return np.column_stack([np.array(weights, np.float64), np.array(init["intercepts"], np.float64)])


# ----------------------------------------------------------------------------------------------------------- prediction


@njit(fastmath=set(REORDER))
def _scores(model: Any, features: Any) -> Any:
    """The scores of the classes."""
    if model.task != "softmax":
        raise ValueError("argument model is of the task", model.task, "and must be one of softmax_fit")
    count = len(model.classes)
    if len(model.coefficients) != count or len(model.intercepts) != count or count == 0:
        raise ValueError(
            "argument model has", count, "classes,", len(model.coefficients), "rows of coefficients and",
            len(model.intercepts), "intercepts",
        )  # fmt: skip
    scores = np.empty(count)
    for index in range(count):
        weights = model.coefficients[index]
        if len(weights) != len(features):
            raise ValueError("argument features has", len(features), "numbers, the model was trained on", len(weights))
        total = 0.0
        for at in range(len(features)):
            total += weights[at] * np.float64(features[at])
        scores[index] = total + model.intercepts[index]
    return scores


@scalar(name="decision_function", overload=True)
def decision_functions(model: SoftmaxModel, features: Vector) -> list[float]:
    """The scores of the classes under a softmax model, in the order of its ``classes``.

    Examples
    --------
    SELECT decision_function(m, [0.5]) AS scores
    FROM (SELECT softmax_fit(i % 3, [i / 100]) AS m FROM range(100) t(i));
    """
    return _scores(model, features)


@scalar(name="predict_proba", overload=True)
def predict_probabilities(model: SoftmaxModel, features: Vector) -> list[float]:
    """The probabilities of the classes under a softmax model, in the order of its ``classes``.

    Examples
    --------
    SELECT m.classes, predict_proba(m, [0.5]) AS probabilities
    FROM (SELECT softmax_fit(i % 3, [i / 100]) AS m FROM range(100) t(i));
    """
    scores = _scores(model, features)
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


@scalar(name="predict", overload=True)
def predict_class(model: SoftmaxModel, features: Vector) -> str:
    """The most probable class under a softmax model, as text.

    Examples
    --------
    SELECT predict(m, [0.5]) AS label
    FROM (SELECT softmax_fit(i % 3, [i / 100]) AS m FROM range(100) t(i));
    """
    return model.classes[np.argmax(_scores(model, features))]

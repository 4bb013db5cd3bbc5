"""Softmax regression: a linear model with a score for each of any number of classes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit

from ironlake.udf.engine import aggregate, scalar
from ironlake.udf.engine.sqltypes import INTEGER, Vector

from . import predict  # noqa: F401 - declares what is overloaded here
from .linear import UNEVEN_WARNING
from .softmax_descent import SoftmaxTask
from .start import unscaled_into
from .vectors import REORDER

_NO_WEIGHTS = np.empty(0)


class SoftmaxModel(NamedTuple):
    """A trained softmax regression as a SQL STRUCT.

    Attributes
    ----------
    task : ``softmax``.
    coefficients : for every class one weight per feature.
    intercepts : for every class.
    classes : the labels as text; in the order of their values if they are integers, else of their text.
    n : rows trained on.
    epochs : passes over them, or iterations.
    converged : whether the tolerance was reached.
    stop_reason : ``tolerance`` or ``epochs``.
    loss : mean loss per row, in the last pass each row's taken before the step on it; from `lbfgs_fit` after all.
    loss_history : the same for every pass; from `lbfgs_fit` the objective, penalties included.
    step : gradient steps taken in all; from `lbfgs_fit` iterations.
    degenerate : whether all rows were of one class.
    warning : what is wrong with the rows that a user should know of, such as features of very uneven size; else empty.
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
    step: int
    degenerate: bool
    warning: str = ""


@aggregate(fastmath=REORDER, boundscheck=False)
class softmax_fit(SoftmaxTask):  # noqa: N801 - the SQL name
    """Train a softmax (multinomial logistic) regression: a classifier for any number of classes.

    The loss of a row is ``-log p(label)`` with the probabilities ``p = softmax(W x + b)``. A class is there from
    its first row on. Every thread trains a model on its rows; the models are averaged by their numbers of rows, classes
    matched by name. With one thread and an ordered input the result is exactly that of the sequential algorithm.

    Parameters
    ----------
    label : the class of a row: text, an integer or a truth value.
    features : a row of numbers, the same length in all rows of a group: a list or an array of FLOAT or DOUBLE.
    sample_weight : how much a row counts: its loss is multiplied by it. It stands behind the options.
    l1, l2 : weights of the penalties ``l1 |W|`` and ``l2 |W|^2 / 2`` on each row's loss, not on the intercepts.
    fit_intercept : whether the model has intercepts.
    epochs : passes over the rows; with more than one, the group's rows are kept in memory.
    step_size : of the gradient steps; ``'auto'`` tries powers of two on the first 2,000 rows, standardised by them,
        lets the best fall with the square root of the number of steps, and averages the weights over the steps. A
        number stays constant in an epoch, and the features as they are.
    decay : factor on a constant step size from epoch to epoch.
    standardize : train on features with mean 0 and deviation 1, as the first 2,000 rows have them; penalties are then
        on the weights of these. The model is one of the features as they are.
    tolerance : stop after an epoch that lowers the loss, penalties included, by less than this fraction.
    buffer_mb : most memory for kept rows, in megabytes per group and thread.
    on_null : ``'skip'`` rows with a NULL label or NULL features, or refuse them with an ``'error'``.

    Returns
    -------
    STRUCT
        The model, see `SoftmaxModel`; NULL for a group without rows. `predict` takes it. What is the same in the scores
        of all classes changes no probability: weights and intercepts of the classes have the sum 0.

    Raises
    ------
    InvalidInputException
        If rows differ in length, a feature is NULL, NaN or infinite, labels are of more than 10,000 classes, the
        steps diverge, or the kept rows outgrow ``buffer_mb``.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.

    Examples
    --------
    SELECT softmax_fit(CASE WHEN sin(i) > 0.5 THEN 'up' WHEN sin(i) < -0.5 THEN 'down' ELSE 'flat' END,
                       [sin(i), cos(i)], {'epochs': 5}) AS model
    FROM range(1000) t(i);
    """

    def init(
        self,
        l1: float = 0.0,
        l2: float = 0.0,
        fit_intercept: bool = True,
        epochs: int = 1,
        step_size: float | Literal["auto"] = "auto",
        decay: float = 0.9,
        standardize: bool = False,
        tolerance: float = 1e-3,
        buffer_mb: float = 256.0,
        on_null: Literal["error", "skip"] = "error",
    ):
        self.prepare(l1, l2, fit_intercept, epochs, step_size, decay, standardize, _NO_WEIGHTS, None, on_null)
        self.scaled = self.pending

    def update(self, label: bool | int | str, features: Vector, sample_weight: float = 1.0):
        self.learn(label, features, sample_weight)

    def finish(self) -> SoftmaxModel | None:
        self.check_labels(self.n)
        if self.n == 0:
            return None
        order = self.sorted_classes()
        model, intercepts, averaged, history, converged, steps = self.trained()
        weights, constants = self.plain(model, intercepts, averaged, order)
        return SoftmaxModel(
            self.task,
            weights,
            constants,
            [self.class_name(k) for k in order],
            self.n,
            len(history),
            converged,
            "tolerance" if converged else "epochs",
            history[-1],
            history,
            self.taken + steps,
            len(order) == 1,
            UNEVEN_WARNING if self.uneven() else "",
        )

    def plain(self, model, intercepts, averaged, order):
        """Weights and intercepts for the features as they are, a row for each class in an order."""
        count, block = len(order), self.block()
        weights, constants = np.zeros((count, self.width)), np.empty(count)
        for line in range(count):
            k = order[line]
            part = model[k * block : (k + 1) * block]
            constants[line] = unscaled_into(weights[line], part, intercepts[2 * k : 2 * k + 2], averaged)
            for index in range(self.width):
                if self.l1 > 0 and part[index] == 0:
                    weights[line, index] = 0.0  # the average alone is 0 nowhere
        return weights, constants


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
    FROM (SELECT lbfgs_fit(i % 3, [i / 100]) AS m FROM range(100) t(i));
    """
    return _scores(model, features)


@scalar(name="predict_proba", overload=True)
def predict_probabilities(model: SoftmaxModel, features: Vector) -> list[float]:
    """The probabilities of the classes under a softmax model, in the order of its ``classes``.

    Examples
    --------
    SELECT m.classes, predict_proba(m, [0.5]) AS probabilities
    FROM (SELECT lbfgs_fit(i % 3, [i / 100]) AS m FROM range(100) t(i));
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
    FROM (SELECT lbfgs_fit(i % 3, [i / 100]) AS m FROM range(100) t(i));
    """
    return model.classes[np.argmax(_scores(model, features))]

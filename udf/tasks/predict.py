"""Prediction with a trained model."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from ironlake.udf.engine import scalar
from ironlake.udf.engine.sqltypes import Vector

from .model import LinearModel, RegressionModel
from .vectors import REORDER


@njit(fastmath=set(REORDER))
def _score(model: Any, features: Any) -> float:
    weights = model.coefficients
    if len(features) != len(weights):
        raise ValueError("argument features has", len(features), "numbers, the model was trained on", len(weights))
    total = 0.0
    for index in range(len(features)):
        total += weights[index] * features[index]
    return total + model.intercept


@njit
def probability(model: Any, score: float) -> float:
    """The probability of the positive class, from the score."""
    if model.task == "modified_huber":
        return (min(max(score, -1.0), 1.0) + 1) / 2
    if model.task != "logistic":
        raise ValueError("argument model is of a task that gives no probabilities; use decision_function")
    tail = math.exp(-abs(score))
    return 1 / (1 + tail) if score > 0 else tail / (1 + tail)


@njit
def chosen_label(model: Any, score: float) -> float:
    """The class or the number that a score stands for."""
    if len(model.classes) == 0:
        return math.exp(score) if model.task == "poisson" else score
    if len(model.classes) != 2:
        raise ValueError("argument model has", len(model.classes), "classes; a linear model has two, or none")
    return model.classes[1] if score > 0 else model.classes[0]


@scalar(fastmath=REORDER, boundscheck=False)
def decision_function(model: LinearModel | RegressionModel, features: Vector) -> float:
    """The score of a row under a linear model: the weighted sum of the features plus the intercept.

    Parameters
    ----------
    model : a trained model, such as `logistic_fit` returns.
    features : as many numbers as the model was trained on.

    Returns
    -------
    DOUBLE
        The score, unbounded; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If the number of features is not the model's, or one is NULL.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.

    Examples
    --------
    SELECT decision_function(m, [0.5]) AS score
    FROM (SELECT logistic_fit(i % 3 = 0, [i / 100], {'step_size': 0.1}) AS m FROM range(100) t(i));
    """
    return _score(model, features)


@scalar(fastmath=REORDER, boundscheck=False)
def predict_proba(model: LinearModel, features: Vector) -> float:
    """The probability of the positive class (``classes[2]`` of the model) for a row.

    Parameters
    ----------
    model : a trained model of the task ``logistic`` or ``modified_huber``.
    features : as many numbers as the model was trained on.

    Returns
    -------
    DOUBLE
        Between 0 and 1; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If the number of features is not the model's, one is NULL, or the model gives no probabilities.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.

    Examples
    --------
    SELECT predict_proba(m, [0.5]) AS probability
    FROM (SELECT logistic_fit(i % 3 = 0, [i / 100], {'step_size': 0.1}) AS m FROM range(100) t(i));
    """
    return probability(model, _score(model, features))


@scalar(fastmath=REORDER, boundscheck=False)
def predict(model: LinearModel | RegressionModel, features: Vector) -> float:
    """What a model expects of a row: the class, as the labels it was trained on, or the number.

    Parameters
    ----------
    model : a trained model, such as `logistic_fit` or `huber_fit` returns.
    features : as many numbers as the model was trained on.

    Returns
    -------
    DOUBLE
        With two classes, the second of the model's ``classes`` if the score is above 0, else the first. Without, the
        score, or for ``poisson``, whose score is the logarithm of the mean, its exponential. NULL if one is NULL.

    Raises
    ------
    InvalidInputException
        If the number of features is not the model's, one is NULL, or the model has neither two classes nor none.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.

    Examples
    --------
    SELECT predict(m, [0.5]) AS label
    FROM (SELECT logistic_fit(i % 3 = 0, [i / 100], {'step_size': 0.1}) AS m FROM range(100) t(i));
    SELECT predict(m, [0.5]) AS value
    FROM (SELECT least_squares_fit(i, [i / 100]) AS m FROM range(100) t(i));
    """
    return chosen_label(model, _score(model, features))

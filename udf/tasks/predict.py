"""Prediction with a trained model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from ironlake.udf.engine import scalar
from ironlake.udf.engine.sqltypes import Vector

from .model import LinearModel
from .linear import REORDER


@njit(fastmath=set(REORDER))
def _score(model: Any, features: Any) -> float:
    weights = model.coefficients
    if len(features) != len(weights):
        raise ValueError("argument features has", len(features), "numbers, the model was trained on", len(weights))
    total = np.float32(0)
    for index in range(len(features)):
        total += weights[index] * np.float32(features[index])
    return np.float64(total) + model.intercept


@scalar(fastmath=REORDER, boundscheck=False)
def decision_function(model: LinearModel, features: Vector) -> float:
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
    model : a trained model of the task ``logistic``.
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
    if model.task != "logistic":
        raise ValueError("argument model is of a task that gives no probabilities; use decision_function")
    score = _score(model, features)
    tail = math.exp(-abs(score))
    return 1 / (1 + tail) if score > 0 else tail / (1 + tail)


@scalar(fastmath=REORDER, boundscheck=False)
def predict(model: LinearModel, features: Vector) -> float:
    """The class that a model gives to a row, as the labels it was trained on.

    Parameters
    ----------
    model : a trained model, such as `logistic_fit` returns.
    features : as many numbers as the model was trained on.

    Returns
    -------
    DOUBLE
        One of the model's ``classes``: the second if the score is above 0, else the first; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If the number of features is not the model's, one is NULL, or the model has not two classes.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.

    Examples
    --------
    SELECT predict(m, [0.5]) AS label
    FROM (SELECT logistic_fit(i % 3 = 0, [i / 100], {'step_size': 0.1}) AS m FROM range(100) t(i));
    """
    if len(model.classes) != 2:
        raise ValueError("argument model has", len(model.classes), "classes, a linear model has two")
    return model.classes[1] if _score(model, features) > 0 else model.classes[0]

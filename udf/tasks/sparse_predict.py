"""Prediction for rows with sparse features."""

from __future__ import annotations

from typing import Any

from numba import njit

from ironlake.udf.engine import scalar

from .model import LinearModel
from .predict import chosen_label, probability
from .sparse import Sparse, count_of, entry_of, hashes


@njit
def _bits(length: int) -> int:
    """The number of bits of hashes for so many weights."""
    bits = 0
    while (1 << bits) < length:
        bits += 1
    if (1 << bits) != length:
        raise ValueError("argument model has", length, "coefficients; trained on names it has a power of 2")
    return bits


@njit
def _score(model: Any, features: Any) -> float:
    weights, total = model.coefficients, model.intercept
    bits = _bits(len(weights)) if hashes(features) else 0
    for index in range(count_of(features)):
        place, value = entry_of(features, index, bits)
        if 0 <= place < len(weights):
            total += weights[place] * value
    return total


@scalar(name="decision_function", overload=True)
def decision_of_sparse(model: LinearModel, features: Sparse) -> float:
    """The score of a row with sparse features; features that the model does not know count for nothing.

    Examples
    --------
    SELECT decision_function(m, MAP {'word': 1.0}) AS score
    FROM (SELECT logistic_fit(i % 3 = 0, MAP {'word': i / 100}) AS m FROM range(100) t(i));
    """
    return _score(model, features)


@scalar(name="predict_proba", overload=True)
def probability_of_sparse(model: LinearModel, features: Sparse) -> float:
    """The probability of the positive class for a row with sparse features.

    Examples
    --------
    SELECT predict_proba(m, MAP {3: 0.5, 10: 1.0}) AS probability
    FROM (SELECT logistic_fit(i % 3 = 0, MAP {i % 7: 1.0}) AS m FROM range(100) t(i));
    """
    return probability(model, _score(model, features))


@scalar(name="predict", overload=True)
def prediction_of_sparse(model: LinearModel, features: Sparse) -> float:
    """What a model expects of a row with sparse features.

    Examples
    --------
    SELECT predict(m, {'indices': [3, 10], 'values': [0.5, 1.0]}) AS label
    FROM (SELECT logistic_fit(i % 3 = 0, {'indices': [i % 7], 'values': [1.0]}) AS m FROM range(100) t(i));
    """
    return chosen_label(model, _score(model, features))

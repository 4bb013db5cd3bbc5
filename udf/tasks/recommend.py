"""Ratings that nobody gave, and the best items for a user, by a matrix factorisation."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit

from ironlake.udf.engine import scalar

from .matrix_factorization import MatrixFactorization
from .vectors import REORDER


@njit
def _position(keys: Any, key: Any) -> int:
    """Where a key stands among sorted texts; -1 if it is not there."""
    text = str(key)
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < text:
            low = middle + 1
        else:
            high = middle
    return low if low < len(keys) and keys[low] == text else -1


@njit
def _check_model(model: Any) -> None:
    if model.task != "matrix_factorization":
        raise ValueError("argument model must be a model of matrix_factorization_fit")
    biased = len(model.user_bias) > 0
    if len(model.user_factors) != len(model.users) or len(model.user_bias) != biased * len(model.users):
        raise ValueError("argument model has", len(model.users), "users, but not as many rows of factors and biases")
    if len(model.item_factors) != len(model.items) or len(model.item_bias) != biased * len(model.items):
        raise ValueError("argument model has", len(model.items), "items, but not as many rows of factors and biases")


@njit(fastmath=set(REORDER))
def _dot(left: Any, right: Any) -> float:
    if len(left) != len(right):
        raise ValueError("argument model has rows of", len(left), "and of", len(right), "factors; expected one length")
    total = np.float32(0)
    for index in range(len(left)):
        total += left[index] * right[index]
    return np.float64(total)


@scalar(boundscheck=False)
def predict_rating(
    model: MatrixFactorization, user: int | str, item: int | str, cold_start: Literal["null", "mean"] = "null"
) -> float | None:
    """Predict the rating of an item by a user.

    Parameters
    ----------
    model : as `matrix_factorization_fit` returns it.
    user, item : keys; the number 7 and the text '7' are the same key.
    cold_start : what to predict for a user or an item that was not trained on: ``'null'``, or with ``'mean'`` the mean
        of the ratings plus the bias of the one that is known.

    Returns
    -------
    DOUBLE
        ``mean + user_bias + item_bias + user_factors . item_factors``, or the product alone if the model is without
        biases. NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If the model is no matrix factorisation, or cold_start is another text.

    References
    ----------
    Koren, Bell, Volinsky: Matrix Factorization Techniques for Recommender Systems, IEEE Computer 42 (2009), equation 4.

    Examples
    --------
    SELECT predict_rating(model, 'eve', 'tea') AS known, predict_rating(model, 'eve', 'rum', 'mean') AS unknown
    FROM (SELECT matrix_factorization_fit(u, i, r, {'rank': 2}) AS model
          FROM (VALUES ('bob', 'tea', 2), ('bob', 'gin', 5), ('eve', 'tea', 4)) t(u, i, r));
    """
    _check_model(model)
    if cold_start != "null" and cold_start != "mean":
        raise ValueError("argument cold_start must be 'null' or 'mean', got", cold_start)
    left, right = _position(model.users, user), _position(model.items, item)
    known = left >= 0 and right >= 0
    if not known and cold_start == "null":
        return None
    rating = _dot(model.user_factors[left], model.item_factors[right]) if known else 0.0
    biased = len(model.user_bias) > 0
    if biased or not known:
        rating += model.mean
    if biased and left >= 0:
        rating += model.user_bias[left]
    if biased and right >= 0:
        rating += model.item_bias[right]
    return rating


class Recommendation(NamedTuple):
    """An item and the rating that is predicted for it."""

    item: str
    score: float


@scalar(boundscheck=False)
def recommend(model: MatrixFactorization, user: int | str, k: int) -> list[Recommendation] | None:
    """The items that a user is predicted to rate highest; those already rated are among them.

    Parameters
    ----------
    model : as `matrix_factorization_fit` returns it.
    user : a key.
    k : how many items.

    Returns
    -------
    LIST(STRUCT)
        ``item``, the key as text, and ``score``, the predicted rating, the highest first; of equal ones the item that
        comes first in the model. All items if there are fewer than k. NULL if the user was not trained on, or an
        argument is NULL.

    Raises
    ------
    InvalidInputException
        If the model is no matrix factorisation, or k is negative.

    References
    ----------
    Koren, Bell, Volinsky: Matrix Factorization Techniques for Recommender Systems, IEEE Computer 42 (2009).

    Examples
    --------
    SELECT unnest(recommend(model, 'eve', 2), recursive := true)
    FROM (SELECT matrix_factorization_fit(u, i, r, {'rank': 2}) AS model
          FROM (VALUES ('bob', 'tea', 2), ('bob', 'gin', 5), ('eve', 'tea', 4)) t(u, i, r));
    """
    _check_model(model)
    if k < 0:
        raise ValueError("argument k must be at least 0, got", k)
    place = _position(model.users, user)
    if place < 0:
        return None
    factors, biased = model.user_factors[place], len(model.user_bias) > 0
    scores = np.empty(len(model.items))
    for index in range(len(scores)):
        scores[index] = _dot(factors, model.item_factors[index])
        if biased:
            scores[index] += model.item_bias[index]
    if biased:
        scores += model.mean + model.user_bias[place]
    return [Recommendation(model.items[index], scores[index]) for index in _largest(scores, min(k, len(scores)))]


@njit
def _largest(scores: Any, count: int) -> Any:
    """The places of so many largest scores, the largest first."""
    if count == 0:
        return np.empty(0, np.int64)
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    places = np.nonzero(scores >= least)[0]
    return places[np.argsort(-scores[places], kind="mergesort")][:count]

"""The model of a conditional random field, and how compiled code reads it.

Anyone may write such a STRUCT, so nothing in it is an index before it is known to be in range: that its lists are as
long as each other's is looked at once in a row, a position or a row of weights where it is used.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload

from ironlake.udf.engine.memory import load, prefetch_to_read
from ironlake.udf.engine.sqltypes import INTEGER

from .crf_lookup import ask_for_place, hash_of, position_of, row_of, same_text, slot_of


class CrfModel(NamedTuple):
    """A trained conditional random field as a SQL STRUCT.

    Attributes
    ----------
    task : ``crf``.
    labels : in alphabetical order; ties between them go to the first.
    attributes : in alphabetical order.
    state_weights : a row for every attribute, with a weight for every label.
    transition_weights : a row for every label, with a weight for every label that may follow it.
    lookup : a hash table over the attributes (see `crf_lookup`): for every place a hash and a position in
        ``attributes`` from 0, or -1.
    loglik : logarithm of the probability of the labels trained on.
    n : sequences trained on.
    epochs : iterations of L-BFGS, or passes of gradient descent.
    converged : whether the tolerance was reached.
    stop_reason : ``tolerance``, ``epochs``, or ``line_search`` where L-BFGS found no lower loss in its direction.
    loss_history : the loss ``-loglik + l2 |w|^2`` after each epoch; in gradient descent the part of each sequence is
        taken before the step on it.
    """

    task: str
    labels: list[str]
    attributes: list[str]
    state_weights: list[list[float]]
    transition_weights: list[list[float]]
    lookup: list[int]
    loglik: float
    n: int
    epochs: INTEGER
    converged: bool
    stop_reason: str
    loss_history: list[float]


@njit
def _labels_of(model: Any) -> int:
    """The number of labels of a model, once its lists are known to fit each other.

    Raises
    ------
    ValueError
        If they do not. A row of state weights is looked at where it is used.
    """
    if model.task != "crf":
        raise ValueError("argument model is of the task", model.task, "and must be one of crf_fit")
    labels, attributes, places = len(model.labels), len(model.attributes), len(model.lookup) // 2
    if labels == 0:
        raise ValueError("argument model has no labels")
    if len(model.state_weights) != attributes:
        raise ValueError("argument model has", attributes, "attributes and", len(model.state_weights), "state_weights")
    if len(model.transition_weights) != labels:
        raise ValueError(
            "argument model has", labels, "labels and", len(model.transition_weights), "transition_weights"
        )
    if places == 0 or places & (places - 1) or len(model.lookup) != 2 * places:
        raise ValueError(
            "argument model has a lookup of", len(model.lookup), "numbers; that of crf_fit has a power of 2, at least 2"
        )
    return labels


@njit
def state_scores(model: Any, tokens: Any) -> Any:
    """The state scores of tokens under a model: tokens x labels."""
    scores = np.zeros((len(tokens), _labels_of(model)))
    _gather(model.lookup, len(model.attributes), model.state_weights, tokens, scores)
    _refuse_infinite(scores)
    return scores


@njit
def _gather(lookup: Any, count: int, weights: Any, tokens: Any, scores: Any) -> None:
    """Add up the weights of the attributes of each token.

    The model is in no near cache: what a token needs is asked for while the tokens before it have their turn, first the
    place in the lookup, then the row of weights.
    """
    total, width = 0, scores.shape[1]
    for t in range(len(tokens)):
        _, first, last = _attributes(tokens, t)
        total += last - first
    found, at = np.empty(total, np.int64), 0  # hashes of all attributes, and then the addresses of their weights, or 0
    for t in range(len(tokens)):
        attributes, first, last = _attributes(tokens, t)
        for index in range(first, last):
            found[at] = hash_of(slot_of(attributes, index))
            ask_for_place(lookup, found[at])
            at += 1
    for at in range(total):
        position = position_of(found[at], lookup, count)
        found[at] = row_of(weights, position, width) if position >= 0 else 0
        prefetch_to_read(found[at])
    at = 0
    for t in range(len(tokens)):
        _, first, last = _attributes(tokens, t)
        for _ in range(first, last):
            row = found[at]
            at += 1
            for label in range(width if row != 0 else 0):
                scores[t, label] += load(row + 8 * label, np.float64)


def _attributes(tokens: Any, t: int) -> Any:
    """The attributes of a token, which is a list of them or a single one: some list, and where in it they stand."""
    raise TypeError("for compiled code")


@overload(_attributes, strict=False)
def _compiled_attributes(tokens: Any, t: Any) -> Any:
    if isinstance(tokens.column, types.UniTuple):  # the address of texts, that of their validity
        return lambda tokens, t: (tokens, t, t + 1)

    def listed(tokens: Any, t: int) -> Any:
        attributes = tokens[t]
        return attributes, 0, len(attributes)

    return listed


@njit
def transitions_of(model: Any) -> Any:
    """The transition weights of a model: labels x labels."""
    count = _labels_of(model)
    weights = np.empty((count, count))
    for label in range(count):
        row = model.transition_weights[label]
        if len(row) != count:
            raise ValueError("argument model has", count, "labels, but", len(row), "transition weights of a label")
        weights[label] = row
    _refuse_infinite(weights)
    return weights


@njit
def _refuse_infinite(weights: Any) -> None:
    sound = True
    for weight in weights.reshape(-1):
        sound &= abs(weight) < math.inf
    if not sound:
        raise ValueError("argument model has weights that are no finite numbers")


@njit
def label_numbers(model: Any, labels: Any) -> Any:
    """The positions of labels among those of a model."""
    numbers = np.full(len(labels), -1)
    for t in range(len(labels)):
        slot = slot_of(labels, t)
        for label in range(len(model.labels)):
            if same_text(slot, slot_of(model.labels, label)):
                numbers[t] = label
                break
        if numbers[t] < 0:
            raise ValueError("argument labels has a label that the model does not know at position", t + 1)
    return numbers

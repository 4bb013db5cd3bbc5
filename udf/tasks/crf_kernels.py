"""Inference in linear-chain conditional random fields, and the sums that training needs, in compiled code.

Python calls the functions with ``cache=True``; the others are for compiled code only.

Labels ``y`` of a sequence of ``T`` tokens have the score ``sum_t s_t(y_t) + sum_t tau(y_{t-1}, y_t)`` and the
probability ``exp(score) / Z``. The state score ``s_t(l)`` is the sum of the weights of the token's attributes for
label ``l``. Forward-backward runs on numbers scaled to sum to 1 at every token instead of on logarithms:

    u_t(l) = exp(s_t(l) - max s_t)                    E(k, l) = exp(tau(k, l) - max tau)
    a_1 = u_1 / c_1                                   a_t(l) = u_t(l) sum_k a_{t-1}(k) E(k, l) / c_t
    log Z = sum_t (log c_t + max s_t) + (T - 1) max tau
    b_T = 1                                           b_{t-1}(k) = sum_l E(k, l) v_t(l),  v_t = u_t b_t / c_t
    P(y_t = l) = a_t(l) b_t(l)                        P(y_{t-1} = k, y_t = l) = a_{t-1}(k) E(k, l) v_t(l)

What underflows to 0 at a token is below 1e-308 of the largest term and later gains at most ``exp(R)`` on it, where
``R`` is the range of the transition weights; twice that stays far below rounding as long as ``R <= 300``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .vectors import REORDER

#: Largest range of transition weights with which scaled sums are exact.
WIDEST_RANGE = 300.0
#: Factors are gathered in a product of this size before their logarithm is taken; none is below 1e-131 per label.
_LEAST, _MOST = 1e-150, 1e150
#: Adding the first rounds a number to an integer in its low bits; the second is 1 / 12! in `_exponentials`.
_SHIFT, _LAST = 6755399441055744.0, 1 / 479001600
#: The common factor of the weights in `descend` is multiplied out below this.
_SMALLEST_FACTOR = 1e-6


class Sequences(NamedTuple):
    """Labelled sequences as numbers.

    Attributes
    ----------
    starts : the first token of every sequence, and the number of tokens behind the last.
    attribute_starts : the same of every token in ``attributes``.
    attributes : of all tokens, end to end.
    labels : of all tokens.
    """

    starts: np.ndarray
    attribute_starts: np.ndarray
    attributes: np.ndarray
    labels: np.ndarray


# ------------------------------------------------------------------------------------------------------------ inference


@njit
def transition_factors(transitions: Any) -> tuple[Any, Any, float]:
    """``E``, its transpose, and ``max tau``; the latter is NaN if the weights are too far apart for scaled sums."""
    highest = transitions.max()
    if not highest - transitions.min() <= WIDEST_RANGE:
        return transitions, transitions, np.nan
    factors = np.exp(transitions - highest)
    return factors, np.ascontiguousarray(factors.T), highest


@njit(fastmath={"contract"})
def _exponentials(values: Any) -> None:
    """The exponentials of numbers up to 0, in place, within 3e-16; that of -708 for those below.

    ``exp(x) = 2^k exp(r)`` with ``|r| <= ln 2 / 2``, and ``exp(r)`` by its Taylor polynomial of degree 13. Without
    branches or calls, so that it is made for several numbers at a time.
    """
    shifted = np.empty(len(values))
    for index in range(len(values)):
        value = max(values[index], -708.0)
        shifted[index] = value * 1.4426950408889634 + _SHIFT
        k = shifted[index] - _SHIFT
        r = (value - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10  # ln 2 in two parts
        high = 1 / 5040 + r * (1 / 40320 + r * (1 / 362880 + r * (1 / 3628800 + r * (1 / 39916800 + r * _LAST))))
        values[index] = 1 + r * (
            1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r * high)))))
        )
    bits, exponents = values.view(np.int64), shifted.view(np.int64)
    for index in range(len(values)):
        bits[index] += exponents[index] << 52


@njit
def relative(scores: Any) -> float:
    """Turn state scores (tokens x labels) into ``u``; gives ``sum_t max s_t``."""
    length, count = scores.shape
    total = 0.0
    for t in range(length):
        highest = scores[t, 0]
        for label in range(1, count):
            highest = max(highest, scores[t, label])
        for label in range(count):
            scores[t, label] -= highest
        total += highest
    _exponentials(scores.reshape(-1))
    return total


@njit(fastmath=set(REORDER))
def forward(scores: Any, into: Any, highest_transition: float, filtered: Any, scales: Any) -> float:
    """``log Z - sum_t max s_t`` of a sequence, given ``u`` and the transpose of ``E``.

    ``filtered`` and ``scales`` become ``a`` and ``1 / c``.
    """
    length, count = scores.shape
    log_z, product = (length - 1) * highest_transition if length else 0.0, 1.0
    for t in range(length):
        total = 0.0
        for label in range(count):
            arriving = 1.0 if t == 0 else 0.0
            for before in range(count if t else 0):
                arriving += filtered[t - 1, before] * into[label, before]
            filtered[t, label] = arriving * scores[t, label]
            total += filtered[t, label]
        inverse = 1 / total
        for label in range(count):
            filtered[t, label] *= inverse
        scales[t] = inverse
        product *= total
        if not _LEAST < product < _MOST:
            log_z += math.log(product)
            product = 1.0
    return log_z + math.log(product)


@njit(fastmath=set(REORDER))
def backward(scores: Any, factors: Any, filtered: Any, scales: Any, pairs: Any) -> None:
    """Turn ``u`` into the probabilities ``P(y_t = l)``, given ``E``, after `forward`.

    ``a_{t-1}(k) v_t(l)`` is added to ``pairs`` for every ``t``: times ``E(k, l)`` this is the expected number of times
    that label ``l`` follows label ``k``.
    """
    length, count = scores.shape
    later, message = np.ones(count), np.empty(count)
    for t in range(length - 1, 0, -1):
        for label in range(count):
            message[label] = scores[t, label] * later[label] * scales[t]
            scores[t, label] = filtered[t, label] * later[label]
        for before in range(count):
            total = 0.0
            for label in range(count):
                total += factors[before, label] * message[label]
            later[before] = total
        for before in range(count):
            share = filtered[t - 1, before]
            for label in range(count):
                pairs[before, label] += share * message[label]
    if length:
        for label in range(count):
            scores[0, label] = filtered[0, label] * later[label]


@njit
def viterbi(scores: Any, transitions: Any) -> Any:
    """The labels with the highest score; of equal ones that with the lowest label, at the last difference.

    ``scores`` become those of the best labels up to each token that end in each label. The way back finds again which
    label the best score came from, so that the way there takes maxima only, without branches.
    """
    length, count = scores.shape
    into = np.zeros((count + 1, count))  # a row for every label, and the last for what is behind the sequence
    into[:count] = transitions.T
    for t in range(1, length):
        for label in range(count):
            highest = scores[t - 1, 0] + into[label, 0]
            for before in range(1, count):
                score = scores[t - 1, before] + into[label, before]
                highest = score if score > highest else highest
            scores[t, label] += highest
    path, label = np.empty(length, np.int64), count
    for t in range(length - 1, -1, -1):
        highest, best = scores[t, 0] + into[label, 0], 0
        for before in range(1, count):
            score = scores[t, before] + into[label, before]
            best = before if score > highest else best
            highest = score if score > highest else highest
        path[t] = label = best
    return path


@njit
def sequence_score(scores: Any, transitions: Any, labels: Any) -> float:
    """The score of given labels."""
    total = 0.0
    for t in range(len(labels)):
        total += scores[t, labels[t]]
        if t > 0:
            total += transitions[labels[t - 1], labels[t]]
    return total


# ------------------------------------------------------------------------------------------------------------- training


@njit
def _state_scores(sequences: Any, weights: Any, first: int, last: int, scores: Any) -> None:
    """The state scores of tokens ``first`` to ``last``."""
    count = weights.shape[1]
    for token in range(first, last):
        for label in range(count):
            scores[token - first, label] = 0.0
        for at in range(sequences.attribute_starts[token], sequences.attribute_starts[token + 1]):
            attribute = sequences.attributes[at]
            for label in range(count):
                scores[token - first, label] += weights[attribute, label]


@njit
def _longest(starts: Any, first: int, last: int) -> int:
    longest = 0
    for sequence in range(first, last):
        longest = max(longest, starts[sequence + 1] - starts[sequence])
    return longest


@njit(nogil=True, cache=True)
def expectations(sequences: Any, weights: Any, transitions: Any, block: Any, marginals: Any, pairs: Any) -> float:
    """The sum of ``log Z`` over a block of sequences, ``(first, last)``; NaN as in `transition_factors`.

    Fills in the block's rows of ``marginals`` (tokens x labels) with ``P(y_t = l)``, and ``pairs``, zeros before, with
    the expected number of times that each label follows each.
    """
    longest, count = _longest(sequences.starts, block[0], block[1]), weights.shape[1]
    filtered, scales = np.empty((longest, count)), np.empty(longest)
    factors, into, highest_transition = transition_factors(transitions)
    if math.isnan(highest_transition):
        return np.nan
    begin, end = sequences.starts[block[0]], sequences.starts[block[1]]
    _state_scores(sequences, weights, begin, end, marginals[begin:end])
    log_z = relative(marginals[begin:end])
    for sequence in range(block[0], block[1]):
        scores = marginals[sequences.starts[sequence] : sequences.starts[sequence + 1]]
        log_z += forward(scores, into, highest_transition, filtered, scales)
        backward(scores, factors, filtered, scales, pairs)
    pairs *= factors
    return log_z


@njit(nogil=True, cache=True)
def tokens_by_attribute(sequences: Any, starts: Any) -> Any:
    """The tokens that have each attribute ``a``, in order: ``tokens[starts[a]:starts[a + 1]]`` (a counting sort)."""
    tokens, free = np.empty(starts[-1], np.int64), starts.copy()
    for token in range(len(sequences.labels)):
        for at in range(sequences.attribute_starts[token], sequences.attribute_starts[token + 1]):
            attribute = sequences.attributes[at]
            tokens[free[attribute]] = token
            free[attribute] += 1
    return tokens


@njit(nogil=True, cache=True)
def sum_by_attribute(starts: Any, tokens: Any, block: Any, marginals: Any, sums: Any) -> None:
    """For a block of attributes, ``(first, last)``: the sum of ``marginals`` over the tokens that have each."""
    count = marginals.shape[1]
    for attribute in range(block[0], block[1]):
        for label in range(count):
            sums[attribute, label] = 0.0
        for at in range(starts[attribute], starts[attribute + 1]):
            token = tokens[at]
            for label in range(count):
                sums[attribute, label] += marginals[token, label]


@njit(nogil=True, cache=True)
def descend(sequences: Any, order: Any, weights: Any, transitions: Any, step_size: float, shrink: float) -> float:
    """One epoch of incremental gradient descent; gives the sum of ``-log p``, each taken before its step.

    A step is ``w += step_size (F(y, x) - E[F])`` and then ``w *= shrink``, the proximal step of the penalty. The state
    weights are kept as a common factor times numbers, so that a step touches the attributes of its sequence only.
    It is NaN if training diverged.
    """
    longest, count = _longest(sequences.starts, 0, len(sequences.starts) - 1), weights.shape[1]
    memory, filtered, scales = np.empty((longest, count)), np.empty((longest, count)), np.empty(longest)
    pairs, factor, loss = np.empty((count, count)), 1.0, 0.0
    for sequence in order:
        first, last = sequences.starts[sequence], sequences.starts[sequence + 1]
        labels, scores = sequences.labels[first:last], memory[: last - first]
        _state_scores(sequences, weights, first, last, scores)
        scores *= factor
        factors, into, highest_transition = transition_factors(transitions)
        if math.isnan(highest_transition):
            return np.nan
        loss -= sequence_score(scores, transitions, labels)
        loss += relative(scores) + forward(scores, into, highest_transition, filtered, scales)
        pairs[:] = 0.0
        backward(scores, factors, filtered, scales, pairs)
        transitions -= step_size * pairs * factors
        for t in range(len(labels)):
            if t > 0:
                transitions[labels[t - 1], labels[t]] += step_size
            scores[t, labels[t]] -= 1.0
        _step(sequences, first, last, weights, scores, step_size / factor)
        transitions *= shrink
        factor *= shrink
        if factor < _SMALLEST_FACTOR:
            weights *= factor
            factor = 1.0
    weights *= factor
    return loss


@njit
def _step(sequences: Any, first: int, last: int, weights: Any, slopes: Any, step_size: float) -> None:
    """Subtract the slopes of tokens ``first`` to ``last`` from the weights of their attributes."""
    for token in range(first, last):
        for at in range(sequences.attribute_starts[token], sequences.attribute_starts[token + 1]):
            attribute = sequences.attributes[at]
            for label in range(weights.shape[1]):
                weights[attribute, label] -= step_size * slopes[token - first, label]

"""Training of linear-chain conditional random fields: sequences as numbers, the loss and its gradient, two methods."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from .crf_kernels import Sequences, descend, expectations, sum_by_attribute, tokens_by_attribute
from .vectors import REORDER

if TYPE_CHECKING:
    import pyarrow as pa

#: Work is divided into blocks of about so many entries, at most this many blocks; how many threads share them does not
#: change the order of any sum.
_BLOCK_ENTRIES, _MOST_BLOCKS = 8192, 64
#: L-BFGS: steps that are remembered, evaluations of the loss in a line search, and the two constants of Wolfe.
_MEMORY, _MOST_EVALUATIONS, _DECREASE, _CURVATURE = 6, 40, 1e-4, 0.9
#: Step sizes that ``step_size='auto'`` tries, on how many sequences.
_CANDIDATES, _SAMPLE = 2.0 ** np.arange(-8, 2), 300


class Fit(NamedTuple):
    """What a training method gives.

    Attributes
    ----------
    weights : as `Loss` takes them.
    loss : with these weights.
    history : the loss after each epoch.
    stop_reason : ``tolerance``, ``epochs`` or ``line_search``.
    """

    weights: np.ndarray
    loss: float
    history: list[float]
    stop_reason: str


# ------------------------------------------------------------------------------------------------ sequences as numbers


def encoded(tokens: pa.ListArray, labels: pa.ListArray, on_null: str) -> tuple[Sequences, pa.Array, pa.Array]:
    """Number the labels and the attributes in alphabetical order; gives the names of both as well.

    Raises
    ------
    ValueError
        If a row or something in it is NULL, or its labels are not as many as its tokens.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    present = pc.and_(tokens.is_valid(), labels.is_valid())
    rows = np.flatnonzero(present)
    if len(rows) < len(tokens) and on_null == "error":
        raise ValueError("the tokens or the labels of a row are NULL; filter them, or pass {'on_null': 'skip'}")
    tokens, labels = tokens.filter(present), labels.filter(present)
    lengths, label_lengths = (column.value_lengths().to_numpy() for column in (tokens, labels))
    if (lengths != label_lengths).any():
        at = np.flatnonzero(lengths != label_lengths)[0]
        raise ValueError(f"row {rows[at] + 1} has {lengths[at]} tokens and {label_lengths[at]} labels")
    starts = _starts(lengths)
    each_label, each_token = labels.flatten(), tokens.flatten()
    _refuse_nulls(each_label, "label", starts, rows)
    _refuse_nulls(each_token, "token", starts, rows)
    attribute_starts, attributes = np.arange(len(each_token) + 1), each_token
    if pa.types.is_list(each_token.type):
        attribute_starts, attributes = _starts(each_token.value_lengths().to_numpy()), each_token.flatten()
        _refuse_nulls(attributes, "attribute", attribute_starts[starts], rows)
    label_codes, label_names = _coded(each_label)
    attribute_codes, attribute_names = _coded(attributes)
    return Sequences(starts, attribute_starts, attribute_codes, label_codes), label_names, attribute_names


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _refuse_nulls(values: pa.Array, what: str, starts: np.ndarray, rows: np.ndarray) -> None:
    """An error if one of the values of all rows is NULL; those of a row begin at its start."""
    if values.null_count:
        at = np.flatnonzero(values.is_null())[0]
        raise ValueError(f"row {rows[np.searchsorted(starts, at, 'right') - 1] + 1} has a NULL {what}")


def _coded(texts: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The number of each text in alphabetical order, and the different texts."""
    import pyarrow.compute as pc

    dictionary = texts.dictionary_encode()
    order = pc.array_sort_indices(dictionary.dictionary)
    ranks = np.empty(len(order), np.int32)
    ranks[order] = np.arange(len(order))
    return ranks[dictionary.indices], dictionary.dictionary.take(order)


# ------------------------------------------------------------------------------------------------------------- the loss


class Loss:
    """``-loglik + l2 |w|^2`` and its gradient ``E[F] - F + 2 l2 w``.

    Attributes
    ----------
    size : number of weights: attributes x labels for states, then labels x labels for transitions.
    """

    def __init__(
        self, sequences: Sequences, attributes: int, labels: int, l2: float, in_parallel: Callable[..., Any] = map
    ) -> None:
        self.sequences, self.attributes, self.labels, self.l2 = sequences, attributes, labels, l2
        self.size = (attributes + labels) * labels
        self._marginals = np.zeros((len(sequences.labels), labels))
        self._sequence_blocks = _blocks(sequences.starts)
        self._map = in_parallel if len(self._sequence_blocks) > 1 else map
        self._token_starts = _starts(np.bincount(sequences.attributes, minlength=attributes))
        self._tokens = tokens_by_attribute(sequences, self._token_starts)
        self._attribute_blocks = _blocks(self._token_starts)
        self._observed = self._count_observed()

    def split(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The state weights and the transition weights, both with a column for every label."""
        states = self.attributes * self.labels
        return weights[:states].reshape(-1, self.labels), weights[states:].reshape(-1, self.labels)

    def _count_observed(self) -> np.ndarray:
        """``F``: how often each label goes with each attribute, and follows each label."""
        labels, starts = self.sequences.labels, self.sequences.starts
        observed = np.zeros(self.size)
        state, transitions = self.split(observed)
        self._marginals[np.arange(len(labels)), labels] = 1.0
        self._sum_by_attribute(state)
        later = np.ones(len(labels), bool)
        later[starts[starts < len(labels)]] = False
        np.add.at(transitions, (labels[np.flatnonzero(later) - 1], labels[later]), 1.0)
        return observed

    def _sum_by_attribute(self, sums: np.ndarray) -> None:
        def run(block: tuple[int, int]) -> None:
            sum_by_attribute(self._token_starts, self._tokens, block, self._marginals, sums)

        list(self._map(run, self._attribute_blocks))

    def __call__(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and the gradient; NaN where the weights are beyond what scaled sums can be computed with."""
        state, transitions = self.split(weights)
        pairs = np.zeros((len(self._sequence_blocks), self.labels, self.labels))

        def run(block: tuple[int, int], pairs: np.ndarray) -> float:
            return expectations(self.sequences, state, transitions, block, self._marginals, pairs)

        log_z = sum(self._map(run, self._sequence_blocks, pairs))
        gradient = np.empty(self.size)
        state_gradient, transition_gradient = self.split(gradient)
        self._sum_by_attribute(state_gradient)
        transition_gradient[:] = pairs.sum(axis=0)
        gradient += 2 * self.l2 * weights - self._observed
        return log_z - dot(weights, self._observed) + self.l2 * dot(weights, weights), gradient


def _blocks(starts: np.ndarray) -> list[tuple[int, int]]:
    """Divide sequences, or attributes, into blocks with about as many entries each."""
    count = int(np.clip(starts[-1] // _BLOCK_ENTRIES, 1, _MOST_BLOCKS))
    ends = np.searchsorted(starts, np.linspace(0, starts[-1], count + 1)[1:-1])
    return list(itertools.pairwise([0, *ends.tolist(), len(starts) - 1]))


@njit(nogil=True, cache=True, fastmath=set(REORDER))
def dot(left: Any, right: Any) -> float:
    """The dot product without BLAS, whose threads wait in busy loops: beside DuckDB's they cost more than they save."""
    total = 0.0
    for index in range(len(left)):
        total += left[index] * right[index]
    return total


# ---------------------------------------------------------------------------------------------------------- the methods


def lbfgs(loss: Loss, epochs: int, tolerance: float) -> Fit:
    """L-BFGS from zero weights (Nocedal, Wright: Numerical Optimization, 2nd edition, algorithm 7.5)."""
    weights, history = np.zeros(loss.size), []
    value, gradient = loss(weights)
    changes, bends = np.empty((_MEMORY, loss.size)), np.empty((_MEMORY, loss.size))
    for done in range(epochs):
        if np.abs(gradient).max() <= tolerance:
            return Fit(weights, value, history, "tolerance")
        direction = _direction(gradient, changes, bends, done)
        found = _search(loss, weights, value, gradient, direction)
        if found is None:
            return Fit(weights, value, history, "line_search")
        change, lower, slopes = found
        changes[done % _MEMORY], bends[done % _MEMORY] = change, slopes - gradient
        gain, weights, value, gradient = value - lower, weights + change, lower, slopes
        history.append(value)
        if gain <= tolerance * abs(value):
            return Fit(weights, value, history, "tolerance")
    return Fit(weights, value, history, "epochs")


@njit(nogil=True, cache=True)
def _direction(gradient: Any, changes: Any, bends: Any, done: int) -> Any:
    """Minus the gradient times the inverse Hessian that the last steps suggest (algorithm 7.4).

    Row ``i % _MEMORY`` of ``changes`` and ``bends`` is how step ``i`` changed the weights and the gradient. Before any
    step the direction has length 1.
    """
    if done == 0:
        return gradient / -math.sqrt(dot(gradient, gradient))
    direction, shares = -gradient, np.empty(_MEMORY)
    first, newest = max(done - _MEMORY, 0), (done - 1) % _MEMORY
    for step in range(done - 1, first - 1, -1):
        change, bend = changes[step % _MEMORY], bends[step % _MEMORY]
        shares[step % _MEMORY] = dot(change, direction) / dot(change, bend)
        _add(direction, -shares[step % _MEMORY], bend)
    direction *= dot(changes[newest], bends[newest]) / dot(bends[newest], bends[newest])
    for step in range(first, done):
        change, bend = changes[step % _MEMORY], bends[step % _MEMORY]
        _add(direction, shares[step % _MEMORY] - dot(bend, direction) / dot(change, bend), change)
    return direction


@njit
def _add(target: Any, scale: float, values: Any) -> None:
    for index in range(len(target)):
        target[index] += scale * values[index]


def _search(
    loss: Loss, weights: np.ndarray, value: float, gradient: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """A step along a direction that satisfies the Wolfe conditions, by bisection: the change, loss and gradient.

    None if rounding leaves no such step.
    """
    slope = dot(gradient, direction)
    rate, lowest, highest = 1.0, 0.0, math.inf
    for _ in range(_MOST_EVALUATIONS):
        change = rate * direction
        lower, slopes = loss(weights + change)
        if not lower <= value + _DECREASE * rate * slope:
            highest = rate
        elif dot(slopes, direction) < _CURVATURE * slope:
            lowest = rate
        else:
            return change, lower, slopes
        rate = (lowest + highest) / 2 if highest < math.inf else 2 * rate
    return None


def sgd(loss: Loss, epochs: int, tolerance: float, step_size: Any, decay: float, seed: int) -> Fit:
    """Incremental gradient descent from zero weights, a step per sequence in shuffled order.

    Raises
    ------
    ValueError
        If the step size is too large.
    """
    n, random = len(loss.sequences.starts) - 1, np.random.default_rng(seed)

    def epoch(weights: np.ndarray, order: np.ndarray, rate: float) -> float:
        fit = descend(loss.sequences, order, *loss.split(weights), rate, 1 / (1 + 2 * rate * loss.l2 / n))
        return fit + loss.l2 * dot(weights, weights)

    rate = _best_step(epoch, loss.size, random.permutation(n)[:_SAMPLE]) if step_size == "auto" else step_size
    weights, history, stop_reason = np.zeros(loss.size), [], "epochs"
    for done in range(epochs):
        history.append(epoch(weights, random.permutation(n), rate * decay**done))
        if done and abs(history[-2] - history[-1]) <= tolerance * abs(history[-1]):
            stop_reason = "tolerance"
            break
    value, _ = loss(weights)
    if not math.isfinite(value + history[-1]):
        raise ValueError(f"training diverged with step_size {rate}; try {rate / 8} or 'auto'")
    return Fit(weights, value, history, stop_reason)


def _best_step(epoch: Callable[..., float], size: int, sample: np.ndarray) -> float:
    """The step size with the lowest loss in the second of two epochs over a sample."""

    def second(rate: float) -> float:
        weights = np.zeros(size)
        epoch(weights, sample, rate)
        return epoch(weights, sample, rate)

    found = np.array([second(rate) for rate in _CANDIDATES])
    return float(_CANDIDATES[np.argmin(np.where(np.isnan(found), np.inf, found))])

"""Training and prediction with sparse features: a row names the features it has, and costs what it has.

A row is a MAP from names of features to numbers, or a STRUCT of ``indices`` and ``values``. The weight of an index,
from 0 on, stands at that place (``coefficients[index + 1]`` in SQL), that of a name where its hash says. DuckDB casts
MAPs with other keys and values; it cannot choose between several kinds of MAP.

Features of sparse rows differ in how often they come and in size, so each has a step size of its own (Ross, Mineiro,
Langford: Normalized Online Learning, UAI 2013, algorithm 2). With the gradient ``g_j`` of a row, the sum ``G_j`` of
their squares and the largest size ``s_j`` of the feature, ``N`` the sum of the squares of all features in units of
their sizes and ``t`` rows

    w_j -= r_j g_j,    r_j = a sqrt(t / N) / (s_j sqrt(G_j))

The penalties shrink every weight at every row. As ``r_j`` hardly changes between rows that have the feature, they are
caught up with when it comes again: the L1 step ``k`` times is ``max(|w_j| - k r_j l1, 0)``, that of L2 a division by
``(1 + r_j l2)^k``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from ironlake.udf.engine.sqltypes import FLOAT, INTEGER, Annotated, parse

from .labels import Labels
from .model import REAL, LinearModel

#: A row: a MAP from names, or indices and values.
Sparse = Annotated[Any, tuple(map(parse, ("MAP(VARCHAR, DOUBLE)", "STRUCT(indices BIGINT[], values DOUBLE[])")))]
#: Features that are numbers have a place each, up to this many.
_MOST_FEATURES = 2**24
_MOST_HASH_BITS = 28
_FIRST, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
#: ``step_size='auto'``, in units of the labels where they are numbers.
_STEP = 0.5
_TINY = 1e-30
#: The intercept where all rows are of one class, in log-odds.
_CERTAIN = 16.0
#: Parts of a model: weights, sums of squared gradients, sizes.
_PARTS = 3


# ----------------------------------------------------------------------------------------------------------------- rows


def count_of(features: Any) -> int:
    """How many features a row names."""
    raise TypeError("for compiled code")


@overload(count_of, strict=False)
def _count_of(features: Any) -> Any:
    if isinstance(features, types.BaseTuple):

        def pairs(features: Any) -> int:
            if len(features.indices) != len(features.values):
                raise ValueError(
                    "argument features has", len(features.indices), "indices and", len(features.values), "values"
                )
            return len(features.indices)

        return pairs
    return lambda features: len(features)


def entry_of(features: Any, index: int, bits: int) -> tuple[int, float]:
    """The place and the number of a feature that a row names; places of texts have so many bits."""
    raise TypeError("for compiled code")


@overload(entry_of, strict=False)
def _entry_of(features: Any, index: Any, bits: Any) -> Any:
    if isinstance(features, types.BaseTuple):
        return lambda features, index, bits: (np.int64(features.indices[index]), np.float64(features.values[index]))

    def entry(features: Any, index: int, bits: int) -> tuple[int, float]:
        pair = features[index]
        return _hashed(pair.key, bits), np.float64(pair.value)

    return entry


@njit
def _hashed(name: str, bits: int) -> int:
    """The low bits of a hash (FNV-1a, mixed)."""
    code = _FIRST
    for letter in name:
        code = (code ^ np.uint64(ord(letter))) * _PRIME
    code = (code ^ (code >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return np.int64((code ^ (code >> np.uint64(32))) & np.uint64((1 << bits) - 1))


def hashes(features: Any) -> bool:
    """Whether the places of a row's features are hashes."""
    raise TypeError("for compiled code")


@overload(hashes, strict=False)
def _hashes(features: Any) -> Any:
    return (lambda features: False) if isinstance(features, types.BaseTuple) else (lambda features: True)


# ------------------------------------------------------------------------------------------------------------- training


@njit
def _catch_up(weight: float, rate: float, rows: float, l1: float, l2: float) -> float:
    """The penalties' steps of so many rows on a weight."""
    if rows <= 0 or weight == 0:
        return weight
    if l1 > 0 and l2 == 0:
        return math.copysign(max(abs(weight) - rows * rate * l1, 0.0), weight)
    shrunk = (1 + rate * l2) ** -rows
    # With both, w -> (w - r l1) / (1 + r l2) in every row: a geometric series.
    size = abs(weight) * shrunk - (l1 / l2 * (1 - shrunk) if l2 > 0 else 0.0)
    return math.copysign(max(size, 0.0), weight)


@njit
def _rate(step: float, squares: float, size: float) -> float:
    return step / (size * math.sqrt(squares)) if squares > 0 and size > 0 else 0.0


class SparseTask(Labels):
    """State and behaviour of a task on sparse rows; a subclass adds ``task``, ``labels``, ``step`` and ``init``."""

    model: list[FLOAT]  # three numbers for each feature
    last: list[INTEGER]  # the row after which each weight was caught up with
    places: list[INTEGER]  # kept rows, end to end
    values: list[FLOAT]
    ends: list[int]
    targets: list[FLOAT]
    row_weights: list[FLOAT]
    intercept: float
    intercept_square: float
    normal: float  # sum of the squares of features in units of their sizes
    label_square: float
    n: int
    taken: int
    mass: float
    loss: float
    rate: float
    bits: int
    automatic: bool
    keeping: bool

    def prepare(self, l1, l2, fit_intercept, epochs, step_size, hash_bits, class_weight, on_null):
        """Check the options."""
        if l1 < 0 or l2 < 0:
            raise ValueError("options l1 and l2 must be at least 0, got", l1, "and", l2)
        if epochs < 1:
            raise ValueError("option epochs must be at least 1, got", epochs)
        if not 1 <= hash_bits <= _MOST_HASH_BITS:
            raise ValueError("option hash_bits must be from 1 to", _MOST_HASH_BITS, ", got", hash_bits)
        self.weigh_classes(class_weight)
        self.automatic, self.rate = step_size is None, _STEP
        if step_size is not None:
            self.rate = step_size
        if not 0 < self.rate < math.inf:
            raise ValueError("option step_size must be above 0, got", self.rate)
        self.bits, self.keeping = hash_bits, epochs > 1
        self.skip_nulls = on_null == "skip"

    def learn(self, label, features, weight):
        """Take in a row."""
        target = self.target(label)
        weight = self.weighed(target, weight)
        start = len(self.places) if self.keeping else 0
        count = count_of(features)
        if self.keeping and (start + count) * 8 > self.buffer_mb * 1e6:
            raise ValueError("the rows of a group outgrow buffer_mb; raise it, or train with epochs 1")
        self.places.resize(start + count)
        self.values.resize(start + count)
        places, values, highest = self.places[:], self.values[:], -1
        for index in range(count):
            place, value = entry_of(features, index, self.bits)
            if place < 0 or (place >= _MOST_FEATURES and not hashes(features)):
                raise ValueError(
                    "argument features has the index", place, "; it must be from 0 to 16777215, or a name in a MAP"
                )
            if not abs(np.float32(value)) < math.inf:
                raise ValueError(
                    "feature", place, "of a row is NaN or infinite as a FLOAT; filter such rows, or leave it out"
                )
            places[start + index], values[start + index] = place, value
            highest = max(highest, place)
        if hashes(features):
            highest = (1 << self.bits) - 1
        if (highest + 1) * _PARTS > len(self.model):
            self.model.resize((highest + 1) * _PARTS)
            self.last.resize(highest + 1)
        self.n += 1
        self.mass += weight
        self.label_square += target * target
        if self.keeping:
            self.ends.append(start + count)
            self.targets.append(target)
            self.row_weights.append(weight)
        row = slice(start, start + count)
        self.loss += self.descend(self.model[:], self.last[:], places[row], values[row], target, weight)

    def rate_now(self):
        """The step size, in units of the features."""
        step = self.rate
        if self.automatic and self.labels == REAL:
            step *= math.sqrt(self.label_square / max(self.n, 1))
        return step * math.sqrt(self.taken / max(self.normal, _TINY))

    def descend(self, model, last, places, values, target, weight):
        """The gradient step of a row; gives its loss."""
        self.taken += 1
        for index in range(len(places)):
            at, size = places[index] * _PARTS, abs(values[index])
            if size > model[at + 2]:
                model[at] *= model[at + 2] / size
                model[at + 2] = size
            if size > 0:
                self.normal += (size / model[at + 2]) ** 2
        if self.fit_intercept:
            self.normal += 1
        rate = self.rate_now()
        score = self.intercept
        for index in range(len(places)):
            at = places[index] * _PARTS
            if self.l1 > 0 or self.l2 > 0:
                own = _rate(rate, np.float64(model[at + 1]), np.float64(model[at + 2]))
                model[at] = _catch_up(
                    np.float64(model[at]), own, self.taken - 1 - last[places[index]], self.l1, self.l2
                )
                last[places[index]] = self.taken - 1
            score += np.float64(model[at]) * values[index]
        addend, factor, slope = self.step(np.float32(score), np.float32(target))
        if not abs(score) < math.inf:
            raise ValueError("training diverged; give a smaller step_size, or 'auto'")
        slope *= weight
        for index in range(len(places)):
            at, gradient = places[index] * _PARTS, slope * values[index]
            if gradient != 0:
                model[at + 1] += gradient * gradient
                model[at] -= _rate(rate, np.float64(model[at + 1]), np.float64(model[at + 2])) * gradient
        if self.fit_intercept and slope != 0:
            self.intercept_square += slope * slope
            self.intercept -= rate * slope / math.sqrt(self.intercept_square)
        return weight * (addend + math.log(factor))

    def merge(self, other):
        self.merge_labels(other)
        if other.n == 0:
            return
        share = other.n / (self.n + other.n)
        if len(other.model) > len(self.model):
            self.model.resize(len(other.model))
            self.last.resize(len(other.last))
        mine, last, theirs = self.model[:], self.last[:], other.model[:]
        self.settle(mine, last)
        for index in range(len(last)):
            at, weight = index * _PARTS, 0.0
            if at < len(theirs):
                rate = _rate(other.rate_now(), np.float64(theirs[at + 1]), np.float64(theirs[at + 2]))
                weight = _catch_up(np.float64(theirs[at]), rate, other.taken - other.last[index], self.l1, self.l2)
                mine[at + 1] += theirs[at + 1]
                mine[at + 2] = max(mine[at + 2], theirs[at + 2])
            mine[at] += share * (weight - mine[at])
            last[index] = self.taken + other.taken
        self.intercept += share * (other.intercept - self.intercept)
        self.intercept_square += other.intercept_square
        if self.keeping:
            base = len(self.places)
            for index in range(len(other.ends)):
                self.ends.append(other.ends[index] + base)
            self.places.extend(other.places)
            self.values.extend(other.values)
            self.targets.extend(other.targets)
            self.row_weights.extend(other.row_weights)
        self.normal += other.normal
        self.label_square += other.label_square
        self.n += other.n
        self.taken += other.taken
        self.mass += other.mass
        self.loss += other.loss

    def settle(self, model, last):
        """Catch up with the penalties of all weights."""
        if self.l1 == 0 and self.l2 == 0:
            return
        rate = self.rate_now()
        for index in range(len(last)):
            at = index * _PARTS
            own = _rate(rate, np.float64(model[at + 1]), np.float64(model[at + 2]))
            model[at] = _catch_up(np.float64(model[at]), own, self.taken - last[index], self.l1, self.l2)
            last[index] = self.taken

    def finish(self) -> LinearModel | None:
        self.check_labels(self.n)
        if self.n == 0:
            return None
        # Nothing may change but what is copied: the state is finished again where a window slides on.
        last = self.last[:].copy()
        model, intercept, square, normal, taken = (
            self.model[:].copy(), self.intercept, self.intercept_square, self.normal, self.taken,
        )  # fmt: skip
        history = np.empty(self.epochs)
        history[0], done, converged = self.loss / max(self.mass, _TINY), 1, False
        while done < self.epochs and not converged:
            total, start = 0.0, 0
            for row in range(len(self.ends)):
                end = self.ends[row]
                total += self.descend(
                    model, last, self.places[start:end], self.values[start:end], np.float64(self.targets[row]),
                    np.float64(self.row_weights[row]),
                )  # fmt: skip
                start = end
            history[done] = total / max(self.mass, _TINY)
            converged = history[done - 1] - history[done] < self.tolerance * abs(history[done - 1])
            done += 1
        self.settle(model, last)
        weights = model[::_PARTS].astype(np.float64)
        final, steps = self.intercept, self.taken
        self.intercept, self.intercept_square, self.normal, self.taken = intercept, square, normal, taken
        if self.one_class():
            weights[:] = 0.0
            final = 0.0
            if self.fit_intercept:
                final = _CERTAIN if self.positives else -_CERTAIN
        return LinearModel(
            self.task,
            weights,
            final,
            self.classes(),
            self.n,
            done,
            converged,
            "tolerance" if converged else "epochs",
            history[done - 1],
            history[:done],
            steps,
            self.one_class(),
            "",
        )

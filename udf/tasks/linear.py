"""Training of a linear model by incremental gradient descent, whatever the loss: everything but the loss.

A row with features ``x`` and label ``y`` has the score ``z = w.x + b`` and the loss ``f(z, y)``. Its step is

    w -= a f'(z, y) x,    b likewise,    then the proximal step of the penalty on w:
    L2: w /= 1 + a l2            L1: w = sign(w) max(|w| - a l1, 0)

(Bismarck, SIGMOD 2012, section 3.2). A task is a subclass with a method ``step(self, score, label)`` that gives the
loss as ``addend + log(factor)`` and its slope ``f'``, see `loss`: sums of losses are kept as a sum and a running
product, so that a row of logistic regression costs one multiplication instead of one logarithm.

Weights are a float32 array, padded (see `vectors.padded`); the intercept is a float64. Kept rows stand end to end in
one float32 array, each behind its label.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ironlake.udf.engine.sqltypes import FLOAT, INTEGER

from .model import LinearModel
from .vectors import add_scaled, dot, padded

#: Floating-point freedoms that leave NaN and infinity alone. With them ``x - x``, by which `math.isfinite` tells, may
#: become 0 for any ``x``; what is finite is told by comparison.
REORDER = frozenset({"reassoc", "contract", "nsz", "arcp"})
#: Kinds of labels: two classes, real numbers, counts.
BINARY, REAL, COUNT = 0, 1, 2
#: Rows on which ``step_size='auto'`` is chosen; with fewer than `_FEWEST_ROWS` the middle is taken.
_SAMPLE_ROWS, _FEWEST_ROWS = 2000, 64
#: Step sizes that ``step_size='auto'`` tries: powers of two from this one on, where labels are of size 1.
_CANDIDATES, _LOWEST = 14, -10
#: Ceiling of the running product of factors.
_FULL = 1e250
_VALUE_BYTES = np.float32().nbytes
#: Rows for which memory is reserved at once.
_FIRST_ROWS = 8
_ZERO_ONE, _MINUS_ONE, _NO_CLASSES = np.array([0.0, 1.0]), np.array([-1.0, 1.0]), np.empty(0)


class StepSize(NamedTuple):
    """The step size ``rate / sqrt(1 + decay t)`` after ``t`` steps, and how much of it the intercept gets."""

    rate: float
    decay: float
    intercept: float


@njit(fastmath=set(REORDER))
def _decayed(rate: float, taken: float, decay: float) -> float:
    """The step size after so many steps; it stays constant with a ``decay`` of 0."""
    return rate / math.sqrt(1 + taken * decay)


@njit
def _shrink(weights: Any, width: int, rate: float, l1: float, l2: float) -> None:
    """The proximal step of the penalties."""
    scale, threshold = np.float32(1 / (1 + rate * l2)), np.float32(rate * l1)
    for index in range(width):
        size = max(abs(weights[index]) - threshold, np.float32(0))
        weights[index] = math.copysign(size * scale, weights[index])


class LinearTask:
    """State and behaviour of every task; a subclass adds ``task``, ``labels``, ``step``, ``init`` and ``update``."""

    weights: list[FLOAT]
    kept: list[FLOAT]  # kept rows, end to end, each behind its label
    intercept: float
    n: int
    loss: float
    product: float
    rate: float  # the option, or what was chosen
    now: float  # of the next step
    width: INTEGER
    intercept_share: FLOAT  # of the step size
    automatic: bool
    pending: bool  # the step size is still to be chosen
    keeping: bool  # rows are kept
    skip_nulls: bool
    minus: bool  # negative labels were given as -1

    def prepare(self, l1, l2, fit_intercept, epochs, step_size, decay, on_null):
        """Check the options, and begin."""
        if l1 < 0 or l2 < 0:
            raise ValueError("options l1 and l2 must be at least 0, got", l1, "and", l2)
        if epochs < 1:
            raise ValueError("option epochs must be at least 1, got", epochs)
        if not 0 < decay <= 1:
            raise ValueError("option decay must be above 0 and at most 1, got", decay)
        self.automatic = self.pending = step_size is None
        self.keeping = self.pending or epochs > 1
        if step_size is not None:
            if not 0 < step_size < math.inf:
                raise ValueError("option step_size must be above 0, got", step_size)
            self.rate = self.now = step_size
        self.intercept_share = 1.0 if fit_intercept else 0.0
        self.skip_nulls = on_null == "skip"
        self.width = -1
        self.product = 1.0

    def skipped(self):
        if not self.skip_nulls:
            raise ValueError("the label or the features of a row are NULL; filter them, or pass {'on_null': 'skip'}")

    def learn(self, label, features):
        """Take in a row."""
        if self.width != len(features):
            self.open(len(features))
        target = self.target(label)
        self.n += 1
        if self.keeping:
            self.keep(target, features)
        if not self.pending:
            self.descend(target, features, self.n)
        elif self.n >= _SAMPLE_ROWS:
            self.choose()

    def target(self, label):
        """The label as the loss wants it: one of two classes is +1 or -1."""
        if self.labels == BINARY:
            if label < 0:
                self.minus = True
            if label != 1 and label != 0 and label != -1:
                raise ValueError("label must be true or false, 1 or 0, 1 or -1; a row has", label)
            return 1.0 if label > 0 else -1.0
        if not abs(label) < math.inf:
            raise ValueError("the label of a row is NaN or infinite; filter such rows")
        if self.labels == COUNT and label < 0:
            raise ValueError("label must be at least 0; a row has", label)
        return np.float64(label)

    def open(self, width):
        """Fix the number of features; later rows must have as many."""
        if self.width >= 0:
            raise ValueError("a row has", width, "features, the rows before it have", self.width)
        self.width = width
        if self.pending:
            self.kept.reserve(_FIRST_ROWS * (width + 1))
        else:
            self.weights.resize(padded(width))

    def descend(self, label, features, count):
        """The gradient step of the row that makes so many."""
        weights = self.weights[:]
        score = dot(weights, features) + np.float32(self.intercept)
        addend, factor, slope = self.step(score, np.float32(label))
        scale = -np.float32(self.now) * np.float32(slope)
        add_scaled(weights, features, scale)
        if not abs(score) < math.inf:
            self.explain(features)
        self.intercept += self.intercept_share * scale
        if self.l1 > 0 or self.l2 > 0:
            _shrink(weights, self.width, self.now, self.l1, self.l2)
        self.loss += addend
        self.product *= factor
        if self.product > _FULL:
            self.loss += math.log(self.product)
            self.product = 1.0
        if self.automatic and count & 63 == 0:
            self.now = _decayed(self.rate, count, 1 / _SAMPLE_ROWS)

    def explain(self, features):
        """Say why a step went wrong."""
        for index in range(len(features)):
            if not abs(np.float32(features[index])) < math.inf:
                raise ValueError("feature", index + 1, "of a row is NaN or infinite as a FLOAT; filter such rows")
        raise ValueError("training diverged with step_size", self.rate, "; try", self.rate / 8, "or 'auto'")

    def keep(self, label, features):
        """Keep a row, to choose the step size on or for further epochs."""
        at, stride = len(self.kept), self.width + 1
        if self.epochs > 1 and (at + stride) * _VALUE_BYTES > self.buffer_mb * 1e6:
            raise ValueError("the rows of a group outgrow buffer_mb; raise it or train with epochs 1")
        self.kept.resize(at + stride)
        kept = self.kept[:]
        kept[at] = label
        for index in range(len(features)):
            kept[at + 1 + index] = features[index]
            if not abs(np.float32(features[index])) < math.inf:
                self.explain(features)

    def choose(self):
        """Choose the step size on the kept rows, and take the steps on them."""
        chosen = self.best_step(self.kept[:])
        self.rate, self.now, self.intercept_share = chosen.rate, chosen.rate, chosen.intercept
        self.weights.resize(padded(self.width))
        self.start(0)

    def start(self, taken):
        """The step size is known: take the steps on the kept rows, after those taken elsewhere."""
        self.pending = False
        self.keeping = self.epochs > 1
        self.replay(self.kept[:], taken)
        if not self.keeping:
            self.kept.resize(0)

    def replay(self, kept, taken):
        """Take the steps on kept rows, after those taken."""
        stride = self.width + 1
        for row in range(len(kept) // stride):
            at = row * stride
            self.descend(np.float64(kept[at]), kept[at + 1 : at + stride], taken + row + 1)

    def merge(self, other):
        if other.n == 0:
            return
        if self.width < 0:
            self.open(np.int64(other.width))
        if self.width != other.width:
            raise ValueError("rows differ in length: some have", self.width, "features, others", other.width)
        if self.pending and not other.pending:
            self.adopt(other)
        elif other.pending and not self.pending:
            self.replay(other.kept[:], self.n)
        elif not self.pending:
            self.average(other)
        if self.keeping:
            self.kept.extend(other.kept)
        self.n += other.n
        self.minus = self.minus or other.minus
        if self.pending and self.n >= _SAMPLE_ROWS:
            self.choose()

    def adopt(self, other):
        """Go on from another state's model with the rows kept here."""
        self.weights.resize(0)
        self.weights.extend(other.weights)
        self.intercept, self.rate, self.now = other.intercept, other.rate, other.now
        self.intercept_share = other.intercept_share
        self.loss, self.product = other.loss, other.product
        self.start(other.n)

    def average(self, other):
        """Average two models by their numbers of steps."""
        share = other.n / (self.n + other.n)
        mine, theirs = self.weights[:], other.weights[:]
        for index in range(len(mine)):
            mine[index] += np.float32(share) * (theirs[index] - mine[index])
        self.intercept += share * (other.intercept - self.intercept)
        self.rate += share * (other.rate - self.rate)
        self.loss += other.loss + math.log(other.product)

    def finish(self) -> LinearModel | None:
        if self.n == 0:
            return None
        weights, intercept, kept = self.weights[:], self.intercept, self.kept[:]
        loss = self.loss + math.log(self.product)
        step = StepSize(self.rate, 1 / _SAMPLE_ROWS if self.automatic else 0.0, np.float64(self.intercept_share))
        if self.pending:
            weights = np.zeros(padded(self.width), np.float32)
            step = self.best_step(kept)
            intercept, loss = self.epoch(weights, intercept, kept, step, 0.0)
        elif self.keeping:
            weights = weights.copy()
        history = np.empty(self.epochs)
        history[0] = loss / self.n
        done, converged, steps = 1, False, self.n
        while done < self.epochs and not converged:
            if not self.automatic:
                step = StepSize(self.rate * self.decay**done, 0.0, np.float64(self.intercept_share))
            intercept, loss = self.epoch(weights, intercept, kept, step, float(steps))
            history[done] = loss / self.n
            steps += self.n
            converged = history[done - 1] - history[done] < self.tolerance * abs(history[done - 1])
            done += 1
        if not abs(history[done - 1]) < math.inf:
            raise ValueError("training diverged with step_size", step.rate, "; try", step.rate / 8, "or 'auto'")
        classes = _NO_CLASSES
        if self.labels == BINARY:
            classes = _MINUS_ONE if self.minus else _ZERO_ONE
        return LinearModel(
            self.task,
            weights[: self.width],
            intercept,
            classes,
            self.n,
            done,
            converged,
            "tolerance" if converged else "epochs",
            history[done - 1],
            history[:done],
            steps,
        )

    def epoch(self, weights, intercept, kept, step, taken):
        """One pass over kept rows: the new intercept and the sum of the losses, each taken before its step."""
        loss, product, stride = 0.0, 1.0, self.width + 1
        for row in range(len(kept) // stride):
            at = row * stride
            features = kept[at + 1 : at + stride]
            score = dot(weights, features) + np.float32(intercept)
            addend, factor, slope = self.step(score, kept[at])
            now = _decayed(step.rate, taken + row, step.decay)
            scale = -np.float32(now) * np.float32(slope)
            add_scaled(weights, features, scale)
            intercept += step.intercept * scale
            if self.l1 > 0 or self.l2 > 0:
                _shrink(weights, self.width, now, self.l1, self.l2)
            loss += addend
            product *= factor
            if product > _FULL:
                loss += math.log(product)
                product = 1.0
        return intercept, loss + math.log(product)

    def total_loss(self, weights, intercept, kept):
        """The sum of the losses without any step."""
        loss, stride = 0.0, self.width + 1
        for row in range(len(kept) // stride):
            at = row * stride
            score = dot(weights, kept[at + 1 : at + stride]) + np.float32(intercept)
            addend, factor, _ = self.step(score, kept[at])
            loss += addend + math.log(factor)
        return loss

    def best_step(self, kept):
        """The step size for ``'auto'``: of 2^k / (mean |x|^2 + c^2), k = -10 ... 3, the best on the rows.

        Each candidate is tried in one pass over the rows from zero weights, scattered over the order they came in; what
        counts is the loss during the pass, before each step, and after it: one alone favours lucky ends. ``c`` is
        the root mean square of a feature: the intercept is taken as the weight of a feature with the value ``c``, so
        that the scale of the features makes no difference. Where labels are real numbers, the range of ``k`` is widened
        by the binary logarithm of their size: how far weights have to go is proportional to it.
        """
        stride = self.width + 1
        count = len(kept) // stride
        square, size = 0.0, 0.0
        for row in range(count):
            size += np.float64(kept[row * stride]) ** 2
            for column in range(row * stride + 1, (row + 1) * stride):
                square += np.float64(kept[column]) ** 2
        square, size = square / count, math.sqrt(size / count)
        constant = square / self.width if square > 0 else 1.0
        unit, decay = 1 / (square + constant), 1 / min(count, _SAMPLE_ROWS)
        intercept = constant if self.fit_intercept else 0.0
        if count < _FEWEST_ROWS:
            return StepSize(unit, decay, intercept)
        wider = 0 if self.labels == BINARY or size == 0 else int(min(max(math.log2(size), -40), 40))
        scattered = self.scattered(kept)
        best, chosen = math.inf, -_LOWEST
        lowest = _LOWEST + min(wider, 0)
        for index in range(_CANDIDATES + abs(wider)):
            rate = unit * 2.0 ** (lowest + index)
            trial = np.zeros(padded(self.width), np.float32)
            moved, during = self.epoch(trial, 0.0, scattered, StepSize(rate, decay, intercept), 0.0)
            loss = during + self.total_loss(trial, moved, scattered)
            if loss < best:
                best, chosen = loss, index
        return StepSize(unit * 2.0 ** (lowest + chosen), decay, intercept)

    def scattered(self, kept):
        """Kept rows in another order, neighbours far apart."""
        stride = self.width + 1
        count = len(kept) // stride
        hop = int(count * 0.618) | 1
        while math.gcd(hop, count) != 1:
            hop += 2
        rows = np.empty_like(kept)
        for row in range(count):
            source = row * hop % count
            for column in range(stride):
                rows[row * stride + column] = kept[source * stride + column]
        return rows

"""Training of a linear model by incremental gradient descent, whatever the loss: everything but the loss.

A row with features ``x``, label ``y`` and weight ``v`` has the score ``z = w.x + b`` and the loss ``v f(z, y)``. Its
step is

    w -= a v f'(z, y) x,    b likewise,    then the proximal step of the penalty on w:
    L2: w /= 1 + a l2            L1: w = sign(w) max(|w| - a l1, 0)

(Bismarck, SIGMOD 2012, section 3.2). A task is a subclass with a method ``step(self, score, label)`` that gives the
loss as ``addend + log(factor)`` and its slope ``f'``, see `loss`: sums of losses are kept as a sum and a running
product, so that a row of logistic regression costs one multiplication instead of one logarithm.

With an automatic step size the features are standardised inside, by the first rows (see `start`): steps then suit
each feature's scale, as if it had a step size of its own. What comes out is in the scale of the rows.

Weights are a float32 array, padded (see `vectors.padded`); the intercept is a float64. Further passes go over kept
rows (see `epochs`).
"""

from __future__ import annotations

import math

import numpy as np

from ironlake.udf.engine.sqltypes import FLOAT, INTEGER

from .epochs import AVERAGED, DECAY, FULL, HEAD, LONG, SAMPLE_ROWS, Epochs, add_difference, decayed, shrink
from .labels import Labels
from .model import LinearModel
from .start import Start, copy_into, shift, unscaled_into
from .vectors import add_scaled, dot, float32_row, padded, row_view, standardized

#: The intercept where all rows are of one class, in log-odds.
CERTAIN = 16.0
_VALUE_BYTES = np.float32().nbytes
#: Rows for which memory is reserved at once.
_FIRST_ROWS = 8
#: Ratio of mean squares beyond which no one step size suits two features. Few rows tell nothing of it.
UNEVEN, _FEW_ROWS = 1e6, 8
UNEVEN_WARNING = (
    "features differ in size more than a thousand times, and one step size cannot suit all; expected standardize = "
    "true, or an automatic step size"
)


class LinearTask(Labels, Start, Epochs):
    """State and behaviour of every task; a subclass adds ``task``, ``labels``, ``step``, ``init`` and ``update``."""

    weights: list[FLOAT]  # and with standardised features their average, the inverses of the scales, and the means
    kept: list[FLOAT]  # kept rows, end to end, each behind its label and its weight
    row: list[FLOAT]  # the row at hand, standardised
    squares: list[FLOAT]  # of the features of the first rows, summed up, where no scale is found
    intercept: float
    average_intercept: float
    n: int
    mass: float  # sum of the weights of the rows
    loss: float
    product: float
    rate: float  # the option, or what was chosen
    now: float  # of the next step
    taken: int  # steps of the model that training started from
    width: INTEGER
    automatic: bool
    pending: bool  # the step size, or the scale of the features, is still to be found
    keeping: bool  # rows are kept
    started: bool  # from a trained model

    def prepare(self, l1, l2, fit_intercept, epochs, step_size, decay, standardize, class_weight, init, on_null):
        """Check the options, and begin."""
        if l1 < 0 or l2 < 0:
            raise ValueError("options l1 and l2 must be at least 0, got", l1, "and", l2)
        if epochs < 1:
            raise ValueError("option epochs must be at least 1, got", epochs)
        if not 0 < decay <= 1:
            raise ValueError("option decay must be above 0 and at most 1, got", decay)
        self.weigh_classes(class_weight)
        self.automatic = step_size is None
        self.pending = self.automatic or standardize
        self.keeping = self.pending or epochs > 1
        if step_size is not None:
            if not 0 < step_size < math.inf:
                raise ValueError("option step_size must be above 0, got", step_size)
            self.rate = self.now = step_size
        self.skip_nulls = on_null == "skip"
        self.width = -1
        self.product = 1.0
        if init is not None:
            self.go_on_from(init)

    def go_on_from(self, init):
        """Start with the weights of a trained model."""
        if len(init.coefficients) == 0:
            return
        if init.task != self.task:
            raise ValueError("option init is a model of another task; it must come from", self.task)
        self.width = len(init.coefficients)
        self.weights.resize(padded(self.width))
        weights = self.weights[:]
        for index in range(self.width):
            weights[index] = init.coefficients[index]
        self.intercept, self.taken, self.started = init.intercept, init.step, True

    def learn(self, label, features, weight):
        """Take in a row."""
        target, weight = self.enter(label, features, weight)
        if self.keeping:
            self.keep(target, weight, features)
        if not self.pending:
            row = float32_row(features, self.row)
            if _FEW_ROWS < self.n <= SAMPLE_ROWS and not (self.automatic or self.standardize):
                self.notice(row)
            self.descend(target, weight, row, self.n)
        elif self.n >= SAMPLE_ROWS:
            self.begin()

    def enter(self, label, features, weight):
        """Check a row, and count it; gives its label as the loss wants it, and its weight."""
        if self.width != len(features):
            self.open(len(features))
        target = self.target(label)
        weight = self.weighed(target, weight)
        self.n += 1
        self.mass += weight
        return target, weight

    def open(self, width):
        """Fix the number of features; later rows must have as many."""
        if self.width >= 0:
            other = "the model in option init has" if self.started and self.n == 0 else "the rows before it have"
            raise ValueError("a row has", width, "features,", other, self.width)
        self.width = width
        if self.pending:
            self.kept.reserve(_FIRST_ROWS * (width + HEAD))
        else:
            self.weights.resize(padded(width))

    def descend(self, label, weight, features, count):
        """The gradient step of the row that makes so many."""
        weights, now, room = self.weights[:], self.now, padded(self.width)
        inverses = weights[:0]
        if len(weights) > room:
            self.row.resize(room)
            features, length = standardized(features, self.row[:], weights, room)
            if self.automatic and length > LONG * (self.width + 1):
                now *= LONG * (self.width + 1) / length
            if not self.standardize:
                inverses = weights[2 * room : 3 * room]
        score = dot(weights, features) + np.float32(self.intercept)
        addend, factor, slope = self.step(score, np.float32(label))
        if weight != 1:
            addend, factor, slope = weight * (addend + math.log(factor)), 1.0, weight * slope
        scale = -np.float32(now) * np.float32(slope)
        add_scaled(weights, features, scale)
        if not abs(score) < math.inf:
            self.explain(features)
        if self.fit_intercept:
            self.intercept += scale
        if self.l1 > 0 or self.l2 > 0:
            shrink(weights, inverses, self.width, now, self.l1, self.l2)
        self.loss += addend
        self.product *= factor
        if self.product > FULL:
            self.loss += math.log(self.product)
            self.product = 1.0
        if self.automatic and count & (AVERAGED - 1) == 0:
            self.now = decayed(self.rate, self.taken + count, DECAY)
            share = 2 / (1 + count // AVERAGED)
            add_difference(weights, room, np.float32(share))
            self.average_intercept += share * (self.intercept - self.average_intercept)

    def notice(self, features):
        """Note how large the features of a row are."""
        self.squares.resize(self.width)
        squares = self.squares[:]
        for index in range(self.width):
            squares[index] += features[index] * features[index]

    def uneven(self):
        """Whether features differ so much in size that no one step size suits all of them."""
        squares, largest, smallest = self.squares[:], np.float32(0), np.float32(math.inf)
        for square in squares:
            largest = max(largest, square)
            if square > 0:
                smallest = min(smallest, square)
        return largest > UNEVEN * smallest

    def explain(self, features):
        """Say why a step went wrong."""
        for index in range(len(features)):
            if not abs(features[index]) < math.inf:
                raise ValueError(
                    "feature", index + 1, "of a row is NaN or infinite as a FLOAT; filter such rows, or use"
                    " coalesce(nullif(x, 'nan'), 0)"
                )  # fmt: skip
        self.diverged(1, self.rate)

    def diverged(self, epoch, rate):
        """Say that the step size was too large."""
        raise ValueError(
            "training diverged in epoch", epoch, "with step_size", rate, "; try", rate / 8, "or 'auto', or standardize"
            " if features differ in size"
        )  # fmt: skip

    def keep(self, label, weight, features):
        """Keep a row, to choose the step size on or for further epochs."""
        at, stride = len(self.kept), self.width + HEAD
        if self.epochs > 1 and (at + stride) * _VALUE_BYTES > self.buffer_mb * 1e6:
            raise ValueError(
                "the rows of a group outgrow buffer_mb; raise it, train with epochs 1, or call ironlake.train"
            )
        self.kept.resize(at + stride)
        kept = self.kept[:]
        kept[at], kept[at + 1] = label, weight
        for index in range(len(features)):
            kept[at + HEAD + index] = features[index]
            if not abs(np.float32(features[index])) < math.inf:
                self.explain(float32_row(features, self.row))

    def begin(self):
        """Enough rows are there: find scales and step size, and take the steps on the rows."""
        model, intercepts = self.first_model(self.kept[:])
        self.rate = self.now = self.chosen_rate(model, intercepts, self.kept[:])
        self.place(model, intercepts)
        self.catch_up(0)

    def place(self, model, intercepts):
        """Make this the model of the state."""
        self.weights.resize(len(model))
        copy_into(self.weights[:], model, len(model))
        self.intercept, self.average_intercept = intercepts[0], intercepts[1]

    def both_intercepts(self):
        """The last intercept and the average."""
        return np.array([self.intercept, self.average_intercept])

    def catch_up(self, taken):
        """Take the steps on the kept rows, after those taken elsewhere."""
        self.pending = False
        self.keeping = self.epochs > 1
        self.replay(self.kept[:], taken)
        if not self.keeping:
            self.kept.resize(0)

    def replay(self, kept, taken):
        """Take the steps on kept rows, after those taken."""
        stride = self.width + HEAD
        for row in range(len(kept) // stride):
            at = row * stride
            features = row_view(kept, at + HEAD, self.width)
            self.descend(np.float64(kept[at]), np.float64(kept[at + 1]), features, taken + row + 1)

    def merge(self, other):
        self.merge_labels(other)
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
            self.join(other)
        if self.keeping:
            self.kept.extend(other.kept)
        self.n += other.n
        self.mass += other.mass
        if self.pending and self.n >= SAMPLE_ROWS:
            self.begin()

    def adopt(self, other):
        """Go on from another state's model with the rows kept here."""
        self.weights.resize(0)
        self.weights.extend(other.weights)
        self.intercept, self.average_intercept = other.intercept, other.average_intercept
        self.rate, self.now = other.rate, other.now
        self.loss, self.product = other.loss, other.product
        self.catch_up(other.n)

    def join(self, other):
        """Average two models by their numbers of steps, in the scale of this one."""
        share, room = other.n / (self.n + other.n), padded(self.width)
        mine, theirs = self.weights[:], other.weights[:]
        for part in range(2 if len(mine) > room else 1):
            intercept = other.average_intercept if part else other.intercept
            difference = shift(mine, theirs, part * room, room, self.width, np.float32(share))
            if part:
                self.average_intercept += share * (intercept + difference - self.average_intercept)
            else:
                self.intercept += share * (intercept + difference - self.intercept)
        self.rate += share * (other.rate - self.rate)
        self.loss += other.loss + math.log(other.product)
        self.join_squares(other)

    def join_squares(self, other):
        """Add up what two states noticed of the size of features."""
        if len(self.squares) == 0:
            self.squares.extend(other.squares)
        elif len(other.squares) > 0:
            squares, others = self.squares[:], other.squares[:]
            for index in range(len(squares)):
                squares[index] += others[index]

    def finish(self) -> LinearModel | None:
        self.check_labels(self.n)
        if self.n == 0:
            return None
        model, intercepts, averaged, history, converged, steps = self.trained()
        done = len(history)
        weights = np.zeros(self.width)
        intercept = unscaled_into(weights, model, intercepts, averaged)
        if self.l1 > 0:
            weights[model[: self.width] == 0] = 0  # the average alone is 0 nowhere
        degenerate = self.one_class() and not self.started
        if degenerate:
            weights[:] = 0
            intercept = 0.0
            if self.fit_intercept:
                intercept = CERTAIN if self.positives else -CERTAIN
        classes = self.classes()
        return LinearModel(
            self.task,
            weights,
            intercept,
            classes,
            self.n,
            done,
            converged,
            "tolerance" if converged else "epochs",
            history[done - 1],
            history,
            self.taken + steps,
            degenerate,
            UNEVEN_WARNING if self.uneven() else "",
        )

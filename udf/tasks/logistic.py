"""Logistic regression as one aggregate query."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ironlake.udf.engine import aggregate
from ironlake.udf.engine.sqltypes import FLOAT, INTEGER, Vector

from .model import LinearModel
from .sgd import FULL, REORDER, SAMPLE_ROWS, Penalty, StepSize, choose_step, decayed, descend, epoch, shrink
from .vectors import padded

_VALUE_BYTES = np.float32().nbytes
#: Rows for which memory is reserved at once.
_FIRST_ROWS = 8
_ZERO_ONE, _MINUS_ONE = np.array([0.0, 1.0]), np.array([-1.0, 1.0])


@aggregate(fastmath=REORDER, boundscheck=False)
class logistic_fit:  # noqa: N801 - the SQL name
    """Train a logistic regression on the rows of a group, by one pass of stochastic gradient descent in their order.

    Every thread trains a model on its rows; the models are averaged by their numbers of rows. With one thread and
    an ordered input the result is exactly that of the sequential algorithm.

    Parameters
    ----------
    label : the class of a row: true or false, 1 or 0, 1 or -1.
    features : a row of numbers, the same length in all rows of a group: a list or an array of FLOAT or DOUBLE.
    l1, l2 : weights of the penalties ``l1 |w|`` and ``l2 |w|^2 / 2`` on each row's loss; the intercept has none.
    fit_intercept : whether the model has an intercept.
    epochs : passes over the rows; with more than one, the group's rows are kept in memory.
    step_size : of the gradient steps; ``'auto'`` tries powers of two on the first 2,000 rows and lets the best fall
        with the square root of the number of steps, a number stays constant in an epoch.
    decay : factor on a constant step size from epoch to epoch.
    tolerance : stop after an epoch that lowers the loss by less than this fraction.
    buffer_mb : most memory for kept rows, in megabytes per group and thread.
    on_null : ``'skip'`` rows with a NULL label or NULL features, or refuse them with an ``'error'``.

    Returns
    -------
    STRUCT
        The model, see `LinearModel`; NULL for a group without rows. `predict` and `predict_proba` take it.

    Raises
    ------
    InvalidInputException
        If a label is no class, rows differ in length, a feature is NULL, NaN or infinite, the steps diverge, or the
        kept rows outgrow ``buffer_mb``.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, sections 3.1 and 3.2.

    Examples
    --------
    SELECT logistic_fit(x > 0.3, [x, x * x], {'step_size': 0.5}) AS model
    FROM (SELECT sin(i) AS x FROM range(1000) t(i));
    """

    weights: list[FLOAT]  # padded to whole vectors
    kept: list[FLOAT]  # kept rows, end to end, each behind its label +1 or -1
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

    def init(
        self,
        l1: float = 0.0,
        l2: float = 0.0,
        fit_intercept: bool = True,
        epochs: int = 1,
        step_size: float | Literal["auto"] = "auto",
        decay: float = 0.9,
        tolerance: float = 1e-3,
        buffer_mb: float = 256.0,
        on_null: Literal["error", "skip"] = "error",
    ):
        if l1 < 0 or l2 < 0:
            raise ValueError("options l1 and l2 must be at least 0, got", l1, "and", l2)
        if epochs < 1:
            raise ValueError("option epochs must be at least 1, got", epochs)
        if not 0 < decay <= 1:
            raise ValueError("option decay must be above 0 and at most 1, got", decay)
        self.automatic = self.pending = step_size is None
        self.keeping = self.pending or epochs > 1
        if step_size is not None:
            if not (step_size > 0 and math.isfinite(step_size)):
                raise ValueError("option step_size must be above 0, got", step_size)
            self.rate = self.now = step_size
        self.intercept_share = 1.0 if fit_intercept else 0.0
        self.skip_nulls = on_null == "skip"
        self.width = -1
        self.product = 1.0

    def skipped(self):
        if not self.skip_nulls:
            raise ValueError("the label or the features of a row are NULL; filter them, or pass {'on_null': 'skip'}")

    def update(self, label: bool | float, features: Vector):
        if self.width != len(features):
            self.open(len(features))
        sign = 1.0 if label > 0 else -1.0
        if label < 0:
            self.minus = True
        if label != 1 and label != 0 and label != -1:
            raise ValueError("label must be true or false, 1 or 0, 1 or -1; a row has", label)
        self.n += 1
        if self.keeping:
            self.keep(sign, features)
        if not self.pending:
            self.descend(sign, features, self.n)
        elif self.n >= SAMPLE_ROWS:
            self.choose()

    def open(self, width):
        """Fix the number of features; later rows must have as many."""
        if self.width >= 0:
            raise ValueError("a row has", width, "features, the rows before it have", self.width)
        self.width = width
        if self.pending:
            self.kept.reserve(_FIRST_ROWS * (width + 1))
        else:
            self.weights.resize(padded(width))

    def descend(self, sign, features, count):
        """The gradient step of the row that makes so many."""
        weights = self.weights[:]
        agreement, tail, scale = descend(weights, self.intercept, features, sign, self.now)
        if not math.isfinite(agreement):
            self.explain(features)
        self.intercept += self.intercept_share * scale
        if self.l1 > 0 or self.l2 > 0:
            shrink(weights, self.width, self.now, self.l1, self.l2)
        self.loss += max(-agreement, 0.0)
        self.product *= 1 + tail
        if self.product > FULL:
            self.loss += math.log(self.product)
            self.product = 1.0
        if self.automatic and count & 63 == 0:
            self.now = decayed(self.rate, count, 1 / SAMPLE_ROWS)

    def explain(self, features):
        """Say why a step went wrong."""
        for index in range(len(features)):
            if not math.isfinite(np.float32(features[index])):
                raise ValueError("feature", index + 1, "of a row is NaN or infinite as a FLOAT; filter such rows")
        raise ValueError("training diverged with step_size", self.rate, "; try", self.rate / 8, "or 'auto'")

    def keep(self, sign, features):
        """Keep a row, to choose the step size on or for further epochs."""
        at, stride = len(self.kept), self.width + 1
        if self.epochs > 1 and (at + stride) * _VALUE_BYTES > self.buffer_mb * 1e6:
            raise ValueError("the rows of a group outgrow buffer_mb; raise it or train with epochs 1")
        self.kept.resize(at + stride)
        kept = self.kept[:]
        kept[at] = sign
        for index in range(len(features)):
            kept[at + 1 + index] = features[index]
            if not math.isfinite(np.float32(features[index])):
                self.explain(features)

    def choose(self):
        """Choose the step size on the kept rows, and take the steps on them."""
        chosen = choose_step(self.kept[:], self.width, self.fit_intercept, Penalty(self.l1, self.l2))
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
        if self.pending and self.n >= SAMPLE_ROWS:
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
        penalty = Penalty(self.l1, self.l2)
        step = StepSize(self.rate, 1 / SAMPLE_ROWS if self.automatic else 0.0, np.float64(self.intercept_share))
        if self.pending:
            weights = np.zeros(padded(self.width), np.float32)
            step = choose_step(kept, self.width, self.fit_intercept, penalty)
            intercept, loss = epoch(weights, intercept, kept, self.width, step, 0.0, penalty)
        elif self.keeping:
            weights = weights.copy()
        history = np.empty(self.epochs)
        history[0] = loss / self.n
        done, converged, steps = 1, False, self.n
        while done < self.epochs and not converged:
            if not self.automatic:
                step = StepSize(self.rate * self.decay**done, 0.0, np.float64(self.intercept_share))
            intercept, loss = epoch(weights, intercept, kept, self.width, step, float(steps), penalty)
            history[done] = loss / self.n
            steps += self.n
            converged = history[done - 1] - history[done] < self.tolerance * abs(history[done - 1])
            done += 1
        if not math.isfinite(history[done - 1]):
            raise ValueError("training diverged with step_size", step.rate, "; try", step.rate / 8, "or 'auto'")
        return LinearModel(
            "logistic",
            weights[: self.width],
            intercept,
            _MINUS_ONE if self.minus else _ZERO_ONE,
            self.n,
            done,
            converged,
            "tolerance" if converged else "epochs",
            history[done - 1],
            history[:done],
            steps,
        )

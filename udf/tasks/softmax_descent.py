"""Training of a softmax regression by incremental gradient descent: what differs from a model with a single score.

Class ``k`` of a row has the score ``z_k = w_k.x + b_k`` and the probability ``p = softmax(z)``. The step on a row with
label ``y`` and weight ``v`` is, for every class,

    w_k -= a v (p_k - [k = y]) x,    b_k likewise,    then the proximal step of the penalties on w_k

(Bismarck, SIGMOD 2012, section 3). Each class has a block of numbers like the model of a linear task, with the same
scales in each (see `start`); two numbers are its intercept and the average of that. A class begins at 0 with its first
row, so that weights and intercepts of all classes keep the sum 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .class_names import Classes, key_of, text_of
from .epochs import AVERAGED, DECAY, FULL, HEAD, LONG, SAMPLE_ROWS, add_difference, decayed, shrink
from .linear import LinearTask
from .model import CLASS
from .start import scale_of, shift
from .vectors import REORDER, add_scaled, dot, exp_of_negative, padded, row_view, standardized


@njit(fastmath=set(REORDER))
def row_loss(model: Any, intercepts: Any, chances: Any, features: Any, label: int) -> tuple[float, float]:
    """The loss of a row as ``addend + log(factor)``; the addend is NaN where a score is not finite.

    ``chances`` becomes the probabilities of the classes times the factor.
    """
    count = len(chances)
    block, highest, finite = len(model) // count, -math.inf, True
    for k in range(count):
        score = dot(model[k * block :], features) + np.float32(intercepts[2 * k])
        finite = finite and abs(score) < math.inf
        highest = max(highest, score)
        chances[k] = score
    if not finite:
        return math.nan, 1.0
    addend, factor = highest - chances[label], 0.0
    for k in range(count):
        chances[k] = exp_of_negative(chances[k] - highest)
        factor += chances[k]
    return addend, factor


@njit(fastmath=set(REORDER))
def row_step(
    model: Any, intercepts: Any, chances: Any, factor: float, features: Any, label: int, rate: float, moving: bool
) -> None:  # fmt: skip
    """The gradient step of a row, after `row_loss`; ``moving`` intercepts take it too."""
    count = len(chances)
    block = len(model) // count
    for k in range(count):
        slope = chances[k] / factor - (1.0 if k == label else 0.0)
        scale = -np.float32(rate) * np.float32(slope)
        add_scaled(model[k * block :], features, scale)
        if moving:
            intercepts[2 * k] += scale


@njit
def shrink_all(model: Any, inverses: Any, count: int, width: int, rate: float, l1: float, l2: float) -> None:
    """The proximal step of the penalties for every class."""
    block = len(model) // count
    for k in range(count):
        shrink(model[k * block :], inverses, width, rate, l1, l2)


@njit
def average_all(model: Any, intercepts: Any, room: int, share: float) -> None:
    """Move the averages of every class towards its weights and intercept."""
    for k in range(len(intercepts) // 2):
        add_difference(model[k * 4 * room :], room, np.float32(share))
        intercepts[2 * k + 1] += share * (intercepts[2 * k] - intercepts[2 * k + 1])


@njit
def copy_scales(model: Any, first: int, count: int, room: int) -> None:
    """Give the classes from one on the scales of the first class."""
    for k in range(max(first, 1), count):
        model[(4 * k + 2) * room : (4 * k + 4) * room] = model[2 * room : 4 * room]


class SoftmaxTask(LinearTask, Classes):
    """State and behaviour of gradient descent with any number of classes."""

    task, labels = "softmax", CLASS

    intercepts: list[float]  # of every class, each with its average behind it
    chances: list[float]  # of the row at hand
    scaled: bool  # features are standardised

    def block(self):
        """Numbers of a class in the model."""
        return padded(self.width) * (4 if self.scaled else 1)

    def inverses(self, model):
        """The inverse scales that penalties have to mind; none where they are on what is trained."""
        room = padded(self.width)
        return model[2 * room : 3 * room] if self.scaled and not self.standardize else model[:0]

    def target(self, label):
        """The number of the label's class."""
        return np.float64(self.class_number(label))

    def class_number(self, label):
        """The number of a class, a new one where it has none."""
        key = key_of(label)
        found = self.class_index(label, key)
        return found if found >= 0 else self.admit(text_of(label), key)

    def admit(self, name, key):
        """Begin a class; gives its number."""
        count = self.add_class(name, key)
        self.intercepts.resize(2 * count)
        self.chances.resize(count)
        if not self.pending and self.width >= 0:
            self.weights.resize(count * self.block())
            if self.scaled:
                copy_scales(self.weights[:], count - 1, count, padded(self.width))
        return count - 1

    def place(self, model, intercepts):
        self.weights.resize(len(model))
        self.weights[:] = model
        self.intercepts[:] = intercepts

    def both_intercepts(self):
        return self.intercepts[:].copy()

    def descend(self, label, weight, features, count):
        model, now, room = self.weights[:], self.now, padded(self.width)
        intercepts, chances, number = self.intercepts[:], self.chances[:], int(label)
        if self.scaled:
            self.row.resize(room)
            features, length = standardized(features, self.row[:], model, room)
            if self.automatic and length > LONG * (self.width + 1):
                now *= LONG * (self.width + 1) / length
        addend, factor = row_loss(model, intercepts, chances, features, number)
        row_step(model, intercepts, chances, factor, features, number, now * weight, self.fit_intercept)
        if not abs(addend) < math.inf:
            self.explain(features)
        if self.l1 > 0 or self.l2 > 0:
            shrink_all(model, self.inverses(model), len(chances), self.width, now, self.l1, self.l2)
        if weight != 1:
            addend, factor = weight * (addend + math.log(factor)), 1.0
        self.loss += addend
        self.product *= factor
        if self.product > FULL:
            self.loss += math.log(self.product)
            self.product = 1.0
        if self.automatic and count & (AVERAGED - 1) == 0:
            self.now = decayed(self.rate, self.taken + count, DECAY)
            average_all(model, intercepts, room, 2 / (1 + count // AVERAGED))

    def epoch(self, model, intercepts, kept, rate, taken, ready):
        loss, product, stride, room = 0.0, 1.0, self.width + HEAD, padded(self.width)
        count, inverses = len(kept) // stride, self.inverses(model)
        hop = AVERAGED if count >= SAMPLE_ROWS else 1
        scratch, chances = np.zeros(room, np.float32), np.empty(len(intercepts) // 2)
        for row in range(count):
            at = row * stride
            features, now = row_view(kept, at + HEAD, self.width), rate
            label, weight = int(kept[at]), np.float64(kept[at + 1])
            if self.automatic:
                now = decayed(rate, float(taken + row), DECAY)
            if self.scaled and not ready:
                features, length = standardized(features, scratch, model, room)
                if self.automatic and length > LONG * (self.width + 1):
                    now *= LONG * (self.width + 1) / length
            addend, factor = row_loss(model, intercepts, chances, features, label)
            row_step(model, intercepts, chances, factor, features, label, now * weight, self.fit_intercept)
            if self.l1 > 0 or self.l2 > 0:
                shrink_all(model, inverses, len(chances), self.width, now, self.l1, self.l2)
            if weight != 1:
                addend, factor = weight * (addend + math.log(factor)), 1.0
            loss += addend
            product *= factor
            if product > FULL:
                loss += math.log(product)
                product = 1.0
            if self.automatic and not ready and row % hop == 0:
                average_all(model, intercepts, room, 2 / (2 + (taken + row) // hop))
        return loss + math.log(product)

    def total_loss(self, model, intercepts, kept):
        loss, stride = 0.0, self.width + HEAD
        chances = np.empty(len(intercepts) // 2)
        for row in range(len(kept) // stride):
            at = row * stride
            features = row_view(kept, at + HEAD, self.width)
            addend, factor = row_loss(model, intercepts, chances, features, int(kept[at]))
            loss += kept[at + 1] * (addend + math.log(factor))
        return loss

    def penalty(self, model):
        total, block, inverses = 0.0, self.block(), self.inverses(model)
        for k in range(len(model) // block if block > 0 else 0):
            for index in range(self.width):
                size = abs(model[k * block + index]) * (inverses[index] if len(inverses) > 0 else np.float32(1))
                total += self.l1 * size + self.l2 * size * size / 2
        return total

    def first_model(self, kept):
        """The model before the first step, with the scale of the rows, and its intercepts."""
        room, count = padded(self.width), len(self.keys)
        model = np.zeros(count * 4 * room, np.float32)
        scale_of(model, kept, self.width + HEAD, self.width, self.fit_intercept)
        copy_scales(model, 1, count, room)
        return model, np.zeros(2 * count)

    def merge(self, other):
        self.merge_labels(other)
        if other.n == 0:
            return
        if self.width < 0:
            self.open(np.int64(other.width))
        if self.width != other.width:
            raise ValueError("rows differ in length: some have", self.width, "features, others", other.width)
        places = np.empty(len(other.keys), np.int64)
        for k in range(len(places)):
            name, key = other.class_name(k), other.keys[k]
            found = self.class_index(name, key)
            places[k] = found if found >= 0 else self.admit(name, key)
        kept = relabelled(other.kept[:], places, self.width + HEAD)
        if self.pending and not other.pending:
            self.adopt(other, places)
        elif other.pending and not self.pending:
            self.replay(kept, self.n)
        elif not self.pending:
            self.join(other, places)
        if self.keeping:
            self.kept.extend(kept)
        self.n += other.n
        self.mass += other.mass
        if self.pending and self.n >= SAMPLE_ROWS:
            self.begin()

    def arranged(self, other, places):
        """The model of another state and its intercepts in the order of this one's classes, 0 for those it lacks."""
        block = self.block()
        model, theirs = np.zeros(len(self.keys) * block, np.float32), other.weights[:]
        intercepts = np.zeros(2 * len(self.keys))
        for k in range(len(places)):
            model[places[k] * block : (places[k] + 1) * block] = theirs[k * block : (k + 1) * block]
            intercepts[2 * places[k] : 2 * places[k] + 2] = other.intercepts[2 * k : 2 * k + 2]
        if self.scaled:
            room = padded(self.width)
            for k in range(len(self.keys)):
                model[(4 * k + 2) * room : (4 * k + 4) * room] = theirs[2 * room : 4 * room]
        return model, intercepts

    def adopt(self, other, places):
        """Go on from another state's model with the rows kept here."""
        model, intercepts = self.arranged(other, places)
        self.place(model, intercepts)
        self.rate, self.now = other.rate, other.now
        self.loss, self.product = other.loss, other.product
        self.catch_up(other.n)

    def join(self, other, places):
        """Average two models by their numbers of steps, in the scale of this one."""
        share, room, block = other.n / (self.n + other.n), padded(self.width), self.block()
        theirs, their_intercepts = self.arranged(other, places)
        mine, intercepts = self.weights[:], self.intercepts[:]
        for k in range(len(self.keys)):
            part = slice(k * block, (k + 1) * block)
            for average in range(2 if self.scaled else 1):
                place = 2 * k + average
                apart = shift(mine[part], theirs[part], average * room, room, self.width, np.float32(share))
                intercepts[place] += share * (their_intercepts[place] + apart - intercepts[place])
        self.rate += share * (other.rate - self.rate)
        self.loss += other.loss + math.log(other.product)
        self.join_squares(other)


@njit
def relabelled(kept: Any, places: Any, stride: int) -> Any:
    """Kept rows of another state, with the numbers that their classes have in this one."""
    rows = kept.copy()
    for at in range(0, len(rows), stride):
        rows[at] = places[int(rows[at])]
    return rows

"""Passes over kept rows: what the steps of the first pass and of all others have in common, and the others.

Kept rows stand end to end in one float32 array, each behind its label and its weight. How models look like is told in
`start` and `linear`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from .vectors import REORDER, add_scaled, dot, padded, row_view, standardized

#: Rows by which features are standardised and ``step_size='auto'`` is chosen.
SAMPLE_ROWS = 2000
#: An automatic step size falls with ``1 / sqrt(1 + t / 2000)``.
DECAY = 1 / SAMPLE_ROWS
#: Weights are averaged every so many steps; neighbours differ little.
AVERAGED = 16
#: A row that is longer than the usual row by the root of this gets a smaller automatic step.
LONG = 16.0
#: An automatic step size that diverges on few rows is divided by 4 until it is as small as this.
_SMALLEST = 1e-9
#: Ceiling of the running product of factors.
FULL = 1e250
#: Label and weight of a kept row stand before its features.
HEAD = 2


@njit(fastmath=set(REORDER))
def decayed(rate: float, taken: float, decay: float) -> float:
    """The step size after so many steps; it stays constant with a ``decay`` of 0."""
    return rate / math.sqrt(1 + taken * decay)


@njit
def shrink(weights: Any, inverses: Any, width: int, rate: float, l1: float, l2: float) -> None:
    """The proximal step of the penalties; standardised features come with the inverses of their scales."""
    scale, threshold = np.float32(1 / (1 + rate * l2)), np.float32(rate * l1)
    for index in range(width):
        if len(inverses) > 0:
            scale = np.float32(1 / (1 + rate * l2 * inverses[index] * inverses[index]))
            threshold = np.float32(rate * l1 * inverses[index])
        size = max(abs(weights[index]) - threshold, np.float32(0))
        weights[index] = math.copysign(size * scale, weights[index])


@njit
def add_difference(weights: Any, room: int, share: float) -> None:
    """Move the average of the weights, which stands behind them, towards the weights."""
    for index in range(room):
        weights[room + index] += share * (weights[index] - weights[room + index])


class Epochs:
    """The part of a task that goes over its kept rows again."""

    def trained(self):
        """The model after all epochs, its intercepts, whether its average counts, the losses, how it ended, the steps.

        The state stays as it is.
        """
        model, kept, rate, intercepts = self.weights[:], self.kept[:], self.rate, self.both_intercepts()
        loss, done, steps, converged = self.loss + math.log(self.product), 0, self.n, False
        history, goal = np.empty(self.epochs), 0.0
        if self.pending:
            model, intercepts = self.first_model(kept)
            rate = self.chosen_rate(model, intercepts, kept)
        elif self.keeping:
            model = model.copy()
        while done < self.epochs and not converged:
            if done > 0 or self.pending:
                now = rate if self.automatic else self.rate * self.decay**done
                loss = self.epoch(model, intercepts, kept, now, self.n * done, False)
            history[done], before = loss / max(self.mass, 1e-300), goal
            goal = history[done] + self.penalty(model)
            converged = done > 0 and before - goal < self.tolerance * abs(before)
            done += 1
            if abs(history[done - 1]) < math.inf:
                continue
            if not (self.pending and self.automatic and rate > _SMALLEST):
                self.diverged(done, rate if self.automatic else self.rate * self.decay ** (done - 1))
            # On few rows a step size is not tried beforehand.
            rate, done, converged = rate / 4, 0, False
            model, intercepts = self.first_model(kept)
        steps = self.n * done
        averaged = self.automatic and (steps >= AVERAGED or self.pending)
        return model, intercepts, averaged, history[:done], converged, steps

    def epoch(self, model, intercepts, kept, rate, taken, ready):
        """One pass over kept rows; gives the sum of the losses, each taken before its step.

        The rows of a trial are standardised already and ``ready``; the model and its intercepts are changed in place.
        """
        loss, product, stride, room = 0.0, 1.0, self.width + HEAD, padded(self.width)
        count, scaled = len(kept) // stride, len(model) > room
        hop = AVERAGED if count >= SAMPLE_ROWS else 1
        inverses = model[2 * room : 3 * room] if scaled and not self.standardize else model[:0]
        scratch = np.zeros(room, np.float32)
        for row in range(count):
            at = row * stride
            features, now = row_view(kept, at + HEAD, self.width), rate
            if self.automatic:
                now = decayed(rate, float(self.taken + taken + row), DECAY)
            if scaled and not ready:
                features, length = standardized(features, scratch, model, room)
                if self.automatic and length > LONG * (self.width + 1):
                    now *= LONG * (self.width + 1) / length
            score = dot(model, features) + np.float32(intercepts[0])
            addend, factor, slope = self.step(score, kept[at])
            weight = kept[at + 1]
            if weight != 1:
                addend, factor, slope = weight * (addend + math.log(factor)), 1.0, weight * slope
            scale = -np.float32(now) * np.float32(slope)
            add_scaled(model, features, scale)
            if self.fit_intercept:
                intercepts[0] += scale
            if self.l1 > 0 or self.l2 > 0:
                shrink(model, inverses, self.width, now, self.l1, self.l2)
            loss += addend
            product *= factor
            if product > FULL:
                loss += math.log(product)
                product = 1.0
            if self.automatic and not ready and row % hop == 0:
                share = 2 / (2 + (taken + row) // hop)
                add_difference(model, room, np.float32(share))
                intercepts[1] += share * (intercepts[0] - intercepts[1])
        return loss + math.log(product)

    def total_loss(self, model, intercepts, kept):
        """The sum of the losses of rows that are ready, without any step."""
        loss, stride = 0.0, self.width + HEAD
        for row in range(len(kept) // stride):
            at = row * stride
            score = dot(model, row_view(kept, at + HEAD, self.width)) + np.float32(intercepts[0])
            addend, factor, _ = self.step(score, kept[at])
            loss += kept[at + 1] * (addend + math.log(factor))
        return loss

    def penalty(self, model):
        """The penalties of a model, per row."""
        total, scaled = 0.0, len(model) > padded(self.width) and not self.standardize
        for index in range(self.width):
            size = abs(model[index] * model[2 * padded(self.width) + index]) if scaled else abs(model[index])
            total += self.l1 * size + self.l2 * size * size / 2
        return total

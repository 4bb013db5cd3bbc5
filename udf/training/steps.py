"""Step-size rules: the size of step ``t`` in epoch ``e``.

All that depend on the number of the step are
``first * (offset + slope * t) ** -power`` within an epoch. ``adagrad`` and ``vw``
keep a sum of squared gradients for each weight instead (see `kernels`).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from ..tasks.epochs import DECAY

Rule = Literal["auto", "constant", "exponential", "inverse", "invscaling", "optimal", "adagrad", "vw"]


class Schedule(NamedTuple):
    """The step sizes of one epoch: ``first * (offset + slope * t) ** -power``, ``t`` being 1 at the very first step."""

    first: float
    offset: float = 1.0
    slope: float = 0.0
    power: float = 0.0

    def at(self, step: int) -> float:
        """The size of a step."""
        return float(self.first * (self.offset + self.slope * step) ** -self.power)


def schedule(
    rule: Rule, epoch: int, step_size: float, decay: float, power: float, l2: float, steepness: float
) -> Schedule:
    """The step sizes of an epoch, counted from 0.

    Parameters
    ----------
    rule : ``constant``; ``exponential``: times ``decay`` per epoch; ``inverse``: divided by the number of the epoch;
        ``invscaling``: divided by ``t ** power``; ``optimal``: Bottou's ``1 / (l2 (t + t0))``; ``auto``: falls with
        the root of the steps.
    step_size : of the first step (``optimal`` finds its own).
    steepness : size of the loss's slope at the score ``-typical_weight(l2)``, for ``optimal``.
    """
    match rule:
        case "exponential":
            return Schedule(step_size * decay**epoch)
        case "inverse":
            return Schedule(step_size / (epoch + 1))
        case "invscaling":
            return Schedule(step_size, 0.0, 1.0, power)
        case "optimal":
            return Schedule(1 / l2, max(1.0, steepness) / (typical_weight(l2) * l2) - 1, 1.0, 1.0)
        case "auto":
            return Schedule(step_size, 1 - DECAY, DECAY, 0.5)
    return Schedule(step_size)


def typical_weight(l2: float) -> float:
    """The size that Bottou's rule takes weights to have."""
    return math.sqrt(1 / math.sqrt(l2))

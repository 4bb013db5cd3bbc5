"""Count, mean, variance and extremes of numbers, in one pass and mergeable."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any


class StatCounter:
    """Statistics of the numbers seen so far.

    Sources: Welford, Technometrics 4 (1962); Chan, Golub and LeVeque, COMPSTAT (1982), for merging.
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self.n = 0
        self.mu: Any = 0.0
        self.m2: Any = 0.0
        self.maxValue: Any = -math.inf
        self.minValue: Any = math.inf
        for value in values or ():
            self.merge(value)

    def merge(self, value: Any) -> StatCounter:
        """See one more number."""
        delta = value - self.mu
        self.n += 1
        self.mu += delta / self.n
        self.m2 += delta * (value - self.mu)
        self.maxValue = max(self.maxValue, value)
        self.minValue = min(self.minValue, value)
        return self

    def mergeStats(self, other: StatCounter) -> StatCounter:
        """See all that another has seen.

        Raises
        ------
        TypeError
            `other` is no StatCounter.
        """
        if not isinstance(other, StatCounter):
            raise TypeError(f"Can only merge StatCounter but got {type(other)}")
        if other is self:
            return self.mergeStats(other.copy())
        if not other.n:
            return self
        if not self.n:
            self.__dict__.update(other.copy().__dict__)
            return self
        delta, total = other.mu - self.mu, self.n + other.n
        if other.n * 10 < self.n:
            self.mu = self.mu + delta * other.n / total
        elif self.n * 10 < other.n:
            self.mu = other.mu - delta * self.n / total
        else:
            self.mu = (self.mu * self.n + other.mu * other.n) / total
        self.m2 += other.m2 + delta * delta * self.n * other.n / total
        self.n = total
        self.maxValue = max(self.maxValue, other.maxValue)
        self.minValue = min(self.minValue, other.minValue)
        return self

    def copy(self) -> StatCounter:
        """The same statistics, apart."""
        return copy.deepcopy(self)

    def count(self) -> int:
        """How many numbers there were."""
        return self.n

    def mean(self) -> Any:
        """Their mean."""
        return self.mu

    def sum(self) -> Any:
        """Their sum."""
        return self.n * self.mu

    def min(self) -> Any:
        """The least of them; infinite if there were none."""
        return self.minValue

    def max(self) -> Any:
        """The largest of them; infinite if there were none."""
        return self.maxValue

    def variance(self) -> Any:
        """Their variance; NaN if there were none."""
        return self.m2 / self.n if self.n else math.nan

    def sampleVariance(self) -> Any:
        """The variance that they let expect of what they are a sample of; NaN for less than two."""
        return self.m2 / (self.n - 1) if self.n > 1 else math.nan

    def stdev(self) -> Any:
        """The square root of `variance`."""
        return self.variance() ** 0.5

    def sampleStdev(self) -> Any:
        """The square root of `sampleVariance`."""
        return self.sampleVariance() ** 0.5

    def asDict(self, sample: bool = False) -> dict[str, Any]:
        """All of them by name."""
        spread = (self.sampleStdev(), self.sampleVariance()) if sample else (self.stdev(), self.variance())
        return {
            "count": self.count(), "mean": self.mean(), "sum": self.sum(), "min": self.min(), "max": self.max(),
            "stdev": spread[0], "variance": spread[1],
        }  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"(count: {self.count()}, mean: {self.mean()}, stdev: {self.stdev()}, max: {self.max()}, min: {self.min()})"
        )

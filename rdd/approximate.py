"""Answers that are close enough, or come in time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .hashing import portable_hash
from .statcounter import StatCounter

if TYPE_CHECKING:
    from .rdd import RDD


class BoundedFloat(float):
    """A number with the bounds between which it is at a level of confidence.

    Attributes
    ----------
    confidence, low, high : float
        The level and the bounds.
    """

    confidence: float
    low: float
    high: float

    def __new__(cls, mean: float, confidence: float, low: float, high: float) -> BoundedFloat:
        number = float.__new__(cls, mean)
        number.confidence, number.low, number.high = confidence, low, high
        return number


def approximate_sum(parts: RDD, timeout: int, confidence: float) -> BoundedFloat:
    """The sum of one number of each partition, from the partitions that were done within a time in milliseconds."""
    done = _done_in_time(parts, timeout)
    total, count = parts.getNumPartitions(), len(done)
    if count == total:
        number = float(sum(done))
        return BoundedFloat(number, 1.0, number, number)
    counter = StatCounter(done)
    mean = counter.mean() * total if count else 0.0
    spread = _quantile(confidence) * math.sqrt(counter.sampleVariance() / count) * total if count > 1 else math.inf
    return BoundedFloat(mean, confidence, mean - spread, mean + spread)


def approximate_mean(rdd: RDD, timeout: int, confidence: float) -> BoundedFloat:
    """The mean of the elements of the partitions that were done within a time in milliseconds."""
    done = _done_in_time(rdd.mapPartitions(lambda elements: [StatCounter(map(float, elements))]), timeout)
    total = StatCounter()
    for part in done:
        total.mergeStats(part)
    mean = float(total.mean())
    if len(done) == rdd.getNumPartitions():
        return BoundedFloat(mean, 1.0, mean, mean)
    spread = _quantile(confidence) * math.sqrt(total.sampleVariance() / total.n) if total.n > 1 else math.inf
    return BoundedFloat(mean, confidence, mean - spread, mean + spread)


def _done_in_time(parts: RDD, timeout: int) -> list[Any]:
    """The elements of those partitions that are done in time; the job for the others is cancelled."""
    return parts.context._run_for(parts, timeout / 1000)


def _quantile(confidence: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + confidence / 2)


class HyperLogLog:
    """How many different elements there are, from the longest runs of zeros in their hashes.

    Source: Flajolet and others: HyperLogLog, AofA (2007).

    Parameters
    ----------
    relative_deviation : float
        The relative standard deviation of the answer: 1.04 / sqrt(registers).
    """

    def __init__(self, relative_deviation: float) -> None:
        bits = math.ceil(2 * math.log2(1.04 / relative_deviation))
        self.bits = min(max(bits, 4), 24)
        self.registers = bytearray(1 << self.bits)

    def add(self, elements: Iterable[Any]) -> HyperLogLog:
        """See elements."""
        rest = 64 - self.bits
        for element in elements:
            text = element.encode("utf-8", "surrogatepass") if isinstance(element, str) else element
            content = text if isinstance(text, bytes) else portable_hash(text).to_bytes(16, "little", signed=True)
            value = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
            place, remainder = value >> rest, value & ((1 << rest) - 1)
            rank = rest - remainder.bit_length() + 1
            if rank > self.registers[place]:
                self.registers[place] = rank
        return self

    def merge(self, other: HyperLogLog) -> HyperLogLog:
        """See all that another has seen."""
        self.registers = bytearray(map(max, self.registers, other.registers))
        return self

    def count(self) -> int:
        """About how many different elements were seen."""
        size = len(self.registers)
        alpha = {16: 0.673, 32: 0.697, 64: 0.709}.get(size, 0.7213 / (1 + 1.079 / size))
        estimate = alpha * size * size / math.fsum(2.0**-rank for rank in self.registers)
        empty = self.registers.count(0)
        if estimate <= 2.5 * size and empty:
            estimate = size * math.log(size / empty)
        return round(estimate)

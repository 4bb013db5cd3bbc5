"""Samples that are PySpark's, element by element: the same generators, asked in the same order."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .base import Base
from .batches import OBJECT, Batch
from .lineage import Narrow, Node, same_split
from .streams import Batches, Elements, Stream

if TYPE_CHECKING:
    from .rdd import RDD
    from .task import Task


class Sampling(Base):
    """The part of `RDD` that draws."""

    def sample(self, withReplacement: bool, fraction: float, seed: int | None = None) -> RDD:
        """A random part of the elements.

        Parameters
        ----------
        withReplacement : bool
            Whether an element may be drawn several times.
        fraction : float
            The chance of each element; with replacement, how often it is drawn on average.
        seed : int, optional
            Where the random numbers start; the same seed draws the same elements.

        Raises
        ------
        ValueError
            `fraction` is negative.
        """
        if not fraction >= 0:
            raise ValueError(f"Fraction must be nonnegative, but got {fraction}")
        return self._new(Sampled(self.context._next_id(), self._node, withReplacement, float(fraction), _seed(seed)))

    def sampleByKey(self, withReplacement: bool, fractions: dict[Any, float], seed: int | None = None) -> RDD:
        """A random part of the pairs, with a chance for each key.

        Raises
        ------
        ValueError
            A chance is negative.
        """
        for key, fraction in fractions.items():
            if fraction < 0:
                raise ValueError(f"Negative fraction value: {fraction} for key {key!r}")
        start = _seed(seed)

        def drawn(split: int, pairs: Iterator[Any]) -> Iterator[Any]:
            return _drawn(_generator(start, split), pairs, lambda pair: fractions[pair[0]], withReplacement)

        return self.mapPartitionsWithIndex(drawn, True)  # type: ignore[attr-defined,no-any-return]

    def randomSplit(self, weights: Sequence[float], seed: int | None = None) -> list[RDD]:
        """The elements divided at random into RDDs, with as many parts in each as its weight says."""
        if not all(weight >= 0 for weight in weights):
            raise ValueError("Weights must be nonnegative")
        total = float(sum(weights))
        if total <= 0:
            raise ValueError("Sum of weights must be positive")
        bounds = [0.0]
        for weight in weights:
            bounds.append(bounds[-1] + weight / total)
        start = random.randint(0, 2**32 - 1) if seed is None else seed

        def part(low: float, high: float) -> Callable[[int, Iterator[Any]], Iterator[Any]]:
            def drawn(split: int, elements: Iterator[Any]) -> Iterator[Any]:
                generator = _generator(start, split)
                return (element for element in elements if low <= generator.random() < high)

            return drawn

        pairs = itertools.pairwise(bounds)
        return [self.mapPartitionsWithIndex(part(low, high), True) for low, high in pairs]  # type: ignore[attr-defined]


class Sampled(Node):
    """A random part of the elements of the parent."""

    operation = "sample"

    def __init__(self, number: int, parent: Node, with_replacement: bool, fraction: float, seed: int) -> None:
        super().__init__(number, None, (Narrow(parent, same_split),), parent.partitioner)
        self.with_replacement, self.fraction, self.seed = with_replacement, fraction, seed

    def compute(self, split: int, task: Task) -> Stream:
        stream = self.dependencies[0].parent.iterator(split, task)
        generator = _generator(self.seed, split)
        if self.with_replacement or isinstance(stream, Elements):
            return Elements(_drawn(generator, iter(stream), lambda _: self.fraction, self.with_replacement))
        return Batches(self._chosen(stream.batches(), generator))

    def _chosen(self, batches: Iterator[Batch], generator: random.Random) -> Iterator[Batch]:
        """The elements chosen by the same numbers, many at a time: NumPy has Python's generator."""
        import numpy as np

        _, state, _ = generator.getstate()
        numbers = np.random.RandomState()
        numbers.set_state(("MT19937", np.array(state[:-1], np.uint32), state[-1], 0, 0.0))
        for batch in batches:
            mask = numbers.random_sample(len(batch)) < self.fraction
            if batch.is_small or batch.kind == OBJECT:
                chosen = list(itertools.compress(batch.objects(), mask.tolist()))
                if chosen:
                    yield Batch.of(chosen)
            else:
                import pyarrow as pa

                found = batch.array.filter(pa.array(mask))
                yield Batch(batch.kind, found, len(found))


def sample_fraction(num: int, total: int, with_replacement: bool) -> float:
    """The fraction with which a sample has at least `num` of `total` elements in 99.99 % of all cases."""
    fraction = num / total
    if with_replacement:
        deviations = 9 if num < 12 else 5
        return fraction + deviations * math.sqrt(fraction / total)
    gamma = -math.log(0.00005) / total
    return min(1.0, fraction + gamma + math.sqrt(gamma * gamma + 2 * gamma * fraction))


def _seed(seed: int | None) -> int:
    return seed if seed is not None else random.randint(0, sys.maxsize)


def _generator(seed: int, split: int) -> random.Random:
    """The generator of a partition; the first numbers are thrown away, since seeds that are close begin alike."""
    generator = random.Random(seed ^ split)
    for _ in range(10):
        generator.randint(0, 1)
    return generator


def _drawn(
    generator: random.Random, elements: Iterator[Any], fraction: Callable[[Any], float], with_replacement: bool
) -> Iterator[Any]:
    for element in elements:
        if with_replacement:
            for _ in range(_poisson(generator, fraction(element))):
                yield element
        elif generator.random() < fraction(element):
            yield element


def _poisson(generator: random.Random, mean: float) -> int:
    """A number from a Poisson distribution. Source: Knuth, The Art of Computer Programming 2, section 3.4.1."""
    if mean < 20.0:
        bound, product, count = math.exp(-mean), generator.random(), 0
        while product > bound:
            product *= generator.random()
            count += 1
        return count
    time, count = generator.expovariate(mean), 0
    while time < 1.0:
        count += 1
        time += generator.expovariate(mean)
    return count

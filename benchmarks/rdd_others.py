"""What `benchmarks/rdd.py` compares RDDs with beside Spark: Dask bags, and bare loops over arrays."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from rdd_programs import CENTERS, DIMENSIONS, ITERATIONS, graph, points


class Bag:
    """The programs that Dask bags have the operations for, under the names of RDDs."""

    def __init__(self, bag: Any = None) -> None:
        self.bag = bag

    def parallelize(self, elements: Any, partitions: int) -> Bag:
        """A bag of elements."""
        import dask.bag

        return Bag(dask.bag.from_sequence(elements, npartitions=partitions))

    def cache(self) -> Bag:
        """Itself."""
        return self

    def count(self) -> int:
        """How many elements there are."""
        return int(self.bag.count().compute())

    def map(self, function: Any) -> Bag:
        """A function of each element."""
        return Bag(self.bag.map(function))

    def flatMap(self, function: Any) -> Bag:  # noqa: N802
        """What a function makes of each element."""
        return Bag(self.bag.map(function).flatten())

    def filter(self, function: Any) -> Bag:
        """The elements for which a function is true."""
        return Bag(self.bag.filter(function))

    def reduceByKey(self, function: Any) -> Bag:  # noqa: N802
        """The values of each key put together."""
        combined = self.bag.foldby(_key, lambda total, pair: function(total, pair[1]), 0, function)
        return Bag(combined)

    def collect(self) -> Any:
        """All elements."""
        return self.bag.compute()

    def sum(self) -> Any:
        """The sum of the elements."""
        return self.bag.sum().compute()


def _key(pair: Any) -> Any:
    return pair[0]


def loops(name: str, scale: float) -> Callable[[], Any] | None:
    """A program as a bare loop of Numba or NumPy over arrays, in one thread."""
    import numba
    import numpy as np

    if name == "map_filter_sum":
        numbers = np.arange(int(1_000_000 * scale))

        @numba.njit
        def summed(values: Any) -> Any:
            total = 0
            for value in values:
                made = value * 3 + 1
                if made % 2 == 0:
                    total += made
            return total

        return lambda: int(summed(numbers))
    if name == "kmeans":
        matrix = np.array(points(scale))

        @numba.njit
        def step(matrix: Any, centers: Any) -> Any:
            sums, counts = np.zeros_like(centers), np.zeros(len(centers))
            for row in range(len(matrix)):
                best, nearest = 0, np.inf
                for center in range(len(centers)):
                    size = 0.0
                    for place in range(matrix.shape[1]):
                        size += (matrix[row, place] - centers[center, place]) ** 2
                    if size < nearest:
                        best, nearest = center, size
                sums[best] += matrix[row]
                counts[best] += 1
            return sums / counts.reshape(-1, 1)

        def run() -> Any:
            centers = matrix[:CENTERS].copy()
            for _ in range(ITERATIONS):
                centers = step(matrix, centers)
            return round(float(centers[0, 0]), 9)

        return run
    if name == "logistic_regression":
        matrix = np.array(points(scale))
        labels = np.where(matrix[:, 0] > 2, 1.0, -1.0)

        def fit() -> Any:
            w = 0.01 * np.arange(DIMENSIONS)
            for _ in range(ITERATIONS):
                w = w - 1e-7 * (((1 / (1 + np.exp(-labels * (matrix @ w))) - 1) * labels) @ matrix)
            return round(float(w[0]), 9)

        return fit
    if name.startswith("pagerank"):
        edges = np.array(graph(scale))
        count = int(edges.max()) + 1
        degree = np.bincount(edges[:, 0], minlength=count)

        def ranked() -> Any:
            ranks = np.where(degree > 0, 1.0, 0.0)
            for _ in range(ITERATIONS):
                has_links = np.isin(edges[:, 0], np.flatnonzero(ranks))
                chosen = edges[has_links]
                shares = np.bincount(chosen[:, 1], (ranks[chosen[:, 0]] / degree[chosen[:, 0]]), count)
                ranks = np.where(np.bincount(chosen[:, 1], minlength=count) > 0, 0.15 + 0.85 * shares, 0.0)
            return round(float(ranks.sum()), 6)

        return ranked
    if name == "sort":
        draw = random.Random(4)
        keys = np.array([draw.getrandbits(40) for _ in range(int(5_000_000 * scale))])
        return lambda: int((np.sort(keys) % 1000).sum())
    return None

"""The programs of `benchmarks/rdd.py`: each prepares its data and gives what is measured."""

from __future__ import annotations

import math
import operator
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

CENTERS = 10
DIMENSIONS = 10
ITERATIONS = 3


def word_count(sc: Any, scale: float) -> Callable[[], Any]:
    """1 M words of a vocabulary of 10 000, ten a line."""
    draw = random.Random(1)
    rows = int(100_000 * scale)
    lines = [" ".join(f"w{int(draw.paretovariate(0.7)) % 10_000}" for _ in range(10)) for _ in range(rows)]
    rdd = sc.parallelize(lines, 2).cache()
    rdd.count()

    def run() -> Any:
        counts = rdd.flatMap(lambda line: line.split()).map(lambda word: (word, 1)).reduceByKey(operator.add)
        return max(counts.collect(), key=lambda pair: pair[1])

    return run


def map_filter_sum(sc: Any, scale: float) -> Callable[[], Any]:
    """1 M integers."""
    rdd = sc.parallelize(range(int(1_000_000 * scale)), 2)
    return lambda: rdd.map(lambda x: x * 3 + 1).filter(lambda x: x % 2 == 0).sum()


def points(scale: float, rows: int = 200_000) -> list[Any]:
    """Points as plain tuples of floats."""
    draw = random.Random(2)
    return [tuple(draw.gauss(draw.randrange(5), 1) for _ in range(DIMENSIONS)) for _ in range(int(rows * scale))]


def kmeans(sc: Any, scale: float) -> Callable[[], Any]:
    """200 000 points of 10 numbers, 10 centres."""
    rdd = sc.parallelize(points(scale), 2).cache()
    first = rdd.take(CENTERS)

    def distance(p: Any, q: Any) -> Any:
        return sum((a - b) * (a - b) for a, b in zip(p, q))  # noqa: B905

    def run() -> Any:
        centers = first
        for _ in range(ITERATIONS):
            nearest = rdd.map(lambda p: (min(range(CENTERS), key=lambda c: distance(p, centers[c])), (p, 1)))  # noqa: B023
            sums = nearest.reduceByKey(lambda a, b: (tuple(x + y for x, y in zip(a[0], b[0])), a[1] + b[1]))  # noqa: B905
            found = dict(sums.collect())
            centers = [
                tuple(x / found[c][1] for x in found[c][0]) if c in found else centers[c] for c in range(CENTERS)
            ]
        return round(centers[0][0], 9)

    return run


def logistic_regression(sc: Any, scale: float) -> Callable[[], Any]:
    """200 000 points of 10 numbers, by the paper's gradient."""
    rdd = sc.parallelize([(p, 1.0 if p[0] > 2 else -1.0) for p in points(scale)], 2).cache()
    rdd.count()

    def run() -> Any:
        w = tuple(0.01 * place for place in range(DIMENSIONS))
        for _ in range(ITERATIONS):

            def slope(point: Any) -> Any:
                x, y = point
                factor = (1 / (1 + math.exp(-y * sum(a * b for a, b in zip(w, x)))) - 1) * y  # noqa: B023, B905
                return tuple(factor * a for a in x)

            total = rdd.map(slope).reduce(lambda a, b: tuple(x + y for x, y in zip(a, b)))  # noqa: B905
            w = tuple(a - 1e-7 * b for a, b in zip(w, total))  # noqa: B905
        return round(w[0], 9)

    return run


def graph(scale: float) -> list[tuple[int, int]]:
    """1 M edges between 100 000 pages."""
    draw = random.Random(3)
    pages = int(100_000 * scale)
    return [(draw.randrange(pages), int(draw.random() ** 2 * pages)) for _ in range(int(1_000_000 * scale))]


def pagerank_of_lists(sc: Any, scale: float) -> Callable[[], Any]:
    """Each page with the list of those that it links to, as in the paper."""
    links = sc.parallelize(graph(scale), 2).groupByKey(2).mapValues(list).cache()
    links.count()

    def run() -> Any:
        ranks = links.mapValues(lambda _: 1.0)
        for _ in range(ITERATIONS):
            joined = links.join(ranks, 2)
            shares = joined.flatMap(lambda page: [(to, page[1][1] / len(page[1][0])) for to in page[1][0]])
            ranks = shares.reduceByKey(lambda a, b: a + b, 2).mapValues(lambda rank: 0.15 + 0.85 * rank)
        return round(ranks.values().sum(), 6)

    return run


def pagerank_of_edges(sc: Any, scale: float) -> Callable[[], Any]:
    """The same as pairs: each edge with the number of its page's links."""
    edges = sc.parallelize(graph(scale), 2)
    degrees = edges.map(lambda edge: (edge[0], 1)).reduceByKey(lambda a, b: a + b, 2)
    links = edges.partitionBy(2).join(degrees, 2).cache()
    links.count()

    def run() -> Any:
        ranks = degrees.mapValues(lambda _: 1.0)
        for _ in range(ITERATIONS):
            shares = links.join(ranks, 2).map(lambda edge: (edge[1][0][0], edge[1][1] / edge[1][0][1]))
            ranks = shares.reduceByKey(lambda a, b: a + b, 2).mapValues(lambda rank: 0.15 + 0.85 * rank)
        return round(ranks.values().sum(), 6)

    return run


def sort(sc: Any, scale: float) -> Callable[[], Any]:
    """5 M integers of 40 bits."""
    draw = random.Random(4)
    rdd = sc.parallelize([(draw.getrandbits(40), 1) for _ in range(int(5_000_000 * scale))], 2).cache()
    rdd.count()
    return lambda: rdd.sortByKey(numPartitions=2).keys().map(lambda key: key % 1000).sum()


def join(sc: Any, scale: float) -> Callable[[], Any]:
    """300 000 pairs with as many."""
    rows = int(300_000 * scale)
    draw = random.Random(5)
    left = sc.parallelize([(draw.randrange(rows), place) for place in range(rows)], 2).cache()
    right = sc.parallelize([(draw.randrange(rows), place * 0.5) for place in range(rows)], 2).cache()
    left.count(), right.count()
    return lambda: left.join(right, 2).map(lambda pair: pair[1][0] % 7).sum()


def opaque(sc: Any, scale: float) -> Callable[[], Any]:
    """300 000 functions of texts and dictionaries that nothing compiles."""
    rdd = sc.parallelize(
        [{"id": place, "name": f"name {place % 1000}"} for place in range(int(300_000 * scale))], 2
    ).cache()
    rdd.count()
    return lambda: (
        rdd.map(lambda row: {**row, "key": row["name"].split()[1]})
        .filter(lambda row: row["key"].startswith("1"))
        .map(lambda row: len(row["name"]) + row["id"] % 3)
        .sum()
    )


PROGRAMS = {
    function.__name__: function
    for function in (
        word_count, map_filter_sum, kmeans, logistic_regression, pagerank_of_lists, pagerank_of_edges, sort, join,
        opaque,
    )
}  # fmt: skip


def cpu_seconds() -> float:
    """CPU seconds of this process and of all that descend from it."""
    parents, spent = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(folder.name)] = int(fields[1])
            spent[int(folder.name)] = sum(map(int, fields[11:15]))
    total, visits = 0, [os.getpid()]
    while visits:
        process = visits.pop()
        total += spent.get(process, 0)
        visits += [child for child, parent in parents.items() if parent == process]
    return total / os.sysconf("SC_CLK_TCK")

"""RDD programs: one text run by Ironlake, PySpark and pysparkling, beside Dask bags and bare loops where they have it.

Each engine runs in a process of its own, one after the other, with two tasks at a time. Reported are seconds, and CPU
seconds of all processes of the engine, of the second of two runs, without start-up, which is measured apart. Ratios are
of CPU seconds, which other programs on the machine change little. k-means, regression and PageRank are three iterations
over cached data. Run as ``python benchmarks/rdd.py --scale 0.1 [--engines ironlake,pyspark] [program ...]``.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CENTERS = 10
DIMENSIONS = 10
ITERATIONS = 3
ENGINES = ("ironlake", "pyspark", "pysparkling", "dask", "loop")


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


def context_of(engine: str) -> Any:
    """The context of an engine with two tasks at a time."""
    if engine == "pyspark":
        from pyspark import SparkConf, SparkContext

        conf = SparkConf().setAll([
            ("spark.ui.enabled", "false"), ("spark.driver.host", "127.0.0.1"),
            ("spark.driver.bindAddress", "127.0.0.1"),
            ("spark.ui.showConsoleProgress", "false"), ("spark.driver.memory", "2g"),
        ])  # fmt: skip
        context = SparkContext("local[2]", "benchmark", conf=conf)
        context.setLogLevel("OFF")
        return context
    if engine == "pysparkling":
        import pysparkling

        return pysparkling.Context()
    from ironlake.rdd import SparkContext as Context

    return Context("local[2]", "benchmark")


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


def measure(engine: str, names: list[str], scale: float) -> None:
    """Run programs on one engine; a line of JSON for each, and first the start-up."""
    started, before = time.perf_counter(), 0.0
    context = Bag() if engine == "dask" else None if engine == "loop" else context_of(engine)
    if context is not None and engine != "dask":
        context.parallelize([1, 2, 3], 2).count()
    taken = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - before}
    print(json.dumps({"program": "start-up", **taken}), flush=True)
    for name in names:
        try:
            run = loops(name, scale) if engine == "loop" else PROGRAMS[name](context, scale)
            if run is None:
                continue
            run()
            started, before = time.perf_counter(), cpu_seconds()
            result = run()
            taken = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - before}
        except AttributeError as error:
            print(json.dumps({"program": name, "error": str(error)}), flush=True)
            continue
        print(json.dumps({"program": name, **taken, "result": repr(result)}), flush=True)
    if engine in ("ironlake", "pyspark"):
        context.stop()


def main() -> None:
    """Run engines in turn and print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--scale", type=float, default=1.0, help="part of the sizes that the programs name")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--only", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.only:
        measure(told.only, told.programs, told.scale)
        return
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for engine in told.engines.split(","):
        command = [sys.executable, __file__, "--only", engine, "--scale", str(told.scale), *told.programs]
        found[engine] = {}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONHASHSEED": "0"}
        ) as running:
            assert running.stdout is not None
            for text in running.stdout:
                if text.startswith("{"):
                    line = json.loads(text)
                    found[engine][line["program"]] = line
                    print(engine, text, end="", file=sys.stderr, flush=True)
    show(found, told.scale)


def show(found: dict[str, dict[str, dict[str, Any]]], scale: float) -> None:
    """Print seconds of each engine, and how often Ironlake's fit into them."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"seconds / CPU seconds at scale {scale}, and how many times Ironlake's CPU seconds")
    table.add_column("program")
    for engine in found:
        table.add_column(engine, justify="right")
    for name in ["start-up", *PROGRAMS]:
        base = found.get("ironlake", {}).get(name, {}).get("cpu")
        cells = []
        for engine in found:
            line = found[engine].get(name, {})
            ratio = f" ({line['cpu'] / base:.1f}x)" if "cpu" in line and base else ""
            cells.append(f"{line['seconds']:.2f} / {line['cpu']:.2f}{ratio}" if "cpu" in line else "")
        if any(cells):
            table.add_row(name, *cells)
    Console(width=140).print(table)
    for name in PROGRAMS:
        results = {engine: line[name]["result"] for engine, line in found.items() if "result" in line.get(name, {})}
        if len(set(results.values())) > 1:
            print(f"{name}: results differ: {results}")


if __name__ == "__main__":
    main()

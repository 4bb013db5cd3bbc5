"""What the paper on RDDs measured on a cluster, as ratios here: kept data, partitioning, recovery, little memory.

Run as ``python benchmarks/rdd_paper.py [--scale 0.1] [kept] [partitioned] [recovery] [memory]``. Times are CPU seconds
of all processes, for an iteration in the median; those of recovery are seconds.

Source: Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 6.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rdd_programs import CENTERS, DIMENSIONS, graph, points

from ironlake.rdd import SparkContext
from rdd import cpu_seconds


def taken(run: Callable[[], Any], times: int = 3) -> float:
    """CPU seconds of the median of some runs, after one that is not counted."""
    run()
    found = []
    for _ in range(times):
        before = cpu_seconds()
        run()
        found.append(cpu_seconds() - before)
    return statistics.median(found)


def gradient(rdd: Any) -> Any:
    """An iteration of logistic regression over rows of numbers, the first of them the label."""
    w = [0.01] * DIMENSIONS

    def slope(row: Any) -> Any:
        y, x = row[0], row[1:]
        factor = (1 / (1 + math.exp(-y * sum(a * b for a, b in zip(w, x)))) - 1) * y  # noqa: B905
        return tuple(factor * a for a in x)

    return rdd.map(slope).reduce(lambda a, b: tuple(p + q for p, q in zip(a, b)))  # noqa: B905


def parsed(line: str) -> tuple[float, ...]:
    """A line of the text as numbers."""
    return tuple(map(float, line.split()))


def kept(scale: float) -> None:
    """Figure 9: an iteration over a text, over the files of a table, and over what was kept of either."""
    import pyarrow as pa

    from ironlake import lakehouse

    rows = [(1.0 if point[0] > 2 else -1.0, *point) for point in points(scale)]
    with tempfile.TemporaryDirectory() as folder, SparkContext("local[2]", "kept") as sc:
        path = Path(folder, "points.txt")
        path.write_text("".join(" ".join(map(repr, row)) + "\n" for row in rows))
        lake = lakehouse.open(str(Path(folder, "lake")))
        lake.write("points", pa.table(list(zip(*rows, strict=True)), [f"x{place}" for place in range(DIMENSIONS + 1)]))
        text = sc.textFile(str(path), 2).map(parsed)
        seconds = {"text": taken(lambda: gradient(text))}
        files = sc.fromDelta(str(Path(folder, "lake", "points")))
        seconds["Delta"] = taken(lambda: gradient(files))
        cached = sc.textFile(str(path), 2).map(parsed).cache()
        cached.count()
        seconds["kept"] = taken(lambda: gradient(cached))
    ratios = ", ".join(f"{name} {each / seconds['kept']:.1f}x" for name, each in seconds.items())
    print(f"kept: {ratios}")


def partitioned(scale: float) -> None:
    """Figure 10: an iteration of PageRank with links spread like ranks, and without."""
    with SparkContext("local[2]", "partitioned") as sc:
        edges = sc.parallelize(graph(scale), 2)
        spread = edges.groupByKey(2).mapValues(list).cache()
        spread.count()
        loose = spread.map(lambda page: page).cache()  # the same, and nobody knows where keys are
        loose.count()
        seconds, written = [], []
        for links in (loose, spread):
            ranks = spread.mapValues(lambda _: 1.0).cache()

            def iteration(links: Any = links, ranks: Any = ranks) -> Any:
                pages = links.join(ranks, 2)
                shares = pages.flatMap(lambda page: [(to, page[1][1] / len(page[1][0])) for to in page[1][0]])
                return shares.reduceByKey(lambda a, b: a + b, 2).mapValues(lambda rank: 0.15 + 0.85 * rank).count()

            before = sc.events().num_rows
            seconds.append(taken(iteration))
            column = sc.events().slice(before).column("shuffle_write_bytes").to_pylist()
            written.append(sum(filter(None, column)) // 4)
    print(f"partitioned: {seconds[0] / seconds[1]:.1f}x; bytes of shuffles an iteration {written[0]}, {written[1]}")


def in_worker(point: Any) -> Any:
    """A point, in a process that may be ended."""
    os.getpid()
    return point


def recovery(scale: float) -> None:
    """Figure 11: k-means on four workers, one of which ends at the start of iteration 6."""
    results = []
    for has_failure in (False, True):
        with SparkContext("local[4,4]", "recovery") as sc:
            rdd = sc.parallelize(points(scale), 16).map(in_worker).cache()
            rdd.count()
            centers, seconds = rdd.take(CENTERS), []
            for number in range(1, 11):
                if has_failure and number == 6:
                    os.kill(max(worker.pid for worker in sc._pool._workers), signal.SIGKILL)
                started = time.perf_counter()
                centers = step(rdd, centers)
                seconds.append(time.perf_counter() - started)
            results.append(centers)
    mean = statistics.mean(seconds[1:5])
    later = ", ".join(f"iteration {place + 1} {seconds[place] / mean:.2f}" for place in (5, 6))
    print(f"recovery: same bits {results[0] == results[1]}; of the mean of those before, {later}")


def step(rdd: Any, centers: Any) -> Any:
    """An iteration of k-means."""

    def distance(p: Any, q: Any) -> Any:
        return sum((a - b) * (a - b) for a, b in zip(p, q))  # noqa: B905

    nearest = rdd.map(lambda p: (min(range(CENTERS), key=lambda c: distance(p, centers[c])), (p, 1)))
    sums = nearest.reduceByKey(lambda a, b: (tuple(x + y for x, y in zip(a[0], b[0])), a[1] + b[1]))  # noqa: B905
    found = dict(sums.collect())
    return [tuple(x / found[c][1] for x in found[c][0]) if c in found else centers[c] for c in range(CENTERS)]


def memory(scale: float) -> None:
    """Figure 12: an iteration over a text of which a part is kept."""
    with tempfile.TemporaryDirectory() as folder, SparkContext("local[2]", "memory") as sc:
        path = Path(folder, "points.txt")
        path.write_text("".join(f"1.0 {' '.join(map(repr, point))}\n" for point in points(scale)))
        whole = sc.textFile(str(path), 8).map(parsed).cache()
        whole.count()
        size, limit = sc._blocks.memory, sc._blocks.limit
        whole.unpersist()
        found = {}
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            sc._blocks.limit = int(size * share * 1.001)
            rdd = sc.textFile(str(path), 8).map(parsed).cache()
            rdd.count()
            found[share] = taken(lambda rdd=rdd: gradient(rdd))
            rdd.unpersist()
        sc._blocks.limit = limit
    print("memory:", ", ".join(f"{share:.0%} {seconds / found[1.0]:.1f}x" for share, seconds in found.items()))


PARTS = {function.__name__: function for function in (kept, partitioned, recovery, memory)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0)
    told = parser.parse_args()
    random.seed(0)
    for part in told.parts:
        PARTS[part](told.scale)


if __name__ == "__main__":
    main()

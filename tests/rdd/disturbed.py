"""Programs that are disturbed while they run: workers end at moments that a seed chooses.

``python tests/rdd/disturbed.py`` runs them at full size, with hundreds of workers killed, and says how it went.
"""

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ironlake.rdd import RDD, SparkContext, TaskContext

#: What is done to an RDD on its way.
Risk = Callable[[RDD], RDD]


def unharmed(rdd: RDD) -> RDD:
    """No risk: but tasks run in workers all the same."""
    return rdd.mapPartitions(lambda elements: elements if os.getpid() else (), preservesPartitioning=True)


class Deadly:
    """Tasks end their worker with SIGKILL at the first try, before, after or in the middle of their elements."""

    def __init__(self, seed: int, share: float) -> None:
        self.seed, self.share = seed, share

    def __call__(self, rdd: RDD) -> RDD:
        number, seed, share = rdd.id(), self.seed, self.share

        def elements_until(split: int, elements: Iterable) -> Iterator:
            chosen = random.Random(f"{seed} {number} {split}")
            dies = TaskContext.get().attemptNumber() == 0 and chosen.random() < share
            moment = chosen.choice([0, 0, 3, 10, sys.maxsize])
            for place, element in enumerate(elements):
                if dies and place == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield element
            if dies and moment == sys.maxsize:
                os.kill(os.getpid(), signal.SIGKILL)

        return rdd.mapPartitionsWithIndex(elements_until, preservesPartitioning=True)


def k_means(sc: SparkContext, risk: Risk, rows: int, partitions: int, iterations: int = 4) -> list:
    """Centres after some iterations over kept points."""
    generator = np.random.default_rng(7)
    pairs = list(enumerate(generator.normal(size=(rows, 3)).round(6).tolist()))
    points = risk(sc.parallelize(pairs, partitions).repartition(partitions)).values().cache()
    centres = [tuple(point) for _, point in pairs[:5]]
    for _ in range(iterations):
        now = list(centres)

        def nearest(point: list, now: list = now) -> int:
            return min(range(len(now)), key=lambda c: sum((a - b) ** 2 for a, b in zip(point, now[c], strict=True)))

        sums = risk(points.map(lambda point, nearest=nearest: (nearest(point), (*point, 1)))).reduceByKey(
            lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True))
        )
        for centre, (*total, count) in sums.collect():
            centres[centre] = tuple(each / count for each in total)
    points.unpersist()
    return centres


def page_rank(sc: SparkContext, risk: Risk, rows: int, partitions: int, iterations: int = 4) -> list:
    """Ranks of a random graph."""
    chosen = random.Random(3)
    edges = [(chosen.randrange(rows // 4), chosen.randrange(rows // 4)) for _ in range(rows)]
    links = risk(sc.parallelize(edges, partitions)).distinct().groupByKey(partitions).mapValues(list).cache()
    ranks = links.mapValues(lambda _: 1.0)
    for _ in range(iterations):
        given = risk(links.join(ranks)).flatMap(
            lambda page: [(other, page[1][1] / len(page[1][0])) for other in page[1][0]]
        )
        ranks = given.reduceByKey(lambda a, b: a + b, partitions).mapValues(lambda rank: 0.15 + 0.85 * rank)
    found = ranks.collect()
    links.unpersist()
    return found


def sort(sc: SparkContext, risk: Risk, rows: int, partitions: int) -> list:
    """Pairs in order; half of the keys are there twice."""
    chosen = random.Random(5)
    pairs = [(chosen.randrange(rows * 2), place) for place in range(rows)]
    return risk(risk(sc.parallelize(pairs, partitions)).sortByKey(numPartitions=partitions)).collect()


def join(sc: SparkContext, risk: Risk, rows: int, partitions: int) -> list:
    """Two RDDs joined, texts as keys."""
    chosen = random.Random(9)
    left = [(f"k{chosen.randrange(rows // 2)}", place) for place in range(rows)]
    right = [(f"k{chosen.randrange(rows // 2)}", place / 7) for place in range(rows)]
    one, other = (risk(sc.parallelize(pairs, partitions)) for pairs in (left, right))
    return risk(one.join(other, partitions)).collect()


def chain(sc: SparkContext, risk: Risk, rows: int, partitions: int, stages: int = 20) -> list:
    """A shuffle after the other, each with sums of floats, whose bits depend on their order."""
    rdd = sc.parallelize([(place % (rows // 4), 1 / (place + 1)) for place in range(rows)], partitions)
    for stage in range(stages):
        moved = risk(rdd).map(lambda pair, stage=stage: ((pair[0] * 7 + stage) % 1009, pair[1] * 1.1))
        rdd = moved.reduceByKey(lambda a, b: a + b, partitions)
    return rdd.collect()


def in_thread(action: Callable[[], object], errors: list[BaseException]) -> threading.Thread:
    """A thread that does something, and what it raises."""

    def run() -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def until(is_so: Callable[[], object]) -> None:
    """Wait for something that another thread or process does."""
    limit = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.01)


def stuck(elements: Iterable) -> Iterable:
    """A function that is never done."""
    signal.pause()
    return elements


PROGRAMS = {"k-means": k_means, "PageRank": page_rank, "sort": sort, "join": join, "chain": chain}


def successes(rows: list[dict]) -> Counter:
    """How often each partition of each stage was computed."""
    return Counter((row["stage_id"], row["partition"]) for row in rows if row["status"] == "SUCCESS")


@contextlib.contextmanager
def killer(sc: SparkContext, seed: int, pause: float) -> Iterator[list[float]]:
    """Ends a worker every now and then, from another thread; the moments at which it did."""
    moments: list[float] = []
    ends = threading.Event()
    chosen = random.Random(seed)

    def kill() -> None:
        while not ends.wait(chosen.expovariate(1 / pause)):
            pids = [worker.pid for worker in list(sc._pool._workers)]
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chosen.choice(pids), signal.SIGKILL)
                moments.append(time.monotonic())

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield moments
    finally:
        ends.set()
        thread.join()


def main(rows: int, partitions: int, pause: float) -> None:
    """Run each program undisturbed and disturbed."""
    sc = SparkContext("local[3,4]", "disturbed")
    total = 0
    for name, program in PROGRAMS.items():
        started = time.perf_counter()
        expected = repr(program(sc, unharmed, rows, partitions))
        calm = time.perf_counter() - started
        before = sc.events().num_rows
        started = time.perf_counter()
        runs = kills = 0
        with killer(sc, runs, pause) as moments:
            while runs < 3 or len(moments) < 40:
                assert repr(program(sc, Deadly(runs, 0.3), rows, partitions)) == expected, name
                runs += 1
        kills = len(moments)
        counts = Counter(sc.events().slice(before).column("status").to_pylist())
        total += counts["WORKER_LOST"]
        seconds = (time.perf_counter() - started) / runs
        print(
            f"{name}: {runs} runs identical, {kills} kills from outside; {calm:.1f} s undisturbed, {seconds:.1f} s",
            end=" ",
        )
        gc.collect()
        sc.parallelize([1]).count()  # whenever a job begins, what nobody refers to is removed
        files = [path.name for path in sc._segments.iterdir() if path.name != "overflow"]
        print(f"disturbed; {dict(counts)}; files left: {files}", flush=True)
    sc.stop()
    print(f"{total} tasks lost their worker")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000, 12, 0.8)

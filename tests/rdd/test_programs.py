"""The programs over RDDs against plain NumPy and loops, and their own examples."""

import doctest
import math
import random

import numpy as np
import pytest

from ironlake.rdd import SparkContext
from ironlake.rdd import programs
from ironlake.rdd.programs import (
    Pregel, connected_components, count_words, kmeans, logistic_regression, pagerank, search, shortest_paths,
    template_counts,
)  # fmt: skip

random_graph = random.Random(7)
EDGES = sorted({(random_graph.randrange(40), random_graph.randrange(40)) for _ in range(120)})


@pytest.fixture(scope="module")
def sc():
    with SparkContext("local[2]", "programs") as context:
        yield context


@pytest.mark.parametrize("name", programs.__all__)
def test_examples(sc, name):
    function = getattr(programs, name)
    [found] = [test for test in doctest.DocTestFinder(recurse=False).find(function, name) if test.examples]
    found.globs = {**vars(programs), "sc": sc}
    assert doctest.DocTestRunner().run(found).failed == 0


def points_of_two_classes(n, width):
    draw = np.random.default_rng(3)
    x = draw.normal(size=(n, width))
    y = np.where(x @ np.arange(1, width + 1) + draw.normal(size=n) > 0, 1, -1)
    return x, y


@pytest.mark.parametrize("fused", [False, True])
def test_logistic_regression(sc, fused):
    x, y = points_of_two_classes(200, 3)
    points = sc.parallelize(list(zip(y.tolist(), map(tuple, x.tolist()), strict=True)), 3)
    w = np.array([0.5, 0.0, -0.5])
    for _ in range(8):
        w = w - 0.02 * (x * ((1 / (1 + np.exp(-y * (x @ w))) - 1) * y)[:, None]).sum(axis=0)
    ours = logistic_regression(points, 8, 0.02, start=[0.5, 0.0, -0.5], fused=fused)
    np.testing.assert_allclose(ours, w, rtol=1e-10)


def test_logistic_regression_far_from_the_data(sc):
    points = sc.parallelize([(1, (1000.0,)), (-1, (-1000.0,))])
    plain, fused = (logistic_regression(points, 2, start=[-10.0], fused=fused) for fused in (False, True))
    assert plain == pytest.approx([1990.0])
    assert fused == pytest.approx(plain)


def test_logistic_regression_says_what_is_wrong(sc):
    with pytest.raises(ValueError, match="start has 1 numbers; expected 2"):
        logistic_regression(sc.parallelize([(1, (1.0, 2.0))]), start=[0.0])


@pytest.mark.parametrize("fused", [False, True])
def test_kmeans(sc, fused):
    x = np.random.default_rng(5).normal(size=(150, 2))
    start = [*map(tuple, x[:3].tolist()), (99.0, 99.0)]  # nothing is close to the last
    centres = np.array(start)
    for _ in range(6):
        nearest = ((x[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        for each in set(nearest.tolist()):
            centres[each] = x[nearest == each].mean(axis=0)
    ours = kmeans(sc.parallelize(list(map(tuple, x.tolist())), 4), 4, 6, centres=start, fused=fused)
    np.testing.assert_allclose(ours, centres, rtol=1e-12)
    assert ours[3] == (99.0, 99.0)


def test_kmeans_draws_points(sc):
    points = sc.parallelize([(float(i),) for i in range(20)])
    assert kmeans(points, 3, seed=1) == kmeans(points, 3, seed=1)
    with pytest.raises(ValueError, match="there are 20 points; expected 21"):
        kmeans(points, 21)


def ranks(edges, iterations, damping, normalized):
    """PageRank of a set of edges, in loops."""
    out = {}
    for src, dst in set(edges):
        out.setdefault(src, []).append(dst)
    pages = {page for edge in edges for page in edge}
    rank = {page: 1 / len(pages) for page in pages} if normalized else dict.fromkeys(out, 1.0)
    for _ in range(iterations):
        received = dict.fromkeys(pages, 0.0) if normalized else {}
        for src, targets in out.items():
            for dst in targets if src in rank else ():
                received[dst] = received.get(dst, 0.0) + rank[src] / len(targets)
        base = (1 - damping) / len(pages) if normalized else 1 - damping
        rank = {page: base + damping * total for page, total in received.items()}
    return rank


@pytest.mark.parametrize("normalized", [True, False])
def test_pagerank(sc, normalized):
    ours = pagerank(sc.parallelize(EDGES + EDGES[:10], 3), 5, 0.8, normalized).collectAsMap()
    assert ours == pytest.approx(ranks(EDGES, 5, 0.8, normalized), rel=1e-12)


def test_pagerank_does_not_move_links(sc):
    found = pagerank(sc.parallelize(EDGES, 3), 4)
    stages = [line for line in found.explainLineage().splitlines() if line.startswith("Stage")]
    shuffled = [line for line in found.explainLineage().splitlines() if "writes shuffle" in line]
    assert len(shuffled) == 2 + 4  # distinct, links by page, and the contributions of each iteration
    assert len(stages) == len(shuffled) + 1


def test_pagerank_of_nothing(sc):
    assert pagerank(sc.parallelize([], 2)).collect() == []


def test_shortest_paths(sc):
    weighted = [(src, (dst, 1.0 + (src * 7 + dst) % 5)) for src, dst in EDGES]
    distance = {page: math.inf for edge in EDGES for page in edge} | {0: 0.0}
    for _ in distance:
        for src, (dst, length) in weighted:
            distance[dst] = min(distance[dst], distance[src] + length)
    ours = shortest_paths(sc.parallelize(weighted, 3), 0).collectAsMap()
    assert ours == {page: far for page, far in distance.items() if far < math.inf}
    assert len(ours) > 3


def test_connected_components(sc):
    edges = [(src, dst) for src, dst in EDGES[::3]] + [(100, 101), (102, 101)]
    component = {page: page for edge in edges for page in edge}
    for _ in component:
        for src, dst in edges:
            component[src] = component[dst] = min(component[src], component[dst])
    assert connected_components(sc.parallelize(edges, 2)).collectAsMap() == component


def test_pregel_ranks_pages(sc):
    pages = {page for edge in EDGES for page in edge}

    def compute(superstep, id, rank, message, edges):
        new = rank if superstep == 0 else 0.15 / len(pages) + 0.85 * (message or 0.0)
        return new, [(target, new / len(edges)) for target in edges] if superstep < 5 else [], superstep == 5

    vertices = sc.parallelize([(page, 1 / len(pages)) for page in sorted(pages)], 3)
    ours = Pregel(vertices, sc.parallelize(EDGES, 2), compute, lambda a, b: a + b).collectAsMap()
    assert ours == pytest.approx(ranks(EDGES, 5, 0.85, True), rel=1e-12)


def test_pregel_stops_and_wakes(sc):
    calls = sc.accumulator(0)

    def relay(superstep, id, state, message, edges):
        calls.add(1)
        return (state or 0) + (message or 0), [(id + 1, 1)] if superstep == id else [], True

    vertices = sc.parallelize([(id, 0) for id in range(3)], 1)
    found = Pregel(vertices, sc.parallelize([(0, 1)], 1), relay, lambda a, b: a + b, numPartitions=2)
    assert sorted(found.collect()) == [(0, 0), (1, 1), (2, 1)]  # the message to 3 is lost
    assert calls.value == 3 + 1 + 1
    assert Pregel(vertices, sc.parallelize([(0, 1)], 1), relay, max, maxSupersteps=0).count() == 3
    with pytest.raises(ValueError, match="maxSupersteps is -1"):
        Pregel(vertices, vertices, relay, max, -1)


def test_pregel_with_checkpoints(sc, tmp_path):
    sc.setCheckpointDir(str(tmp_path))
    chain = sc.parallelize([(i, i + 1) for i in range(5)], 2)
    vertices = sc.parallelize([(i, 10 - i) for i in range(6)], 2)

    def least(superstep, id, value, message, edges):
        new = value if message is None else max(value, message)
        return new, [(edge, new) for edge in edges] if superstep == 0 or new > value else [], True

    found = Pregel(vertices, chain, least, max, checkpointInterval=2)
    assert dict(found.collect()) == dict.fromkeys(range(6), 10)
    assert any("part-00000" in str(path) for path in tmp_path.rglob("*"))


def test_search_and_counts(sc):
    lines = sc.parallelize(["GET /a 200", "GET /b 404", "POST /a 500", "GET /b 404"], 3)
    assert search(lines, r" (4|5)\d\d$").collect() == [(1, "GET /b 404"), (2, "POST /a 500"), (3, "GET /b 404")]
    assert count_words(lines, r"[A-Z]+").collectAsMap() == {"GET": 3, "POST": 1}
    assert template_counts(lines).collect() == [("GET /b *", 2), ("GET /a *", 1), ("POST /a *", 1)]

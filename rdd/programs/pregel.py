"""Pregel: programs that think like a vertex, over two RDDs.

Vertices and edges are spread over partitions alike and stay where they are; only messages travel.

Source: Malewicz and others: Pregel: a system for large-scale graph processing, SIGMOD (2010); Zaharia and others:
Resilient Distributed Datasets, NSDI (2012), section 7.1, which has it in 200 lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def Pregel(
    vertices: Any,
    edges: Any,
    compute: Callable[[int, Any, Any, Any, list[Any]], tuple[Any, list[tuple[Any, Any]], bool]],
    combine: Callable[[Any, Any], Any],
    maxSupersteps: int = 1000,
    numPartitions: int | None = None,
    checkpointInterval: int | None = None,
) -> Any:
    """Run supersteps until all vertices have halted and no message is under way.

    Parameters
    ----------
    vertices : RDD of (id, state)
        The vertices; all are active in the first superstep.
    edges : RDD of (id, edge)
        What a vertex knows of its outgoing edges: the id at the other end, or that with a weight, or anything.
    compute : callable
        ``compute(superstep, vertex, state, message, edges)`` gives the new state, a list of (id, message) to send, and
        whether the vertex halts. The superstep is counted from 0, the vertex is its id, the message is None if none
        came. It is called for vertices that are active or have a message, which makes them active again.
    combine : callable
        Makes one message out of two for the same vertex; it is called in any order.
    maxSupersteps : int
        Stop after so many.
    numPartitions : int, optional
        Of vertices, edges and messages; as many as `vertices` has otherwise.
    checkpointInterval : int, optional
        Write vertices to the checkpoint directory each so many supersteps, which cuts the lineage that grows with them.

    Returns
    -------
    RDD of (id, state)
        The vertices at the end; they are kept in memory. Messages to ids that are no vertices are lost.

    Raises
    ------
    ValueError
        `maxSupersteps` is negative.

    Examples
    --------
    >>> vertices = sc.parallelize([("a", 3), ("b", 6), ("c", 2)])
    >>> edges = sc.parallelize([("a", "b"), ("b", "c"), ("c", "a")])
    >>> def largest(superstep, vertex, value, message, edges):
    ...     new = value if message is None else max(value, message)
    ...     tell = superstep == 0 or new > value
    ...     return new, [(edge, new) for edge in edges] if tell else [], True
    >>> sorted(Pregel(vertices, edges, largest, max).collect())
    [('a', 6), ('b', 6), ('c', 6)]
    """
    if maxSupersteps < 0:
        raise ValueError(f"Pregel: maxSupersteps is {maxSupersteps}; expected 0 or more")
    n = numPartitions or vertices.getNumPartitions()
    outgoing = edges.groupByKey(n).mapValues(list)
    # a vertex: its edges, its state, whether it is active, and what it sends
    graph = vertices.leftOuterJoin(outgoing, n).mapValues(lambda pair: (pair[1] or [], pair[0], True, [])).cache()
    for superstep in range(maxSupersteps):
        messages = graph.flatMap(lambda vertex: vertex[1][3]).reduceByKey(combine, n)
        step = _Superstep(superstep, compute)
        before, graph = graph, graph.leftOuterJoin(messages, n).mapPartitions(step, preservesPartitioning=True).cache()
        if checkpointInterval and (superstep + 1) % checkpointInterval == 0:
            graph.checkpoint()
        alive = graph.filter(lambda vertex: vertex[1][2] or vertex[1][3]).count()  # one more action: the vote
        before.unpersist()
        if not alive:
            break
    return graph.mapValues(lambda vertex: vertex[1])


class _Superstep:
    """One superstep for the vertices of a partition."""

    def __init__(self, superstep: int, compute: Callable[..., Any]) -> None:
        self.superstep, self.compute = superstep, compute

    def __call__(self, vertices: Iterator[Any]) -> Iterator[Any]:
        for vertex, ((edges, state, is_active, _), message) in vertices:
            if not is_active and message is None:
                yield vertex, (edges, state, False, [])
                continue
            new, sent, halts = self.compute(self.superstep, vertex, state, message, edges)
            yield vertex, (edges, new, not halts, list(sent))


def shortest_paths(edges: Any, source: Any, maxSupersteps: int = 1000) -> Any:
    """The length of the shortest way from a vertex to each vertex that can be reached (Bellman and Ford).

    Parameters
    ----------
    edges : RDD of (id, (id, length))
        Edges from one vertex to another, with a length of at least 0.
    source : object
        The vertex to start from.
    maxSupersteps : int
        Ways of at most so many edges are looked at, less one.

    Returns
    -------
    RDD of (id, float)

    Examples
    --------
    >>> edges = sc.parallelize([("a", ("b", 1.0)), ("b", ("c", 1.0)), ("a", ("c", 5.0))])
    >>> sorted(shortest_paths(edges, "a").collect())
    [('a', 0.0), ('b', 1.0), ('c', 2.0)]
    """
    ids = edges.flatMap(lambda edge: [edge[0], edge[1][0]]).distinct()
    vertices = ids.map(lambda vertex: (vertex, 0.0 if vertex == source else float("inf")))

    def compute(superstep: int, vertex: Any, distance: float, message: float | None, edges: list[Any]) -> Any:
        found = distance if message is None else min(distance, message)
        is_news = found < distance or (superstep == 0 and vertex == source)
        return found, [(target, found + length) for target, length in edges] if is_news else [], True

    found = Pregel(vertices, edges, compute, min, maxSupersteps)
    return found.filter(lambda vertex: vertex[1] < float("inf"))


def connected_components(edges: Any, maxSupersteps: int = 1000) -> Any:
    """The smallest id among the vertices that each vertex is connected with, whatever the direction of edges.

    Parameters
    ----------
    edges : RDD of (id, id)
        Edges between vertices, whose ids can be compared.
    maxSupersteps : int
        Stop after so many.

    Returns
    -------
    RDD of (id, id)

    Examples
    --------
    >>> sorted(connected_components(sc.parallelize([(1, 2), (3, 2), (5, 4)])).collect())
    [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4)]
    """
    both = edges.flatMap(lambda edge: [(edge[0], edge[1]), (edge[1], edge[0])]).distinct()
    vertices = both.keys().distinct().map(lambda vertex: (vertex, vertex))

    def compute(superstep: int, vertex: Any, least: Any, message: Any, neighbours: list[Any]) -> Any:
        found = least if message is None else min(least, message)
        is_news = superstep == 0 or found < least
        return found, [(other, found) for other in neighbours] if is_news else [], True

    return Pregel(vertices, both, compute, min, maxSupersteps)

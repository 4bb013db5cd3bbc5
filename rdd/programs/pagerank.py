"""PageRank over an RDD of links.

Source: Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 3.2.2.
"""

from __future__ import annotations

from operator import add
from typing import Any


def pagerank(
    links: Any,
    iterations: int = 10,
    damping: float = 0.85,
    normalized: bool = True,
    numPartitions: int | None = None,
) -> Any:
    """Rank pages by the links that lead to them.

    Links and ranks are spread over partitions alike, so that joining them moves nothing: only contributions travel.

    Parameters
    ----------
    links : RDD of (page, page)
        Links from one page to another; repeated ones count once.
    iterations : int
        How often ranks are computed anew.
    damping : float
        The part of a rank that comes along links; the paper's alpha is 1 minus it.
    normalized : bool
        ``(1 - damping) / N + damping * sum`` from ``1 / N``, with the number of pages N; otherwise ``1 - damping +
        damping * sum`` from 1, and pages that receive nothing are left out, as in the example that comes with Spark.
    numPartitions : int, optional
        Of links and ranks; as many as `links` has otherwise.

    Returns
    -------
    RDD of (page, float)
        The ranks. Nothing is computed before an action, but for the number of pages.

    Examples
    --------
    >>> links = sc.parallelize([("b", "a"), ("c", "a"), ("c", "b")])
    >>> max(pagerank(links).collect(), key=lambda pair: pair[1])[0]
    'a'
    """
    n = numPartitions or links.getNumPartitions()
    outgoing = links.distinct(n).map(lambda link: (link[0], [link[1]]))
    if normalized:  # all pages take part, also those without links
        outgoing = outgoing.union(links.flatMap(lambda link: [(link[0], []), (link[1], [])]))
    neighbours = outgoing.reduceByKey(add, n).cache()
    if normalized:
        pages = neighbours.count()
        base, first = (1 - damping) / pages if pages else 0.0, 1 / pages if pages else 0.0
    else:
        base, first = 1 - damping, 1.0
    ranks = neighbours.mapValues(lambda _: first)
    for _ in range(iterations):
        contributions = neighbours.join(ranks, n).flatMap(lambda page: _contributions(page, normalized))
        ranks = contributions.reduceByKey(add, n).mapValues(lambda total: base + damping * total)
    return ranks


def _contributions(page: Any, keeps: bool) -> list[tuple[Any, float]]:
    """What a page sends along its links; if pages are kept that receive nothing, also 0 to itself."""
    name, (targets, rank) = page
    sent = [(target, rank / len(targets)) for target in targets]
    return [(name, 0.0), *sent] if keeps else sent

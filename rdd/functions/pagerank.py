"""PageRank of the rows of a table of links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ironlake.udf.engine import relation

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_ITERATIONS = 1_000_000


class PageRanks(NamedTuple):
    """The result of `pagerank_fit`."""

    id: list[int]
    rank: list[float]
    delta: float


@relation
def pagerank_fit(
    src: int, dst: int, *, damping: float = 0.85, iterations: int = 10, normalized: bool = True
) -> PageRanks | None:
    """Rank the pages of a graph by the links that lead to them (PageRank).

    In each iteration a page sends ``rank / out-degree`` along each of its links, and gets a new rank from the sum of
    what it receives.

    Parameters
    ----------
    src, dst : a link from one page to another; repeated links count once.
    damping : the part of a rank that comes along links, from 0 to 1.
    iterations : how often ranks are computed anew.
    normalized : true: ``(1 - damping) / N + damping * sum`` from ``1 / N``, with the number of pages N. False:
        ``1 - damping + damping * sum`` from 1, and pages that receive nothing are left out from the first iteration on,
        as in the example that comes with Spark.

    Returns
    -------
    STRUCT
        ``id`` BIGINT[] (pages, ascending), ``rank`` DOUBLE[] (of each), ``delta`` DOUBLE (the sum of the absolute
        changes in the last iteration; 0 without iterations). Pages without links send nothing, so that normalized ranks
        may sum up to less than 1. Rows with a NULL are skipped; no rows give NULL.

    Raises
    ------
    InvalidInputException
        If damping is not between 0 and 1, or iterations are negative.

    References
    ----------
    Page, Brin, Motwani, Winograd: The PageRank Citation Ranking, Stanford InfoLab (1999); Zaharia and others:
    Resilient Distributed Datasets, NSDI (2012), section 3.2.2, whose alpha is ``1 - damping``.

    Examples
    --------
    SELECT pagerank_fit(src, dst, {'iterations': 20}) AS ranks FROM (VALUES (1, 2), (2, 1), (3, 1)) links(src, dst);
    SELECT unnest(ranks.id) AS page, unnest(ranks.rank) AS rank
    FROM (SELECT pagerank_fit(i, (i * i) % 7) AS ranks FROM range(20) t(i)) ORDER BY rank DESC LIMIT 3;
    """
    from .pagerank_kernels import iterate

    if not 0 <= damping <= 1 or not 0 <= iterations <= _MOST_ITERATIONS:
        raise ValueError(
            f"options damping and iterations must be 0 ... 1 and 0 ... {_MOST_ITERATIONS}, got {damping} and "
            f"{iterations}"
        )
    starts, ends = _without_nulls(src, dst)
    if not len(starts):
        return None
    graph = Graph.of(starts, ends)
    base, first = ((1 - damping) / len(graph.ids), 1 / len(graph.ids)) if normalized else (1 - damping, 1.0)
    ranks = np.full(len(graph.ids), first)
    if not normalized:
        ranks[np.diff(graph.offsets) == 0] = -1.0  # not there: the example begins with pages that have links
    ranks, delta = iterate(graph.offsets, graph.targets, ranks, base, damping, iterations, not normalized)
    present = ranks >= 0
    return PageRanks(graph.ids[present].tolist(), ranks[present].tolist(), float(delta))


class Graph(NamedTuple):
    """A graph as compressed sparse rows.

    Attributes
    ----------
    ids : (pages,) of int64, ascending.
    offsets : (pages + 1,): the links of page i are ``targets[offsets[i]:offsets[i + 1]]``.
    targets : (links,) places in ``ids``.
    """

    ids: Any
    offsets: Any
    targets: Any

    @classmethod
    def of(cls, starts: np.ndarray, ends: np.ndarray) -> Graph:
        """The graph of links, each of which counts once."""
        ids, places = np.unique(np.concatenate([starts, ends]), return_inverse=True)
        links = np.unique(places[: len(starts)] * len(ids) + places[len(starts) :])
        offsets = np.concatenate([[0], np.cumsum(np.bincount(links // len(ids), minlength=len(ids)))])
        return cls(ids, offsets.astype(np.int64), (links % len(ids)).astype(np.int64))


def _without_nulls(src: pa.Array, dst: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The rows in which neither is NULL."""
    import pyarrow.compute as pc

    valid = pc.and_(src.is_valid(), dst.is_valid())
    return src.filter(valid).to_numpy(), dst.filter(valid).to_numpy()

"""What a trace of lookups tells of embedding tables: how often rows come back, and how well a cache would do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ironlake.udf.engine import relation, table

from ..checks import at_least

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_TABLES = 1 << 20
#: Rows of all tables for which each has a counter of its own, as a multiple of the lookups.
_SPARSE = 16
_DENSE = 1 << 24
_MOST_LOOKUPS = 1 << 31
#: Terms of a harmonic number that are added one by one.
_TERMS = 10_000


class Reuse(NamedTuple):
    """The share of the rows that are looked up at most so many times."""

    at_most: int
    share: float


class CacheSize(NamedTuple):
    """The share of the lookups that a cache of so many rows answers."""

    rows: int
    hit_rate: float


class TraceStats(NamedTuple):
    """The result of `embedding_trace_stats`."""

    indices: int
    unique_rows: int
    mean_reuse: float
    reuse_hist: list[Reuse]
    lru_hit_curve: list[CacheSize]
    zipf_alpha: float


@relation
def embedding_trace_stats(table_id: int, row_id: int, *, lru: bool = True) -> TraceStats | None:
    """Measure how lookups of embedding rows repeat: how often, how evenly, and how soon.

    Parameters
    ----------
    table_id : of the embedding table, from 0 on.
    row_id : of the row that is looked up, from 0 on. For the curve the order counts: ``ORDER BY sample``.
    lru : whether to compute the curve, which takes most of the time.

    Returns
    -------
    STRUCT
        ``indices`` BIGINT (lookups), ``unique_rows`` BIGINT, ``mean_reuse`` DOUBLE (their ratio), ``reuse_hist`` LIST
        (the share of the rows that are looked up at most 1, 2, 4 ... times), ``lru_hit_curve`` LIST (the share of the
        lookups that find their row in a cache of 1, 2, 4 ... rows of all tables, of which the one used longest ago
        leaves it; exact; empty without ``lru``), ``zipf_alpha`` DOUBLE (the row of rank r is looked up in proportion to
        ``r ** -alpha``, by maximum likelihood, from 0 to 5). Rows with a NULL are skipped; no rows give NULL.

    Raises
    ------
    InvalidInputException
        If an id is negative, or a table's above a million.

    References
    ----------
    Mattson and others: Evaluation techniques for storage hierarchies, IBM Systems Journal 9 (1970), for stack
    distances; the locality statistics of Meta's dlrm_datasets (MIT) for reuse.

    Examples
    --------
    SELECT unnest(embedding_trace_stats(0, (i * i) % 97 ORDER BY i)) FROM range(1000) t(i);
    SELECT table_id, embedding_trace_stats(table_id, row_id, {'lru': false}).mean_reuse AS reuse
    FROM (SELECT i % 3 AS table_id, i % 10 AS row_id FROM range(100) t(i)) GROUP BY table_id;
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if table_id.null_count or row_id.null_count:  # type: ignore[attr-defined]
        valid = pc.and_(table_id.is_valid(), row_id.is_valid())  # type: ignore[attr-defined]
        table_id, row_id = table_id.filter(valid), row_id.filter(valid)  # type: ignore[attr-defined]
    tables, rows = (np.asarray(pa.array(each).to_numpy(zero_copy_only=False), np.int64) for each in (table_id, row_id))
    if not len(rows):
        return None
    keys, counts = _Keys(tables, rows), None
    counts = keys.counts()
    used = counts[counts > 0]
    return TraceStats(
        len(rows),
        len(used),
        len(rows) / len(used),
        _reuse_hist(used),
        _hit_curve(keys.ranks(counts), len(used)) if lru else [],
        zipf_exponent(used),
    )


class _Keys:
    """One number for each row of each table: places of counters, or places among all that occur."""

    def __init__(self, tables: Any, rows: Any) -> None:
        wrong = tables.min() < 0 or tables.max() >= _MOST_TABLES or rows.min() < 0
        if wrong:
            first = np.flatnonzero((tables < 0) | (tables >= _MOST_TABLES) | (rows < 0))[0]
            raise ValueError(
                f"arguments table_id and row_id must be 0 to {_MOST_TABLES - 1} and at least 0, got {tables[first]} "
                f"and {rows[first]}"
            )
        self.tables, self.rows = tables, rows
        highest = self._largest(int(tables.max()))
        sizes = (highest + 1).astype(np.float64)
        self.is_dense = sizes.sum() <= max(_SPARSE * len(rows), _DENSE)
        self.starts: Any = np.concatenate([[0], np.cumsum(highest + 1)[:-1]]) if self.is_dense else None
        self.total = int(sizes.sum()) if self.is_dense else 0
        self._places: Any = None

    def _largest(self, last: int) -> Any:
        """The largest row of each table, -1 without one."""
        from .trace_kernels import largest

        if last == 0:
            return np.array([self.rows.max()])
        found = np.full(last + 1, -1, np.int64)
        largest(self.tables.view(np.uint64), self.rows, found)
        return found

    def counts(self) -> Any:
        """How often each key comes up."""
        from .trace_kernels import count

        if self.is_dense:
            counts: Any = np.zeros(self.total, np.uint32)
            tables, rows, starts = (each.view(np.uint64) for each in (self.tables, self.rows, self.starts))
            count(tables, rows, starts, counts)
            return counts
        pairs = np.empty(len(self.rows), [("table", np.int64), ("row", np.int64)])
        pairs["table"], pairs["row"] = self.tables, self.rows
        _, self._places, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        return counts

    def ranks(self, counts: Any) -> Any:
        """The lookups as numbers of the keys that occur."""
        if not self.is_dense:
            return self._places
        ranks = np.cumsum(counts > 0) - 1
        return ranks[self.starts[self.tables] + self.rows]


def _reuse_hist(counts: Any) -> list[Reuse]:
    highest = int(counts.max())
    bounds = [2**power for power in range((highest - 1).bit_length() + 1)]
    shares = np.cumsum(np.bincount(np.searchsorted(bounds, counts), minlength=len(bounds))) / len(counts)
    return [Reuse(bound, float(share)) for bound, share in zip(bounds, shares, strict=True)]


def _hit_curve(keys: Any, unique: int) -> list[CacheSize]:
    from .trace_kernels import stack_distances

    hits = np.cumsum(stack_distances(keys, unique))
    sizes = [2**power for power in range((unique - 1).bit_length() + 1)]
    return [CacheSize(size, float(hits[min(size, unique) - 1] / len(keys))) for size in sizes]


def zipf_exponent(counts: Any) -> float:
    """The exponent alpha for which counts of ranked items, in proportion to ``rank ** -alpha``, are most likely."""
    from scipy.optimize import minimize_scalar
    from scipy.special import gammaln

    values, items = np.unique(counts, return_counts=True)
    values, items = values[::-1].astype(np.float64), items[::-1]
    last = np.cumsum(items)
    logs = float((values * (gammaln(last + 1) - gammaln(last - items + 1))).sum())  # of the ranks of all lookups
    lookups, ranks = float((values * items).sum()), int(last[-1])
    if len(values) == 1:
        return 0.0
    loss = lambda alpha: alpha * logs / lookups + math.log(_harmonic(ranks, alpha))  # noqa: E731
    return float(minimize_scalar(loss, bounds=(0.0, 5.0), method="bounded", options={"xatol": 1e-6}).x)


def _harmonic(ranks: int, alpha: float) -> float:
    """The sum of ``r ** -alpha`` over ranks from 1 on: many terms by the Euler-Maclaurin formula."""
    first = min(ranks, _TERMS)
    total = float((np.arange(1, first + 1, dtype=np.float64) ** -alpha).sum())
    if ranks > first:
        low, high = float(first), float(ranks)
        rest = math.log(high / low) if alpha == 1 else (high ** (1 - alpha) - low ** (1 - alpha)) / (1 - alpha)
        total += rest + (high**-alpha - low**-alpha) / 2 - alpha * (high ** (-alpha - 1) - low ** (-alpha - 1)) / 12
    return total


@table
def embedding_trace_synthesize(
    lookups: int, distances: list[int], shares: list[float], table_id: int = 0, per_sample: int = 1, seed: int = 0
) -> pa.Table:
    """Make a trace of lookups with given stack distances.

    Parameters
    ----------
    lookups : how many.
    distances, shares : how far back the row of a lookup was used last, and the share of lookups for which that is so:
        distance 0 is a new row, 1 the row that was used last, 2 the one before, and so on. Shares are those of each
        distance, not added up.
    table_id : of the embedding table.
    per_sample : lookups of a sample.
    seed : of the draws.

    Returns
    -------
    TABLE
        As the trace table ``embedding_trace``: ``table_id`` INTEGER, ``sample``, ``row_id`` BIGINT (numbered as they
        come up first).

    Raises
    ------
    ValueError
        If a number is negative, the lists have not the same length, or the shares are not numbers above 0 in all.

    References
    ----------
    Naumov and others: Deep Learning Recommendation Model, arXiv 1906.00091 (2019), whose repository makes traces so.

    Examples
    --------
    SELECT embedding_trace_stats(table_id, row_id ORDER BY sample).mean_reuse
    FROM embedding_trace_synthesize(10000, [0, 1, 10, 100], [0.2, 0.3, 0.3, 0.2]);
    """
    import pyarrow as pa

    from .trace_kernels import reuse

    at_least(1, lookups=lookups, per_sample=per_sample)
    at_least(0, table_id=table_id, seed=seed)
    if lookups > _MOST_LOOKUPS:
        raise ValueError(f"argument lookups must be at most {_MOST_LOOKUPS}, got {lookups}")
    weights, places = np.asarray(shares, np.float64), np.asarray(distances, np.int64)
    if len(weights) != len(places) or not len(places):
        raise ValueError(
            f"arguments distances and shares have {len(places)} and {len(weights)} values; expected as many"
        )
    at_least(0, distances=places, shares=weights)
    if not weights.sum() > 0:
        raise ValueError(f"argument shares has the sum {weights.sum()}; expected more than 0")
    random = np.random.default_rng(seed)
    drawn = random.choice(places, lookups, p=weights / weights.sum())
    new = int((drawn == 0).sum()) + int(places.max()) + 1
    keys = reuse(drawn, np.full(min(new, lookups), -1, np.int64))
    return pa.table(
        {
            "table_id": pa.array(np.full(lookups, table_id, np.int32)),
            "sample": pa.array(np.arange(lookups) // per_sample),
            "row_id": pa.array(keys),
        }
    )

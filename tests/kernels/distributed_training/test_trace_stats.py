"""Statistics of traces of lookups, against a cache that is simulated and counts by Python."""

from collections import Counter, OrderedDict

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import ironlake


def lru_hits(keys, size):
    cache, hits = OrderedDict(), 0
    for key in keys:
        hits += key in cache
        cache[key] = None
        cache.move_to_end(key)
        if len(cache) > size:
            cache.popitem(last=False)
    return hits


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=120), st.booleans())
def test_against_a_simulated_cache(lookups, far):
    tables, rows = (np.array(column) for column in zip(*lookups, strict=True))
    rows = rows * 10**15 if far else rows
    found = ironlake.embedding_trace_stats(tables, rows)
    counts = np.array(list(Counter(lookups).values()))
    assert (found["indices"], found["unique_rows"]) == (len(lookups), len(counts))
    assert found["mean_reuse"] == len(lookups) / len(counts)
    assert [(each["at_most"], each["share"]) for each in found["reuse_hist"]] == [
        (2**power, pytest.approx((counts <= 2**power).mean())) for power in range(len(found["reuse_hist"]))
    ]
    assert found["reuse_hist"][-1]["share"] == 1
    for each in found["lru_hit_curve"]:
        assert each["hit_rate"] == pytest.approx(lru_hits(lookups, each["rows"]) / len(lookups))
    assert found["lru_hit_curve"][-1]["rows"] >= len(counts)


def test_zipf():
    rows = np.arange(1, 20001)
    counts = np.random.default_rng(0).poisson(4e5 * rows**-1.1 / (rows**-1.1).sum())
    ids = np.repeat(rows, counts)
    assert ironlake.embedding_trace_stats(np.zeros(len(ids), int), ids, lru=False)["zipf_alpha"] == pytest.approx(
        1.1, abs=0.02
    )
    flat = np.arange(3000) % 1000
    assert ironlake.embedding_trace_stats(flat * 0, flat, lru=False)["zipf_alpha"] == 0


def test_groups_order_and_nulls():
    rows = duckdb.sql("""
        SELECT table_id, embedding_trace_stats(table_id, row_id ORDER BY sample)
        FROM (VALUES (0, 1, 5), (0, 2, 6), (0, 3, 5), (1, 1, 5), (1, 2, NULL), (NULL, 3, 5)) t(table_id, sample, row_id)
        WHERE table_id IS NOT NULL GROUP BY table_id ORDER BY table_id
    """).fetchall()
    assert [stats["indices"] for _, stats in rows] == [3, 1]
    assert rows[0][1]["lru_hit_curve"] == [{"rows": 1, "hit_rate": 0.0}, {"rows": 2, "hit_rate": pytest.approx(1 / 3)}]
    assert duckdb.sql("SELECT embedding_trace_stats(NULL::INT, 1)").fetchall() == [(None,)]


def test_a_synthetic_trace_has_the_distances_it_was_made_with():
    [(stats,)] = duckdb.sql("""
        SELECT embedding_trace_stats(table_id, row_id ORDER BY place) FROM (
            SELECT *, row_number() OVER () AS place
            FROM embedding_trace_synthesize(100000, [0, 1, 16, 256], [0.1, 0.2, 0.4, 0.3], seed := 1))
    """).fetchall()
    curve = {each["rows"]: each["hit_rate"] for each in stats["lru_hit_curve"]}
    assert stats["unique_rows"] / 100000 == pytest.approx(0.1, abs=0.01)
    expected = {1: 0.2, 8: 0.2, 16: 0.6, 128: 0.6, 256: 0.9}
    assert {size: curve[size] for size in expected} == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT embedding_trace_stats(-1, 1)", "must be 0 to 1048575 and at least 0, got -1 and 1"),
        ("SELECT embedding_trace_stats(1, -7)", "got 1 and -7"),
        ("FROM embedding_trace_synthesize(0, [0], [1])", "argument lookups must be at least 1, got 0"),
        ("FROM embedding_trace_synthesize(9, [0, 1], [1])", "have 2 and 1 values"),
        ("FROM embedding_trace_synthesize(9, [0], [0])", "argument shares has the sum 0.0"),
        ("FROM embedding_trace_synthesize(9, [-1], [1])", "argument distances must be at least 0, got -1"),
    ],
)
def test_bad_input(query, message):
    with pytest.raises(duckdb.Error, match=message):
        duckdb.sql(query).fetchall()

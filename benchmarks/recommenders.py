"""Recommendation models: placing embedding tables, and measuring traces of lookups, beside NumPy.

What it tells: the time of a plan for MLPerf's 26 tables and for 500 tables on 64 devices, how even their loads are and
how far from the lower bound (`docs/recommendation_models.md` has figures of TorchRec's planner on these tasks); and how
fast lookups are counted, beside `numpy.unique`, both on one core. ``python benchmarks/recommenders.py [--lookups N]``.
"""

from __future__ import annotations

import argparse
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from harness import Benchmark

import ironlake  # noqa: F401 - the functions

PLANS = {
    "MLPerf, 26 tables on 8 devices": "'FROM dlrm_tables()', 8, 65536, hbm_gib := 40",
    "MLPerf, 26 tables on 16 devices": "'FROM dlrm_tables()', 16, 131072, hbm_gib := 40",
    "500 tables on 64 devices": "'even', 64, 65536",
    "500 skewed tables on 64 devices": "'skewed', 64, 65536",
}


def tables(seed: int, spread: float) -> pa.Table:
    """500 embedding tables of 10 to 30 million rows, whose pooling differs by a lognormal factor."""
    random, count = np.random.default_rng(seed), 500
    return pa.table(
        {
            "name": [f"t{index}" for index in range(count)],
            "rows": (10 ** random.uniform(1, 7.5, count)).astype(int),
            "dim": random.choice([16, 32, 64, 96, 128, 192, 256], count),
            "pooling": np.exp(random.normal(1.5, spread, count)),
            "bytes": np.full(count, 2),
        }
    )


def placement(connection: duckdb.DuckDBPyConnection) -> None:
    """Time and quality of plans, with the cost model of bytes and that of TorchRec."""
    for seed, (name, spread) in enumerate((("even", 1.0), ("skewed", 2.5))):
        connection.register("made", tables(seed, spread))
        connection.execute(f"CREATE TABLE {name} AS FROM made")
    cases: dict[str, Any] = {}
    for label, arguments in PLANS.items():
        for model in ("auto", "torchrec"):
            query = f"FROM embedding_shard_summary({arguments}, cost_model := '{model}')"
            [(longest, imbalance, bound)] = connection.sql(
                f"SELECT max_device_ms, imbalance, lower_bound_ms {query}"
            ).fetchall()
            print(f"{label}, {model}: imbalance {imbalance:.4f}, {longest / bound:.4f} times the lower bound")
            cases[f"{label}, {model}"] = lambda query=query: connection.execute(query).fetchall()
    Benchmark("plans of embedding tables", 0, cases).run()


def traces(connection: duckdb.DuckDBPyConnection, lookups: int) -> None:
    """Lookups per second: counting them (one core), beside NumPy, and with the exact curve of LRU caches."""
    random = np.random.default_rng(0)
    for rows in (100_000, 10_000_000):
        ids = np.minimum(random.zipf(1.2, lookups) - 1, rows - 1)
        random.shuffle(ids)
        connection.register("made", pa.table({"row_id": ids}))
        connection.execute("CREATE OR REPLACE TABLE trace AS FROM made")
        counted = "SELECT embedding_trace_stats(0, row_id, {'lru': false}) FROM made"
        few = ids[: lookups // 20].copy()
        connection.register("few", pa.table({"row_id": few}))
        kernel = _count(ids, rows)
        Benchmark(
            f"{lookups} lookups of {rows} rows",
            lookups,
            {
                "counting, in memory": kernel,
                "embedding_trace_stats, counting": lambda query=counted: connection.execute(query).fetchall(),
                "numpy.unique": lambda ids=ids: np.unique(ids, return_counts=True),
            },
        ).run(3)
        Benchmark(
            f"{len(few)} lookups of {rows} rows, with the curve of caches",
            len(few),
            {
                "embedding_trace_stats": lambda: connection.execute(
                    "SELECT embedding_trace_stats(0, row_id) FROM few"
                ).fetchall(),
                "numpy.unique": lambda ids=few: np.unique(ids, return_counts=True),
            },
        ).run(3)


def _count(ids: Any, rows: int) -> Any:
    """The loop that counts, without SQL around it."""
    from ironlake.kernels.distributed_training.recommendation.trace_kernels import count

    keys, starts = ids.astype(np.uint64), np.zeros(1, np.uint64)
    return lambda: count(np.zeros(len(keys), np.uint64), keys, starts, np.zeros(rows, np.uint32))


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lookups", type=int, default=20_000_000)
    chosen, _ = parser.parse_known_args()
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        placement(connection)
        traces(connection, chosen.lookups)


if __name__ == "__main__":
    main()

"""A million models in one GROUP BY, beside DuckDB's own `avg` over the same groups.

python benchmarks/groups.py
"""

from __future__ import annotations

import duckdb
from harness import Benchmark

import ironlake  # noqa: F401 - the functions

ROWS, GROUPS = 5_000_000, 1_000_000


def main() -> None:
    """Run the comparison."""
    connection = duckdb.connect()
    connection.execute(
        f"CREATE TABLE rows AS SELECT hash(i) % {GROUPS} AS key, i % 3 = 0 AS label, "
        f"[sin(i), cos(i), i % 7, 1, i % 5]::FLOAT[5] AS features FROM range({ROWS}) t(i)"
    )

    def grouped(threads: int, call: str) -> object:
        connection.execute(f"SET threads = {threads}")
        return connection.execute(f"CREATE OR REPLACE TABLE result AS SELECT key, {call} AS a FROM rows GROUP BY key")

    for threads in (1, 2):
        cases = {
            "avg(label)": lambda threads=threads: grouped(threads, "avg(label::INTEGER)"),
            "list(features)": lambda threads=threads: grouped(threads, "list(features)"),
            "logistic_fit, constant step": lambda threads=threads: grouped(
                threads, "logistic_fit(label, features, {'step_size': 0.01})"
            ),
            "logistic_fit, automatic step": lambda threads=threads: grouped(threads, "logistic_fit(label, features)"),
        }
        Benchmark(f"5 M rows in 1 M groups, {threads} thread(s)", ROWS, cases).run(3)


if __name__ == "__main__":
    main()

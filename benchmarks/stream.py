"""A table function that streams 50 M rows from a Python generator, beside DuckDB reading the same Arrow reader.

python benchmarks/stream.py
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa
from harness import Benchmark

import ironlake

ROWS, BATCH = 50_000_000, 1_000_000


def batches(rows: int) -> Iterator[pa.RecordBatch]:
    """Rows of an integer and a float, a million at a time."""
    for start in range(0, rows, BATCH):
        numbers = np.arange(start, start + BATCH)
        yield pa.record_batch({"i": numbers, "half": numbers * 0.5})


@ironlake.table
def stream_numbers(rows: int) -> TABLE:  # noqa: F821 - SQL's word
    """Stream integers and their halves."""
    return batches(rows)


def main() -> None:
    """Run the comparison."""
    connection = duckdb.connect()

    def from_reader() -> object:
        schema = next(batches(BATCH)).schema
        reader = pa.RecordBatchReader.from_batches(schema, batches(ROWS))  # noqa: F841 - DuckDB finds it by name
        return connection.sql("SELECT sum(i), sum(half) FROM reader").fetchall()

    cases = {
        "DuckDB's range()": lambda: connection.sql(
            f"SELECT sum(i), sum(i * 0.5::DOUBLE) FROM range({ROWS}) t(i)"
        ).fetchall(),
        "DuckDB over the Arrow reader": from_reader,
        "table function": lambda: connection.sql(f"SELECT sum(i), sum(half) FROM stream_numbers({ROWS})").fetchall(),
    }
    Benchmark("50 M rows from a generator", ROWS, cases).run(3)


if __name__ == "__main__":
    main()

"""Shuffled batches of a Delta table as NumPy arrays beside sequential scans of it, and beside other readers' shuffles.

    pip install polars
    python benchmarks/feed.py [--rows 4000000] [--features 16]

The first case is what the others are compared with: a sequential scan of the same columns to Arrow. A time ratio of
1.43 is 70 % of its rate. PyArrow's and Polars' readers have no shuffle of their own: they read the whole table into
memory and permute it there, where the batches of a frame hold two buffers. Everything is warm.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.dataset
from harness import Benchmark

import ironlake

BATCH_ROWS = 8192


def consumed(batches: Iterable[object]) -> int:
    """Goes over all batches."""
    return sum(1 for _ in batches)


def measure(lake: ironlake.lakehouse.Lake, title: str, rows: int, columns: list[str]) -> None:
    """Compare scans and batches of some columns."""
    frame, folder = lake.table("t"), lake.root / "t"
    files = sorted(map(str, folder.glob("*.parquet")))
    random = np.random.default_rng(0)

    def arrays(table: pa.Table) -> object:
        """The columns of a permuted table as arrays, in batches."""
        held = {}
        for name in columns:
            values = table[name].combine_chunks()
            if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
                values = values.flatten().to_numpy().reshape(len(values), -1)
            held[name] = np.asarray(values)
        order = random.permutation(len(table))
        return consumed(
            {name: values[order[at : at + BATCH_ROWS]] for name, values in held.items()}
            for at in range(0, len(table), BATCH_ROWS)
        )

    stored, block, full = (
        frame.batches(BATCH_ROWS, columns=columns, shuffle=shuffle) for shuffle in ("stored", "block", "full")
    )
    cases = {
        "pyarrow.dataset, to_batches": lambda: consumed(pyarrow.dataset.dataset(files).to_batches(columns=columns)),
        "DuckDB to Arrow": lambda: consumed(frame.select(*columns).to_arrow_reader(131_072)),
        "batches, stored": lambda: consumed(stored),
        "batches, block": lambda: consumed(block),
        "batches, full": lambda: consumed(full),
        "pyarrow.dataset, all rows permuted": lambda: arrays(pyarrow.dataset.dataset(files).to_table(columns=columns)),
        "Polars, all rows permuted": lambda: arrays(
            polars.scan_delta(str(folder)).select(columns).collect().to_arrow()
        ),
    }
    Benchmark(title, rows, cases).run(3)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--features", type=int, default=16)
    sizes, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        lake = ironlake.open(folder)
        features = f"list_transform(range({sizes.features}), lambda k: random()::FLOAT)"
        rows = f"SELECT i AS id, random() < 0.5 AS label, random()::FLOAT AS a, random() AS b, {features} AS features"
        lake.write("t", duckdb.sql(f"{rows} FROM range({sizes.rows}) t(i)"))
        measure(lake, f"a label and {sizes.features} features", sizes.rows, ["label", "features"])
        measure(lake, "four columns of numbers", sizes.rows, ["id", "label", "a", "b"])


if __name__ == "__main__":
    main()

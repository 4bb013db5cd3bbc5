"""Deleting rows spread over a Delta table: by deletion vectors, by rewriting files, and by deltalake, which rewrites.

    python benchmarks/delete.py [--files 20] [--rows 200000] [--modulus 1000000 100000 10000 1000]

Each modulus m deletes one row in m, other ones in every turn; and then all rows that are left are read.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import duckdb
from deltalake import DeltaTable
from harness import Benchmark

import ironlake


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--modulus", type=int, nargs="+", default=[1_000_000, 100_000, 10_000, 1_000])
    sizes, _ = parser.parse_known_args()
    count = sizes.files * sizes.rows
    for modulus in sizes.modulus:
        with tempfile.TemporaryDirectory() as folder:
            lake = ironlake.open(folder)
            for name in ("marked", "rewritten", "by_deltalake"):
                for file in range(sizes.files):
                    rows = f"range({file * sizes.rows}, {(file + 1) * sizes.rows})"
                    columns = "range AS id, random() AS x, random() AS y, 'name ' || range % 1000 AS name"
                    lake.write(name, duckdb.sql(f"SELECT {columns} FROM {rows}"), mode="append")
            turns = {name: itertools.count() for name in lake.tables()}

            def condition(name: str, turns: dict = turns, modulus: int = modulus) -> str:
                return f"id % {modulus} = {next(turns[name]) * 7}"

            def marked(lake: ironlake.Lake = lake) -> None:
                lake["marked"].delete(condition("marked"), deletion_vectors=True)

            def rewritten(lake: ironlake.Lake = lake) -> None:
                lake["rewritten"].delete(condition("rewritten"), deletion_vectors=False)

            def by_deltalake(path: str = str(Path(folder, "by_deltalake"))) -> None:
                DeltaTable(path).delete(condition("by_deltalake"))

            cases = {"deletion vectors": marked, "rewriting": rewritten, "deltalake": by_deltalake}
            Benchmark(f"delete one row in {modulus:,} of {count:,}", 0, cases).run(3)

            def read(name: str, lake: ironlake.Lake = lake) -> None:
                lake.sql(f"SELECT sum(x), sum(y) FROM {name}").fetchall()

            reads = {"rewritten": lambda: read("rewritten"), "marked": lambda: read("marked")}
            Benchmark("read what is left", count, reads).run(5)


if __name__ == "__main__":
    main()

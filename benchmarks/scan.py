"""Scans of a Delta table beside DuckDB on its bare Parquet files, Polars, and deltalake's own scan.

    pip install polars
    python benchmarks/scan.py [--files 200] [--rows 50000]

Once all rows, once a hundred of them in one file, found by its statistics in the log; statements that DuckDB answers
from little of the files; all rows again with the columns that they are partitioned by, and where one in a hundred is
deleted by a deletion vector. Everything is warm.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from harness import Benchmark

import ironlake


def make(path: Path, files: int, rows: int) -> None:
    """A table of so many files, with values that rise from file to file."""
    random = np.random.default_rng(0)
    for number in range(files):
        columns = {"x": np.arange(number * rows, (number + 1) * rows), "y": random.random(rows)}
        write_deltalake(path, pa.table(columns), mode="append")
    for file in (path / "_delta_log").glob("*checkpoint*"):
        file.unlink()


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rows", type=int, default=50_000)
    sizes, _ = parser.parse_known_args()
    count, middle = sizes.files * sizes.rows, sizes.files * sizes.rows // 2
    with tempfile.TemporaryDirectory() as folder:
        lake = ironlake.open(folder)
        path = lake.root / "t"
        make(path, sizes.files, sizes.rows)
        columns = "x, y, 'part ' || x % 10 AS k, DATE '2024-01-01' + (x % 10)::INTEGER AS day, x % 10 AS number"
        lake.write("parts", lake.sql(f"SELECT {columns} FROM t"), partition_by=["k", "day", "number"])
        con, bare = lake.connect(), duckdb.connect()
        con.execute(f"CREATE VIEW plain AS FROM query(lake_scan_sql('{path}'))")
        parquet = f"read_parquet({sorted(map(str, path.glob('*.parquet')))})"
        where = f"x BETWEEN {middle} AND {middle + 99}"
        frame, column = polars.scan_delta(str(path)), polars.col("x")
        pruned = f"query(lake_scan_sql('{path}', NULL, '{where}'))"

        def other(query: str) -> object:
            rows = pa.table(DeltaTable(path).scan())  # noqa: F841 - DuckDB finds it by its name
            return duckdb.sql(query).fetchall()

        total = "SELECT sum(x), sum(y) FROM"
        cases = {
            "read_parquet of the files": lambda: bare.execute(f"{total} {parquet}").fetchall(),
            "view of the lake": lambda: con.execute(f"{total} t").fetchall(),
            "Polars scan_delta": lambda: frame.select(column.sum(), polars.col("y").sum()).collect(),
            "deltalake scan": lambda: other(f"{total} rows"),
        }
        Benchmark(f"all of {count:,} rows in {sizes.files} files", count, cases).run(5)
        cases = {
            "read_parquet of the files": lambda: bare.execute(f"{total} {parquet} WHERE {where}").fetchall(),
            "view of the lake": lambda: con.execute(f"{total} t WHERE {where}").fetchall(),
            "view, filters unknown to the planner": lambda: con.execute(f"{total} plain WHERE {where}").fetchall(),
            "lake_scan_sql with the predicate": lambda: con.execute(f"{total} {pruned} WHERE {where}").fetchall(),
            "Polars scan_delta": lambda: polars.scan_delta(str(path))
            .filter(column.is_between(middle, middle + 99)).select(polars.col("y").sum()).collect(),
        }  # fmt: skip
        Benchmark("a hundred rows of one file", 0, cases).run(7)
        for name, query in {
            "rows": "SELECT count(*) FROM {}",
            "the five smallest": "SELECT * FROM {} ORDER BY y LIMIT 5",
            "five of them": "SELECT * FROM {} LIMIT 5",
        }.items():
            cases = {
                "read_parquet of the files": lambda query=query: bare.execute(query.format(parquet)).fetchall(),
                "view of the lake": lambda query=query: con.execute(query.format("t")).fetchall(),
            }
            Benchmark(name, count, cases).run(5)
        files = sorted(map(str, (lake.root / "parts").glob("**/*.parquet")))
        hive = "hive_types := {k: VARCHAR, day: DATE, number: BIGINT}"
        constants = "SELECT sum(x), sum(y), max(k), max(day), sum(number) FROM"
        cases = {
            "read_parquet, Hive's names": lambda: bare.execute(f"{constants} read_parquet({files}, {hive})").fetchall(),
            "view of the lake": lambda: con.execute(f"{constants} parts").fetchall(),
        }
        Benchmark("all rows, with three partition columns", count, cases).run(5)
        before = con.execute(f"{total} t").fetchall()
        lake["t"].delete("x % 100 = 0", deletion_vectors=True)
        assert con.execute(f"{total} t").fetchall() != before
        cases = {
            "read_parquet of the files, deleted rows too": lambda: bare.execute(f"{total} {parquet}").fetchall(),
            "view of the lake, without the deleted rows": lambda: con.execute(f"{total} t").fetchall(),
        }
        Benchmark("all rows but those that deletion vectors leave out", count, cases).run(5)


if __name__ == "__main__":
    main()

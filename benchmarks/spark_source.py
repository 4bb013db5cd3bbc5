"""Tables in Spark beside Spark's own Parquet source: a wide scan, a scan of some columns, a write.

    python benchmarks/spark_source.py [scan|some|write] [--rows 1000000] [--repeat 3]

A table has 22 columns: whole numbers, doubles and texts. Spark reads the files of the table itself as Parquet, too, so
both decode the same bytes; a scan asks for an aggregate of each column, and everything is warm.
"""

from __future__ import annotations

import argparse
import tempfile

import duckdb
from harness import Benchmark

import ironlake
import ironlake.spark as ils
from ironlake.spark import source


def columns() -> str:
    """The columns of the table in SQL."""
    numbers = [f"(hash(i * {k}) % 100000)::BIGINT AS l{k}" for k in range(1, 7)]
    numbers += [f"(hash(i * {k + 50}) % 1000)::INTEGER AS i{k}" for k in range(5)]
    doubles = [f"random() AS d{k}" for k in range(8)]
    return ", ".join(["i AS id", *numbers, *doubles, "'name-' || i % 1000 AS s0", "md5(i::VARCHAR) AS s1"])


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["scan", "some", "write"], nargs="?", default="scan")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    given, _ = parser.parse_known_args()
    # Java as it comes, with its optimising compiler, which short programs are better off without.
    spark = ils.session(cores=2, spark__driver__memory="2g", spark__driver__extraJavaOptions="-Xms1g")
    spark.sparkContext.setLogLevel("ERROR")
    source.register(spark)
    with tempfile.TemporaryDirectory() as folder:
        lake = ironlake.open(folder)
        for half in (0, 1):  # a file for each core
            rows = f"range({half * given.rows // 2}, {(half + 1) * given.rows // 2})"
            lake.write("t", duckdb.sql(f"SELECT {columns()} FROM {rows} r(i)"), mode="append")
        path = str(lake.root / "t")
        ours, parquet = spark.read.format("ironlake"), spark.read
        few = ["l1", "d1"]

        def totals(df: object) -> object:
            made = [f"max({name})" if name.startswith("s") else f"sum({name})" for name in df.columns]  # type: ignore[attr-defined]
            return df.selectExpr(*made).collect()  # type: ignore[attr-defined]

        cases = {
            "scan": {
                "Spark's Parquet source": lambda: totals(parquet.parquet(path)),
                "ironlake": lambda: totals(ours.load(path)),
            },
            "some": {
                "Spark's Parquet source": lambda: totals(parquet.parquet(path).select(few)),
                "ironlake, columns": lambda: totals(ours.option("columns", ",".join(few)).load(path)),
            },
            "write": {
                "Spark's Parquet source": lambda: parquet.parquet(path).write.mode("overwrite").parquet(f"{folder}/p"),
                "ironlake": lambda: (
                    parquet.parquet(path).write.format("ironlake").mode("overwrite").save(f"{folder}/w")
                ),
            },
        }[given.part]
        Benchmark(f"spark source: {given.part}", given.rows, cases).run(given.repeat)
    spark.stop()


if __name__ == "__main__":
    main()

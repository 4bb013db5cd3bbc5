"""`linear_regression_fit` beside the product ``X^T X`` alone, in float32 by BLAS, and scikit-learn.

    python benchmarks/linear_regression.py [--rows 2000000]

The function adds up the products in float64 from rows that DuckDB hands over, and solves; the product is the least that
any exact method does, on a matrix that is in memory. Below stand the seconds for ten million rows beside those that
MADlib 0.3 reported for 6 segments (cores) of a Greenplum cluster in 2012.
"""

from __future__ import annotations

import argparse

import duckdb
import numpy as np
import pyarrow as pa
from harness import Benchmark
from sklearn.linear_model import LinearRegression

import ironlake.udf.tasks.linear_regression  # noqa: F401 - the functions

#: Seconds of MADlib 0.3 for ten million rows on 6 segments, by the number of features.
MADLIB = {10: 4.447, 20: 4.688, 40: 6.843, 80: 13.28, 160: 35.66, 320: 186.2}


def data(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal features, and labels that are linear in them plus noise."""
    random = np.random.default_rng(7)
    matrix = random.standard_normal((rows, width), np.float32)
    return matrix, matrix @ random.standard_normal(width, np.float32) + random.standard_normal(rows, np.float32)


def compare(rows: int, width: int) -> None:
    """Compare at one number of features."""
    matrix, labels = data(rows, width)
    features = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), width)
    connection = duckdb.connect()
    connection.register("arrow_rows", pa.table({"y": labels, "x": features}))
    connection.execute("CREATE TABLE rows AS SELECT y::DOUBLE AS y, x::FLOAT[] AS x FROM arrow_rows")

    def fit(threads: int) -> object:
        connection.execute(f"SET threads = {threads}")
        return connection.sql("SELECT linear_regression_fit(y, x) FROM rows").fetchall()

    cases = {"X^T X in float32, all threads": lambda: matrix.T @ matrix}
    cases["linear_regression_fit, 1 thread"] = lambda: fit(1)
    cases["linear_regression_fit, 2 threads"] = lambda: fit(2)
    if width == 28:
        cases["scikit-learn LinearRegression"] = lambda: LinearRegression().fit(matrix, labels)
    seconds = Benchmark(f"linear regression, {width} features", rows, cases).run(5)
    if width in MADLIB:
        ours = seconds["linear_regression_fit, 2 threads"] * 1e7 / rows
        print(f"ten million rows: {ours:.2f} s on 2 threads; MADlib on 6 segments {MADLIB[width]} s")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_known_args()[0].rows
    for width in (28, *MADLIB):
        compare(min(rows, 80_000_000 // width), width)


if __name__ == "__main__":
    main()

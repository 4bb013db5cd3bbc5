"""`newton_fit` beside scikit-learn's newton-cholesky: a logistic regression of 28 features to the optimum.

    python benchmarks/newton.py [--rows 1000000]

Both are timed from NumPy arrays to a model; the third case is the SQL aggregate on a table in DuckDB.
"""

from __future__ import annotations

import argparse

import duckdb
import numpy as np
import pyarrow as pa
from harness import Benchmark
from sklearn.linear_model import LogisticRegression as Peer
from train import data

from ironlake.estimators import LogisticRegression

C = 1e6


def main() -> None:
    """Time the three, and compare what they found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--lake")
    matrix = data(parser.parse_args().rows)
    labels, features = matrix[:, 0], np.ascontiguousarray(matrix[:, 2:])
    con = duckdb.connect()
    flat = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1])
    arrow = pa.table({"y": labels, "x": flat})  # noqa: F841 - DuckDB finds it by its name
    con.execute("CREATE TABLE rows AS SELECT y::INT::BOOLEAN AS y, x::FLOAT[] AS x FROM arrow")
    l2 = 1 / (C * len(labels))
    peer, ours = Peer(C=C, solver="newton-cholesky", tol=1e-6), LogisticRegression(C=C)
    cases = {
        "scikit-learn, newton-cholesky": lambda: peer.fit(features, labels),
        "ironlake.estimators": lambda: ours.fit(features, labels),
        "newton_fit in SQL": lambda: con.execute(f"SELECT newton_fit(y, x, {{'l2': {l2}}}) FROM rows").fetchall(),
    }
    Benchmark("logistic regression to the optimum", len(labels), cases).run(3)
    print(f"largest difference of the weights: {np.abs(peer.coef_ - ours.coef_).max():.2e}")


if __name__ == "__main__":
    main()

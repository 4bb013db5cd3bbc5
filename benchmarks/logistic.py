"""`logistic_fit` beside a bare Numba loop, an aggregate that only counts, and scikit-learn, at 5, 28 and 300 features.

    python benchmarks/logistic.py [--rows 2000000]

All do one pass in stored order with step size 0.01. The bare loop runs over a NumPy matrix in memory and does what
`logistic_fit` does for a row, progressive loss included; the counting aggregate takes the same arguments, so its time
is what DuckDB itself needs to scan the rows and hand them over.
"""

from __future__ import annotations

import argparse
import math

import duckdb
import numba
import numpy as np
import pyarrow as pa
from harness import Benchmark
from sklearn.linear_model import SGDClassifier

import ironlake
from ironlake.udf.engine.sqltypes import Vector


@ironlake.aggregate
class count_rows:  # noqa: N801 - the SQL name
    """Count rows, and nothing else: the NULL aggregate."""

    n: int

    def update(self, label: bool, features: Vector):
        self.n += 1

    def merge(self, other):
        self.n += other.n

    def finish(self) -> int:
        return self.n


@numba.njit(fastmath=True)
def bare_loop(matrix, labels, rate):
    """Logistic SGD over a NumPy matrix: weights, intercept and the sum of the losses before each step."""
    weights, intercept, loss = np.zeros(matrix.shape[1], np.float32), np.float32(0), 0.0
    for row in range(matrix.shape[0]):
        score = intercept
        for column in range(matrix.shape[1]):
            score += weights[column] * matrix[row, column]
        sign = 1.0 if labels[row] else -1.0
        agreement = sign * score
        tail = math.exp(-abs(agreement))
        slope = tail / (1 + tail) if agreement > 0 else 1 / (1 + tail)
        loss += max(-agreement, 0) + math.log1p(tail)
        scale = np.float32(rate * sign * slope)
        for column in range(matrix.shape[1]):
            weights[column] += scale * matrix[row, column]
        intercept += scale
    return weights, intercept, loss


def data(rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal features and labels drawn from a logistic model of them."""
    random = np.random.default_rng(7)
    matrix = random.standard_normal((rows, width)).astype(np.float32)
    truth = random.standard_normal(width)
    probability = 1 / (1 + np.exp(-(0.7 * matrix @ truth + 0.3)))
    return matrix, random.random(rows) < probability


def compare(rows: int, width: int) -> None:
    """Compare at one number of features."""
    matrix, labels = data(rows, width)
    features = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), width)
    connection = duckdb.connect()
    connection.register("arrow_rows", pa.table({"label": labels, "features": features}))
    connection.execute("CREATE TABLE rows AS FROM arrow_rows")

    def query(threads: int, call: str) -> object:
        connection.execute(f"SET threads = {threads}")
        return connection.sql(f"SELECT {call} FROM rows").fetchall()

    fit = "logistic_fit(label, features, {'step_size': 0.01})"
    sklearn = SGDClassifier(
        loss="log_loss", alpha=1e-6, learning_rate="constant", eta0=0.01, shuffle=False, max_iter=1, tol=None
    )
    cases = {
        "bare Numba loop": lambda: bare_loop(matrix, labels, 0.01),
        "counting aggregate, 1 thread": lambda: query(1, "count_rows(label, features)"),
        "logistic_fit, 1 thread": lambda: query(1, fit),
        "logistic_fit, 2 threads": lambda: query(2, fit),
        "scikit-learn SGDClassifier": lambda: sklearn.fit(matrix, labels),
    }
    Benchmark(f"logistic regression, one pass, d = {width}", rows, cases).run(5)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_known_args()[0].rows
    for width in (5, 28, 300):
        compare(rows if width < 300 else rows // 8, width)


if __name__ == "__main__":
    main()

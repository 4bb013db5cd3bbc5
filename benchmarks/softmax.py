"""`softmax_fit` and `lbfgs_fit` beside scikit-learn's multinomial logistic regression: five classes, 28 features.

    python benchmarks/softmax.py [--rows 1000000]

scikit-learn gets NumPy arrays, the functions a table in DuckDB. The loss of each model on all rows stands below.
"""

from __future__ import annotations

import argparse

import duckdb
import numpy as np
import pyarrow as pa
from harness import Benchmark
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

import ironlake.udf.training  # noqa: F401 - the functions

WIDTH, CLASSES = 28, 5


def main() -> None:
    """Time the three, and compare what they found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_known_args()[0].rows
    random = np.random.default_rng(7)
    matrix = random.standard_normal((rows, WIDTH), np.float32)
    scores = 0.5 * matrix @ random.standard_normal((WIDTH, CLASSES)) + random.gumbel(size=(rows, CLASSES))
    labels = scores.argmax(axis=1)
    con = duckdb.connect()
    features = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), WIDTH)
    con.register("arrow_rows", pa.table({"y": labels, "x": features}))
    con.execute("CREATE TABLE rows AS SELECT y, x::FLOAT[] AS x FROM arrow_rows")
    losses = {}

    def loss(coefficients: np.ndarray, intercepts: np.ndarray) -> float:
        return float(-log_softmax(matrix @ coefficients.T + intercepts, axis=1)[np.arange(rows), labels].mean())

    def ours(call: str) -> None:
        (model,) = con.execute(f"SELECT {call}(y, x) FROM rows").fetchall()[0]
        losses[call] = (np.array(model["coefficients"]), np.array(model["intercepts"]))

    def scikit_learn() -> None:
        model = LogisticRegression(C=np.inf).fit(matrix, labels)
        losses["scikit-learn"] = (model.coef_, model.intercept_)

    cases = {
        "scikit-learn LogisticRegression, lbfgs": scikit_learn,
        "lbfgs_fit": lambda: ours("lbfgs_fit"),
        "softmax_fit, one pass": lambda: ours("softmax_fit"),
    }
    Benchmark("softmax regression", rows, cases).run(3)
    for name, model in losses.items():
        print(f"{name}: loss {loss(*model):.6f}")


if __name__ == "__main__":
    main()

"""One pass of gradient descent beside batch solvers that go on to the same loss: logistic regression and SVM.

    python benchmarks/batch_solvers.py [--rows 581012]

The rows have the shape of the forest cover data: ten numbers of very different size and two groups of indicators, 54
features in all. Bismarck's authors report 5 times the speed of MADlib's batch solver for logistic regression on them,
and 19 times for SVM; MADlib's authors 4.6 and 5.8 times. Here the batch solvers are scikit-learn's iteratively
reweighted least squares (newton-cholesky), on features that are standardised before, and liblinear's dual coordinate
descent, each ended by the loosest tolerance with which it comes within a percent of the loss of the one pass.
"""

from __future__ import annotations

import argparse
import warnings

import duckdb
import numpy as np
import pyarrow as pa
from harness import Benchmark
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import ironlake.udf.tasks.classification  # noqa: F401 - the functions

#: Tolerances that a batch solver may end with.
TOLERANCES = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)


def forest(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels: +1 and -1."""
    random = np.random.default_rng(5)
    numbers = random.standard_normal((rows, 10)) * 10 ** random.uniform(0, 3, 10) + 100
    areas = np.eye(4)[random.integers(4, size=rows)]
    soils = np.eye(40)[np.minimum(random.geometric(0.1, rows) - 1, 39)]
    features = np.hstack([numbers, areas, soils]).astype(np.float32)
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    chance = 1 / (1 + np.exp(-scaled @ random.standard_normal(54) * 0.5))
    return features, np.where(random.random(rows) < chance, 1, -1)


LOSSES = {"logistic": lambda margin: np.logaddexp(0, -margin), "svm": lambda margin: np.maximum(0, 1 - margin)}


def main() -> None:
    """Run the comparisons."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=581_012)
    parser.add_argument("--lake")
    features, labels = forest(parser.parse_args().rows)
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    count = len(labels)
    connection = duckdb.connect()
    flat = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1])
    connection.register("arrow_rows", pa.table({"y": labels, "x": flat}))
    connection.execute("CREATE TABLE rows AS SELECT y, x::FLOAT[] AS x FROM arrow_rows")
    warnings.simplefilter("ignore")  # of solvers that end early
    solvers = {
        "logistic": lambda tol: LogisticRegression(C=1e3, solver="newton-cholesky", tol=tol),
        "svm": lambda tol: LinearSVC(C=1.0, loss="hinge", dual=True, tol=tol, max_iter=20),
    }
    for task, solver in solvers.items():

        def mean_loss(weights: np.ndarray, intercept: float, rows: np.ndarray, task: str = task) -> float:
            return float(LOSSES[task](labels * (rows @ weights + intercept)).mean())

        def ours(task: str = task) -> dict:
            return connection.execute(f"SELECT {task}_fit(y, x) FROM rows").fetchall()[0][0]

        model = ours()
        loss = mean_loss(np.array(model["coefficients"]), model["intercept"], features)
        for tolerance in TOLERANCES:
            batch = solver(tolerance).fit(scaled, labels)
            reached = mean_loss(batch.coef_[0], batch.intercept_[0], scaled)
            if reached <= 1.01 * loss:
                break
        cases = {
            f"batch solver, tolerance {tolerance:g}": lambda solver=solver, tol=tolerance: solver(tol).fit(
                scaled, labels
            ),
            f"{task}_fit, one pass": ours,
        }
        seconds = list(Benchmark(f"{task}: to the same loss", count, cases).run(3).values())
        print(f"loss of {task}_fit {loss:.5f}, of the batch solver {reached:.5f}; {seconds[0] / seconds[1]:.1f} times")


if __name__ == "__main__":
    main()

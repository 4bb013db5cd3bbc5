"""A logistic regression without any tuning: seconds and loss of `logistic_fit`, scikit-learn, Vowpal Wabbit and Spark.

    pip install vowpalwabbit pyspark
    python benchmarks/logistic_systems.py [--rows 1000000] [--without spark vw]

Each gets the rows in its own form, made ready before: a table in DuckDB, NumPy arrays, a cache file, a cached frame.
The loss is that of the model on all rows; the optimum is Newton's. Rates count a row once for each pass over it.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from harness import Benchmark
from sklearn.linear_model import SGDClassifier
from train import data

import ironlake.udf.training  # noqa: F401 - the functions

#: Where Vowpal Wabbit keeps the intercept among 2^18 weights.
VW_CONSTANT = 11650396 % 2**18
Model = tuple[np.ndarray, float]


def ours(matrix: np.ndarray) -> Callable[[str], Model]:
    """Training by a call on a table in DuckDB."""
    con = duckdb.connect()
    flat = pa.FixedSizeListArray.from_arrays(pa.array(matrix[:, 2:].reshape(-1)), matrix.shape[1] - 2)
    con.register("arrow_rows", pa.table({"y": matrix[:, 0] > 0, "x": flat}))
    con.execute("CREATE TABLE rows AS SELECT y, x::FLOAT[] AS x FROM arrow_rows")

    def train(call: str) -> Model:
        (model,) = con.execute(f"SELECT {call} FROM rows").fetchall()[0]
        return np.array(model["coefficients"]), model["intercept"]

    return train


def scikit_learn(matrix: np.ndarray) -> Callable[[int], Model]:
    """SGDClassifier as it comes."""

    def train(passes: int) -> Model:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = SGDClassifier(loss="log_loss", max_iter=passes, tol=None, random_state=0)
            model.fit(matrix[:, 2:], matrix[:, 0])
        return model.coef_[0], float(model.intercept_[0])

    return train


def vowpal_wabbit(matrix: np.ndarray, folder: Path) -> Callable[[], Model]:
    """One pass over a cache file."""
    import vowpalwabbit

    text, cache = folder / "rows.vw", folder / "rows.cache"
    with text.open("w") as file:
        for row in matrix:
            features = " ".join(f"{index}:{value:.6g}" for index, value in enumerate(row[2:]))
            file.write(f"{1 if row[0] > 0 else -1} | {features}\n")
    settings = "--loss_function logistic -b 18 --quiet"
    maker = vowpalwabbit.Workspace(f"{settings} -d {text} --cache_file {cache}")
    maker.run_parser()
    maker.finish()

    def train() -> Model:
        model = vowpalwabbit.Workspace(f"{settings} --cache_file {cache}")
        model.run_parser()
        weights = np.array([model.get_weight(index) for index in range(matrix.shape[1] - 2)])
        intercept = model.get_weight(VW_CONSTANT)
        model.finish()
        return weights, float(intercept)

    return train


def spark(matrix: np.ndarray) -> Callable[[], Model]:
    """pyspark.ml's logistic regression, to the optimum."""
    import pandas
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]").config("spark.driver.memory", "6g")
        .config("spark.ui.enabled", "false").config("spark.sql.execution.arrow.pyspark.enabled", "true").getOrCreate()
    )  # fmt: skip
    session.sparkContext.setLogLevel("ERROR")
    pieces = [
        session.createDataFrame(pandas.DataFrame({"label": piece[:, 0].astype(float), "x": list(piece[:, 2:])}))
        for piece in np.array_split(matrix, max(1, len(matrix) // 250_000))
    ]
    frame = pieces[0]
    for piece in pieces[1:]:
        frame = frame.union(piece)
    frame = frame.select("label", array_to_vector("x").alias("features")).cache()
    frame.count()

    def train() -> Model:
        model = LogisticRegression(maxIter=100, regParam=0, standardization=False).fit(frame)
        return model.coefficients.toArray(), float(model.intercept)

    return train


def main() -> None:
    """Run them side by side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--without", nargs="*", default=[], choices=["vw", "spark"])
    parser.add_argument("--lake")
    options = parser.parse_args()
    matrix = data(options.rows)
    mine, classifier = ours(matrix), scikit_learn(matrix)
    found: dict[str, Model] = {}
    calls: dict[str, Callable[[], Model]] = {
        "logistic_fit, one pass": lambda: mine("logistic_fit(y, x)"),
        "newton_fit, to the optimum": lambda: mine("newton_fit(y, x)"),
        "scikit-learn SGDClassifier, one pass": lambda: classifier(1),
        "scikit-learn SGDClassifier, five passes": lambda: classifier(5),
    }
    with tempfile.TemporaryDirectory() as folder:
        if "vw" not in options.without:
            calls["Vowpal Wabbit, one pass over its cache"] = vowpal_wabbit(matrix, Path(folder))
        if "spark" not in options.without:
            calls["pyspark.ml LogisticRegression"] = spark(matrix)

        def case(label: str) -> Callable[[], None]:
            return lambda: found.update({label: calls[label]()})

        Benchmark("logistic regression, no tuning", len(matrix), {label: case(label) for label in calls}).run(3)
    for label, (weights, intercept) in found.items():
        score = np.where(matrix[:, 0] > 0, 1, -1) * (matrix[:, 2:] @ weights + intercept)
        print(f"{label}: loss {np.logaddexp(0, -score).mean():.6f}")


if __name__ == "__main__":
    main()

"""`logistic_fit` by `ils.aggregate` beside LogisticRegression of pyspark.ml, and a scalar function beside Spark's own.

    python benchmarks/spark.py [--rows 300000] [--features 28] [--repeat 3] [--only training | scalar]

Both train on the same cached DataFrame. One iteration of either visits every row once; each is timed with two numbers
of iterations, whose difference leaves out what a call costs beside them, and as a whole. The scalar function is
`x * 2 + 1` on doubles: Spark's own expression, and a function declared here.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

import ironlake
import ironlake.spark as ils

SHORT, LONG = 5, 25


@ironlake.scalar
def affine(x: float) -> float:
    """Twice a number and one."""
    return x * 2 + 1


def rows_of(spark: SparkSession, rows: int, features: int) -> DataFrame:
    """Random rows of two classes, in two partitions, in memory."""
    columns = [F.randn(seed) for seed in range(features)]
    made = spark.range(0, rows, 1, 2).select(F.array(*columns).alias("features"))
    score = F.aggregate("features", F.lit(0.0), lambda total, x: total + x)
    made = made.withColumn("label", (score + F.randn(999) * features**0.5 > 0).cast("double"))
    made = made.withColumn("vector", array_to_vector("features")).cache()
    made.count()
    return made


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def training(spark: SparkSession, rows: int, features: int, repeat: int) -> None:
    """Nanoseconds for a row and an iteration."""
    data = rows_of(spark, rows, features)

    def ours(iterations: int) -> int:
        models = ils.aggregate(
            data, "logistic_fit", "label", "features", epochs=iterations, tolerance=0.0, buffer_mb=8e3
        )
        return models.select("logistic_fit.epochs").collect()[0][0]

    def theirs(iterations: int) -> int:
        fit = LogisticRegression(featuresCol="vector", maxIter=iterations, tol=0.0, standardization=False)
        return fit.fit(data).summary.totalIterations

    def theirs_to_one_percent() -> int:
        fit = LogisticRegression(featuresCol="vector", tol=0.0, standardization=False).fit(data)
        losses = fit.summary.objectiveHistory
        return next(index for index, loss in enumerate(losses) if loss <= 1.01 * losses[-1])

    taken: dict[str, list[tuple[float, float]]] = {"ils.aggregate": [], "pyspark.ml": []}
    for turn in range(repeat + 1):
        for label, train in (("ils.aggregate", ours), ("pyspark.ml", theirs)):
            short, long = timed(lambda train=train: train(SHORT)), timed(lambda train=train: train(LONG))
            if turn:
                taken[label].append((1e9 * (long - short) / (LONG - SHORT) / rows, 1e9 * long / LONG / rows))
    print(f"logistic regression, {rows} rows, {features} features, ns for a row and an iteration:")
    medians = {label: [statistics.median(each) for each in zip(*found, strict=True)] for label, found in taken.items()}
    for label, (added, whole) in medians.items():
        print(f"  {label:14} {added:8.1f} for each more iteration  {whole:8.1f} with {LONG} iterations in all")
    ratios = [theirs / ours for ours, theirs in zip(*medians.values(), strict=True)]
    print(f"  ratio          {ratios[0]:8.1f}                          {ratios[1]:8.1f}")
    enough = theirs_to_one_percent()
    calls = {"ils.aggregate, one pass": lambda: ours(1), f"pyspark.ml, {enough} iterations": lambda: theirs(enough)}
    seconds = {label: statistics.median(timed(call) for _ in range(repeat)) for label, call in calls.items()}
    print(
        "whole calls to within 1 % of the optimum:", ", ".join(f"{key} {value:.2f} s" for key, value in seconds.items())
    )


def scalar(spark: SparkSession, rows: int, repeat: int) -> None:
    """Seconds for a function of a column, against Spark's own expression."""
    ils.register(spark)
    data = spark.range(0, rows, 1, 2).select(F.col("id").cast("double").alias("x")).cache()
    data.count()
    cases = {"built in": F.col("x") * 2 + 1, "arrow_udf": ils.functions.affine("x")}
    taken: dict[str, list[float]] = {label: [] for label in cases}
    for turn in range(repeat + 1):
        for label, column in cases.items():
            seconds = timed(lambda column=column: data.select(F.sum(column)).first())
            taken[label] += [seconds] if turn else []
    medians = {label: statistics.median(found) for label, found in taken.items()}
    print(
        f"x * 2 + 1 on {rows} doubles, seconds:", ", ".join(f"{label} {value:.2f}" for label, value in medians.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--features", type=int, default=28)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=("training", "scalar"))
    given = parser.parse_args()
    # Java as it comes, with its optimising compiler, which short programs are better off without.
    spark = ils.session(cores=2, spark__driver__memory="4g", spark__driver__extraJavaOptions="-Xms2g")
    spark.sparkContext.setLogLevel("ERROR")
    if given.only != "scalar":
        training(spark, given.rows, given.features, given.repeat)
    if given.only != "training":
        scalar(spark, 2_000_000, given.repeat)


if __name__ == "__main__":
    main()

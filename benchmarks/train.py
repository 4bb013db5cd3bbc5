"""`train`: passes in memory beside scikit-learn, orders, ways to share a model, and rows in a file beside a bare scan.

    python benchmarks/train.py [--rows 1000000] [--file-rows 10000000] [--plot training.png]

The rows of the last part take four times the memory that DuckDB and the rows may hold: they lie in a Parquet file, are
read once into a temporary file, and each epoch reads that. It is compared with DuckDB summing all features of the
Parquet file under the same limit.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import duckdb
import numpy as np
from harness import Benchmark
from sklearn.linear_model import SGDClassifier

from ironlake.udf.training.rows import Rows, collect
from ironlake.udf.training.settings import Settings
from ironlake.udf.training.trainer import Trainer

WIDTH = 28
PARALLEL = ("average", "nolock", "aig", "lock")
ORDERS = ("stored", "shuffle_once", "shuffle_always", "block_shuffle", "mrs")


def data(count: int) -> np.ndarray:
    """Rows of a logistic model: label, weight, features."""
    random = np.random.default_rng(7)
    matrix = np.empty((count, WIDTH + 2), np.float32)
    matrix[:, 2:] = random.standard_normal((count, WIDTH))
    score = 0.7 * matrix[:, 2:] @ random.standard_normal(WIDTH).astype(np.float32) + 0.3
    matrix[:, 0] = random.random(count) < 1 / (1 + np.exp(-score))
    matrix[:, 1] = 1
    return matrix


def trained(matrix: np.ndarray, **settings: object) -> list:
    """All epochs of a training run."""
    chosen = Settings(**{"tolerance": None, **settings})
    return list(Trainer("logistic", Rows(matrix.copy(), False, 1e12), chosen).epochs())


def in_memory(matrix: np.ndarray) -> None:
    """Five epochs of a constant step, as scikit-learn makes them."""
    constant = {"step_rule": "constant", "step_size": 0.01, "epochs": 5, "order": "stored"}
    peer = {"loss": "log_loss", "alpha": 0, "penalty": None, "learning_rate": "constant", "eta0": 0.01}

    def scikit_learn() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SGDClassifier(**peer, shuffle=False, max_iter=5, tol=None).fit(matrix[:, 2:], matrix[:, 0])

    cases = {
        "scikit-learn, 1 thread": scikit_learn,
        "train, 1 thread": lambda: trained(matrix, threads=1, **constant),
        "train, all threads": lambda: trained(matrix, **constant),
        "train, all threads, block_shuffle, automatic step": lambda: trained(matrix, epochs=5),
    }
    Benchmark("five epochs in memory", 5 * len(matrix), cases).run(3)


def figures(matrix: np.ndarray, path: str) -> None:
    """Draw the loss by epoch and by seconds for each order on sorted rows, and the speed of each way to share."""
    from matplotlib import pyplot

    ordered = matrix[np.argsort(-matrix[:, 0], kind="stable")]
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    common = {"step_rule": "exponential", "step_size": 0.05, "decay": 0.7, "epochs": 8, "threads": 1}
    trained(ordered[:1000], order="mrs", buffer_rows=100, **common)  # compiles
    for order in ORDERS:
        epochs = trained(ordered, order=order, buffer_rows=len(matrix) // 10, block_rows=100, **common)
        losses = [_loss(matrix, epoch.model) for epoch in epochs]
        axes[0].plot(range(1, 9), losses, marker="o", label=order)
        axes[1].plot(np.cumsum([epoch.seconds for epoch in epochs]), losses, marker="o", label=order)
    for axis, label, title in ((axes[0], "epoch", "Rows sorted by label"), (axes[1], "seconds", "The same by time")):
        axis.set(xlabel=label, ylabel="mean loss of all rows", yscale="log", title=title)
        axis.set_yticks(ticks := [0.3, 0.4, 0.6, 1, 2, 3], map(str, ticks), minor=False)
        axis.minorticks_off()
    axes[0].legend(frameon=False)
    for parallel in PARALLEL:
        speeds = []
        for threads in (1, 2):
            run = {"step_rule": "constant", "step_size": 0.01, "order": "stored", "threads": threads}
            seconds = min(epoch.seconds for epoch in trained(matrix, parallel=parallel, epochs=3, **run))
            speeds.append(len(matrix) / seconds / 1e6)
        axes[2].plot([1, 2], speeds, marker="o", label=parallel)
    axes[2].set(xlabel="threads", ylabel="million rows/s", xticks=[1, 2], title="Ways to share a model", ylim=(0, None))
    axes[2].legend(frameon=False)
    figure.savefig(path, dpi=120)


def _loss(matrix: np.ndarray, model: object) -> float:
    score = matrix[:, 2:] @ np.array(model.coefficients, np.float32) + model.intercept
    return float(np.logaddexp(0, np.where(matrix[:, 0] > 0, -score, score)).mean(dtype=np.float64))


def out_of_core(count: int, folder: Path) -> None:
    """An epoch over rows in a file beside a scan of them in Parquet, with a quarter of their size as memory."""
    limit = count * WIDTH * 4 / 4
    setup = duckdb.connect()
    setup.execute(
        f"COPY (SELECT random() < 0.5 AS label, list_transform(range({WIDTH}), lambda k: random()::FLOAT) AS features "
        f"FROM range({count})) TO '{folder / 'rows.parquet'}'"
    )
    con = duckdb.connect(config={"memory_limit": f"{int(limit / 1e6)}MB", "temp_directory": str(folder)})
    source = f"FROM '{folder / 'rows.parquet'}'"
    started = time.perf_counter()
    rows = collect(con.sql(source).to_arrow_reader(65_536), "label", "features", None, False, limit / 2)
    print(f"{count:,} rows, {rows.matrix.nbytes / 1e9:.1f} GB, read in {time.perf_counter() - started:.1f} s")
    trainer = Trainer(
        "logistic", rows,
        Settings(epochs=100, tolerance=None, buffer_mb=limit / 2e6, step_rule="constant", step_size=0.01),
    )  # fmt: skip
    epochs = trainer.epochs()
    cases = {
        "scan of the Parquet file": lambda: con.execute(f"SELECT sum(list_sum(features)) {source}").fetchall(),
        "epoch, block_shuffle": lambda: next(epochs),
    }
    Benchmark("rows in a file, memory for a quarter of them", count, cases).run(3)


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--file-rows", type=int, default=10_000_000)
    parser.add_argument("--plot", default="training.png")
    parser.add_argument("--lake")
    options = parser.parse_args()
    matrix = data(options.rows)
    in_memory(matrix)
    figures(matrix[:200_000], options.plot)
    with tempfile.TemporaryDirectory() as folder:
        out_of_core(options.file_rows, Path(folder))


if __name__ == "__main__":
    main()

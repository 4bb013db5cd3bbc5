"""`matrix_factorization_fit` beside scikit-surprise and implicit: ratings of 6,040 users for 3,952 items, rank 20.

    pip install scikit-surprise implicit
    OPENBLAS_NUM_THREADS=1 python benchmarks/matrix_factorization.py [--ratings 1000000] [--epochs 10]

The ratings are 3.5 plus the product of random factors, of variance 1, plus normal noise of standard deviation 0.5: the
error of the best prediction. surprise descends the same objective; implicit's alternating least squares minimises that
of implicit feedback and is there for its speed. The peers get their own structures ready-made, the function a table in
DuckDB. Rates count each rating once an epoch. Besides: how soon the defaults bring the error of the ratings to 0.5, and
the rate of the epochs alone, without collecting and sorting the ratings, the search for a step size, and the result.
"""

from __future__ import annotations

import argparse
import sys
import time

import duckdb
import numpy as np
import pyarrow as pa
import scipy.sparse
from harness import Benchmark

import ironlake.udf.tasks.matrix_factorization  # noqa: F401 - the functions

USERS, ITEMS, RANK, NOISE = 6040, 3952, 20, 0.5
TARGET_RMSE = 0.5


def peers():
    """The modules of surprise and implicit."""
    try:
        import implicit.als
        import surprise
    except ImportError as error:
        sys.exit(f"this benchmark compares with surprise and implicit: pip install scikit-surprise implicit ({error})")
    return surprise, implicit


def synthetic(count: int) -> pa.Table:
    """Ratings of a noisy matrix of rank 20."""
    random = np.random.default_rng(7)
    left, right = (random.standard_normal((rows, RANK)) / RANK**0.25 for rows in (USERS, ITEMS))
    user, item = random.integers(0, USERS, count), random.integers(0, ITEMS, count)
    rating = 3.5 + (left[user] * right[item]).sum(1) + NOISE * random.standard_normal(count)
    return pa.table({"user_id": user, "item_id": item, "rating": rating})


def surprise_ratings(surprise, user: np.ndarray, item: np.ndarray, rating: np.ndarray) -> object:
    """The ratings as surprise keeps them: lists by user and by item."""
    by_user, by_item = {row: [] for row in range(USERS)}, {row: [] for row in range(ITEMS)}
    for one, other, value in zip(user.tolist(), item.tolist(), rating.tolist(), strict=True):
        by_user[one].append((other, value))
        by_item[other].append((one, value))
    own_ids = [{row: row for row in rows} for rows in (by_user, by_item)]
    return surprise.Trainset(by_user, by_item, USERS, ITEMS, len(rating), (-10, 20), *own_ids)


def run_peers(connection: duckdb.DuckDBPyConnection, table: pa.Table, epochs: int) -> None:
    """Whole calls of as many epochs."""
    surprise, implicit = peers()
    user, item, rating = (column.to_numpy() for column in table.columns)
    train_set = surprise_ratings(surprise, user, item, rating)
    sparse = scipy.sparse.csr_matrix((rating.astype(np.float32), (user, item)), (USERS, ITEMS))
    surprise_epochs = max(1, epochs // 10)

    def ours(threads: int) -> object:
        options = f"{{'epochs': {epochs}, 'tolerance': 0, 'threads': {threads}}}"
        query = f"SELECT matrix_factorization_fit(user_id, item_id, rating, {options}).rmse FROM ratings"
        return connection.execute(query).fetchall()

    def als() -> object:
        model = implicit.als.AlternatingLeastSquares(
            factors=RANK, iterations=epochs, num_threads=2, calculate_training_loss=False
        )
        return model.fit(sparse, show_progress=False)

    cases = {
        "matrix_factorization_fit, 1 thread": lambda: ours(1),
        "matrix_factorization_fit, 2 threads": lambda: ours(2),
        "implicit ALS, 2 threads": als,
    }
    Benchmark(f"{epochs} epochs of {len(table)} ratings, rank {RANK}", epochs * len(table), cases).run(3)
    cases = {
        "surprise SVD": lambda: surprise.SVD(n_factors=RANK, n_epochs=surprise_epochs, reg_all=0.02).fit(train_set),
    }
    Benchmark(f"{surprise_epochs} epoch(s) of {len(table)} ratings", surprise_epochs * len(table), cases).run(1)


def run_prediction(connection: duckdb.DuckDBPyConnection, count: int) -> None:
    """Predictions of a trained model for all the ratings, and the best items of a thousand users."""
    connection.execute(
        "CREATE TABLE models AS SELECT matrix_factorization_fit(user_id, item_id, rating) AS model FROM ratings"
    )
    calls = {
        "predict_rating": "sum(predict_rating(model, user_id, item_id)) FROM ratings, models",
        "recommend 10 to 1,000 users": "sum(len(recommend(model, i, 10))) FROM range(1000) t(i), models",
    }
    for label, call in calls.items():
        rows = count if label == "predict_rating" else 1000
        cases = {label: lambda call=call: connection.execute(f"SELECT {call}").fetchall()}
        Benchmark(f"prediction: {label}", rows, cases).run(3)


def run_to_target(connection: duckdb.DuckDBPyConnection) -> None:
    """The fewest epochs with default options that reach the error, and how long their call takes."""
    for epochs in range(1, 41):
        query = f"SELECT matrix_factorization_fit(user_id, item_id, rating, {{'epochs': {epochs}}}).rmse FROM ratings"
        start = time.perf_counter()
        (rmse,) = connection.execute(query).fetchall()[0]
        seconds = time.perf_counter() - start
        if rmse <= TARGET_RMSE:
            print(f"RMSE {rmse:.4f} after {epochs} epochs, {seconds:.2f} s")
            return
    print(f"RMSE {rmse:.4f} after {epochs} epochs, above {TARGET_RMSE}")


def run_epochs_alone(connection: duckdb.DuckDBPyConnection, count: int) -> None:
    """What further epochs cost: the difference of calls with few and with many of them."""
    for threads in (1, 2):
        cases = {}
        for epochs in (5, 45):
            options = f"{{'epochs': {epochs}, 'tolerance': 0, 'threads': {threads}}}"
            query = f"SELECT matrix_factorization_fit(user_id, item_id, rating, {options}).rmse FROM ratings"
            cases[f"{epochs} epochs"] = lambda query=query: connection.execute(query).fetchall()
        few, many = Benchmark(f"epochs of {count} ratings, {threads} thread(s)", 0, cases).run(3).values()
        print(f"{40 * count / (many - few) / 1e6:.1f} M ratings/s in the epochs alone")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lake", help="where measurements are kept")
    arguments = parser.parse_args()
    connection = duckdb.connect()
    table = synthetic(arguments.ratings)
    connection.register("arrow_ratings", table)
    connection.execute("CREATE TABLE ratings AS FROM arrow_ratings")
    run_to_target(connection)
    run_epochs_alone(connection, arguments.ratings)
    run_peers(connection, table, arguments.epochs)
    run_prediction(connection, arguments.ratings)


if __name__ == "__main__":
    main()

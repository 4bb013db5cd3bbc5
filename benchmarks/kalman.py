"""`kalman_filter`, `kalman_smooth` and `kalman_loglik` beside filterpy and pykalman: 4 states, 2 observations a row.

    pip install filterpy pykalman
    python benchmarks/kalman.py [--rows 5000] [--long 200000]

The model is a point that moves in the plane with a nearly constant velocity; its position is observed with noise. The
peers get NumPy arrays and the functions a table in DuckDB. The long series and the thousands of series are run without
the peers, which would take minutes.
"""

from __future__ import annotations

import argparse
import sys

import duckdb
import numpy as np
import pyarrow as pa
from harness import Benchmark

import ironlake.udf.tasks.kalman  # noqa: F401 - the functions

A = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
C = np.eye(2, 4)
Q, R, P0 = 0.1 * np.eye(4), np.eye(2), 10 * np.eye(4)
OPTIONS = f"{{'A': {A.tolist()}, 'C': {C.tolist()}, 'Q': 0.1, 'R': 1, 'P0': 10}}"
SERIES = 4000


def peers():
    """The filter classes of filterpy and pykalman."""
    try:
        from filterpy.kalman import KalmanFilter
        from pykalman import KalmanFilter as PyKalmanFilter
    except ImportError as error:
        sys.exit(f"this benchmark compares with filterpy and pykalman: pip install filterpy pykalman ({error})")
    return KalmanFilter, PyKalmanFilter


def positions(rows: int) -> np.ndarray:
    """Observed positions, (rows, 2)."""
    return np.cumsum(np.random.default_rng(0).standard_normal((rows, 2)), axis=0)


def load(connection: duckdb.DuckDBPyConnection, name: str, y: np.ndarray) -> None:
    """Make a table of a series."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(y.reshape(-1)), 2).cast(pa.list_(pa.float64()))
    connection.register("arrow_rows", pa.table({"t": np.arange(len(y)), "y": vectors}))
    connection.execute(f"CREATE TABLE {name} AS SELECT t, t % {SERIES} AS k, y FROM arrow_rows")


def run_peers(connection: duckdb.DuckDBPyConnection, rows: int) -> None:
    """One short series, the peers included."""
    filterpy_class, pykalman_class = peers()
    y = positions(rows)
    load(connection, "short", y)

    def filterpy():
        made = filterpy_class(dim_x=4, dim_z=2)
        made.F, made.H, made.Q, made.R, made.P = A, C, Q, R, P0
        return made.batch_filter(y[:, :, None])  # columns

    # pykalman's prior is the state at the first row.
    first = {"initial_state_mean": np.zeros(4), "initial_state_covariance": A @ P0 @ A.T + Q}
    model = pykalman_class(A, C, Q, R, **first)
    cases = {"filterpy, filter": filterpy, "pykalman, filter": lambda: model.filter(y)}
    cases["pykalman, smooth"] = lambda: model.smooth(y)
    for name in ("kalman_filter", "kalman_smooth", "kalman_loglik"):
        query = f"SELECT {name}(y, {OPTIONS}, t) FROM short"
        cases[name] = lambda query=query: connection.execute(f"CREATE OR REPLACE TABLE result AS {query}")

    check(connection, filterpy()[0])
    Benchmark(f"one series of {rows:,} rows", rows, cases).run(3)


def check(connection: duckdb.DuckDBPyConnection, made: np.ndarray) -> None:
    """The peers must compute the same."""
    query = f"SELECT kalman_filter(y, {OPTIONS} ORDER BY t) FROM short"
    own = [estimate["mean"] for estimate in connection.execute(query).fetchall()[0][0]]
    np.testing.assert_allclose(own, made[..., 0], rtol=1e-8, atol=1e-8)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--long", type=int, default=200_000)
    sizes, _ = parser.parse_known_args()
    connection = duckdb.connect(config={"threads": 1})
    run_peers(connection, sizes.rows)
    load(connection, "long", positions(sizes.long))

    def run(select: str):
        return lambda: connection.execute(f"CREATE OR REPLACE TABLE result AS SELECT {select}")

    calls = {
        "list(y ORDER BY t)": "list(y ORDER BY t)",
        "kalman_loglik, rows in order": f"kalman_loglik(y, {OPTIONS})",
        "kalman_filter, rows in order": f"kalman_filter(y, {OPTIONS})",
        "kalman_loglik, by t": f"kalman_loglik(y, {OPTIONS}, t)",
        "kalman_filter, by t": f"kalman_filter(y, {OPTIONS}, t)",
        "kalman_smooth, by t": f"kalman_smooth(y, {OPTIONS}, t)",
        "kalman_loglik, ORDER BY": f"kalman_loglik(y, {OPTIONS} ORDER BY t)",
        "kalman_filter, ORDER BY": f"kalman_filter(y, {OPTIONS} ORDER BY t)",
        "kalman_smooth, ORDER BY": f"kalman_smooth(y, {OPTIONS} ORDER BY t)",
    }
    cases = {label: run(f"{call} AS r FROM long") for label, call in calls.items()}
    Benchmark(f"one series of {sizes.long:,} rows, 1 thread", sizes.long, cases).run(3)
    cases = {label: run(f"k, {call} AS r FROM long GROUP BY k") for label, call in calls.items()}
    Benchmark(f"{SERIES:,} series of {sizes.long // SERIES} rows, 1 thread", sizes.long, cases).run(3)


if __name__ == "__main__":
    main()

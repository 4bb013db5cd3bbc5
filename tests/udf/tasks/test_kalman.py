"""The Kalman functions against plain NumPy, the joint normal distribution of states and observations, and check values."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import ironlake.udf.tasks.kalman as kalman
from ironlake.udf.tasks.kalman_map import descend, minimise
from ironlake.udf.tasks.kalman_options import state_space

LEVEL = "{'Q': 0.5, 'R': 1, 'm0': 0, 'P0': 10}"
SERIES = "(VALUES (1, 1.0), (2, 2.0), (3, 1.5), (4, 3.0), (5, 2.5)) rows(t, y)"


def literal(value):
    """A number, array or None as SQL."""
    if value is None:
        return "NULL"
    if np.ndim(value):
        return "[" + ", ".join(map(literal, value)) + "]"
    return f"{float(value)!r}::DOUBLE"


def options(model, **others):
    """A model as an options STRUCT."""
    return (
        "{" + ", ".join(f"'{name}': {literal(value)}" for name, value in model.items() if value is not None)
        + "".join(f", '{name}': {value!r}" for name, value in others.items()) + "}"
    )  # fmt: skip


def series(con, y):
    """A table ``series`` of an array with NaN where something is missing; rows without any number are NULL."""
    rows = [None if np.isnan(row).all() else [None if np.isnan(x) else x for x in row] for row in y]
    table = pa.table({"t": np.arange(len(y)), "y": pa.array(rows, pa.list_(pa.float64()))})
    con.register("series", table)


def call(con, function, y, given):
    """The result of a function over an array, handed over in the wrong order."""
    series(con, y)
    return con.execute(
        f"SELECT {function}(y, {given} ORDER BY t) FROM (SELECT * FROM series ORDER BY hash(t))"
    ).fetchall()[0][0]


def arrays(estimates):
    """Means and covariances of a result."""
    return np.array([e["mean"] for e in estimates]), np.array([e["cov"] for e in estimates])


def sample(seed, rows, states, width, missing=0.0):
    """A random model and a series."""
    random = np.random.default_rng(seed)

    def covariance(size):
        root = random.standard_normal((size, size))
        return root @ root.T + 0.1 * np.eye(size)

    model = {
        "A": random.standard_normal((states, states)) * 0.9 / np.sqrt(states),
        "C": random.standard_normal((width, states)),
        "Q": covariance(states),
        "R": covariance(width),
        "m0": random.standard_normal(states),
        "P0": covariance(states),
    }
    y = random.standard_normal((rows, width)) * 2
    y[random.random(y.shape) < missing] = np.nan
    return model, y


# --------------------------------------------------------------------------------------------------------- the oracles


def plain_filter(model, y):
    """The textbook filter; gives means, covariances and the log-likelihood."""
    A, C, Q, R, m, P = model.values()
    means, covs, loglik = [], [], 0.0
    for row in y:
        m, P = A @ m, A @ P @ A.T + Q
        seen = ~np.isnan(row)
        if seen.any():
            H, noise = C[seen], R[np.ix_(seen, seen)]
            S = H @ P @ H.T + noise
            loglik += scipy.stats.multivariate_normal(H @ m, S).logpdf(row[seen])
            K = P @ H.T @ np.linalg.inv(S)
            m, P = m + K @ (row[seen] - H @ m), P - K @ H @ P
        means.append(m)
        covs.append(P)
    return np.array(means), np.array(covs), loglik


def posterior(model, y):
    """Means and covariances of all states given all observations, from their joint normal distribution."""
    A, C, Q, R, m, P = model.values()
    rows, states = len(y), len(m)
    mean, joint = np.empty(rows * states), np.zeros((rows * states,) * 2)
    for row in range(rows):
        m, P = A @ m, A @ P @ A.T + Q
        at = slice(row * states, (row + 1) * states)
        mean[at], joint[at, at], ahead = m, P, P
        for later in range(row + 1, rows):
            ahead = ahead @ A.T
            behind = slice(later * states, (later + 1) * states)
            joint[at, behind], joint[behind, at] = ahead, ahead.T
    seen = ~np.isnan(y.reshape(-1))
    H = np.kron(np.eye(rows), C)[seen]
    noise = np.kron(np.eye(rows), R)[np.ix_(seen, seen)]
    gain = joint @ H.T @ np.linalg.inv(H @ joint @ H.T + noise)
    mean, joint = mean + gain @ (y.reshape(-1)[seen] - H @ mean), joint - gain @ H @ joint
    return mean.reshape(rows, states), np.array(
        [joint[at : at + states, at : at + states] for at in range(0, rows * states, states)]
    )


def objective(model, y, x):
    """The objective of the MAP smoother."""
    A, C, Q, R = (model[name] for name in "ACQR")
    total = 0.0
    for row in range(len(y)):
        seen = ~np.isnan(y[row])
        if seen.any():
            r = (y[row] - C @ x[row])[seen]
            total += r @ np.linalg.solve(R[np.ix_(seen, seen)], r)
        if row:
            e = x[row] - A @ x[row - 1]
            total += e @ np.linalg.solve(Q, e)
    return total


# --------------------------------------------------------------------------------------------------------- check values


def test_local_level_check_values(one):
    got = one.execute(
        f"SELECT kalman_filter(y, {LEVEL} ORDER BY t), kalman_loglik(y, {LEVEL} ORDER BY t) FROM {SERIES}"
    )
    estimates, loglik = got.fetchall()[0]
    means, covs = arrays(estimates)
    assert means[:, 0] == pytest.approx([0.91304348, 1.54954955, 1.5237581, 2.26937467, 2.38497934], abs=5e-9)
    assert covs[0, 0, 0] == pytest.approx(10.5 / 11.5, rel=1e-14)
    assert loglik == pytest.approx(-8.16478391902518, abs=1e-13)


def test_map_check_values(one):
    estimates = one.execute(f"SELECT kalman_smooth(y, {{'method': 'map'}} ORDER BY t) FROM {SERIES}").fetchall()[0][0]
    means, _ = arrays(estimates)
    assert means[:, 0] == pytest.approx([1.38181818, 1.76363636, 1.90909091, 2.46363636, 2.48181818], abs=5e-9)
    model = dict.fromkeys("ACQR", np.eye(1))
    y = np.array([[1.0], [2.0], [1.5], [3.0], [2.5]])
    assert objective(model, y, means) == pytest.approx(1.1318181818, abs=1e-10)


def test_igd_approaches_the_map_solution(one):
    call_ = "kalman_smooth(y, {'method': 'igd', 'epochs': 20000} ORDER BY t)"
    estimates = one.execute(f"SELECT {call_} FROM {SERIES}").fetchall()[0][0]
    assert [e["cov"] for e in estimates] == [None] * 5
    assert [e["mean"][0] for e in estimates] == pytest.approx(
        [1.38181818, 1.76363636, 1.90909091, 2.46363636, 2.48181818], abs=3e-4
    )


def test_result_types(one):
    query = f"SELECT typeof(kalman_filter(y)), typeof(kalman_smooth(y)), typeof(kalman_loglik(y)) FROM {SERIES}"
    listed = "STRUCT(mean DOUBLE[], cov DOUBLE[][])[]"
    assert one.execute(query).fetchall() == [(listed, listed, "DOUBLE")]


# ------------------------------------------------------------------------------------------------------ against oracles

shapes = {
    "seed": st.integers(0, 10**6),
    "rows": st.integers(1, 12),
    "states": st.integers(1, 5),
    "width": st.integers(1, 4),
    "missing": st.sampled_from([0.0, 0.3, 1.0]),
}


@given(**shapes)
def test_filter_and_likelihood(seed, rows, states, width, missing):
    model, y = sample(seed, rows, states, width, missing)
    want_means, want_covs, want_loglik = plain_filter(model, y)
    with duckdb.connect(config={"threads": 1}) as con:
        means, covs = arrays(call(con, "kalman_filter", y, options(model)))
        loglik = call(con, "kalman_loglik", y, options(model))
    np.testing.assert_allclose(means, want_means, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(covs, want_covs, rtol=1e-8, atol=1e-8)
    assert loglik == pytest.approx(want_loglik, rel=1e-8, abs=1e-8)
    assert (covs == covs.transpose(0, 2, 1)).all()


@given(**shapes)
def test_smoother_is_the_posterior(seed, rows, states, width, missing):
    model, y = sample(seed, rows, states, width, missing)
    want_means, want_covs = posterior(model, y)
    with duckdb.connect(config={"threads": 1}) as con:
        means, covs = arrays(call(con, "kalman_smooth", y, options(model)))
    np.testing.assert_allclose(means, want_means, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(covs, want_covs, rtol=1e-6, atol=1e-6)
    assert (covs == covs.transpose(0, 2, 1)).all()


@given(**{**shapes, "missing": st.sampled_from([0.0, 0.2]), "rows": st.integers(4, 12)})
def test_map_is_the_minimum(seed, rows, states, width, missing):
    model, y = sample(seed, rows, states, width, missing)
    y[:2] = 1.0  # observed
    model["C"] = np.vstack([np.eye(states), model["C"]])[: max(width, states)]
    width = len(model["C"])
    y = np.resize(y, (rows, width))
    model["R"] = np.eye(width) + 0.3
    chosen = {name: model[name] for name in "ACQR"}
    with duckdb.connect(config={"threads": 1}) as con:
        means, covs = arrays(call(con, "kalman_smooth", y, options(chosen, method="map")))
    # The objective is quadratic: its exact slope in a direction is a central difference, zero in all of them.
    best = objective(model, y, means)
    for direction in np.random.default_rng(seed).standard_normal((6, rows, states)):
        ahead, back = objective(model, y, means + direction), objective(model, y, means - direction)
        assert abs(ahead - back) <= 1e-7 * (ahead + back)
        assert min(ahead, back) > best
    # Its Hessian's inverse is the covariance under a flat prior, which a vague one comes close to.
    hessian = np.empty((rows * states,) * 2)
    units = np.eye(rows * states).reshape(-1, rows, states)
    zero = np.where(np.isnan(y), np.nan, 0.0)
    halves = np.array([objective(model, zero, unit) for unit in units])
    for i, unit in enumerate(units):
        pairs = np.array([objective(model, zero, unit + other) for other in units])
        hessian[i] = (pairs - halves - halves[i]) / 2
    inverse = np.linalg.inv(hessian).reshape(rows, states, rows, states)
    want = np.array([inverse[row, :, row] for row in range(rows)])
    np.testing.assert_allclose(covs, want, rtol=1e-5, atol=1e-6 * abs(want).max())


@pytest.mark.parametrize("seed", range(3))
def test_igd_steps_along_the_gradient(seed):
    """One pass over one row, and over a row's two terms, moves against the numerical gradient of half the objective."""
    model, y = sample(seed, 1, 3, 2)
    space = state_space(2, **{name: model[name].tolist() for name in "ACQR"}, m0=None, P0=None)
    start = np.random.default_rng(seed).standard_normal((1, 3))
    means = start.copy()
    assert descend(y, space, np.linalg.inv(model["Q"]), 1e-4, 0.0, 1, means) == -1
    slope = [
        (objective(model, y, start + step) - objective(model, y, start - step)) / 4e-3
        for step in np.eye(3)[:, None] * 1e-3
    ]
    assert ((start - means) / 1e-4)[0] == pytest.approx(slope, rel=1e-6)
    y, start = np.full((2, 2), np.nan), np.random.default_rng(seed).standard_normal((2, 3))
    means = start.copy()
    assert descend(y, space, np.linalg.inv(model["Q"]), 1e-4, 0.0, 1, means) == -1
    steps = np.eye(6).reshape(6, 2, 3) * 1e-3
    slope = [(objective(model, y, start + step) - objective(model, y, start - step)) / 4e-3 for step in steps]
    assert ((start - means) / 1e-4).ravel() == pytest.approx(slope, rel=1e-6)


def test_long_series_settle_without_a_trace(one):
    """Covariances that repeat are not computed again; a gap starts them anew."""
    model, y = sample(5, 3000, 4, 2)
    y[1000:1005] = np.nan
    y[2000, 0] = np.nan
    means, covs = arrays(call(one, "kalman_filter", y, options(model)))
    want_means, want_covs, loglik = plain_filter(model, y)
    np.testing.assert_allclose(means, want_means, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(covs, want_covs, rtol=1e-9, atol=1e-12)
    assert call(one, "kalman_loglik", y, options(model)) == pytest.approx(loglik, rel=1e-11)
    assert (covs[500] == covs[501]).all()
    assert (covs[1004] != covs[999]).any()
    smooth = arrays(call(one, "kalman_smooth", y[:150], options(model)))
    for got, want in zip(smooth, posterior(model, y[:150]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9)


def test_states_without_noise(one):
    """A singular Q and P0: a straight line through noisy points is least squares."""
    y = np.array([[1.0], [2.5], [2.0], [4.5], [5.0], [5.5]])
    line = {"A": np.array([[1.0, 1.0], [0.0, 1.0]]), "C": [1.0, 0.0], "Q": 0.0, "R": 1.0, "P0": 1e7}
    means, covs = arrays(call(one, "kalman_smooth", y, options(line)))
    fitted = np.polynomial.polynomial.polyfit(np.arange(6), y[:, 0], 1)
    assert means[:, 0] == pytest.approx(fitted[0] + fitted[1] * np.arange(6), abs=1e-5)
    assert covs[:, 1, 1] == pytest.approx(1 / 17.5, rel=1e-5)
    known = options({**line, "P0": 0.0, "m0": [1.0, 2.0]})
    means, covs = arrays(call(one, "kalman_smooth", y, known))
    assert means[:, 0] == pytest.approx(3 + 2 * np.arange(6))
    assert not covs.any()


# ------------------------------------------------------------------------------------------------------------ the calls


def test_options_in_short(one):
    """A number is a multiple of the identity, a list a diagonal, for C its only row."""
    y = np.array([[1.0], [3.0], [np.nan], [2.0]])
    short = call(one, "kalman_filter", y, "{'A': 0.9, 'C': [1, 0.5], 'Q': [0.1, 0.2], 'R': 2, 'm0': 1, 'P0': 3}")
    model = {
        "A": np.eye(2) * 0.9, "C": np.array([[1, 0.5]]), "Q": np.diag([0.1, 0.2]), "R": np.eye(1) * 2,
        "m0": np.ones(2), "P0": np.eye(2) * 3,
    }  # fmt: skip
    assert arrays(short)[0] == pytest.approx(plain_filter(model, y)[0])
    assert arrays(short)[1] == pytest.approx(plain_filter(model, y)[1])


def test_defaults_are_the_local_level_model(one):
    y = np.array([[1.0, 5.0], [3.0, np.nan], [2.0, 4.0]])
    series(one, y)
    model = {"A": np.eye(2), "C": np.eye(2), "Q": np.eye(2), "R": np.eye(2), "m0": np.zeros(2), "P0": np.eye(2) * 1e6}
    means, covs = arrays(one.execute("SELECT kalman_filter(y ORDER BY t) FROM series").fetchall()[0][0])
    want_means, want_covs, _ = plain_filter(model, y)
    assert means == pytest.approx(want_means)
    assert covs == pytest.approx(want_covs)


@pytest.mark.parametrize("type_", ["DOUBLE[]", "FLOAT[]", "INTEGER[]", "DECIMAL(5, 2)[]", "DOUBLE[2]", "FLOAT[2]"])
def test_vectors_however_stored(one, type_):
    rows = "(VALUES (1, [1, 2]), (2, NULL), (3, [4, 5]))"
    loglik = f"SELECT kalman_loglik(y::{type_}, {LEVEL} ORDER BY t) FROM {rows} rows(t, y)"
    assert one.execute(loglik).fetchall() == one.execute(loglik.replace(type_, "DOUBLE[]")).fetchall()


@pytest.mark.parametrize("type_", ["DOUBLE", "FLOAT", "INTEGER", "DECIMAL(5, 2)"])
def test_numbers_are_vectors_of_one(one, type_):
    rows = "(VALUES (1, 1), (2, NULL), (3, 4)) rows(t, y)"
    number = one.execute(f"SELECT kalman_smooth(y::{type_}, {LEVEL} ORDER BY t) FROM {rows}").fetchall()
    vector = one.execute(f"SELECT kalman_smooth([y]::DOUBLE[], {LEVEL} ORDER BY t) FROM {rows}").fetchall()
    assert number == vector


def test_missing_rows(one):
    """A row that is NULL, or a vector of NULLs, is predicted; all of them missing leave the prior."""
    y = np.array([[1.0], [np.nan], [np.nan], [2.0]])
    estimates = call(one, "kalman_filter", y, LEVEL)
    assert estimates[1]["mean"] == estimates[2]["mean"] == estimates[0]["mean"]
    assert estimates[2]["cov"][0][0] == pytest.approx(estimates[0]["cov"][0][0] + 1)
    query = f"SELECT kalman_filter([NULL]::DOUBLE[], {LEVEL}), kalman_filter(NULL::DOUBLE, {LEVEL}), kalman_loglik(NULL::DOUBLE[])"
    vector, number, loglik = one.execute(query).fetchall()[0]
    assert vector == number == [{"mean": [0.0], "cov": [[10.5]]}]
    assert loglik == 0


def test_without_rows(con):
    query = "SELECT kalman_filter(y), kalman_smooth(y, {'Q': 1}), kalman_loglik(y) FROM (SELECT 1.0 AS y LIMIT 0)"
    assert con.execute(query).fetchall() == [(None, None, None)]
    query = "SELECT k, kalman_loglik(y) FILTER (k = 1) IS NULL FROM (VALUES (1, 1.0), (2, 2.0)) t(k, y) GROUP BY k ORDER BY k"
    assert con.execute(query).fetchall() == [(1, False), (2, True)]


def test_group_by(threaded):
    random = np.random.default_rng(1)
    table = pa.table({"k": np.arange(20000) % 400, "t": np.arange(20000), "y": random.standard_normal(20000)})
    threaded.register("rows", table)
    query = f"SELECT k, kalman_loglik(y, {LEVEL} ORDER BY t), kalman_smooth(y, {LEVEL} ORDER BY t) FROM rows GROUP BY k"
    model = state_space(1, 1.0, 1.0, 0.5, 1.0, 0.0, 10.0)._asdict()
    results = threaded.execute(query).fetchall()
    assert len(results) == 400
    for k, loglik, estimates in results:
        if k % 40 == 0:
            y = np.asarray(table["y"])[k::400, None]
            assert loglik == pytest.approx(plain_filter(model, y)[2])
            assert arrays(estimates)[0] == pytest.approx(posterior(model, y)[0])


def test_options_differ_between_groups(con):
    query = f"SELECT q, kalman_loglik(y, {{'Q': q, 'P0': 10}} ORDER BY t) FROM {SERIES}, (VALUES (0.5), (2.0)) n(q) GROUP BY q"
    for q, loglik in con.execute(query).fetchall():
        model = state_space(1, None, None, float(q), None, None, 10.0)._asdict()
        y = np.array([[1.0], [2.0], [1.5], [3.0], [2.5]])
        assert loglik == pytest.approx(plain_filter(model, y)[2])


def test_python_face():
    y = np.array([1.0, 2.0, 1.5, 3.0, 2.5])
    assert kalman.kalman_loglik(y, Q=0.5, P0=10.0) == pytest.approx(-8.16478391902518)


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("call_", "message"),
    [
        ("kalman_filter('nan'::DOUBLE)", "argument y has the value nan; expected finite numbers, or NULL where missing"),
        ("kalman_filter([1, 'inf'::DOUBLE])", "argument y has the value inf"),
        ("kalman_filter([]::DOUBLE[])", "argument y has a row of 0 numbers; expected at least 1"),
        ("kalman_filter(y, {'B': 1})", "unknown option 'B'"),
        ("kalman_filter(y, {'A': 'x'})", "option 'A' must be a number or"),
        ("kalman_filter(y, {'A': [[1, NULL], [0, 1]]})", "option 'A' must be"),
        ("kalman_filter(y, {'A': [[1, 0]]})", "option A must be a number or 1 lists of 1 numbers, got 1 lists of 2"),
        ("kalman_filter(y, {'A': [[1, 1], [0, 1]], 'Q': [[1]]})", "option Q must be .* 2 lists of 2 numbers, got 1 lists of 1"),
        ("kalman_filter(y, {'Q': [1, 2], 'A': [[1, 1], [0, 1]], 'P0': [1]})", "option P0 must be a diagonal of 2 numbers, got 1"),
        ("kalman_filter(y, {'C': [[1], [1]]})", "option C must be a number or 1 lists of 1 numbers, got 2 lists of 1"),
        ("kalman_filter(y, {'A': []})", "expected at least 1 state"),
        ("kalman_filter(y, {'C': []})", "expected at least 1 state"),
        ("kalman_filter(y, {'R': []})", "option R must be a number or 1 lists of 1 numbers, got 0 lists of 0"),
        ("kalman_filter(y, {'A': [['nan'::DOUBLE]]})", "option A must be finite numbers, got"),
        ("kalman_filter(y, {'P0': 'inf'::DOUBLE})", "option P0 must be finite numbers, got inf"),
        ("kalman_filter(y, {'m0': [1, 2], 'A': [1]})", "option m0 must be a finite number or a list of 1"),
        ("kalman_filter(y, {'m0': 'nan'::DOUBLE})", "option m0 must be a finite number"),
        ("kalman_filter(y, {'Q': -1})", "option Q must be a covariance matrix, got one with the negative eigenvalue -1"),
        ("kalman_filter(y, {'P0': [[1, 2], [2, 1]]})", "option P0 must be a covariance matrix, .* eigenvalue -1"),
        ("kalman_filter(y, {'P0': [[1, 2], [0, 9]]})", "option P0 must be symmetric"),
        ("kalman_filter(y, {'Q': 0, 'R': 0, 'P0': 0})", "row 1: the innovation covariance .* is not positive definite"),
        ("kalman_filter(y, {'A': 1e200})", "row 1: the innovation covariance .* not finite"),
        ("kalman_filter(NULL::DOUBLE, {'A': 1e200})", "the state grew beyond what DOUBLE holds"),
        ("kalman_loglik(NULL::DOUBLE, {'A': 'x'})", "kalman_loglik: option 'A'"),
        ("kalman_smooth(y, {'method': 'mop'})", "option 'method' is 'mop'; did you mean 'map'"),
        ("kalman_smooth(y, {'method': 'map', 'P0': 1})", "options m0 and P0 must be left out with method 'map'"),
        ("kalman_smooth(y, {'method': 'map', 'Q': 0})", "option Q must have an inverse with method 'map'"),
        ("kalman_smooth(y, {'method': 'igd', 'R': 0})", "option R must have an inverse with method 'igd'"),
        ("kalman_smooth(NULL::DOUBLE, {'method': 'map'})", "method 'map' has no single solution"),
        ("kalman_smooth(y, {'method': 'map', 'A': [[1, 0], [0, 1]]})", "method 'map' has no single solution"),
        ("kalman_smooth(y, {'method': 'igd', 'epochs': 0})", "option epochs must be between 1 and 1000000, got 0"),
        ("kalman_smooth(y, {'method': 'igd', 'step_size': 0})", "option step_size must be above 0 and finite, got 0"),
        ("kalman_smooth(y, {'method': 'igd', 'decay': -1})", "option decay must be at least 0 and finite, got -1"),
        ("kalman_smooth(y, {'method': 'igd', 'step_size': 1e6})", "method 'igd' diverged in epoch .*; expected an option step_size below"),
    ],
)  # fmt: skip
def test_bad_input(one, call_, message):
    name = call_.split("(")[0]
    with pytest.raises(duckdb.Error, match=f"{name}: .*{message}|{message}"):
        one.execute(f"SELECT {call_} FROM (VALUES (1.0), (2.0)) rows(y)").fetchall()


def test_rows_of_different_length(one):
    with pytest.raises(duckdb.Error, match="kalman_filter: argument y has a row of 1 numbers; expected 2 in every row"):
        one.execute("SELECT kalman_filter(y ORDER BY t) FROM (VALUES (1, [1.0, 2.0]), (2, [1.0])) r(t, y)").fetchall()


def test_ragged_matrices(one):
    with pytest.raises(ValueError, match="option A must be a number or 2 lists of 2 numbers, got 2 lists of 1 or 2"):
        state_space(2, [[1.0, 0.0], [1.0]], None, None, None, None, None)
    with pytest.raises(duckdb.Error, match="kalman_filter: "):
        one.execute("SELECT kalman_filter([1, 2], {'A': [[1, 0], [1]]})").fetchall()


@given(seed=st.integers(0, 10**6), states=st.integers(2, 4))
def test_map_notices_what_is_not_observed(seed, states):
    """A long series in which one direction of a random walk is never seen has no single solution."""
    random = np.random.default_rng(seed)
    direction = random.standard_normal(states)
    space = state_space(1, None, direction.tolist(), random.uniform(0.1, 3), None, None, None)
    space = space._replace(A=np.eye(states), Q=np.eye(states) * random.uniform(0.1, 3), C=direction[None])
    precision = np.linalg.inv(space.Q)
    means, covs = np.empty((500, states)), np.empty((500, states, states))
    y = random.standard_normal((500, 1))
    assert not minimise(y, space, precision, -precision, precision, means, covs)


# ------------------------------------------------------------------------------------------------------------ many series


def test_series_of_a_group_by_are_told_apart(con):
    """In one query as each alone: rows in the order of t, other lengths of y, series without any number, options."""
    random = np.random.default_rng(5)
    con.execute("CREATE OR REPLACE TABLE many (k INTEGER, t DOUBLE, q DOUBLE, y DOUBLE[])")
    for k in range(6):
        for _ in range(int(random.integers(1, 9))):
            y = [None if k == 3 else float(x) for x in random.standard_normal(2 if k == 4 else 1)]
            con.execute("INSERT INTO many VALUES (?, ?, ?, ?)", [k, float(random.random()), 1.0 + k % 2, y])
    for call in ("kalman_filter(y, {'Q': q}, t)", "kalman_smooth(y, {'Q': q}, t)", "kalman_loglik(y, {'Q': q}, t)"):
        together = con.execute(f"SELECT k, {call} FROM many GROUP BY k ORDER BY k").fetchall()
        ordered = call.replace(", t)", " ORDER BY t)")
        alone = [(k, con.execute(f"SELECT {ordered} FROM many WHERE k = {k}").fetchall()[0][0]) for k in range(6)]
        assert together == alone
        assert con.execute(f"SELECT k, {ordered} FROM many GROUP BY k ORDER BY k").fetchall() == alone


def test_times_may_be_dates_and_are_never_null(con):
    expected = con.execute(f"SELECT kalman_loglik(y, {{'Q': 1}} ORDER BY t DESC) FROM {SERIES}").fetchall()
    when = "(DATE '2020-01-10' - t)"
    assert con.execute(f"SELECT kalman_loglik(y, {{'Q': 1}}, {when}) FROM {SERIES}").fetchall() == expected
    with pytest.raises(duckdb.InvalidInputException, match="kalman_loglik: argument t has a NULL"):
        con.execute(f"SELECT kalman_loglik(y, {{'Q': 1}}, nullif({when}, '2020-01-07')) FROM {SERIES}").fetchall()

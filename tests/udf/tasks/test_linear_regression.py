"""The exact linear models against scikit-learn, SciPy and published values."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge

import ironlake  # noqa: F401  declares the functions


def fit(con, features, labels, call):
    """The model that a call gives over rows."""
    con.register("rows", pa.table({"y": np.asarray(labels, np.float64), "x": list(features)}))
    return con.execute(f"SELECT {call} FROM rows").fetchall()[0][0]


def sample(seed, rows, width):
    """Rows of a linear model, features with offsets."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((rows, width)) + 3 * random.standard_normal(width)
    return features, features @ random.standard_normal(width) + random.standard_normal(rows)


def test_published_least_squares_of_diabetes(con):
    features, labels = datasets.load_diabetes(return_X_y=True)
    model = fit(con, features, labels, "linear_regression_fit(y, x)")
    assert 2 * model["n"] * model["loss"] == pytest.approx(1263985.78563, rel=1e-9)
    assert model["r2"] == pytest.approx(0.51774842, abs=1e-8)
    assert model["intercept"] == pytest.approx(152.1334842, abs=1e-7)
    assert model["coefficients"][:3] == pytest.approx([-10.0098663, -239.8156437, 519.8459201], rel=1e-8)
    squares = con.execute(
        "SELECT sum((y - predict(m, x)) ** 2) FROM rows, (SELECT linear_regression_fit(y, x) AS m FROM rows)"
    ).fetchall()[0][0]
    assert squares == pytest.approx(1263985.78563, rel=1e-6)


def test_published_lasso_of_diabetes(con):
    features, labels = datasets.load_diabetes(return_X_y=True)
    model = fit(con, features, labels, "lasso_fit(y, x, {'l1': 0.5})")
    weights = np.array(model["coefficients"])
    assert np.flatnonzero(weights).tolist() == [2, 3, 6, 8]
    assert weights[[2, 3, 6, 8]] == pytest.approx([471.01358, 136.51690, -58.34009, 408.02187], rel=1e-6)
    assert model["loss"] + 0.5 * np.abs(weights).sum() == pytest.approx(2152.12299259, rel=1e-9)


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(12, 200),
    width=st.integers(1, 9),
    intercept=st.booleans(),
    threads=st.integers(1, 2),
)
def test_least_squares_and_ridge_as_scikit_learn_has_them(seed, rows, width, intercept, threads):
    features, labels = sample(seed, rows, width)
    with duckdb.connect(config={"threads": threads}) as con:
        plain = fit(con, features, labels, f"linear_regression_fit(y, x, {{'fit_intercept': {intercept}}})")
        ridge = fit(con, features, labels, f"ridge_fit(y, x, {{'l2': 0.1, 'fit_intercept': {intercept}}})")
    for model, solver in (
        (plain, LinearRegression(fit_intercept=intercept)),
        (ridge, Ridge(0.1 * rows, fit_intercept=intercept)),
    ):
        solver.fit(features, labels)
        assert model["coefficients"] == pytest.approx(solver.coef_, rel=1e-6, abs=1e-8)
        assert model["intercept"] == pytest.approx(solver.intercept_, rel=1e-6, abs=1e-7)
        if intercept:
            assert model["r2"] == pytest.approx(solver.score(features, labels), rel=1e-8)


@given(seed=st.integers(0, 10**6), rows=st.integers(3, 100), width=st.integers(1, 12), l1=st.sampled_from([0.05, 0.5]))
def test_elastic_net_as_scikit_learn_has_it(seed, rows, width, l1):
    features, labels = sample(seed, rows, width)
    with duckdb.connect(config={"threads": 1}) as con:
        model = fit(con, features, labels, f"elastic_net_fit(y, x, {{'l1': {l1}, 'l2': 0.2}})")
    solver = ElasticNet(alpha=l1 + 0.2, l1_ratio=l1 / (l1 + 0.2), tol=1e-12, max_iter=100_000).fit(features, labels)
    assert model["coefficients"] == pytest.approx(solver.coef_, rel=1e-5, abs=1e-7)
    assert model["intercept"] == pytest.approx(solver.intercept_, rel=1e-5, abs=1e-6)


def test_standard_errors_and_p_values(con):
    features, labels = sample(1, 60, 4)
    model = fit(con, features, labels, "linear_regression_fit(y, x)")
    design = np.column_stack([np.ones(60), features])
    weights, squares, *_ = np.linalg.lstsq(design, labels, rcond=None)
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * squares[0] / 55)
    assert model["std_errors"] == pytest.approx(errors[1:], rel=1e-8)
    assert model["p_values"] == pytest.approx(2 * scipy.stats.t.sf(np.abs(weights / errors)[1:], 55), rel=1e-8)


def test_weighted_rows_are_like_repeated_ones(threaded):
    """With whole numbers as weights; the degrees of freedom are those of the rows."""
    features, labels = sample(3, 3000, 4)
    features += 1000
    weights = np.random.default_rng(0).integers(0, 4, 3000)
    threaded.register("weighed", pa.table({"y": labels, "x": list(features), "v": weights.astype(float)}))
    for name, options in (("linear_regression_fit", "NULL"), ("lasso_fit", "{'l1': 0.1}")):
        query = f"SELECT {name}(y, x, {options}, v) FROM weighed"
        model = threaded.execute(query).fetchall()[0][0]
        repeated = np.repeat(features, weights, axis=0), np.repeat(labels, weights)
        same = fit(threaded, *repeated, f"{name}(y, x, {options})")
        assert model["n"] == 3000
        for field in ("coefficients", "intercept", "loss", "r2"):
            assert model[field] == pytest.approx(same[field], rel=1e-7, abs=1e-9)
        ratio = np.sqrt((weights.sum() - 5) / (3000 - 5))
        assert model["std_errors"] == pytest.approx(np.array(same["std_errors"]) * ratio, rel=1e-7)


def test_features_that_depend_on_others(con):
    features, labels = sample(2, 50, 3)
    twice = np.column_stack([features, features[:, 0], np.ones(50)])
    model = fit(con, twice, labels, "linear_regression_fit(y, x)")
    plain = fit(con, features, labels, "linear_regression_fit(y, x)")
    assert model["loss"] == pytest.approx(plain["loss"], rel=1e-9)
    assert model["coefficients"][0] == pytest.approx(plain["coefficients"][0] / 2, rel=1e-8)
    assert model["coefficients"][3:] == pytest.approx([plain["coefficients"][0] / 2, 0], rel=1e-8)
    assert np.isnan(model["std_errors"]).tolist() == [True, False, False, True, True]


def test_a_model_for_each_group(threaded):
    threaded.execute(
        "CREATE TABLE stored AS SELECT i % 1000 AS k, [i // 1000, (i * 7) % 11] AS x, "
        "(i % 1000) * (i // 1000) - ((i * 7) % 11) + 5 AS y FROM range(60000) t(i)"
    )
    query = "SELECT k, linear_regression_fit(y, x) FROM stored GROUP BY k"
    for key, model in threaded.execute(query).fetchall():
        assert [*model["coefficients"], model["intercept"]] == pytest.approx([key, -1, 5], abs=1e-6)
        assert model["n"] == 60


def test_few_or_no_rows(con):
    assert con.execute("SELECT linear_regression_fit(1, [1]) WHERE false").fetchall() == [(None,)]
    model = con.execute("SELECT linear_regression_fit(3, [1, 2])").fetchall()[0][0]
    assert (model["coefficients"], model["intercept"], model["std_errors"]) == ([0, 0], 3, [])
    assert np.isnan(model["r2"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("linear_regression_fit(NULL::DOUBLE, [i])", "5 of 5 rows have a NULL as label, weight or feature"),
        ("linear_regression_fit(i, [i], NULL, -1.0)", "sample_weight must be at least 0 and finite; a row has -1"),
        ("linear_regression_fit(i, [i], NULL, 0.0)", "the weights of the rows are all 0"),
        ("linear_regression_fit(i, CASE WHEN i > 2 THEN [i] ELSE [i, i] END)", "a row has 1 features, the rows before"),
        ("ridge_fit('nan'::DOUBLE, [i])", "the label of a row is NaN"),
        ("ridge_fit(i, [i, 'inf'::DOUBLE])", "feature 2 of a row is NaN"),
        ("ridge_fit(i, [i], {'l2': -1})", "options l1 and l2 must be at least 0"),
        ("ridge_fit(i, [i], {'l1': 1})", "unknown option 'l1'"),
        ("lasso_fit(i, [i], {'max_sweeps': 0})", "option max_sweeps must be at least 1"),
    ],
)
def test_wrong_calls_are_told(con, call, message):
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"SELECT {call} FROM range(5) t(i)").fetchall()

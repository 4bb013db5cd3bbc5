"""Newton's method: published values, scikit-learn and derivatives as oracles, wrong input."""

import math

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.preprocessing import StandardScaler

import ironlake
from ironlake.udf.tasks.expression import ZERO
from ironlake.udf.tasks.task import TASKS
from ironlake.udf.training.newton import newton
from ironlake.udf.training.rows import Rows

CURVED = ["logistic", "squared_hinge", "modified_huber", "least_squares", "huber", "poisson"]


def register(con, labels, features, weights=None):
    weights = np.ones(len(labels)) if weights is None else weights
    con.register("rows", pa.table({"y": labels, "x": features.tolist(), "w": weights}))


def fit(con, options="NULL", weight=""):
    return con.sql(f"SELECT newton_fit(y, x, {options}{weight}) FROM rows").fetchall()[0][0]


def test_published_breast_cancer(con):
    features, labels = load_breast_cancer(return_X_y=True)
    features = StandardScaler().fit_transform(features)
    register(con, labels, features)
    model = fit(con, "{'l2': 1 / 569}")
    weights = np.array(model["coefficients"])
    score = features @ weights + model["intercept"]
    losses = np.logaddexp(0, np.where(labels, -score, score)).sum()
    assert losses == pytest.approx(30.379966919, rel=1e-6)
    assert losses + weights @ weights / 2 == pytest.approx(37.758945962, rel=1e-8)
    assert model["intercept"] == pytest.approx(0.2145027, abs=1e-6)
    assert weights[:3] == pytest.approx([-0.363093, -0.387675, -0.351062], abs=1e-6)
    assert ((score > 0) == labels).mean() == pytest.approx(0.98769772, abs=1e-8)
    assert (model["stop_reason"], model["converged"], model["n"]) == ("tolerance", True, 569)


@pytest.mark.parametrize("name", CURVED)
@given(st.floats(-4, 4), st.floats(-3, 3))
def test_slopes_and_curvatures_are_those_of_the_loss(name, score, label):
    task = TASKS[name]
    step = task.loss.exact().py_func
    label = (
        abs(label) if name == "poisson" else label if name in ("least_squares", "huber") else math.copysign(1, label)
    )
    numbers = list(task.defaults.values())
    low, here, high = (step(score + change, label, *numbers) for change in (-1e-5, 0, 1e-5))
    if max(abs(score - label), abs(1 - abs(score))) > 1e-3 and abs(abs(score - label) - sum(numbers)) > 1e-3:
        assert here[1] == pytest.approx((high[0] - low[0]) / 2e-5, rel=1e-4, abs=1e-4)
        if abs(score * label - 1) > 1e-3 and abs(score * label + 1) > 1e-3:
            assert here[2] == pytest.approx((high[1] - low[1]) / 2e-5, rel=1e-4, abs=1e-4)


def test_as_scikit_learn_has_it(con):
    random = np.random.default_rng(0)
    features, weights = random.standard_normal((800, 4)), random.uniform(0.2, 3, 800)
    labels = random.random(800) < 1 / (1 + np.exp(-features @ [1, -2, 0.5, 0]))
    register(con, labels, features, weights)
    model = fit(con, f"{{'l2': {1 / weights.sum()}, 'class_weight': [1, 3]}}", ", w")
    # the mean is by the weights of classes too
    mass = (weights * np.where(labels, 3, 1)).sum()
    oracle = LogisticRegression(C=weights.sum() / mass, tol=1e-12, class_weight={False: 1, True: 3})
    oracle.fit(features, labels, weights)
    assert model["coefficients"] == pytest.approx(oracle.coef_[0].tolist(), rel=1e-4, abs=1e-6)
    counts = random.poisson(np.exp(features @ [0.3, -0.2, 0.1, 0] + 1))
    register(con, counts.astype(float), features)
    model = fit(con, "{'task': 'poisson', 'l2': 0.1}")
    oracle = PoissonRegressor(alpha=0.1, tol=1e-10, max_iter=1000).fit(features, counts)
    assert model["coefficients"] == pytest.approx(oracle.coef_.tolist(), abs=1e-5)
    assert model["intercept"] == pytest.approx(oracle.intercept_, abs=1e-5)


def test_least_squares_takes_one_step(con):
    features, labels = load_diabetes(return_X_y=True)
    register(con, labels, features)
    model = fit(con, "{'task': 'least_squares'}")
    oracle = LinearRegression().fit(features.astype(np.float32).astype(np.float64), labels)
    assert model["coefficients"] == pytest.approx(oracle.coef_.tolist(), rel=1e-5)
    assert model["epochs"] <= 3


@pytest.mark.parametrize("name", CURVED)
def test_the_gradient_vanishes(con, name):
    random = np.random.default_rng(1)
    features = random.standard_normal((500, 3)) * [1, 100, 0.01] + [0, 50, 3]
    labels = np.abs(features[:, 0]) if name == "poisson" else (features[:, 0] + random.standard_normal(500) > 0) * 1.0
    register(con, labels, features)
    model = fit(con, f"{{'task': '{name}', 'l2': 0.01}}")
    step = np.vectorize(TASKS[name].loss.exact().py_func)
    targets = labels if name in ("poisson", "huber", "least_squares") else 2 * labels - 1
    score = features.astype(np.float32) @ np.array(model["coefficients"]) + model["intercept"]
    slopes = step(score, targets, *TASKS[name].defaults.values())[1]
    gradient = np.append(
        (features * slopes[:, None]).mean(axis=0) + 0.01 * np.array(model["coefficients"]), slopes.mean()
    )
    assert np.abs(gradient / [1, 100, 1, 1]).max() < 2e-4


def test_threads_and_many_rows_give_the_same(con):
    random = np.random.default_rng(2)
    features = random.standard_normal((100_000, 3)).astype(np.float32)
    register(con, features[:, 0] + random.standard_normal(100_000) > 0.5, features)
    whole = fit(con)
    assert con.sql("SELECT newton_fit(y, x, NULL, 2.0) FROM rows").fetchall()[0][0]["coefficients"] == pytest.approx(
        whole["coefficients"], rel=1e-5
    )


def test_separable_rows_and_one_class(con):
    register(con, np.arange(20) > 9, np.arange(20.0).reshape(-1, 1))
    with pytest.warns(UserWarning, match="newton_fit: the features separate the two classes, .* expected an option l2"):
        model = fit(con, "{'iterations': 15}")
    assert np.isfinite(model["coefficients"]).all()
    assert model["loss"] < 1e-3
    assert (model["stop_reason"], model["converged"]) == ("separable", False)
    assert model["warning"].startswith("the features separate the two classes")
    assert fit(con, "{'l2': 1e-3}")["stop_reason"] == "tolerance"
    assert fit(con, "{'task': 'squared_hinge'}")["stop_reason"] == "tolerance"
    register(con, np.ones(5), np.arange(5.0).reshape(-1, 1))
    model = fit(con)
    assert (model["degenerate"], model["coefficients"], model["intercept"]) == (True, [0.0], 16.0)


def test_constant_and_repeated_features(con):
    random = np.random.default_rng(3)
    one = random.standard_normal(200)
    register(con, one + random.standard_normal(200) > 0, np.column_stack([one, one, np.ones(200)]))
    model = fit(con)
    assert model["coefficients"][0] == pytest.approx(model["coefficients"][1], rel=1e-2)
    assert model["converged"]


def test_groups_nulls_and_no_rows(con):
    con.execute(
        "CREATE TABLE t AS SELECT i % 3 AS g, sin(i) > 0.3 AS y, [cos(i), sin(i) + cos(7 * i)] AS x FROM range(900) t(i)"
    )
    assert con.sql("SELECT g, newton_fit(y, x, {'l2': 0.01}).n FROM t GROUP BY g ORDER BY g").fetchall() == [
        (0, 300), (1, 300), (2, 300),
    ]  # fmt: skip
    assert con.sql("SELECT newton_fit(y, x) FROM t WHERE g > 5").fetchall() == [(None,)]
    assert con.sql("SELECT newton_fit(CASE WHEN g > 0 THEN y END, x, {'on_null': 'skip'}).n FROM t").fetchall() == [
        (600,)
    ]


def test_without_an_intercept(con):
    random = np.random.default_rng(4)
    features = random.standard_normal((400, 2)) + 1
    labels = features @ [1, -1] + random.standard_normal(400) > 0
    register(con, labels, features)
    model = fit(con, "{'fit_intercept': false, 'l2': 0.0025}")
    oracle = LogisticRegression(C=1, tol=1e-10, fit_intercept=False).fit(features, labels)
    assert model["intercept"] == 0
    assert model["coefficients"] == pytest.approx(oracle.coef_[0].tolist(), rel=1e-4)


def test_a_task_of_ones_own(con):
    ironlake.task("log(cosh(dot(w, x) - y))", name="log_cosh", labels="real")
    con.execute("CREATE TABLE t AS SELECT 3 * sin(i) + 1 AS y, [sin(i)] AS x FROM range(200) t(i)")
    model = con.sql("SELECT newton_fit(y, x, {'task': 'log_cosh'}) FROM t").fetchall()[0][0]
    assert [*model["coefficients"], model["intercept"]] == pytest.approx([3, 1], abs=1e-6)


def test_losses_without_curvature():
    assert [name for name in ("svm", "quantile", "epsilon_insensitive") if TASKS[name].loss.curvature != ZERO] == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("newton_fit(y, x, {'task': 'svm'})", "the loss of svm has no curvature; train it with svm_fit"),
        ("newton_fit(y, x, {'task': 'logstic'})", "model is 'logstic'; did you mean 'logistic'"),
        ("newton_fit(y, x, {'l2': -1})", "option l2 must be at least 0, got -1"),
        ("newton_fit(y, x, {'iterations': 0})", "option iterations must be at least 1"),
        ("newton_fit(y, x, {'class_weight': [1]})", "option class_weight must be"),
        ("newton_fit(y, x, {'delta': 1})", "option delta is not one of the loss of logistic"),
        ("newton_fit(3, x)", "labels must be .*; the rows have 3"),
        ("newton_fit(NULL::INT, x)", "a NULL in the column 'label'"),
        ("newton_fit(y, ['nan'::FLOAT])", "feature 1 of row 1 is NaN"),
        ("newton_fit(y, x, NULL, -1)", "a row has the weight -1"),
        ("newton_fit(-1, x, {'task': 'poisson'})", "a row has the label -1; poisson counts from 0 on"),
    ],
)
def test_wrong_calls_are_told(con, call, message):
    con.execute("CREATE TABLE t AS SELECT i % 2 AS y, [i, sin(i)] AS x FROM range(30) t(i)")
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"SELECT {call} FROM t").fetchall()


def test_many_rows_begin_on_a_few_of_them():
    """Sorted by label, so that a sample of the first rows would have one class."""
    rng, rows = np.random.default_rng(3), 330_000
    features = rng.standard_normal((rows, 2)).astype(np.float32)
    labels = np.sort(rng.random(rows) < 0.3).astype(np.float32)
    features[labels > 0] += 1
    matrix = np.column_stack([labels, np.ones(rows, np.float32), features])
    model = newton(TASKS["logistic"], Rows(matrix.copy(), False, np.inf), 1e-3)
    scores = features.astype(float) @ model.coefficients + model.intercept
    slopes = 1 / (1 + np.exp(-scores)) - labels
    gradient = features.T.astype(float) @ slopes / rows + 1e-3 * np.array(model.coefficients)
    assert model.stop_reason == "tolerance"
    assert model.epochs <= 4
    assert np.abs([*gradient, slopes.mean()]).max() < 1e-7

"""L-BFGS on the softmax loss: published values, scikit-learn as oracle, labels of any type, wrong input."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.linear_model import LogisticRegression


def objective(model, features, labels, l2_sum=1.0):
    """Sum of the log losses plus the penalty, and the accuracy."""
    weights, intercepts = np.array(model["coefficients"]), np.array(model["intercepts"])
    scores = features @ weights.T + intercepts
    losses = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(labels)), labels]
    return losses.sum() + l2_sum * np.square(weights).sum() / 2, (scores.argmax(axis=1) == labels).mean()


def fit(con, labels, features, options="NULL", weights=None):
    con.register("rows", pa.table({"y": labels, "x": features.tolist(), "w": weights or [1.0] * len(labels)}))
    third = ", w" if weights else ""
    return con.sql(f"SELECT lbfgs_fit(y, x, {options}{third}) FROM rows").fetchall()[0][0]


def test_published_iris(con):
    features, labels = load_iris(return_X_y=True)
    model = fit(con, labels, features, "{'l2': 1 / 150}")
    value, accuracy = objective(model, features, labels)
    assert value == pytest.approx(28.8863166, rel=1e-6)
    assert accuracy == pytest.approx(0.97333, abs=1e-5)
    assert (model["classes"], model["n"], model["task"]) == (["0", "1", "2"], 150, "softmax")
    assert model["converged"]
    assert model["loss_history"] == sorted(model["loss_history"], reverse=True)


def test_as_scikit_learn_has_it(con):
    features, labels = load_wine(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(labels))
    model = fit(con, labels, features, f"{{'l2': {1 / weights.sum()}, 'tolerance': 1e-13}}", weights.tolist())
    oracle = LogisticRegression(C=1, tol=1e-10, max_iter=10_000).fit(features, labels, weights)
    assert np.array(model["coefficients"]) == pytest.approx(oracle.coef_, abs=1e-4)
    balanced = fit(
        con, labels, features, f"{{'l2': {1 / len(labels)}, 'class_weight': 'balanced', 'tolerance': 1e-13}}"
    )
    oracle = LogisticRegression(C=1, tol=1e-10, max_iter=10_000, class_weight="balanced").fit(features, labels)
    assert np.array(balanced["coefficients"]) == pytest.approx(oracle.coef_, abs=1e-4)


def test_two_classes_are_a_logistic_regression(con):
    random = np.random.default_rng(0)
    features = random.standard_normal((500, 3))
    labels = random.random(500) < 1 / (1 + np.exp(-features @ [1, -2, 0.5]))
    model = fit(con, labels, features)
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(features, labels)
    assert model["classes"] == ["false", "true"]
    difference = np.array(model["coefficients"][1]) - model["coefficients"][0]
    assert difference == pytest.approx(oracle.coef_[0], abs=1e-4)
    assert np.array(model["coefficients"]).sum(axis=0) == pytest.approx([0, 0, 0], abs=1e-6)


def test_labels_of_any_type_and_prediction(con):
    con.execute(
        "CREATE TABLE rows AS SELECT i, i % 3 * 10 - 5 AS y, [i % 3 + sin(i) / 9, cos(i)] AS x FROM range(300) t(i)"
    )
    con.execute("CREATE TABLE models AS SELECT lbfgs_fit(y, x) AS number, lbfgs_fit('é' || y, x) AS text FROM rows")
    assert con.sql("SELECT number.classes, text.classes FROM models").fetchall() == [
        (["-5", "5", "15"], ["é-5", "é15", "é5"])
    ]
    right = con.sql(
        "SELECT avg((predict(number, x)::INT = y)::INT), avg((predict(text, x) = 'é' || y)::INT) FROM rows, models"
    ).fetchall()
    assert right == [(1, 1)]
    scores, shares = con.sql(
        "SELECT decision_function(number, x), predict_proba(number, x::FLOAT[]) FROM rows, models LIMIT 1"
    ).fetchall()[0]
    assert shares == pytest.approx((np.exp(scores) / np.exp(scores).sum()).tolist(), rel=1e-4)


def test_groups_threads_and_nothing(con):
    con.execute(
        "CREATE TABLE rows AS SELECT i % 7 AS g, 'c' || i % 3 AS y, [i % 3, sin(i)] AS x FROM range(21000) t(i)"
    )
    counts = con.sql("SELECT g, lbfgs_fit(y, x, {'iterations': 3}).n FROM rows GROUP BY g ORDER BY g").fetchall()
    assert counts == [(g, 3000) for g in range(7)]
    assert con.sql("SELECT lbfgs_fit(y, x) FROM rows WHERE g > 7").fetchall() == [(None,)]
    con.sql(
        "SELECT lbfgs_fit(CASE WHEN g > 1 THEN y END, x, {'on_null': 'skip', 'iterations': 2}).n FROM rows"
    ).fetchall()


def test_training_goes_on_from_a_model(con):
    features, labels = load_iris(return_X_y=True)
    fit(con, labels, features)
    con.execute("SET VARIABLE m = (SELECT lbfgs_fit(y, x, {'l2': 0.01}) FROM rows)")
    again = con.sql("SELECT lbfgs_fit(y, x, {'l2': 0.01, 'init': getvariable('m')}) FROM rows").fetchall()[0][0]
    assert again["epochs"] < 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("lbfgs_fit(y, x, {'l2': -1})", "option l2 must be at least 0, got -1"),
        ("lbfgs_fit(y, x, {'iterations': 0})", "option iterations must be at least 1"),
        ("lbfgs_fit('a', x)", "all rows are of the class 'a'"),
        ("lbfgs_fit(y, [x[1], NULL])", "have a NULL in the column 'features'"),
        ("lbfgs_fit(y, NULL::FLOAT[])", "have a NULL in the column 'features'"),
        ("lbfgs_fit(y, ['nan'::FLOAT])", "feature 1 of row 1 is NaN or infinite"),
        ("lbfgs_fit(y, x, NULL, -1)", "sample_weight must be at least 0"),
        ("lbfgs_fit(y, range(y))", "a row has"),
        ("predict(lbfgs_fit(y, x), [1])", "argument features has 1 numbers, the model was trained on 2"),
        ("predict({**m, 'task': 'x'}, [1, 2])", "argument model is of the task x"),
        ("predict({**m, 'classes': ['a']}, [1, 2])", "argument model has 1 classes, 3 rows of coefficients"),
        ("predict({**m, 'intercepts': []::DOUBLE[]}, [1, 2])", "argument model has 3 classes, 3 .* and 0 intercepts"),
        ("predict({**m, 'coefficients': [[1], [2], [3]]::FLOAT[][]}, [1, 2])", "the model was trained on 1"),
    ],
)
def test_wrong_calls_are_told(con, call, message):
    con.execute("CREATE TABLE rows AS SELECT i % 3 AS y, [i % 3, sin(i)] AS x FROM range(30) t(i)")
    if "**m" in call:
        con.execute("CREATE TABLE models AS SELECT lbfgs_fit(y, x) AS m FROM rows")
        start, rest = call.split("{**m, ", 1)
        change, rest = rest.split("}, ", 1)
        name, value = change.split(": ", 1)
        call = f"{start}struct_update(m, {name.strip(chr(39))} := {value}), {rest}"
        query = f"SELECT {call} FROM models"
    else:
        query = f"SELECT {call} FROM rows"
    with pytest.raises(duckdb.Error, match=message):
        con.execute(query).fetchall()

"""Sparse features: against a loop that shrinks every weight at every row, dense rows, and scikit-learn's optimum."""

import math

import duckdb
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression


def rows_with(con, count=400, features=12, named=3, seed=0):
    """Rows that have ``named`` of the features, with the number 1 or -1, in a table with both kinds of columns."""
    random = np.random.default_rng(seed)
    indices = np.array([random.choice(features, named, replace=False) for _ in range(count)])
    values = random.choice([-1.0, 1.0], (count, named))
    true = random.standard_normal(features)
    labels = random.random(count) < 1 / (1 + np.exp(-2 * (true[indices] * values).sum(axis=1)))
    con.execute("CREATE OR REPLACE TABLE rows (i BIGINT, y BOOLEAN, indices BIGINT[], vals DOUBLE[])")
    con.executemany(
        "INSERT INTO rows VALUES (?, ?, ?, ?)",
        [[i, bool(labels[i]), indices[i].tolist(), values[i].tolist()] for i in range(count)],
    )
    return indices, values, labels


def by_hand(indices, values, labels, step=0.5, l1=0.0, l2=0.0, epochs=1):
    """Every row shrinks every weight, whether it has the feature or not."""
    weights, squares = np.zeros(indices.max() + 1), np.zeros(indices.max() + 1)
    intercept, intercept_square, taken, normal = 0.0, 0.0, 0, 0.0
    for _ in range(epochs):
        for places, numbers, label in zip(indices, values, labels, strict=True):
            taken, normal, y = taken + 1, normal + len(places) + 1, 1 if label else -1
            rate = step * math.sqrt(taken / normal)
            slope = -y / (1 + math.exp(y * (weights[places] @ numbers + intercept)))
            squares[places] += (slope * numbers) ** 2
            weights[places] -= rate * slope * numbers / np.sqrt(squares[places])
            intercept_square += slope**2
            intercept -= rate * slope / math.sqrt(intercept_square)
            own = np.divide(rate, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
            weights = np.sign(weights) * np.maximum(np.abs(weights) - own * l1, 0) / (1 + own * l2)
    return weights, intercept


def fit(con, options="NULL", features="{'indices': indices, 'values': vals}"):
    return con.sql(f"SELECT logistic_fit(y, {features}, {options} ORDER BY i) FROM rows").fetchall()[0][0]


@pytest.mark.parametrize(
    ("l1", "l2", "epochs"), [(0, 0, 1), (0, 0, 3), (0.01, 0, 1), (0, 0.05, 1), (0.01, 0.05, 2), (0.2, 0, 2)]
)
def test_penalties_that_are_caught_up_with_are_those_of_every_row(con, l1, l2, epochs):
    con.execute("SET threads = 1")
    data = rows_with(con)
    weights, intercept = by_hand(*data, l1=l1, l2=l2, epochs=epochs)
    model = fit(con, f"{{'l1': {l1}, 'l2': {l2}, 'epochs': {epochs}, 'tolerance': -1}}")
    assert model["coefficients"] == pytest.approx(weights.tolist(), rel=1e-3, abs=1e-4)
    assert model["intercept"] == pytest.approx(intercept, rel=1e-3, abs=1e-4)
    assert model["epochs"] == epochs


def test_names_and_indices_are_the_same_features(con):
    rows_with(con)
    by_index = fit(con)
    by_name = fit(con, "{'hash_bits': 20}", "map_from_entries(list_zip(indices, vals))")
    assert sorted(filter(None, by_name["coefficients"])) == pytest.approx(
        sorted(filter(None, by_index["coefficients"]))
    )
    assert len(by_name["coefficients"]) == 2**20
    con.execute("CREATE TABLE models AS SELECT logistic_fit(y, {'indices': indices, 'values': vals}, NULL ORDER BY i) AS a, "
                "logistic_fit(y, map_from_entries(list_zip(indices, vals)), {'hash_bits': 20} ORDER BY i) AS b FROM rows")  # fmt: skip
    for function in ("predict", "predict_proba", "decision_function"):
        pairs = con.sql(
            f"SELECT {function}(a, {{'indices': indices, 'values': vals}}), "
            f"{function}(b, map_from_entries(list_zip(indices, vals))) FROM rows, models"
        ).fetchall()
        assert [pair[0] for pair in pairs] == pytest.approx([pair[1] for pair in pairs], rel=1e-6)


def test_a_few_epochs_come_close_to_the_optimum(con):
    indices, values, labels = rows_with(con, 4000, 30, 5)
    dense = np.zeros((4000, 30))
    np.put_along_axis(dense, indices, values, axis=1)
    oracle = LogisticRegression(C=np.inf, tol=1e-8).fit(dense, labels)
    best = -oracle.predict_log_proba(dense)[np.arange(4000), labels.astype(int)].mean()
    model = fit(con, "{'epochs': 10}")
    score = dense @ np.array(model["coefficients"]) + model["intercept"]
    assert np.logaddexp(0, np.where(labels, -score, score)).mean() < best * 1.02


def test_units_do_not_matter(con):
    rows_with(con)
    plain = fit(con, "{'epochs': 3}")
    scaled = fit(
        con,
        "{'epochs': 3}",
        "{'indices': indices, 'values': [v * 10 ** (i - 6) FOR v, i IN vals]}".replace(
            "[v * 10 ** (i - 6) FOR v, i IN vals]",
            "list_transform(list_zip(indices, vals), lambda p: p[2] * 10.0 ** (p[1] - 6))",
        ),
    )
    assert scaled["loss"] == pytest.approx(plain["loss"], rel=1e-4)


def test_numbers_as_labels(con):
    con.execute(
        "CREATE TABLE t AS SELECT i, 1000 * (i % 4) AS y, {'indices': [i % 4], 'values': [1.0]} AS x FROM range(2000) t(i)"
    )
    model = con.sql("SELECT least_squares_fit(y, x, {'epochs': 20}) FROM t").fetchall()[0][0]
    expected = [model["coefficients"][k] + model["intercept"] for k in range(4)]
    assert expected == pytest.approx([0, 1000, 2000, 3000], abs=60)


def test_weights_classes_and_threads(con):
    rows_with(con, 4000)
    heavy = con.sql(
        "SELECT logistic_fit(y, {'indices': indices, 'values': vals}, {'class_weight': [1, 9]}, 2.0) FROM rows"
    ).fetchall()[0][0]
    assert heavy["intercept"] > fit(con)["intercept"]
    con.execute("SET threads = 4")
    con.execute("CREATE TABLE big AS SELECT rows.* FROM rows, range(100)")
    assert con.sql(
        "SELECT logistic_fit(y, {'indices': indices, 'values': vals}, {'l2': 0.0001}).n FROM big"
    ).fetchall() == [(400_000,)]


def test_features_never_seen_count_for_nothing(con):
    rows_with(con)
    con.execute("CREATE TABLE m AS SELECT logistic_fit(y, {'indices': indices, 'values': vals}, NULL) AS m FROM rows")
    assert con.sql(
        "SELECT decision_function(m, {'indices': [500], 'values': [3.0]}) = m.intercept, "
        "decision_function(m, {'indices': []::BIGINT[], 'values': []::DOUBLE[]}) = m.intercept FROM m"
    ).fetchall() == [(True, True)]


def test_one_class_no_rows_and_windows(con):
    rows_with(con)
    only = con.sql("SELECT logistic_fit(true, {'indices': indices, 'values': vals}, NULL) FROM rows").fetchall()[0][0]
    assert (only["degenerate"], only["intercept"], set(only["coefficients"])) == (True, 16.0, {0.0})
    assert con.sql(
        "SELECT logistic_fit(y, {'indices': indices, 'values': vals}, NULL) FROM rows WHERE false"
    ).fetchall() == [(None,)]
    counts = con.sql(
        "SELECT logistic_fit(y, {'indices': indices, 'values': vals}, {'epochs': 2, 'l2': 0.1}) OVER (ORDER BY i).n FROM rows LIMIT 5"
    ).fetchall()
    assert counts == [(1,), (2,), (3,), (4,), (5,)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("logistic_fit(y, {'indices': [1, 2], 'values': [1.0]}, NULL)", "argument features has 2 indices and 1 values"),
        ("logistic_fit(y, {'indices': [-1], 'values': [1.0]}, NULL)", "argument features has the index -1"),
        ("logistic_fit(y, {'indices': [16777216], 'values': [1.0]}, NULL)", "argument features has the index 16777216"),
        ("logistic_fit(y, {'indices': [1], 'values': ['nan'::DOUBLE]}, NULL)", "feature 1 of a row is NaN or infinite"),
        ("logistic_fit(y, {'indices': [1], 'values': [1.0]}, {'l1': -1})", "options l1 and l2 must be at least 0"),
        ("logistic_fit(y, {'indices': [1], 'values': [1.0]}, {'epochs': 0})", "option epochs must be at least 1"),
        ("logistic_fit(y, {'indices': [1], 'values': [1.0]}, {'step_size': 0})", "option step_size must be above 0"),
        (
            "logistic_fit(y, {'indices': [1], 'values': [1.0]}, {'hash_bits': 40})",
            "option hash_bits must be from 1 to 28",
        ),
        ("logistic_fit(y, {'indices': [1], 'values': [1.0]}, {'stp': 1})", "unknown option 'stp'"),
        ("logistic_fit(y, {'indices': [1], 'values': [1.0]}, NULL, -1.0)", "sample_weight and class_weight must be"),
        (
            "logistic_fit(y, {'indices': indices, 'values': vals}, {'epochs': 2, 'buffer_mb': 0.0001})",
            "outgrow buffer_mb",
        ),
        (
            "predict(logistic_fit(y, {'indices': [2], 'values': [1.0]}, NULL), MAP {'a': 1.0})",
            "argument model has 3 coefficients",
        ),
    ],
)
def test_wrong_calls_are_told(con, call, message):
    rows_with(con, 40)
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"SELECT {call} FROM rows").fetchall()

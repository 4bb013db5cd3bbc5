"""Softmax regression: published values, scikit-learn and plain NumPy as oracles, labels of any kind, wrong input."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_iris, load_wine


def scores_of(model, features):
    """The scores of rows, a column for each class."""
    return features @ np.array(model["coefficients"]).T + np.array(model["intercepts"])


def log_loss(model, features, labels):
    """The mean loss of rows, whose labels are places in the model's classes."""
    return -log_softmax(scores_of(model, features), axis=1)[np.arange(len(labels)), labels].mean()


def objective(model, features, labels, l2):
    """The mean loss plus the penalty."""
    return log_loss(model, features, labels) + l2 * np.square(model["coefficients"]).sum() / 2


def store(con, labels, features, weights=1.0):
    """Put rows into a table, in their order."""
    rows = pa.table({"y": labels, "x": features.tolist(), "w": np.broadcast_to(weights, len(labels))})  # noqa: F841
    con.execute("CREATE OR REPLACE TABLE rows AS SELECT y, x, w::DOUBLE AS w FROM rows")


def fit(con, options="{}", label="y", source="rows", weight=""):
    """The model of a table."""
    return con.sql(f"SELECT softmax_fit({label}, x, {options}{weight}) FROM {source}").fetchall()[0][0]


def optimum(con, options="{}", source="rows"):
    """The model of a table by L-BFGS."""
    return con.sql(f"SELECT lbfgs_fit(y, x, {options}) FROM {source}").fetchall()[0][0]


def shuffled(data):
    """The rows of a data set in another order."""
    features, labels = data(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return features[order], labels[order]


# ----------------------------------------------------------------------------------------------------- gradient descent


def sequential(features, labels, classes, step_size, *, l1=0.0, l2=0.0, epochs=1, decay=1.0, weights=None):
    """Incremental gradient descent in float64, as the paper has it; gives weights, intercepts and losses.

    A class has no probability before its first row.
    """
    matrix, bias, losses = np.zeros((classes, features.shape[1])), np.zeros(classes), []
    absent = np.full(classes, -np.inf)
    weights = np.ones(len(labels)) if weights is None else weights
    for epoch in range(epochs):
        rate, loss = step_size * decay**epoch, 0.0
        for row, label, weight in zip(features, labels, weights, strict=True):
            absent[label] = 0
            scores = matrix @ row + bias + absent
            loss -= weight * log_softmax(scores)[label]
            slope = weight * (softmax(scores) - np.eye(classes)[label])
            matrix -= rate * np.outer(slope, row)
            bias -= rate * slope
            matrix = np.sign(matrix) * np.maximum(np.abs(matrix) - rate * l1, 0) / (1 + rate * l2)
        losses.append(loss / weights.sum())
    return matrix, bias, losses


def sample(rows, width, classes, seed=3):
    """Rows of a softmax model."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((rows, width)).astype(np.float32).astype(np.float64)
    scores = features @ random.standard_normal((width, classes)) + random.gumbel(size=(rows, classes))
    return features, scores.argmax(axis=1)


@pytest.mark.parametrize(("width", "classes"), [(1, 2), (5, 3), (8, 4), (33, 7)])
def test_one_pass_is_the_sequential_algorithm(one, width, classes):
    features, labels = sample(500, width, classes)
    store(one, labels, features)
    model = fit(one, "{'step_size': 0.05}")
    matrix, bias, losses = sequential(features, labels, classes, 0.05)
    assert np.array(model["coefficients"]) == pytest.approx(matrix, abs=3e-5)
    assert model["intercepts"] == pytest.approx(bias, abs=3e-5)
    assert model["loss_history"] == pytest.approx(losses, rel=1e-5)
    assert (model["task"], model["n"], model["epochs"], model["stop_reason"]) == ("softmax", 500, 1, "epochs")


def test_epochs_penalties_and_weights_are_those_of_the_sequential_algorithm(one):
    features, labels = sample(300, 6, 3)
    weights = np.random.default_rng(0).uniform(0, 2, 300)
    store(one, labels, features, weights)
    options = "{'step_size': 0.02, 'decay': 0.5, 'epochs': 3, 'l1': 0.01, 'l2': 0.1, 'tolerance': 0}"
    model = fit(one, options, weight=", w")
    matrix, bias, losses = sequential(features, labels, 3, 0.02, l1=0.01, l2=0.1, epochs=3, decay=0.5, weights=weights)
    assert np.array(model["coefficients"]) == pytest.approx(matrix, abs=3e-5)
    assert model["intercepts"] == pytest.approx(bias, abs=3e-5)
    assert model["loss_history"] == pytest.approx(losses, rel=1e-5)
    assert (model["coefficients"] == np.zeros(1)).any() == (matrix == 0).any()


@pytest.mark.parametrize("data", [load_iris, load_wine])
def test_many_passes_end_near_the_optimum_whatever_the_units(one, data):
    features, labels = shuffled(data)
    store(one, labels, features)
    l2 = 1 / len(labels)
    best = objective(optimum(one, f"{{'l2': {l2}}}"), features, labels, l2)
    model = fit(one, f"{{'l2': {l2}, 'epochs': 100, 'tolerance': 1e-6}}")
    assert objective(model, features, labels, l2) < 1.02 * best


def test_one_pass_over_many_rows_is_within_a_percent(con):
    features, labels = sample(20_000, 10, 5)
    features *= 10.0 ** np.arange(-3, 7)
    store(con, labels, features)
    best = log_loss(optimum(con), features, labels)
    assert log_loss(fit(con), features, labels) < 1.01 * best
    assert log_loss(fit(con, "{'fit_intercept': false}"), features, labels) < 1.02 * best


def test_without_an_intercept_there_is_none(con):
    con.execute("CREATE TABLE rows AS SELECT i % 3 AS y, [5 + i % 3, sin(i)] AS x FROM range(9000) t(i)")
    assert fit(con, "{'fit_intercept': false}")["intercepts"] == [0, 0, 0]


def test_absolute_values_as_a_penalty_give_zeros(one):
    features, labels = shuffled(load_wine)
    store(one, labels, features)
    model = fit(one, "{'l1': 0.1, 'epochs': 50}")
    assert (np.array(model["coefficients"]) == 0).sum() > 5


def test_scores_of_any_size_stay_finite(con):
    con.execute("CREATE TABLE rows AS SELECT i % 3 AS y, [(i % 3 - 1) * 1e4] AS x FROM range(60) t(i)")
    for options in ("{'step_size': 1}", "{}"):
        model = fit(con, options)
        assert np.isfinite(model["loss"])
        assert np.isfinite(model["coefficients"]).all()
    con.execute("CREATE TABLE models AS SELECT softmax_fit(y, x, {'step_size': 1}) AS m FROM rows")
    chances = con.sql("SELECT predict_proba(m, [1e12]) FROM models").fetchall()[0][0]
    assert sum(chances) == pytest.approx(1)


# --------------------------------------------------------------------------------------------------------------- classes


def test_labels_of_any_kind(con):
    con.execute(
        "CREATE TABLE rows AS SELECT i % 3 * 10 - 5 AS y, [i % 3 + sin(i) / 9, cos(i)] AS x FROM range(300) t(i)"
    )
    options = "{'epochs': 20}"
    assert fit(con, options)["classes"] == ["-5", "5", "15"]
    assert fit(con, options, label="y::VARCHAR")["classes"] == ["-5", "5", "15"]
    assert fit(con, options, label="'é' || y")["classes"] == ["é-5", "é15", "é5"]
    assert fit(con, options, label="['', '007', '7'][i % 3 + 1]", source="(FROM rows, range(9) t(i))")["classes"] == [
        "", "007", "7",
    ]  # fmt: skip
    kinds = con.sql(
        f"SELECT softmax_fit('é' || y, x, {options}) AS texts, softmax_fit(y, x, {options}) AS numbers FROM rows"
    )
    right, alike, chances, scores = con.sql(
        "SELECT avg((predict(texts, x) = 'é' || y)::INT), avg((predict(numbers, x) = y::VARCHAR)::INT),"
        " any_value(predict_proba(texts, x::FLOAT[]) ORDER BY x), "
        "any_value(decision_function(texts, x) ORDER BY x) FROM rows, kinds"
    ).fetchall()[0]
    assert (right, alike) == (1, 1)
    assert chances == pytest.approx(softmax(scores), rel=1e-5)
    assert len(kinds) == 1


@given(st.lists(st.integers(-(10**18) + 1, 10**18 - 1) | st.text(max_size=4), min_size=1, max_size=9, unique_by=str))
def test_classes_are_sorted(labels):
    texts = [str(label) for label in labels]
    with duckdb.connect() as con:
        rows = pa.table({"y": texts})  # noqa: F841
        found = con.sql("SELECT softmax_fit(y, [0.0], {'step_size': 0.1}).classes FROM rows").fetchall()[0][0]
    numbers = all(text.isascii() and text.removeprefix("-").isdigit() and str(int(text)) == text for text in texts)
    assert found == sorted(texts, key=int if numbers else str)


def test_classes_that_come_late_and_to_some_threads_only(threaded):
    threaded.execute("CREATE TABLE rows AS SELECT i // 100000 * 7 % 5 AS y, [y, sin(i)] AS x FROM range(500000) t(i)")
    for options in ("{}", "{'step_size': 0.01}"):
        model = fit(threaded, options)
        assert model["classes"] == ["0", "1", "2", "3", "4"]
        assert model["n"] == 500_000
        assert np.sum(model["coefficients"], axis=0) == pytest.approx(0, abs=2e-3)


def test_threads_average_to_a_good_model(threaded):
    features, labels = sample(400_000, 3, 4)
    threaded.register("given", pa.table({"y": labels, "x": features.tolist()}))
    threaded.execute("CREATE TABLE rows AS SELECT * FROM given")
    model = fit(threaded)
    best = log_loss(optimum(threaded, source="(FROM rows LIMIT 50000)"), features, labels)
    assert model["n"] == 400_000
    assert log_loss(model, features, labels) < 1.01 * best


def test_groups_whose_states_have_other_classes(threaded):
    """Rows are sorted by their class: states that are merged have seen different ones, in different orders."""
    threaded.execute(
        "CREATE TABLE rows AS SELECT g, i // 60000 * (g + 1) % 5 AS y, [y + sin(i), cos(i)] AS x "
        "FROM range(300000) t(i), range(2) s(g) ORDER BY i"
    )
    models = threaded.sql("SELECT g, softmax_fit(y, x, {'epochs': 5}) FROM rows GROUP BY g ORDER BY g").fetchall()
    for _, model in models:
        assert (model["n"], model["classes"]) == (300_000, ["0", "1", "2", "3", "4"])
        assert np.isfinite(model["coefficients"]).all()
        assert np.sum(model["coefficients"], axis=0) == pytest.approx(0, abs=1e-3)


def test_no_rows_one_row_one_class_and_no_features(con):
    con.execute("CREATE TABLE rows AS SELECT 'a' AS y, [i] AS x FROM range(3) t(i)")
    assert fit(con, source="rows WHERE false") is None
    for options in ("{}", "{'step_size': 0.1}"):
        model = fit(con, options)
        assert (model["classes"], model["coefficients"], model["intercepts"], model["loss"]) == (["a"], [[0]], [0], 0)
    con.execute("CREATE OR REPLACE TABLE rows AS SELECT if(i > 0, 'b', 'a') AS y, []::INT[] AS x FROM range(4) t(i)")
    assert fit(con)["coefficients"] == [[], []]


def test_nulls_are_refused_or_skipped(con):
    con.execute("CREATE TABLE rows AS SELECT if(i % 5 = 0, NULL, i % 3) AS y, [i] AS x FROM range(100) t(i)")
    assert fit(con, "{'on_null': 'skip'}")["n"] == 80
    with pytest.raises(duckdb.Error, match="20 of 100 rows have a NULL as label, weight or feature"):
        fit(con)


# ------------------------------------------------------------------------------------------------------------ wrong input


def test_prediction_dispatches_on_the_model(con):
    con.execute("CREATE TABLE rows AS SELECT i % 2 AS y, [i % 2 + sin(i)] AS x FROM range(100) t(i)")
    types = con.sql(
        "SELECT typeof(predict(softmax_fit(y, x), [1])), typeof(predict(logistic_fit(y, x), [1])), "
        "typeof(predict_proba(softmax_fit(y, x), [1])), typeof(predict_proba(logistic_fit(y, x), [1])) FROM rows"
    ).fetchall()
    assert types == [("VARCHAR", "DOUBLE", "DOUBLE[]", "DOUBLE")]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("softmax_fit(y, x, {'l2': -1})", "options l1 and l2 must be at least 0"),
        ("softmax_fit(y, x, {'epochs': 0})", "option epochs must be at least 1"),
        ("softmax_fit(y, x, {'step_size': 0})", "option step_size must be above 0"),
        ("softmax_fit(y, x, {'decay': 2})", "option decay must be above 0"),
        ("softmax_fit(y, x, {'step_size': 1e308})", "training diverged in epoch 1 with step_size"),
        ("softmax_fit(y, [x[1], 'nan'], {})", "feature 2 of a row is NaN or infinite"),
        ("softmax_fit(y, [x[1], 'inf'], {'step_size': 0.1})", "feature 2 of a row is NaN or infinite"),
        ("softmax_fit(y, [x[1], NULL], {})", "rows have a NULL as label, weight or feature"),
        ("softmax_fit(y, range(y)::DOUBLE[], {})", "a row has 1 features, the rows before it have 0"),
        ("softmax_fit(y, x, {}, -1)", "sample_weight and class_weight must be at least 0 and finite; a row has -1"),
        ("softmax_fit(y, x, {'epochs': 2, 'buffer_mb': 1e-5})", "the rows of a group outgrow buffer_mb"),
        ("softmax_fit(i, x, {'step_size': 0.1})", "more than 10000 classes; is label the right column"),
        ("predict(m, [1])", "argument features has 1 numbers, the model was trained on 2"),
        ("predict(struct_update(m, task := 'x'), [1, 2])", "argument model is of the task x"),
        ("predict(struct_update(m, classes := []::VARCHAR[]), [1, 2])", "argument model has 0 classes"),
        ("predict(struct_update(m, classes := ['a']), [1, 2])", "has 1 classes, 3 rows of coefficients"),
        ("predict_proba(struct_update(m, intercepts := [1.5::DOUBLE]), [1, 2])", "3 .* and 1 intercepts"),
        ("decision_function(struct_update(m, coefficients := [[1], [2], [3]]::DOUBLE[][]), [1, 2])",
         "the model was trained on 1"),
    ],
)  # fmt: skip
def test_wrong_calls_are_told(one, call, message):
    one.execute("CREATE TABLE rows AS SELECT i, i % 3 AS y, [i % 3, sin(i)] AS x FROM range(10200) t(i)")
    source = "(SELECT softmax_fit(y, x, {}) AS m FROM rows)" if "predict" in call or "decision" in call else "rows"
    with pytest.raises(duckdb.Error, match=message):
        one.sql(f"SELECT {call} FROM {source}").fetchall()

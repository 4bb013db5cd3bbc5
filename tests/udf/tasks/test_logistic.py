"""`logistic_fit` against the algorithm in plain NumPy and scikit-learn; prediction and `binary_metrics`."""

import math

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

import ironlake


def arrow(features, labels):
    """A table of rows; features become FLOAT[] or DOUBLE[]."""
    values = pa.array(features.reshape(-1))
    offsets = pa.array(np.arange(len(features) + 1, dtype=np.int32) * features.shape[1])
    return pa.table({"y": pa.array(labels), "x": pa.ListArray.from_arrays(offsets, values)})


def fit(con, rows, options="", columns="y, x"):
    """The model of an Arrow table of rows."""
    con.register("rows", rows)
    return con.execute(f"SELECT logistic_fit({columns}{', ' + options if options else ''}) FROM rows").fetchall()[0][0]


def sequential(features, signs, step_size, *, l1=0.0, l2=0.0, intercept=True, epochs=1, decay=1.0):
    """Incremental gradient descent with proximal steps in float64, as the paper has it; gives weights and losses."""
    weights, bias, losses = np.zeros(features.shape[1]), 0.0, []
    for epoch in range(epochs):
        rate, loss = step_size * decay**epoch, 0.0
        for row, sign in zip(features.astype(np.float64), signs, strict=True):
            agreement = sign * (row @ weights + bias)
            loss += np.logaddexp(0, -agreement)
            slope = sign / (1 + math.exp(agreement))
            weights += rate * slope * row
            bias += rate * slope * intercept
            weights /= 1 + rate * l2
            weights = np.sign(weights) * np.maximum(np.abs(weights) - rate * l1 / (1 + rate * l2), 0)
        losses.append(loss / len(signs))
    return weights, bias, losses


def sample(rows, width, seed=3):
    """Rows of a logistic model."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((rows, width)).astype(np.float32)
    probability = 1 / (1 + np.exp(-(features @ random.standard_normal(width) + 0.3)))
    return features, random.random(rows) < probability


# ------------------------------------------------------------------------------------------------------ the algorithm


def test_a_million_rows_as_published(one):
    """The reference data of the Bismarck benchmarks: scikit-learn's sequential pass ends at this mean loss."""
    random = np.random.default_rng(7)
    features = random.standard_normal((1_000_000, 28)).astype("f4")
    truth = random.standard_normal(28)
    labels = random.random(len(features)) < 1 / (1 + np.exp(-(0.7 * features @ truth + 0.3)))
    model = fit(one, arrow(features, labels), "{'step_size': 0.01}")
    scores = features @ np.array(model["coefficients"], np.float64) + model["intercept"]
    loss = np.mean(np.logaddexp(0, -np.where(labels, 1, -1) * scores))
    assert loss == pytest.approx(0.316058, abs=2e-5)
    assert model["n"] == model["step"] == 1_000_000


@pytest.mark.parametrize("width", [0, 1, 5, 8, 28, 33, 64, 100])
def test_one_pass_is_the_sequential_algorithm(one, width):
    features, labels = sample(700, width)
    model = fit(one, arrow(features, labels), "{'step_size': 0.05}")
    weights, bias, losses = sequential(features, np.where(labels, 1, -1), 0.05)
    assert model["coefficients"] == pytest.approx(weights, abs=3e-5)
    assert model["intercept"] == pytest.approx(bias, abs=3e-5)
    assert model["loss_history"] == pytest.approx(losses, rel=1e-5)
    assert model["loss"] == model["loss_history"][-1]
    assert (model["task"], model["epochs"], model["stop_reason"]) == ("logistic", 1, "epochs")


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 300),
    width=st.integers(1, 20),
    step_size=st.sampled_from([0.001, 0.05, 0.3]),
    l1=st.sampled_from([0.0, 0.01]),
    l2=st.sampled_from([0.0, 0.1]),
    intercept=st.booleans(),
    epochs=st.integers(1, 4),
    decay=st.sampled_from([1.0, 0.8]),
)
def test_options_as_in_the_sequential_algorithm(seed, rows, width, step_size, l1, l2, intercept, epochs, decay):
    features, labels = sample(rows, width, seed)
    assume(labels.any() and not labels.all())  # a model of one class is that class
    options = (
        f"{{'step_size': {step_size}, 'l1': {l1}, 'l2': {l2}, 'fit_intercept': {intercept}, 'epochs': {epochs}, "
        f"'decay': {decay}, 'tolerance': -1e9}}"
    )
    with duckdb.connect(config={"threads": 1}) as con:
        model = fit(con, arrow(features, labels), options)
    weights, bias, losses = sequential(
        features, np.where(labels, 1, -1), step_size, l1=l1, l2=l2, intercept=intercept, epochs=epochs, decay=decay
    )
    assert model["coefficients"] == pytest.approx(weights, abs=2e-4)
    assert model["intercept"] == pytest.approx(bias, abs=2e-4)
    assert model["loss_history"] == pytest.approx(losses, rel=1e-4)
    assert model["step"] == rows * epochs


def test_threads_average_their_models(threaded):
    features, labels = sample(400_000, 4)
    threaded.register("arrow_rows", arrow(features, labels))
    threaded.execute("CREATE TABLE stored AS FROM arrow_rows")
    model = threaded.execute("SELECT logistic_fit(y, x, {'step_size': 0.01}) FROM stored").fetchall()[0][0]
    best = LogisticRegression(C=1e6).fit(features[:50_000], labels[:50_000])
    assert model["n"] == model["step"] == 400_000
    assert model["coefficients"] == pytest.approx(best.coef_[0], abs=0.15)
    assert model["loss"] == pytest.approx(metrics.log_loss(labels, best.predict_proba(features)[:, 1]), rel=0.02)


def test_merging_does_not_depend_on_the_grouping_of_threads(threaded):
    """Groups split over threads give models of all their rows, groups of one thread those of the algorithm."""
    features, labels = sample(300_000, 3)
    threaded.register("arrow_rows", arrow(features, labels))
    threaded.execute("CREATE TABLE stored AS SELECT *, row_number() OVER () % 5000 AS k FROM arrow_rows")
    query = "SELECT k, logistic_fit(y, x{}) FROM stored GROUP BY k"
    for options in ("", ", {'step_size': 0.1}", ", {'epochs': 3}"):
        models = threaded.execute(query.format(options)).fetchall()
        assert len(models) == 5000
        assert all(model["n"] == 60 and math.isfinite(model["loss"]) for _, model in models)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
@pytest.mark.parametrize("rows", [3, 63, 64, 500, 3000, 50_000])
def test_the_automatic_step_size_suits_any_scale(one, rows, scale):
    features, labels = sample(rows, 6)
    model = fit(one, arrow(features * np.float32(scale), labels), "{'epochs': 10}")
    mean = labels.mean()
    constant = metrics.log_loss(labels, np.full(rows, mean), labels=[False, True]) if 0 < mean < 1 else 0.0
    assert model["loss"] < max(constant, 0.7)
    if rows >= 500:
        best = LogisticRegression(C=1e9, max_iter=1000).fit(features, labels)
        assert model["loss"] < 1.1 * metrics.log_loss(labels, best.predict_proba(features)[:, 1])


@pytest.mark.parametrize(
    ("label", "storage"),
    [
        ("y", "DOUBLE[]"),
        ("y::INTEGER", "FLOAT[3]"),
        ("2 * y::INTEGER - 1", "DOUBLE[3]"),
    ],
)
def test_all_types_of_rows_give_the_same_model(one, storage, label):
    features, labels = sample(500, 3)
    expected = fit(one, arrow(features, labels), "{'step_size': 0.05}")
    model = fit(one, arrow(features, labels), "{'step_size': 0.05}", f"{label}, x::{storage}")
    assert model["coefficients"] == pytest.approx(expected["coefficients"], abs=1e-6)
    assert model["intercept"] == pytest.approx(expected["intercept"], abs=1e-6)
    assert model["classes"] == ([-1.0, 1.0] if "-" in label else [0.0, 1.0])


def test_tolerance_stops_early(one):
    features, labels = sample(2000, 3)
    model = fit(one, arrow(features, labels), "{'epochs': 100, 'tolerance': 0.01}")
    assert model["converged"]
    assert model["stop_reason"] == "tolerance"
    assert model["epochs"] == len(model["loss_history"]) < 100


# ----------------------------------------------------------------------------------------------------- rows and errors


def test_no_rows_give_no_model(con):
    assert con.execute("SELECT logistic_fit(true, [1.0]) WHERE false").fetchall() == [(None,)]
    skipped = "SELECT logistic_fit(y, [1.0], {'on_null': 'skip'}) FROM (VALUES (NULL::BOOLEAN)) t(y)"
    assert con.execute(skipped).fetchall() == [(None,)]


def test_null_rows_are_refused_or_skipped(con):
    rows = "FROM (VALUES (true, [1.0]), (NULL, [2.0]), (false, NULL), (true, [NULL]), (false, [3.0])) t(y, x)"
    with pytest.raises(duckdb.Error, match="logistic_fit: 3 of 5 rows have a NULL as label, weight or feature; filter"):
        con.execute(f"SELECT logistic_fit(y, x) {rows}").fetchall()
    model = con.execute(f"SELECT logistic_fit(y, x, {{'on_null': 'skip'}}) {rows}").fetchall()[0][0]
    assert model["n"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("i, [i]", "label must be true or false, 1 or 0, 1 or -1; a row has 2"),
        ("'nan'::DOUBLE, [i]", "label must be true or false"),
        ("i > 1, CASE WHEN i = 3 THEN [1, 2] ELSE [1] END", "a row has 2 features, the rows before it have 1"),
        ("i > 1, [i, CASE WHEN i > 2 THEN i END]", "3 of 5 rows have a NULL as label, weight or feature"),
        ("least(i - 1, 1), [i]", "the rows have both 0 and -1"),
        ("i > 1, [1, 'nan'::DOUBLE]", "feature 2 of a row is NaN or infinite"),
        ("i > 1, ['inf'::FLOAT], {'step_size': 0.1}", "feature 1 of a row is NaN or infinite"),
        ("i > 1, [1e300], {'step_size': 0.1}", "feature 1 of a row is NaN or infinite"),
        ("i > 1, [i * 1e30], {'step_size': 1e30}", "training diverged in epoch 1 with step_size"),
        ("i > 1, [i], {'step_size': 0}", "option step_size must be above 0"),
        ("i > 1, [i], {'step_size': 'fast'}", "option 'step_size'"),
        ("i > 1, [i], {'l2': -1}", "options l1 and l2 must be at least 0"),
        ("i > 1, [i], {'epochs': 0}", "option epochs must be at least 1"),
        ("i > 1, [i], {'decay': 2}", "option decay must be above 0 and at most 1"),
        ("i > 1, [i], {'stepsize': 1}", "unknown option 'stepsize'; did you mean 'step_size'"),
        ("i > 1, [i], {'epochs': 2, 'buffer_mb': 1e-6}", "the rows of a group outgrow buffer_mb"),
        ("i > 1, i", "No function matches|logistic_fit"),
    ],
)
def test_wrong_calls_are_told(con, arguments, message):
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"SELECT logistic_fit({arguments}) FROM range(5) t(i)").fetchall()


# ---------------------------------------------------------------------------------------------------------- prediction


def test_prediction_with_a_stored_model(tmp_path):
    features, labels = sample(3000, 5)
    lake = ironlake.open(tmp_path / "lake")
    lake.write("rows", arrow(features, labels))
    lake.write("models", lake.sql("SELECT 'all' AS name, logistic_fit(y, x, {'epochs': 3}) AS model FROM rows"))
    model = lake.sql("SELECT model FROM models").fetchall()[0][0]
    scores = features.astype(np.float64) @ np.array(model["coefficients"]) + model["intercept"]
    got = lake.sql(
        "SELECT decision_function(model, x) AS score, predict_proba(model, x) AS probability, predict(model, x) AS label "
        "FROM rows, models"
    ).fetchnumpy()
    assert got["score"] == pytest.approx(scores, abs=1e-4)
    assert got["probability"] == pytest.approx(1 / (1 + np.exp(-scores)), abs=1e-4)
    clear = np.abs(scores) > 1e-3
    assert (got["label"] == (scores > 0))[clear].all()


@pytest.mark.parametrize("function", ["decision_function", "predict_proba", "predict"])
def test_predictions_of_what_does_not_fit(con, function):
    con.execute("CREATE TABLE m AS SELECT logistic_fit(i > 2, [i, 1], {'step_size': 0.1}) AS m FROM range(5) t(i)")
    with pytest.raises(duckdb.Error, match=f"{function}: argument features has 1 numbers, the model was trained on 2"):
        con.execute(f"SELECT {function}(m, [1.0]) FROM m").fetchall()
    with pytest.raises(duckdb.Error, match=f"{function}: argument features has a NULL"):
        con.execute(f"SELECT {function}(m, [1.0, NULL]) FROM m").fetchall()
    nothing = f"SELECT {function}(m, NULL::FLOAT[]), {function}(CASE WHEN m IS NULL THEN m END, [1.0]) FROM m"
    assert con.execute(nothing).fetchall() == [(None, None)]


def test_labels_of_minus_one_are_predicted_as_such(con):
    rows = "(SELECT i, CASE WHEN i > 50 THEN 1 ELSE -1 END AS y FROM range(100) t(i))"
    query = f"SELECT DISTINCT predict(m, [i - 50]) FROM {rows}, (SELECT logistic_fit(y, [i - 50]) AS m FROM {rows})"
    assert sorted(con.execute(query).fetchall()) == [(-1.0,), (1.0,)]


# ------------------------------------------------------------------------------------------------------------- metrics


@given(
    rows=st.integers(1, 400),
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([2, 10, 10**6]),
    threads=st.integers(1, 2),
)
def test_binary_metrics_as_scikit_learn_has_them(rows, seed, levels, threads):
    random = np.random.default_rng(seed)
    labels = random.random(rows) < random.random()
    probability = random.integers(0, levels + 1, rows) / levels
    with duckdb.connect(config={"threads": threads}) as con:
        con.register("rows", pa.table({"y": labels, "p": probability}))
        got = con.execute("SELECT binary_metrics(y, p) FROM rows").fetchall()[0][0]
        halved = con.execute("SELECT binary_metrics(y, p, {'threshold': 0.25}).recall FROM rows").fetchall()[0][0]
    positive = probability >= 0.5
    expected = {
        "precision": metrics.precision_score(labels, positive, zero_division=0),
        "recall": metrics.recall_score(labels, positive, zero_division=0),
        "accuracy": metrics.accuracy_score(labels, positive),
        "f1_score": metrics.f1_score(labels, positive, zero_division=0),
        "log_loss": -np.log(np.clip(np.where(labels, probability, 1 - probability), 1e-15, 1 - 1e-15)).mean(),
        "roc_auc": metrics.roc_auc_score(labels, probability) if labels.any() and not labels.all() else math.nan,
        "n": rows,
    }
    assert got == pytest.approx(expected, nan_ok=True)
    assert halved == pytest.approx(metrics.recall_score(labels, probability >= 0.25, zero_division=0))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("true, 1.5", "argument probability must be between 0 and 1; a row has 1.5"),
        ("true, 'nan'::DOUBLE", "argument probability must be between 0 and 1"),
        ("3, 0.5", "argument label must be true or false, 1 or 0, 1 or -1; a row has 3"),
    ],
)
def test_metrics_of_wrong_rows(con, row, message):
    with pytest.raises(duckdb.Error, match=f"binary_metrics: {message}"):
        con.execute(f"SELECT binary_metrics({row})").fetchall()

"""What rows and options do to every task: weights of rows and classes, scales, a model to start from, one class alone."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn import datasets, metrics
from sklearn.linear_model import LogisticRegression

import ironlake  # noqa: F401  declares the functions


def arrow(features, labels, weights=None):
    """A table of rows ``y``, ``x`` and weights ``v``."""
    columns = {"y": labels, "x": list(features), "v": np.ones(len(labels)) if weights is None else weights}
    return pa.table(columns)


def fit(con, rows, call):
    """The model that a call gives over a table of rows."""
    con.register("rows", rows)
    return con.execute(f"SELECT {call} FROM rows").fetchall()[0][0]


def sample(rows, width, seed=3, scale=1.0):
    """Rows of a logistic model."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((rows, width))
    probability = 1 / (1 + np.exp(-(features @ random.standard_normal(width) + 0.3)))
    return (features * scale).astype(np.float32), random.random(rows) < probability


def mean_loss(model, features, labels, weights=1.0):
    """Logistic loss of a model or a vector with the intercept last, weighted."""
    if isinstance(model, dict):
        model = np.array([*model["coefficients"], model["intercept"]], np.float64)
    scores = features @ model[:-1] + model[-1]
    return np.mean(weights * np.logaddexp(0, -np.where(labels, 1, -1) * scores))


def optimum(features, labels, weights=1.0):
    """The least logistic loss that a linear model can have on rows."""
    scales = features.std(axis=0)
    means = features.mean(axis=0)
    scaled = (features - means) / scales
    signs = np.where(labels, 1, -1)

    def loss(model):
        margins = signs * (scaled @ model[:-1] + model[-1])
        slopes = -weights * signs / (1 + np.exp(np.minimum(margins, 500)))
        return np.mean(weights * np.logaddexp(0, -margins)), np.append(slopes @ scaled, slopes.sum()) / len(signs)

    return minimize(loss, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B", tol=1e-12).fun


def sparse_optimum(features, labels, l1):
    """The least sum of logistic losses with both penalties, the one on squares being 1."""
    count = len(labels)
    strength = 1 + count * l1
    solver = LogisticRegression(
        C=1 / strength, l1_ratio=count * l1 / strength, solver="saga", max_iter=20_000, tol=1e-8
    ).fit(features, labels)
    weights = solver.coef_[0]
    losses = metrics.log_loss(labels, solver.predict_proba(features), normalize=False)
    return losses + weights @ weights / 2 + count * l1 * np.abs(weights).sum()


# ------------------------------------------------------------------------------------------------------------- weights


@given(
    seed=st.integers(0, 10**6),
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    step=st.sampled_from([0.01, 0.2]),
)
def test_weights_scale_each_rows_step(seed, counts, step):
    features, labels = sample(len(counts), 3, seed)
    with duckdb.connect(config={"threads": 1}) as con:
        model = fit(con, arrow(features, labels * 1.0, counts), f"least_squares_fit(y, x, {{'step_size': {step}}}, v)")
    weights, bias, losses = np.zeros(3), 0.0, 0.0
    for row, label, count in zip(features.astype(np.float64), labels, counts, strict=True):
        slope = row @ weights + bias - label
        losses += count * slope**2 / 2
        weights, bias = weights - step * count * slope * row, bias - step * count * slope
    assert model["coefficients"] == pytest.approx(weights, abs=1e-4)
    assert model["intercept"] == pytest.approx(bias, abs=1e-4)
    assert model["loss"] == pytest.approx(losses / sum(counts) if sum(counts) else 0, rel=1e-4, abs=1e-6)


def test_weighted_rows_are_like_repeated_ones(one):
    features, labels = sample(4000, 4)
    weights = np.random.default_rng(0).integers(0, 4, 4000)
    model = fit(one, arrow(features, labels, weights), "logistic_fit(y, x, {'epochs': 10, 'tolerance': 0}, v)")
    best = optimum(np.repeat(features, weights, axis=0), np.repeat(labels, weights))
    loss = mean_loss(model, np.repeat(features, weights, axis=0), np.repeat(labels, weights))
    assert loss < 1.005 * best


def test_class_weights_are_weights_of_the_rows_of_a_class(one):
    features, labels = sample(3000, 4)
    rows = arrow(features, labels, np.where(labels, 5.0, 0.5))
    by_row = fit(one, rows, "logistic_fit(y, x, {'epochs': 2}, v)")
    by_class = fit(one, rows, "logistic_fit(y, x, {'epochs': 2, 'class_weight': [0.5, 5]})")
    assert by_class == by_row


def test_the_weight_may_follow_options_that_are_null(one):
    rows = arrow(*sample(500, 2))
    assert fit(one, rows, "svm_fit(y, x, NULL, v)") == fit(one, rows, "svm_fit(y, x)")


# -------------------------------------------------------------------------------------------------------------- scales


@pytest.mark.parametrize("seed", range(10))
def test_the_automatic_step_size_gets_within_a_hundredth_in_three_passes(one, seed):
    """Ten data sets whose features have scales from 0.01 to 100, offsets and dependencies; no tuning."""
    random = np.random.default_rng(seed)
    width, rows = int(random.integers(2, 40)), int(random.integers(5000, 20_000))
    mixing = np.eye(width) + 0.3 * random.standard_normal((width, width)) / np.sqrt(width)
    plain = random.standard_normal((rows, width)) @ mixing
    if seed % 3 == 1:
        plain = np.where(random.random(plain.shape) < 0.8, 0, plain)
    if seed % 3 == 2:
        plain = np.exp(plain / 2)
    truth = 2 * random.standard_normal(width) / np.sqrt(width)
    labels = random.random(rows) < 1 / (1 + np.exp(-(plain @ truth - (plain @ truth).mean() + random.normal())))
    features = (plain * 10.0 ** random.uniform(-2, 2, width)).astype(np.float32)
    best = optimum(features.astype(np.float64), labels)
    model = fit(one, arrow(features, labels), "logistic_fit(y, x, {'epochs': 3})")
    assert mean_loss(model, features.astype(np.float64), labels) < 1.01 * best


def test_standardised_features_bear_the_penalty(one):
    """Scaling the features changes nothing with standardisation, and much without."""
    features, labels = sample(3000, 3)
    options = "{'epochs': 5, 'l2': 0.3"
    for standardize in ("true", "false"):
        scores = []
        for scale in (1.0, 50.0):
            rows = arrow(features * np.float32(scale), labels)
            model = fit(one, rows, f"logistic_fit(y, x, {options}, 'standardize': {standardize}}})")
            scores.append(np.array(model["coefficients"]) * scale)
        close = np.allclose(*scores, rtol=0.02)
        assert close == (standardize == "true")


def test_a_constant_step_on_standardised_features(one):
    features, labels = sample(2000, 3)
    shifted = (features * np.float32(30) + np.float32(100)).astype(np.float32)
    model = fit(
        one, arrow(shifted, labels), "logistic_fit(y, x, {'step_size': 0.05, 'standardize': true, 'epochs': 5})"
    )
    assert mean_loss(model, shifted.astype(np.float64), labels) < 1.02 * optimum(shifted.astype(np.float64), labels)


@pytest.mark.parametrize("l1", [0.0, 0.01])
def test_published_optimum_of_breast_cancer(one, l1):
    """Near the optimum with C = 1 in twenty epochs, penalties included; an L1 penalty takes longer."""
    data, target = datasets.load_breast_cancer(return_X_y=True)
    scaled = (data - data.mean(axis=0)) / data.std(axis=0)
    options = f"{{'epochs': 20, 'tolerance': 0, 'l2': {1 / len(data)}, 'standardize': true, 'l1': {l1}}}"
    model = fit(one, arrow(data.astype(np.float32), target), f"logistic_fit(y, x, {options})")
    weights = np.array(model["coefficients"]) * data.std(axis=0)
    intercept = model["intercept"] + np.array(model["coefficients"]) @ data.mean(axis=0)
    losses = np.logaddexp(0, -np.where(target, 1, -1) * (scaled @ weights + intercept))
    objective = losses.sum() + weights @ weights / 2 + len(data) * l1 * np.abs(weights).sum()
    if not l1:
        assert objective == pytest.approx(37.758945962, rel=0.01)
    else:
        assert objective == pytest.approx(sparse_optimum(scaled, target, l1), rel=0.02)


@pytest.mark.parametrize("call", ["logistic_fit(y, x, {})", "softmax_fit(y, x, {})"])
def test_a_step_size_for_features_of_uneven_size_is_warned_of(one, call):
    features, labels = sample(300, 2)
    rows = arrow(features * np.array([1, 2000], np.float32), labels)
    warnings = [
        fit(one, rows, call.replace("{}", options))["warning"]
        for options in ("{'step_size': 1e-9}", "{'step_size': 0.1, 'standardize': true}", "{'epochs': 2}")
    ]
    assert warnings[0].startswith("features differ in size more than a thousand times")
    assert warnings[1:] == ["", ""]
    assert fit(one, arrow(features, labels), call.replace("{}", "{'step_size': 1e-9}"))["warning"] == ""


# ------------------------------------------------------------------------------------------------------ starting model


def test_training_goes_on_from_a_stored_model(one):
    features, labels = sample(6000, 5)
    one.execute(
        "CREATE TABLE stored AS SELECT i, y, x FROM (SELECT unnest($1) AS y, unnest($2) AS x, unnest($3) AS i)",
        [labels.tolist(), features.tolist(), list(range(6000))],
    )
    halves = "SELECT logistic_fit(y, x, {{'step_size': 0.05{}}} ORDER BY i) FROM stored WHERE {}"
    whole = one.execute(halves.format("", "true")).fetchall()[0][0]
    one.execute(f"CREATE TABLE models AS SELECT ({halves.format('', 'i < 3000')}) AS model")
    one.execute("SET VARIABLE start = (SELECT model FROM models)")
    second = one.execute(halves.format(", 'init': getvariable('start')", "i >= 3000")).fetchall()[0][0]
    assert second["coefficients"] == pytest.approx(whole["coefficients"], abs=1e-6)
    assert second["intercept"] == pytest.approx(whole["intercept"], abs=1e-6)
    assert (second["n"], second["step"]) == (3000, 6000)


def test_automatic_steps_go_on_where_they_were(one):
    features, labels = sample(20_000, 5)
    rows = arrow(features, labels)
    first = fit(one, rows, "logistic_fit(y, x)")
    one.execute("SET VARIABLE start = (SELECT logistic_fit(y, x) FROM rows)")
    second = fit(one, rows, "logistic_fit(y, x, {'init': getvariable('start')})")
    assert second["step"] == 2 * first["step"]
    best = optimum(features.astype(np.float64), labels)
    assert mean_loss(second, features, labels) < 1.001 * best
    assert second["loss"] < first["loss"]


# ----------------------------------------------------------------------------------------------------------- one class


@pytest.mark.parametrize(("label", "intercept"), [("true", 16.0), ("false", -16.0), ("-1", -16.0)])
@pytest.mark.parametrize("options", ["{}", "{'step_size': 0.1, 'epochs': 3}", "{'fit_intercept': false}"])
def test_rows_of_one_class_give_a_model_that_says_so(con, label, intercept, options):
    given_options = "" if options == "{}" else f", {options}"
    call = f"logistic_fit({label}, [i, 1]{given_options})"
    model, probability = con.execute(
        f"SELECT m, predict_proba(m, [7, 1]) FROM (SELECT {call} AS m FROM range(100) t(i))"
    ).fetchall()[0]
    assert model["degenerate"]
    assert model["coefficients"] == [0, 0]
    assert model["intercept"] == (0 if "fit_intercept" in options else intercept)
    assert probability == pytest.approx(1 / (1 + np.exp(-model["intercept"])))


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("logistic_fit(i > 2, [i], NULL, -1.0)", "sample_weight and class_weight must be at least 0 and finite"),
        ("logistic_fit(i > 2, [i], NULL, 'nan'::DOUBLE)", "sample_weight and class_weight must be at least 0"),
        ("logistic_fit(i > 2, [i], NULL, NULL::DOUBLE)", "5 of 5 rows have a NULL as label, weight or feature"),
        ("logistic_fit(i > 2, [i], {'class_weight': [1]})", "option class_weight must be"),
        ("logistic_fit(i > 2, [i], {'class_weight': [1, -1]})", "class_weight must be at least 0"),
        ("huber_fit(i, [i], {'class_weight': [1, 2]})", "option class_weight must be"),
        ("logistic_fit(i > 2, [i], {'init': 3})", "option 'init'"),
        (
            "logistic_fit(i > 2, [i, i], {'init': getvariable('m')})",
            "a row has 2 features, the model in option init has 1",
        ),
        ("svm_fit(i > 2, [i], {'init': getvariable('m')})", "option init is a model of another task"),
    ],
)
def test_wrong_weights_and_starts_are_told(con, call, message):
    con.execute("SET VARIABLE m = (SELECT logistic_fit(i > 2, [i]) FROM range(5) t(i))")
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"SELECT {call} FROM range(5) t(i)").fetchall()


def test_without_an_intercept_there_is_none(con):
    query = "SELECT logistic_fit(i % 3 = 0, [i / 100, 1], {'fit_intercept': false}).intercept FROM range(100) t(i)"
    assert con.sql(query).fetchall() == [(0,)]

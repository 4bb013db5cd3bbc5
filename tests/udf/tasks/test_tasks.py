"""Training on every loss: close to the optimum that a solver finds, and the same in every way that rows can come."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import minimize

import ironlake

ROWS, WIDTH = 20_000, 4
#: Task, how labels come from the noise-free score and noise, its loss of scores and labels (+1 and -1 for classes).
TASKS = {
    "svm": ("class", lambda z, y: np.maximum(0, 1 - y * z)),
    "squared_hinge": ("class", lambda z, y: np.maximum(0, 1 - y * z) ** 2),
    "modified_huber": ("class", lambda z, y: np.where(y * z >= -1, np.maximum(0, 1 - y * z) ** 2, -4 * y * z)),
    "logistic": ("class", lambda z, y: np.logaddexp(0, -y * z)),
    "least_squares": ("number", lambda z, y: (z - y) ** 2 / 2),
    "huber": ("number", lambda z, y: np.where(abs(z - y) <= 1, (z - y) ** 2 / 2, abs(z - y) - 0.5)),
    "quantile": ("number", lambda z, y: np.maximum(0.5 * (y - z), -0.5 * (y - z))),
    "epsilon_insensitive": ("number", lambda z, y: np.maximum(0, abs(z - y) - 0.1)),
    "poisson": ("count", lambda z, y: np.exp(z) - y * z),
}


def rows(kind, seed=3):
    """Features, and labels drawn from a linear model of them."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((ROWS, WIDTH))
    score = features @ [1.0, -0.5, 0.25, 0.0] + 0.3
    if kind == "class":
        return features, (random.random(ROWS) < 1 / (1 + np.exp(-2 * score))).astype(float)
    return features, score + random.standard_t(3, ROWS) if kind == "number" else random.poisson(np.exp(score))


def optimum(loss, features, labels):
    """The least mean loss, by a solver; smoothed kinks do no harm at this tolerance."""
    one = np.c_[features, np.ones(len(features))]
    start = np.zeros(WIDTH + 1)
    for _ in range(3):
        start = minimize(lambda w: loss(one @ w, labels).mean(), start, method="Powell", tol=1e-9).x
    return loss(one @ start, labels).mean()


@pytest.mark.parametrize("task", TASKS)
def test_ten_epochs_reach_the_optimum(con, task):
    kind, loss = TASKS[task]
    features, labels = rows(kind)
    con.register("rows", pa.table({"y": labels, "x": list(features)}))
    label = "y = 1" if kind == "class" else "y"
    calls = ", ".join(f"{task}_fit({label}, x, {{'epochs': {epochs}, 'tolerance': 0}})" for epochs in (10, 1))
    [(model, first)] = con.execute(f"SELECT {calls} FROM rows").fetchall()
    signs = 2 * labels - 1 if kind == "class" else labels
    best = optimum(loss, features, signs)
    for trained, within in ((model, 0.01), (first, 0.05)):
        scores = features @ trained["coefficients"] + trained["intercept"]
        assert loss(scores, signs).mean() <= best + abs(best) * within
    assert (model["task"], model["n"], model["epochs"], model["step"]) == (task, ROWS, 10, 10 * ROWS)
    assert model["classes"] == ([0.0, 1.0] if kind == "class" else [])
    assert len(model["loss_history"]) == 10
    assert model["loss"] == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("task", ["least_squares", "quantile", "huber"])
def test_the_automatic_step_follows_the_scale_of_the_labels(con, task, scale):
    kind, loss = TASKS[task]
    features, labels = rows(kind)
    con.register("rows", pa.table({"y": labels * scale, "x": list(features)}))
    delta = ", 'delta': " + str(scale) if task == "huber" else ""
    [(model,)] = con.execute(f"SELECT {task}_fit(y, x, {{'epochs': 5{delta}}}) FROM rows").fetchall()
    scores = (features @ model["coefficients"] + model["intercept"]) / scale
    assert loss(scores, labels).mean() <= 1.02 * optimum(loss, features, labels)


def test_the_automatic_step_of_few_rows_gets_smaller_where_it_diverges(con):
    rows = "SELECT sin(i * 7) AS a, cos(i * 5) AS b, floor(exp(1 + sin(i * 7))) AS y FROM range(60) t(i)"
    fit = "poisson_fit(y, [a, 3 * b, a * b], {'epochs': 20, 'tolerance': 0})"
    [(model,)] = con.sql(f"SELECT {fit} FROM ({rows})").fetchall()
    losses = model["loss_history"]
    assert len(losses) == 20
    assert losses[-1] < losses[0]
    assert model["coefficients"][0] == pytest.approx(1, abs=0.3)


def test_prediction_by_task(con):
    con.execute("CREATE TABLE rows AS SELECT 1 + sin(i) AS x FROM range(2000) t(i)")
    predicted = con.execute("""
        WITH models AS (
            SELECT least_squares_fit(2 * x, [x], {'epochs': 20}) AS line, svm_fit(x > 1, [x], {'epochs': 1}) AS hinge,
                   poisson_fit(round(exp(x)), [x], {'epochs': 20}) AS counts,
                   modified_huber_fit(x > 1, [x], {'epochs': 20}) AS robust FROM rows)
        SELECT predict(line, [1.5]), predict(hinge, [1.9]), predict(hinge, [0.1]), predict(counts, [1.0]),
               exp(decision_function(counts, [1.0])), predict_proba(robust, [0.0]), predict_proba(robust, [2.0])
        FROM models""").fetchall()
    line, high, low, count, same, least, most = predicted[0]
    assert line == pytest.approx(3.0, abs=0.1)
    assert (high, low) == (1.0, 0.0)
    assert count == pytest.approx(np.e, abs=0.5)
    assert count == pytest.approx(same)
    assert 0 <= least < 0.1
    assert 0.9 < most <= 1
    with pytest.raises(Exception, match="of a task that gives no probabilities; use decision_function"):
        con.execute("SELECT predict_proba(svm_fit(x > 1, [x], {'epochs': 1}), [1.0]) FROM rows").fetchall()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("least_squares_fit('nan'::DOUBLE, [i::DOUBLE], {'epochs': 1})", "the label of a row is NaN or infinite"),
        ("poisson_fit(i - 2.0, [i::DOUBLE], {'epochs': 1})", "label must be at least 0; a row has -2"),
        ("logistic_fit(i, [i])", "label must be true or false, 1 or 0, 1 or -1; a row has 2"),
        ("huber_fit(i, [i::DOUBLE], {'epsilon': 1})", "huber_fit: unknown option 'epsilon'"),
        ("huber_fit(i, [i::DOUBLE], {'delt': 1})", "unknown option 'delt'; did you mean 'delta'"),
        ("quantile_fit(NULL::DOUBLE, [i::DOUBLE], {'epochs': 1})", "5 of 5 rows have a NULL as label"),
    ],
)  # fmt: skip
def test_wrong_calls_are_told(con, call, message):
    with pytest.raises(Exception, match=message):
        con.execute(f"SELECT {call} FROM range(5) t(i)").fetchall()


def test_a_task_from_its_loss_alone():
    @ironlake.task(labels="real")
    def cauchy(score, label, *, scale: float = 1.0):
        """Train a linear regression for labels with very heavy tails."""
        return np.log(1 + ((score - label) / scale) ** 2)

    ironlake.task("log(1 + exp(-y * dot(w, x)))", name="logistic_again")
    con = ironlake.connect(threads=1)
    features, labels = rows("class")
    con.register("classes", pa.table({"y": labels, "x": list(features)}))
    [(one, other)] = con.execute(
        "SELECT logistic_fit(y, x, {'step_size': 0.01}), logistic_again_fit(y, x, {'step_size': 0.01}) FROM classes"
    ).fetchall()
    assert one["coefficients"] == other["coefficients"]
    assert other["task"] == "logistic_again"
    features, labels = rows("number")
    con.register("numbers", pa.table({"y": labels, "x": list(features)}))
    [(model,)] = con.execute("SELECT cauchy_fit(y, x, {'scale': 2, 'epochs': 5}) FROM numbers").fetchall()
    assert model["coefficients"] == pytest.approx([1.0, -0.5, 0.25, 0.0], abs=0.05)
    [(text,)] = con.execute("SELECT description FROM ironlake_functions() WHERE name = 'cauchy_fit'").fetchall()
    assert text.startswith("Train a linear regression for labels with very heavy tails.")
    assert "scale" in ironlake.functions["cauchy_fit"].__doc__


@pytest.mark.parametrize("threads", [1, 2])
def test_groups_are_trained_apart(threads):
    con = ironlake.connect(threads=threads)
    con.execute("CREATE TABLE rows AS SELECT i % 7 AS k, sin(i) AS x, (i % 7) * x + 1 AS y FROM range(7000) t(i)")
    models = con.execute(
        "SELECT k, least_squares_fit(y, [x], {'epochs': 30}) FROM rows GROUP BY k ORDER BY k"
    ).fetchall()
    for key, model in models:
        assert model["n"] == 1000
        assert model["coefficients"][0] == pytest.approx(key, abs=0.05)
    assert con.execute("SELECT least_squares_fit(y, [x], {'epochs': 1}) FROM rows WHERE x > 2").fetchall() == [(None,)]

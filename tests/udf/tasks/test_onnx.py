"""Exported models in onnxruntime give what the prediction functions give."""

import sys

import duckdb
import numpy as np
import onnxruntime
import pytest

from ironlake.udf.tasks.task import TASKS

ROWS = """
CREATE TABLE rows AS
SELECT sin(3 * i) + cos(i) > 0.1 AS class, 2 * sin(3 * i) - cos(i) AS number, abs(i % 5)::DOUBLE AS count,
       ['low', 'mid', 'high'][1 + i % 3] AS text, [sin(3 * i), cos(i), i % 3]::FLOAT[] AS x
FROM range(600) t(i)
"""


def run(con, training):
    """Outputs of the graph by name, and the features, for a model that a query over ``rows`` trains."""
    con.execute(ROWS)
    con.execute(f"CREATE TABLE models AS SELECT any_value(m) AS m FROM (SELECT {training} AS m FROM rows)")
    content = con.sql("SELECT model_to_onnx(m) FROM models").fetchall()[0][0]
    session = onnxruntime.InferenceSession(content)
    features = np.array([row[0] for row in con.sql("SELECT x FROM rows").fetchall()], np.float32)
    names = [output.name for output in session.get_outputs()]
    for count in (0, 1):
        few = dict(zip(names, session.run(None, {"features": features[:count]}), strict=True))
        assert all(len(values) == count for values in few.values())
    return dict(zip(names, session.run(None, {"features": features}), strict=True))


def column(con, expression):
    return [row[0] for row in con.sql(f"SELECT {expression} FROM rows, models").fetchall()]


@pytest.mark.parametrize("task", ["logistic", "svm", "squared_hinge", "modified_huber"])
def test_two_classes(con, task):
    made = run(con, f"struct_update(newton_fit(class, x, {{'l2': 0.01}}), task := '{task}')")
    assert made["score"] == pytest.approx(column(con, "decision_function(m, x)"), abs=1e-5)
    assert made["label"].tolist() == column(con, "predict(m, x)")
    assert ("probabilities" in made) == (task in ("logistic", "modified_huber"))
    if "probabilities" in made:
        assert made["probabilities"][:, 1] == pytest.approx(column(con, "predict_proba(m, x)"), abs=1e-6)
        assert made["probabilities"].sum(axis=1) == pytest.approx(np.ones(600), abs=1e-6)


def test_labels_of_minus_one(con):
    made = run(con, "newton_fit(CASE WHEN class THEN 1 ELSE -1 END, x, {'l2': 0.01})")
    assert set(made["label"].tolist()) == {-1, 1}
    assert made["label"].tolist() == column(con, "predict(m, x)")


@pytest.mark.parametrize("task", sorted(name for name, task in TASKS.items() if task.labels != 0))
def test_numbers_and_counts(con, task):
    made = run(con, f"struct_update(newton_fit(count, x, {{'task': 'poisson'}}), task := '{task}')")
    assert made["value"] == pytest.approx(column(con, "predict(m, x)"), rel=1e-5, abs=1e-5)


def test_exact_regressions(con):
    made = run(
        con,
        "{'task': 'ridge', 'coefficients': [0.5, -2, 3]::DOUBLE[], 'intercept': 0.1::DOUBLE, 'classes': []::DOUBLE[], "
        "'n': 3, 'loss': 0::DOUBLE, 'r2': 0::DOUBLE, 'std_errors': []::DOUBLE[], 'p_values': []::DOUBLE[]}",
    )
    assert made["value"] == pytest.approx(column(con, "predict(m, x)"), abs=1e-5)


def test_several_classes(con):
    made = run(con, "lbfgs_fit(text, x, {'l2': 0.01})")
    assert made["label"].tolist() == column(con, "predict(m, x)")
    assert made["probabilities"] == pytest.approx(np.array(column(con, "predict_proba(m, x)")), abs=1e-5)
    assert made["score"] == pytest.approx(np.array(column(con, "decision_function(m, x)")), abs=1e-5)


def test_no_model_no_file(con):
    con.execute(ROWS)
    assert con.sql("SELECT model_to_onnx(newton_fit(class, x, {'l2': 0.01})) FROM rows WHERE false").fetchall() == [
        (None,)
    ]


def test_what_does_not_fit_is_told(con):
    con.execute(ROWS)
    con.execute(
        "CREATE TABLE models AS SELECT newton_fit(class, x, {'l2': 0.01}) AS m, lbfgs_fit(text, x) AS s FROM rows"
    )
    for call, message in [
        ("struct_update(m, classes := [1.0])", "argument model has 1 classes; a linear model has two, or none"),
        ("struct_update(s, classes := ['a'])", "argument model has not as many rows of coefficients"),
        ("struct_update(m, classes := NULL::DOUBLE[])", "argument model has no classes"),
    ]:
        with pytest.raises(duckdb.Error, match=f"model_to_onnx: .*{message}"):
            con.execute(f"SELECT model_to_onnx({call}) FROM models").fetchall()


def test_a_missing_package_is_told(con, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    con.execute(ROWS)
    with pytest.raises(duckdb.Error, match=r"model_to_onnx: .*pip install 'ironlake\[onnx\]'"):
        con.execute("SELECT model_to_onnx(newton_fit(class, x, {'l2': 0.01})) FROM rows").fetchall()

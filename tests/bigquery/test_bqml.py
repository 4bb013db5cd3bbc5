"""BigQuery ML's statements, and what their functions give, beside scikit-learn."""

import sys

import duckdb
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import ironlake

ROWS = """
CREATE TABLE rows AS
SELECT i AS id, 100 + 10 * sin(i) + i % 3 * 20 AS price, ['a', 'b', NULL][1 + i % 3] AS kind,
       sin(i) + i % 3 > 0.7 AS y, ['u', 'v', 'w'][1 + (i % 3 + (i % 11 = 0)::INT) % 3] AS c, i % 7 = 0 AS flag
FROM range(3000) t(i)
"""


@pytest.fixture
def run(con):
    con.execute(ROWS)
    return lambda statement: ironlake.bqml(statement, con)


def create(run, options, query, name="m"):
    assert run(f"CREATE OR REPLACE MODEL {name} OPTIONS({options}) AS {query}") is None


def test_a_linear_regression(run, con):
    create(
        run,
        "MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price'], DATA_SPLIT_METHOD='NO_SPLIT'",
        "SELECT price, kind, flag FROM rows",
    )
    predicted = run("SELECT id, predicted_price FROM ML.PREDICT(MODEL m, TABLE rows) ORDER BY id").fetchnumpy()
    columns = con.sql(
        "SELECT price, (kind = 'a') IS TRUE AS a, (kind = 'b') IS TRUE AS b, flag FROM rows ORDER BY id"
    ).fetchnumpy()
    features = np.column_stack([columns["a"], columns["b"], columns["flag"]]).astype(float)
    oracle = LinearRegression().fit(features, columns["price"])
    assert predicted["predicted_price"] == pytest.approx(oracle.predict(features), abs=1e-4)
    metrics = run("SELECT r2_score, mean_squared_error FROM ML.EVALUATE(MODEL m)").fetchall()[0]
    assert metrics[0] == pytest.approx(oracle.score(features, columns["price"]), abs=1e-6)
    again = run("SELECT r2_score, mean_squared_error FROM ML.EVALUATE(MODEL m, TABLE rows)").fetchall()[0]
    assert again == pytest.approx(metrics)


def test_a_logistic_regression(run, con):
    create(
        run,
        "MODEL_TYPE='LOGISTIC_REG', L2_REG=0.01, INPUT_LABEL_COLS=['y'], DATA_SPLIT_METHOD='NO_SPLIT'",
        "SELECT y, price FROM rows",
    )
    result = run("SELECT * FROM ML.PREDICT(MODEL `m`, (SELECT id, price, y FROM rows)) ORDER BY id")
    assert result.columns == ["predicted_y", "predicted_y_probs", "id", "price", "y"]
    rows = result.fetchall()
    columns = con.sql("SELECT price, y FROM rows ORDER BY id").fetchnumpy()
    oracle = LogisticRegression(C=1 / (0.01 * 3000), tol=1e-12, max_iter=10_000)
    oracle.fit(columns["price"].reshape(-1, 1), columns["y"])
    shares = oracle.predict_proba(columns["price"].reshape(-1, 1))
    for row, share in zip(rows[:200], shares[:200], strict=True):
        assert row[0] == (share[1] >= 0.5)
        assert [each["prob"] for each in row[1]] == pytest.approx(sorted(share, reverse=True), abs=1e-4)
        assert row[1][0]["label"] == row[0]
    strict = run(
        "SELECT count(*) FROM ML.PREDICT(MODEL m, TABLE rows, STRUCT(0.9 AS threshold)) WHERE predicted_y"
    ).fetchall()
    assert strict[0][0] == (shares[:, 1] >= 0.9).sum()
    accuracy = run("SELECT accuracy, roc_auc FROM ML.EVALUATE(MODEL m)").fetchall()[0]
    assert accuracy[0] == pytest.approx(oracle.score(columns["price"].reshape(-1, 1), columns["y"]))
    matrix = run("SELECT * FROM ML.CONFUSION_MATRIX(MODEL m, TABLE rows)").fetchall()
    assert (matrix[0][1] + matrix[1][2]) / 3000 == pytest.approx(accuracy[0])


def test_several_classes(run):
    create(
        run,
        "MODEL_TYPE='LOGISTIC_REG', INPUT_LABEL_COLS=['c'], L2_REG=0.001, AUTO_CLASS_WEIGHTS=TRUE",
        "SELECT c, price, kind FROM rows",
    )
    rows = run("SELECT c, predicted_c, predicted_c_probs FROM ML.PREDICT(MODEL m, TABLE rows)").fetchall()
    assert np.mean([row[0] == row[1] for row in rows]) > 0.85
    for _, label, pairs in rows[:20]:
        assert pairs[0]["label"] == label
        assert {pair["label"] for pair in pairs} == {"u", "v", "w"}
        assert sum(pair["prob"] for pair in pairs) == pytest.approx(1)
    assert run("SELECT accuracy, roc_auc FROM ML.EVALUATE(MODEL m)").fetchall()[0][1] is None


def test_predictions_flow_through_a_query(run):
    create(run, "MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price']", "SELECT price, kind FROM rows", "shop.prices")
    rows = run(
        """
        WITH names AS (SELECT 'a' AS kind, 'apple' AS name)
        SELECT name, COUNT(*) AS n, AVG(p.predicted_price) AS price
        FROM ML.PREDICT(MODEL shop.prices, (SELECT * FROM rows WHERE kind = 'a')) AS p JOIN names USING (kind)
        GROUP BY name
        """
    ).fetchall()
    assert rows == [("apple", 1000, pytest.approx(100, abs=1))]
    nested = "SELECT predicted_price, kind FROM ML.PREDICT(MODEL shop.prices, TABLE rows)"
    create(run, "MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['predicted_price']", nested, "second")
    assert run("SELECT r2_score FROM ML.EVALUATE(MODEL second)").fetchall()[0][0] == pytest.approx(1, abs=1e-6)


def test_columns_named_like_ours(run, con):
    con.execute("CREATE TABLE other AS SELECT price AS model, kind AS features, y AS p FROM rows")
    create(run, "MODEL_TYPE='LOGISTIC_REG', INPUT_LABEL_COLS=['p'], L2_REG=0.1", "SELECT * FROM other")
    assert run("SELECT * FROM ML.PREDICT(MODEL m, TABLE other)").columns == [
        "predicted_p", "predicted_p_probs", "model", "features", "p",
    ]  # fmt: skip


def test_what_a_model_tells_of_itself(run):
    create(run, "MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price']", "SELECT price, kind, flag, id FROM rows")
    weights = {row[0]: row[1:] for row in run("SELECT * FROM ML.WEIGHTS(MODEL m)").fetchall()}
    assert list(weights) == ["kind", "flag", "id", "__INTERCEPT__"]
    assert [each["category"] for each in weights["kind"][1]] == ["a", "b", None]
    assert weights["id"][0] == pytest.approx(0, abs=1e-3)
    assert run("SELECT input, category_count FROM ML.FEATURE_INFO(MODEL m)").fetchall() == [
        ("kind", 3), ("flag", 2), ("id", None),
    ]  # fmt: skip
    losses = run("SELECT iteration, loss FROM ML.TRAINING_INFO(MODEL m)").fetchall()
    assert [row[0] for row in losses] == list(range(len(losses)))


def test_missing_and_unseen_values(run, con):
    create(run, "MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price']", "SELECT price, kind, id FROM rows")
    values = run("SELECT predicted_price FROM ML.PREDICT(MODEL m, (SELECT 'unseen' AS kind, NULL AS id))").fetchall()
    assert 0 < values[0][0] < 1000


def test_dummies_and_penalties(run):
    create(run, "MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price'], CATEGORY_ENCODING_METHOD='DUMMY_ENCODING', L1_REG=0.5",
           "SELECT price, kind, flag FROM rows")  # fmt: skip
    weights = dict(run("SELECT processed_input, category_weights FROM ML.WEIGHTS(MODEL m)").fetchall())
    assert [each["category"] for each in weights["kind"]] == ["b", None]
    assert weights["flag"][0]["weight"] == 0


@pytest.mark.parametrize(
    ("options", "held_out"),
    [
        ("DATA_SPLIT_METHOD='NO_SPLIT'", 0),
        ("DATA_SPLIT_METHOD='AUTO_SPLIT'", 600),
        ("DATA_SPLIT_METHOD='RANDOM', DATA_SPLIT_EVAL_FRACTION=0.5", 1500),
        ("DATA_SPLIT_METHOD='SEQ', DATA_SPLIT_COL='id', DATA_SPLIT_EVAL_FRACTION=0.1", 300),
        ("DATA_SPLIT_METHOD='CUSTOM', DATA_SPLIT_COL='flag'", 429),
    ],
)
def test_splits(run, con, options, held_out):
    create(
        run, f"MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price'], {options}", "SELECT price, kind, id, flag FROM rows"
    )
    assert 3000 - con.sql("SELECT model.n FROM m").fetchall()[0][0] == pytest.approx(held_out, abs=60)


def test_models_are_tables(run, con):
    create(run, "MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price']", "SELECT price, id FROM rows")
    assert con.sql("SELECT model.task, label FROM m").fetchall() == [("least_squares", "price")]
    run("CREATE MODEL IF NOT EXISTS m OPTIONS(MODEL_TYPE='LOGISTIC_REG') AS SELECT 1 AS label")
    assert con.sql("SELECT model_type FROM m").fetchall() == [("LINEAR_REG",)]
    with pytest.raises(duckdb.CatalogException, match="already exists"):
        run("CREATE MODEL m OPTIONS(MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price']) AS SELECT price, id FROM rows")
    run("DROP MODEL m")
    run("DROP MODEL IF EXISTS m;")
    with pytest.raises(duckdb.CatalogException, match="m does not exist"):
        run("DROP MODEL m")
    assert con.sql("SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'ironlake%'").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='DNN', INPUT_LABEL_COLS=['y']) AS SELECT * FROM rows", "MODEL_TYPE is 'DNN'; expected one of LINEAR_REG, LOGISTIC_REG"),
        ("CREATE MODEL m AS SELECT * FROM rows", "MODEL_TYPE is ''"),
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='LINEAR_REG')", "CREATE MODEL needs AS SELECT"),
        ("CREATE MODEL m OPTIONS(MODEL_TIPE='x') AS SELECT 1", "unknown option MODEL_TIPE; did you mean 'model_type'"),
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='LINEAR_REG') AS SELECT * FROM rows", "no label column 'label'; their columns are id"),
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price'], L2_REG=-1) AS SELECT * FROM rows", "L2_REG is -1.0; expected at least 0"),
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='LOGISTIC_REG', INPUT_LABEL_COLS=['y'], L1_REG=1) AS SELECT * FROM rows", "L1_REG is for LINEAR_REG"),
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='LOGISTIC_REG', INPUT_LABEL_COLS=['y']) AS SELECT true AS y, 1 AS x", "all rows are of the class 'true'"),
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['y']) AS SELECT NULL AS y, 1 AS x", "label column 'y' is NULL in 1 rows"),
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price']) AS SELECT price, DATE '2020-01-01' AS d FROM rows", "'d' is of type DATE; expected numbers, text or booleans"),
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price'], DATA_SPLIT_METHOD='SEQ') AS SELECT * FROM rows", "needs the option DATA_SPLIT_COL"),
        ("CREATE MODEL m OPTIONS(MODEL_TYPE='LINEAR_REG', INPUT_LABEL_COLS=['price']) AS SELECT * FROM rows LIMIT 0", "there are no rows to train on"),
        ("SELECT * FROM ML.PREDICT(MODEL nothing, TABLE rows)", "there is no model nothing"),
        ("SELECT * FROM ML.PREDICT(MODEL rows, TABLE rows)", "there is no model rows"),
        ("SELECT * FROM ML.PREDICT(MODEL m)", "ML.PREDICT needs rows"),
        ("SELECT * FROM ML.PREDICT(m, TABLE rows)", "must be MODEL and a name"),
        ("SELECT * FROM ML.PREDCT(MODEL m, TABLE rows)", "no ML.PREDCT here; did you mean 'predict'"),
        ("SELECT * FROM ML.PREDICT(MODEL m, TABLE rows", "parenthesis behind ML.PREDICT is not closed"),
        ("SELECT 1; SELECT 2", "expected one statement, got 2"),
        ("SELEKT * FROM", "bqml: "),
    ],
)  # fmt: skip
def test_wrong_statements_are_told(run, statement, message):
    with pytest.raises(ValueError, match=message):
        run(statement)


def test_a_missing_package_is_told(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    with pytest.raises(ModuleNotFoundError, match=r"bqml needs sqlglot: pip install 'ironlake\[bqml\]'"):
        run("SELECT 1")

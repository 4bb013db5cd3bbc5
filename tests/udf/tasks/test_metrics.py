"""The metrics of predicted numbers and classes against scikit-learn, and on data whose metrics are known."""

import warnings

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

import ironlake.udf.tasks.multiclass_metrics as multiclass
import ironlake.udf.tasks.regression_metrics as regression

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
COUNTS = "1, 2, 3"


@pytest.fixture(scope="module")
def db():
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def measured(con, y, p):
    con.register("rows", pa.table({"y": np.asarray(y, float), "p": np.asarray(p, float)}))
    return con.execute("SELECT regression_metrics(y, p) FROM rows").fetchall()[0][0]


def expected(y, p):
    y, p = np.asarray(y, float), np.asarray(p, float)
    inside = min(y.min(), p.min()) > -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one row has no r2
        return {
            "mean_absolute_error": sklearn.metrics.mean_absolute_error(y, p),
            "mean_squared_error": sklearn.metrics.mean_squared_error(y, p),
            "mean_squared_log_error": sklearn.metrics.mean_squared_log_error(y, p) if inside else np.nan,
            "median_absolute_error": sklearn.metrics.median_absolute_error(y, p),
            "r2_score": sklearn.metrics.r2_score(y, p),
            "explained_variance": sklearn.metrics.explained_variance_score(y, p),
            "n": len(y),
        }


# -------------------------------------------------------------------------------------------------------------- numbers


@given(rows=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30), positive=st.booleans())
def test_regression_against_sklearn(db, rows, positive):
    y, p = np.array(rows).T
    y, p = (abs(y), abs(p)) if positive else (y, p)
    if 0 < np.ptp(y) < 1e-3:
        return  # the two round differently
    assert measured(db, y, p) == pytest.approx(expected(y, p), rel=1e-7, abs=1e-9, nan_ok=True)


def test_regression_on_many_rows(threaded):
    random = np.random.default_rng(0)
    y = random.standard_normal(200_000) * 3 + 20
    p = y + random.standard_normal(200_000) + 0.1
    assert measured(threaded, y, p) == pytest.approx(expected(y, p), rel=1e-12)


def test_large_offsets_cost_no_digits(db):
    random = np.random.default_rng(1)
    y = random.standard_normal(1000)
    p = y + random.standard_normal(1000) / 10
    y, p = np.round(y * 2**20) / 2**20, np.round(p * 2**20) / 2**20  # exact after the offset as well
    near, far = measured(db, y, p), measured(db, y + 2.0**30, p + 2.0**30)
    for name in ("mean_squared_error", "r2_score", "explained_variance", "median_absolute_error"):
        assert far[name] == pytest.approx(near[name], rel=1e-8)


@pytest.mark.parametrize(
    ("y", "p", "r2", "explained"),
    [
        ([0.1, 0.1, 0.1], [0.1, 0.1, 0.1], 1, 1),
        ([0.1, 0.1, 0.1], [0.2, 0.2, 0.3], 0, 0),
        ([1, 2, 3], [2, 3, 4], -0.5, 1),
        ([1, 2, 3], [1, 2, 3], 1, 1),
        ([1], [2], np.nan, 1),
    ],
)
def test_shares(db, y, p, r2, explained):
    got = measured(db, y, p)
    assert got["r2_score"] == pytest.approx(r2, nan_ok=True)
    assert got["explained_variance"] == explained


def test_log_error_below_its_range(db):
    assert np.isnan(measured(db, [1, -1], [1, 2])["mean_squared_log_error"])
    assert np.isnan(measured(db, [1, 2], [-3, 2])["mean_squared_log_error"])
    assert measured(db, [0.0, -0.5], [0.0, 0.5])["mean_squared_log_error"] == pytest.approx(np.log(3) ** 2 / 2)


def test_regression_groups_and_nulls(threaded):
    query = """
        SELECT k, regression_metrics(y, p), regression_metrics(y, p) FILTER (k = 7)
        FROM (SELECT i % 100 AS k, nullif(i % 17, 3) AS y, i % 13 AS p FROM range(20000) t(i)) GROUP BY k ORDER BY k
    """
    i = np.arange(20000)
    for k, got, filtered in threaded.execute(query).fetchall():
        mine = i[(i % 100 == k) & (i % 17 != 3)]
        want = expected(mine % 17, mine % 13)
        assert got == pytest.approx(want, rel=1e-12)
        assert filtered == (got if k == 7 else None)


def test_metrics_without_rows(con):
    query = "SELECT regression_metrics(y::DOUBLE, p), multiclass_metrics(y, p) FROM (VALUES (1, NULL::INTEGER), (NULL, 1)) t(y, p)"
    assert con.execute(query).fetchall() == [(None, None)]
    assert con.execute(f"{query} WHERE false").fetchall() == [(None, None)]


def test_regression_over_a_window(con):
    query = "SELECT regression_metrics(x, x + 1) OVER (ORDER BY x ROWS 2 PRECEDING).n FROM range(4) t(x)"
    assert con.execute(query).fetchall() == [(1,), (2,), (3,), (3,)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("('nan'::DOUBLE, 1)", "regression_metrics: argument label must be finite numbers; a row has nan"),
        ("(1, '-inf'::DOUBLE)", "regression_metrics: argument prediction must be finite numbers; a row has -inf"),
    ],
)
def test_bad_numbers(db, rows, message):
    with pytest.raises(duckdb.Error, match=message):
        db.execute(f"SELECT regression_metrics(y, p) FROM (VALUES {rows}) t(y, p)").fetchall()


# -------------------------------------------------------------------------------------------------------------- classes


def classified(con, y, p, options="", probabilities=None):
    table = {"y": pa.array(y), "p": pa.array(p)}
    if probabilities is not None:
        table["q"] = pa.array(np.asarray(probabilities).tolist(), pa.list_(pa.float64()))
    con.register("rows", pa.table(table))
    further = (f", {options}" if options else "") + (", q" if probabilities is not None else "")
    return con.execute(f"SELECT multiclass_metrics(y, p{further}) FROM rows").fetchall()[0][0]


def check_classes(got, y, p, classes):
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        y, p, labels=classes, zero_division=0
    )
    assert got["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y, p))
    for name, values in (("precision", precision), ("recall", recall), ("f1_score", f1)):
        assert got[name] == pytest.approx(values.mean())
        assert [metrics[name] for metrics in got["classes"]] == pytest.approx(values)
    assert [metrics["n"] for metrics in got["classes"]] == support.tolist()
    assert [metrics["label"] for metrics in got["classes"]] == list(map(str, classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one class
        matrix = sklearn.metrics.confusion_matrix(y, p, labels=classes)
    names = list(map(str, classes))
    cells = {(names.index(c["label"]), names.index(c["prediction"])): c["n"] for c in got["confusion_matrix"]}
    assert cells == {(i, j): matrix[i, j] for i, j in zip(*np.nonzero(matrix), strict=True)}
    assert got["n"] == len(y)


@given(
    rows=st.lists(st.tuples(st.integers(-3, 12), st.integers(-3, 12)), min_size=1, max_size=40), given_all=st.booleans()
)
def test_integer_classes_against_sklearn(db, rows, given_all):
    y, p = np.array(rows).T
    classes = list(range(14, -5, -1)) if given_all else np.union1d(y, p).tolist()
    got = classified(db, y, p, f"{{'classes': {classes}}}" if given_all else "")
    check_classes(got, y, p, classes)
    assert got["log_loss"] is None


@given(
    rows=st.lists(st.tuples(*[st.sampled_from(["cat", "dog", "Ibis", "", "äpfel", "10"])] * 2), min_size=1, max_size=40)
)
def test_text_classes_against_sklearn(db, rows):
    y, p = map(list, zip(*rows, strict=True))
    check_classes(classified(db, y, p), y, p, sorted({*y, *p}, key=str.encode))


@given(seed=st.integers(0, 10**6), n=st.integers(1, 30))
def test_log_loss_against_sklearn(db, seed, n):
    random = np.random.default_rng(seed)
    y, q = random.integers(1, 4, n), random.dirichlet([0.3, 1, 1], n)
    q[0] = [1, 0, 0]
    got = classified(db, y, q.argmax(1) + 1, f"{{'classes': [{COUNTS}]}}", q)
    assert got["log_loss"] == pytest.approx(-np.log(np.maximum(q[np.arange(n), y - 1], 1e-15)).mean())
    if q[0, y[0] - 1]:
        assert got["log_loss"] == pytest.approx(sklearn.metrics.log_loss(y, q, labels=[1, 2, 3]))
    check_classes(got, y, q.argmax(1) + 1, [1, 2, 3])


@pytest.mark.parametrize(
    ("label", "prediction"), [("INTEGER", "DOUBLE"), ("UTINYINT", "BIGINT"), ("DOUBLE", "SMALLINT"), ("FLOAT", "FLOAT")]
)
def test_numbers_of_different_types(db, label, prediction):
    """`predict` gives DOUBLE where labels were integers: 3 is 3."""
    query = f"SELECT multiclass_metrics(y::{label}, p::{prediction}) FROM (VALUES (1, 1), (2, 10), (10, 10)) t(y, p)"
    got = db.execute(query).fetchall()[0][0]
    assert [metrics["label"] for metrics in got["classes"]] == ["1", "2", "10"]
    assert got["accuracy"] == pytest.approx(2 / 3)


def test_negative_zero_is_zero(db):
    (got,) = db.execute(
        "SELECT multiclass_metrics(y, p) FROM (VALUES (0.0::DOUBLE, '-0.0'::DOUBLE)) t(y, p)"
    ).fetchall()[0]
    assert [metrics["label"] for metrics in got["classes"]] == ["0"]
    assert got["accuracy"] == 1


def test_enum_and_decimal_classes(db):
    query = "SELECT multiclass_metrics(y::ENUM('b', 'a'), p), multiclass_metrics(1.5::DECIMAL(2, 1), 1.5) FROM (VALUES ('a', 'b')) t(y, p)"
    text, number = db.execute(query).fetchall()[0]
    assert text["confusion_matrix"] == [{"label": "a", "prediction": "b", "n": 1}]
    assert number["classes"][0]["label"] == "1.5"


def test_class_groups_and_nulls(threaded):
    query = """
        SELECT k, multiclass_metrics(y, p) FROM (
            SELECT i % 10 AS k, nullif(i % 7, 3) AS y, nullif(i % 5, 1) AS p FROM range(5000) t(i)) GROUP BY k ORDER BY k
    """
    i = np.arange(5000)
    for k, got in threaded.execute(query).fetchall():
        mine = i[(i % 10 == k) & (i % 7 != 3) & (i % 5 != 1)]
        if len(mine):
            check_classes(got, mine % 7, mine % 5, np.union1d(mine % 7, mine % 5).tolist())
        else:
            assert got is None


def test_rows_with_null_probabilities(db):
    query = f"SELECT multiclass_metrics(y, 1, {{'classes': [{COUNTS}]}}, q) FROM (VALUES (1, [0.5, 0.5, 0]), (2, NULL)) t(y, q)"
    got = db.execute(query).fetchall()[0][0]
    assert got["n"] == 1
    assert got["log_loss"] == pytest.approx(np.log(2))


def test_python_faces():
    assert multiclass.multiclass_metrics(np.array([1, 2]), np.array([1, 1]))["accuracy"] == 0.5
    assert regression.regression_metrics(np.array([1.0, 2.0]), np.array([1.0, 1.0]))["mean_absolute_error"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("y, p::VARCHAR", "arguments label and prediction must both be numbers or both be texts, got int64 and string"),
        ("y::DOUBLE, 'nan'::DOUBLE", "arguments label and prediction must be classes; a row has NaN"),
        ("y, p, {'classes': [1]}", r"option classes must have all classes; a row has '2', which is not in \[1\]"),
        ("y, p, {'classes': [1, 1, 2]}", "option classes must be different classes, at least one"),
        ("y, p, {'classes': []}", "option classes must be different classes, at least one|option 'classes'"),
        ("y, p, {'labels': [1]}", "unknown option 'labels'"),
        ("y, p, {'classes': [1, 2]}, [1.0]", "argument probabilities must have a number for each of the 2 classes, a row has 1"),
        ("y, p, {'classes': [1, 2]}, [1.5, -0.5]", "argument probabilities must be between 0 and 1; a row has 1.5"),
        ("y, p, {'classes': [1, 2]}, [0.5, 'nan'::DOUBLE]", "argument probabilities must be between 0 and 1; a row has nan"),
        ("y, p, {'classes': [1, 2]}, [0.5, 0.4]", "argument probabilities must add up to 1; those of a row add up to 0.9"),
        ("y, p, {'classes': [1, 2]}, [0.5, NULL]", "NULL"),
    ],
)  # fmt: skip
def test_bad_classes(db, arguments, message):
    with pytest.raises(duckdb.Error, match=f"multiclass_metrics: .*({message})"):
        db.execute(f"SELECT multiclass_metrics({arguments}) FROM (VALUES (1, 1), (2, 1)) t(y, p)").fetchall()

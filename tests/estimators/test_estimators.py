"""The estimators against scikit-learn's own checks, scikit-learn's estimators, and the SQL functions."""

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import ironlake  # noqa: F401
from ironlake import estimators


def expected_failures(estimator):
    if "SGD" not in type(estimator).__name__:
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": "a step with twice the weight is not two steps, as for "
        "scikit-learn's own estimators of this kind"
    }


@parametrize_with_checks(
    [getattr(estimators, name)() for name in estimators.__all__], expected_failed_checks=expected_failures
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_logistic_regression_is_scikit_learns():
    features, labels = load_breast_cancer(return_X_y=True)
    features = StandardScaler().fit_transform(features)
    ours = estimators.LogisticRegression(C=0.5, class_weight="balanced").fit(features, labels)
    theirs = sklearn.linear_model.LogisticRegression(C=0.5, class_weight="balanced", tol=1e-12).fit(features, labels)
    assert ours.coef_ == pytest.approx(theirs.coef_, abs=1e-4)
    assert ours.predict_proba(features) == pytest.approx(theirs.predict_proba(features), abs=1e-4)


def test_softmax_regression_is_scikit_learns():
    features, labels = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[labels]
    ours = estimators.LogisticRegression(tol=1e-13).fit(features, names)
    theirs = sklearn.linear_model.LogisticRegression(tol=1e-12, max_iter=10_000).fit(features, names)
    assert ours.coef_ == pytest.approx(theirs.coef_, abs=1e-4)
    assert (ours.predict(features) == theirs.predict(features)).all()


def test_exact_regressions_are_scikit_learns():
    features, labels = load_diabetes(return_X_y=True)
    pairs = [
        (estimators.LinearRegression(), sklearn.linear_model.LinearRegression()),
        (estimators.Ridge(0.3), sklearn.linear_model.Ridge(0.3)),
        (
            estimators.PoissonRegressor(0.01),
            sklearn.linear_model.PoissonRegressor(alpha=0.01, tol=1e-10, max_iter=5000),
        ),
    ]
    for ours, theirs in pairs:
        assert ours.fit(features, labels).coef_ == pytest.approx(theirs.fit(features, labels).coef_, rel=1e-3, abs=1e-3)


def test_the_optimum_of_huber():
    features, labels = load_diabetes(return_X_y=True)
    ours = estimators.HuberRegressor(20, alpha=0, tol=1e-14).fit(features, labels)
    rest = ours.predict(features) - labels
    gradient = np.column_stack([features, np.ones(len(labels))]).T @ np.clip(rest, -20, 20) / len(labels)
    assert np.abs(gradient).max() < 1e-3


def test_gradient_descent_comes_close():
    features, labels = load_breast_cancer(return_X_y=True)
    model = estimators.SGDClassifier("svm", epochs=50)
    assert cross_val_score(make_pipeline(StandardScaler(), model), features, labels).mean() > 0.96
    features, labels = load_diabetes(return_X_y=True)
    best = sklearn.linear_model.LinearRegression().fit(features, labels).score(features, labels)
    assert estimators.SGDRegressor(l2=0, epochs=100).fit(features, labels).score(features, labels) > best - 0.01


def test_a_grid_search():
    features, labels = load_iris(return_X_y=True)
    search = GridSearchCV(estimators.SGDClassifier(epochs=5), {"l2": [1e-4, 10.0]}, cv=3).fit(features, labels)
    assert search.best_params_ == {"l2": 1e-4}


@pytest.mark.parametrize("name", estimators.__all__)
def test_relations(con, name):
    con.execute(
        "CREATE TABLE rows AS SELECT (sin(i) > 0)::INT AS y, [sin(i), cos(i)] AS features, sin(i) AS a, cos(i) AS b "
        "FROM range(400) t(i)"
    )
    one = getattr(estimators, name)().fit(con.table("rows"), "y")
    features, labels = np.array(con.sql("SELECT a, b FROM rows").fetchall()), con.sql("SELECT y FROM rows").fetchall()
    two = getattr(estimators, name)().fit(features, np.ravel(labels))
    three = getattr(estimators, name)(features=["a", "b"]).fit(con.table("rows").to_arrow_table(), "y")
    assert one.coef_ == pytest.approx(two.coef_, rel=1e-5)
    assert one.coef_ == pytest.approx(three.coef_, rel=1e-5)


def test_a_model_goes_to_sql(con):
    features, labels = load_iris(return_X_y=True)
    for kept in (labels > 0, labels):
        fitted = estimators.LogisticRegression().fit(features, kept)
        con.execute("CREATE OR REPLACE TABLE models AS SELECT ? AS m", [fitted.model_._asdict()])
        predicted = con.execute("SELECT predict(m, ?::DOUBLE[]) FROM models", [features[77].tolist()]).fetchall()[0][0]
        assert float(str(predicted)) == fitted.predict(features[77:78])[0]


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="C is -1; expected a number above 0"):
        estimators.LogisticRegression(C=-1).fit([[1.0], [2.0]], [0, 1])
    with pytest.raises(ValueError, match="one class"):
        estimators.LogisticRegression().fit([[1.0], [2.0]], [1, 1])
    with pytest.raises(ValueError, match="model is 'hinge'"):
        estimators.SGDClassifier("hinge").fit([[1.0], [2.0]], [0, 1])
    with pytest.raises(ValueError, match="beyond the range of float32"):
        estimators.Ridge().fit([[1e300], [2.0]], [0, 1])

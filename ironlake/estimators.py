"""The linear models as scikit-learn estimators, over arrays and over DuckDB relations.

They stand in pipelines and grid searches like scikit-learn's own. ``fit`` takes arrays; or a relation, an Arrow table
or a data frame together with the name of its label column, so that nothing is copied into an array first. What was
trained is in ``model_`` too, as the SQL functions return it: write it into a table, and ``predict`` in SQL takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ModuleNotFoundError:
    raise ModuleNotFoundError("ironlake.estimators needs scikit-learn: pip install 'ironlake[sklearn]'") from None

from .udf.tasks.linear import HEAD
from .udf.tasks.task import TASKS
from .udf.training.lbfgs import softmax_optimum
from .udf.training.newton import newton
from .udf.training.rows import Rows, collect
from .udf.training.settings import Settings
from .udf.training.source import open_source
from .udf.training.trainer import Trainer

__all__ = [
    "LogisticRegression", "SGDClassifier", "LinearRegression", "Ridge", "PoissonRegressor", "HuberRegressor",
    "SGDRegressor",
]  # fmt: skip

Array = np.ndarray[Any, Any]


class _Linear(BaseEstimator):
    """What all estimators share: rows from arrays or relations, and scores."""

    def _rows(self, X: Any, y: Any, sample_weight: Any, numeric: bool) -> tuple[Rows, Array]:
        """The rows with their labels as float32, and the labels as they are."""
        if isinstance(y, str):
            source = open_source(X, None, None)
            features = getattr(self, "features", "features")
            name = sample_weight if isinstance(sample_weight, str) else None
            rows = collect(source.batches, y, features, name, False, 1e12)
            if len(rows) == 0:
                raise ValueError("there are no rows to train on")
            self.n_features_in_ = rows.width
            return rows, rows.matrix[:, 0].copy()
        X, y = validate_data(self, X, y, y_numeric=numeric, ensure_min_samples=1 if numeric else 2)
        matrix = np.empty((len(X), X.shape[1] + HEAD), np.float32)
        matrix[:, 0] = y if numeric else 0
        matrix[:, 1] = 1 if sample_weight is None else _check_sample_weight(sample_weight, X)
        with np.errstate(over="ignore"):
            matrix[:, HEAD:] = X
        if not np.isfinite(matrix).all():
            raise ValueError(f"{type(self).__name__}.fit: a feature or a label is beyond the range of float32")
        return Rows(matrix, False, np.inf), y

    def _scores(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        scores: Array = X @ self.coef_.T + self.intercept_
        return scores


class _Classifier(ClassifierMixin, _Linear):
    """A score for the second of two classes, or for each of several."""

    def _encoded(self, rows: Rows, labels: Array) -> Array:
        """The number of each row's class; sets ``classes_``."""
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__}.fit: the rows are of one class, {self.classes_[0]!r}; expected two or more"
            )
        weight = getattr(self, "class_weight", None)
        if weight is not None:
            rows.matrix[:, 1] *= compute_sample_weight(weight, labels)
        encoded: Array = numbers
        return encoded

    def decision_function(self, X: Any) -> Array:
        """The score of the second class, or the scores of all if there are more than two."""
        scores = self._scores(X)
        return scores.ravel() if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> Array:
        """The most probable class."""
        scores = self.decision_function(X)
        chosen: Array = self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]
        return chosen


class LogisticRegression(_Classifier):
    """Logistic regression to the optimum: Newton's method for two classes, L-BFGS on the softmax loss for more.

    Parameters
    ----------
    C : float
        Inverse of the penalty: minimised is ``C * sum of the losses + |w|^2 / 2``. Infinity: no penalty.
    fit_intercept : bool
    class_weight : dict or 'balanced', optional
    tol : float
        Training ends within this fraction of the optimum.
    max_iter : int
    features : str or sequence of str
        The columns with features, when `fit` is given a relation.

    Attributes
    ----------
    classes_, coef_, intercept_, n_iter_, n_features_in_ : as in scikit-learn.
    model_ : the model as the SQL function ``newton_fit`` or ``lbfgs_fit`` returns it.

    Examples
    --------
    >>> LogisticRegression().fit([[0.0], [1.0], [2.0]], ["a", "b", "b"]).predict([[3.0]])
    array(['b'], dtype='<U1')
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        fit_intercept: bool = True,
        class_weight: Any = None,
        tol: float = 1e-10,
        max_iter: int = 200,
        features: str | Sequence[str] = "features",
    ) -> None:
        self.C, self.fit_intercept, self.class_weight = C, fit_intercept, class_weight
        self.tol, self.max_iter, self.features = tol, max_iter, features

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on an array and labels, or on a relation and the name of its label column."""
        rows, labels = self._rows(X, y, sample_weight, False)
        numbers = self._encoded(rows, labels)
        if not self.C > 0:
            raise ValueError(f"LogisticRegression: C is {self.C}; expected a number above 0")
        l2 = 1 / (self.C * float(rows.matrix[:, 1].sum(dtype=np.float64)))
        rows.matrix[:, 0] = numbers
        if len(self.classes_) == 2:
            model: Any = newton(TASKS["logistic"], rows, l2, self.fit_intercept, self.max_iter, self.tol)
            self.coef_, self.intercept_ = np.array([model.coefficients]), np.array([model.intercept])
        else:
            names = [str(name) for name in self.classes_]
            model = softmax_optimum(rows, names, l2, self.fit_intercept, self.max_iter, self.tol)
            self.coef_, self.intercept_ = np.array(model.coefficients), np.array(model.intercepts)
        self.model_, self.n_iter_ = model, max(1, model.epochs)
        return self

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.column_stack([np.zeros(len(scores)), scores])
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Array = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of the probability of each class."""
        return np.log(self.predict_proba(X))


class _Trained(_Linear):
    """Training in many passes, with the settings of `ironlake.train`."""

    def _trained(self, rows: Rows, loss: str) -> Any:
        given = self.get_params()
        settings = Settings(
            epochs=given["epochs"], step_size=given["step_size"], step_rule=given["step_rule"], l1=given["l1"],
            l2=given["l2"], fit_intercept=given["fit_intercept"], order=given["order"], parallel=given["parallel"],
            threads=given["threads"], tolerance=given["tol"], seed=_seed(given["random_state"]),
        )  # fmt: skip
        kept = Rows(rows.matrix.copy(), rows.spilled, rows.buffer)  # training changes them
        return list(Trainer(loss, kept, settings).epochs())[-1].model


class SGDClassifier(_Classifier, _Trained):
    """A linear classifier by incremental gradient descent; with more than two classes, each against the rest.

    Parameters
    ----------
    loss : {'logistic', 'svm', 'squared_hinge', 'modified_huber'} or the name of a task of your own.
    l1, l2 : weights of the penalties on each row's loss.
    epochs, step_size, step_rule, order, parallel, threads : as in `ironlake.train`.
    tol : float or None
        Training stops after an epoch that lowers the loss by less than this fraction.
    fit_intercept : bool
    class_weight : dict or 'balanced', optional
    random_state : int, optional
        Seed of the order of the rows.
    features : str or sequence of str
        The columns with features, when `fit` is given a relation.

    Attributes
    ----------
    classes_, coef_, intercept_, n_iter_, n_features_in_ : as in scikit-learn.
    models_ : the models as the SQL training functions return them, one for two classes, else one per class.
    """

    def __init__(
        self,
        loss: str = "logistic",
        *,
        l1: float = 0.0,
        l2: float = 1e-4,
        epochs: int = 20,
        step_size: float | None = None,
        step_rule: str = "auto",
        order: str = "block_shuffle",
        parallel: str = "auto",
        threads: int | None = None,
        tol: float | None = 1e-4,
        fit_intercept: bool = True,
        class_weight: Any = None,
        random_state: Any = None,
        features: str | Sequence[str] = "features",
    ) -> None:
        self.loss, self.l1, self.l2, self.epochs = loss, l1, l2, epochs
        self.step_size, self.step_rule, self.order = step_size, step_rule, order
        self.parallel, self.threads, self.tol, self.fit_intercept = parallel, threads, tol, fit_intercept
        self.class_weight, self.random_state, self.features = class_weight, random_state, features

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on an array and labels, or on a relation and the name of its label column."""
        rows, labels = self._rows(X, y, sample_weight, False)
        numbers = self._encoded(rows, labels)
        self.models_ = []
        for positive in range(len(self.classes_)) if len(self.classes_) > 2 else [1]:
            rows.matrix[:, 0] = numbers == positive
            self.models_.append(self._trained(rows, self.loss))
        self.coef_ = np.array([model.coefficients for model in self.models_])
        self.intercept_ = np.array([model.intercept for model in self.models_])
        self.n_iter_ = max(model.epochs for model in self.models_)
        return self


class _Regressor(RegressorMixin, _Linear):
    """One score, which is the prediction."""

    def predict(self, X: Any) -> Array:
        """The expected label."""
        return self._scores(X)

    def _take(self, model: Any) -> Self:
        self.model_, self.n_iter_ = model, max(1, model.epochs)
        self.coef_, self.intercept_ = np.array(model.coefficients, np.float64), model.intercept
        return self


class Ridge(_Regressor):
    """Least squares with the penalty ``alpha |w|^2``, exactly, as scikit-learn's Ridge.

    Parameters
    ----------
    alpha : float
    fit_intercept : bool
    features : str or sequence of str
        The columns with features, when `fit` is given a relation.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_ : as in scikit-learn.
    model_ : the model as the SQL function ``newton_fit`` returns it.
    """

    def __init__(
        self, alpha: float = 1.0, *, fit_intercept: bool = True, features: str | Sequence[str] = "features"
    ) -> None:
        self.alpha, self.fit_intercept, self.features = alpha, fit_intercept, features

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on an array and labels, or on a relation and the name of its label column."""
        rows, _ = self._rows(X, y, sample_weight, True)
        alpha = getattr(self, "alpha", 0.0)
        if not alpha >= 0:
            raise ValueError(f"{type(self).__name__}: alpha is {alpha}; expected at least 0")
        mass = float(rows.matrix[:, 1].sum(dtype=np.float64))
        return self._take(newton(TASKS["least_squares"], rows, alpha / mass, self.fit_intercept))


class LinearRegression(Ridge):
    """Least squares, exactly.

    Parameters
    ----------
    fit_intercept : bool
    features : str or sequence of str
        The columns with features, when `fit` is given a relation.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_ : as in scikit-learn.
    model_ : the model as the SQL function ``newton_fit`` returns it.
    """

    def __init__(self, *, fit_intercept: bool = True, features: str | Sequence[str] = "features") -> None:
        self.fit_intercept, self.features = fit_intercept, features


class _Newton(_Regressor):
    """Regressions by Newton's method, with a penalty per row."""

    _loss = ""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on an array and labels, or on a relation and the name of its label column."""
        rows, _ = self._rows(X, y, sample_weight, True)
        given = self.get_params()
        numbers = {name: given[name] for name in TASKS[self._loss].defaults}
        return self._take(
            newton(
                TASKS[self._loss],
                rows,
                given["alpha"],
                given["fit_intercept"],
                given["max_iter"],
                given["tol"],
                numbers,
            )
        )


class PoissonRegressor(_Newton):
    """Poisson regression: the logarithm of the mean is linear; the penalty is ``alpha |w|^2 / 2`` per row.

    Parameters
    ----------
    alpha : float
    fit_intercept : bool
    max_iter : int
    tol : float
        Training ends within this fraction of the optimum.
    features : str or sequence of str
        The columns with features, when `fit` is given a relation.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_ : as in scikit-learn.
    model_ : the model as the SQL function ``newton_fit`` returns it.
    """

    _loss = "poisson"

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        max_iter: int = 100,
        tol: float = 1e-12,
        features: str | Sequence[str] = "features",
    ) -> None:
        self.alpha, self.fit_intercept, self.max_iter = alpha, fit_intercept, max_iter
        self.tol, self.features = tol, features

    def predict(self, X: Any) -> Array:
        """The expected count."""
        return np.exp(self._scores(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags


class HuberRegressor(_Newton):
    """Linear regression that outliers hardly move: squares up to ``delta``, straight beyond.

    Parameters
    ----------
    delta : float
        Distance from which on the loss is straight, in units of the label.
    alpha : float
        Weight of the penalty ``alpha |w|^2 / 2`` per row.
    fit_intercept : bool
    max_iter : int
    tol : float
        Training ends within this fraction of the optimum.
    features : str or sequence of str
        The columns with features, when `fit` is given a relation.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_ : as in scikit-learn.
    model_ : the model as the SQL function ``newton_fit`` returns it.
    """

    _loss = "huber"

    def __init__(
        self,
        delta: float = 1.0,
        *,
        alpha: float = 1e-4,
        fit_intercept: bool = True,
        max_iter: int = 100,
        tol: float = 1e-12,
        features: str | Sequence[str] = "features",
    ) -> None:
        self.delta, self.alpha, self.fit_intercept, self.max_iter = delta, alpha, fit_intercept, max_iter
        self.tol, self.features = tol, features


class SGDRegressor(_Regressor, _Trained):
    """A linear regression by incremental gradient descent.

    Parameters
    ----------
    loss : {'least_squares', 'huber', 'quantile', 'epsilon_insensitive'} or the name of a task of your own.
    l1, l2 : weights of the penalties on each row's loss.
    epochs, step_size, step_rule, order, parallel, threads : as in `ironlake.train`.
    tol : float or None
        Training stops after an epoch that lowers the loss by less than this fraction.
    fit_intercept : bool
    random_state : int, optional
        Seed of the order of the rows.
    features : str or sequence of str
        The columns with features, when `fit` is given a relation.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_ : as in scikit-learn.
    model_ : the model as the SQL training functions return it.
    """

    def __init__(
        self,
        loss: str = "least_squares",
        *,
        l1: float = 0.0,
        l2: float = 1e-4,
        epochs: int = 20,
        step_size: float | None = None,
        step_rule: str = "auto",
        order: str = "block_shuffle",
        parallel: str = "auto",
        threads: int | None = None,
        tol: float | None = 1e-4,
        fit_intercept: bool = True,
        random_state: Any = None,
        features: str | Sequence[str] = "features",
    ) -> None:
        self.loss, self.l1, self.l2, self.epochs = loss, l1, l2, epochs
        self.step_size, self.step_rule, self.order = step_size, step_rule, order
        self.parallel, self.threads, self.tol, self.fit_intercept = parallel, threads, tol, fit_intercept
        self.random_state, self.features = random_state, features

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on an array and labels, or on a relation and the name of its label column."""
        rows, _ = self._rows(X, y, sample_weight, True)
        return self._take(self._trained(rows, self.loss))


def _seed(random_state: Any) -> int:
    """A seed from what scikit-learn takes for one; without any, always the same."""
    if random_state is None or isinstance(random_state, int | np.integer):
        return int(random_state or 0)
    return int(random_state.randint(2**31 - 1))

"""Estimators of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from ..udf.tasks.task import TASKS
from ..udf.training.lbfgs import softmax_optimum
from ..udf.training.newton import newton
from ..udf.training.rows import Rows
from .rows import Array, Linear, Trained


class _Classifier(ClassifierMixin, Linear):
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


class SGDClassifier(_Classifier, Trained):
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

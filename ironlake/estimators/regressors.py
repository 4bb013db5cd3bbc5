"""Estimators of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from ..udf.tasks.task import TASKS
from ..udf.training.newton import newton
from .rows import Array, Linear, Trained


class _Regressor(RegressorMixin, Linear):
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


class SGDRegressor(_Regressor, Trained):
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

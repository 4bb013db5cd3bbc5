"""Tasks whose label is a number."""

from __future__ import annotations

from math import exp

from .task import task


@task(labels="real")
def least_squares(score: float, label: float) -> float:
    """Train a linear regression by gradient descent: the loss of a row is ``(score - label)^2 / 2``.

    `linear_regression_fit` gives the exact solution; this one takes many features, and rows in a stream.
    """
    return (score - label) ** 2 / 2


@task(labels="real")
def huber(score: float, label: float, *, delta: float = 1.0) -> float:
    """Train a linear regression that outliers hardly move: squares up to a distance of ``delta``, straight beyond.

    Parameters
    ----------
    delta : distance from which on the loss is straight, in units of the label.

    References
    ----------
    Huber: Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 35 (1964).
    """
    residual = score - label
    return residual**2 / 2 if abs(residual) <= delta else delta * (abs(residual) - delta / 2)


@task(labels="real")
def quantile(score: float, label: float, *, quantile: float = 0.5) -> float:
    """Train a linear model of a quantile of the label, the median by default.

    Parameters
    ----------
    quantile : the share of labels that shall lie below the model's value.

    References
    ----------
    Koenker, Bassett: Regression Quantiles, Econometrica 46 (1978).
    """
    rest = label - score
    return max(quantile * rest, (quantile - 1) * rest)


@task(labels="real")
def epsilon_insensitive(score: float, label: float, *, epsilon: float = 0.1) -> float:
    """Train a linear support vector regression: distances below ``epsilon`` cost nothing.

    Parameters
    ----------
    epsilon : distance up to which a row has no loss, in units of the label.

    References
    ----------
    Smola, Schoelkopf: A tutorial on support vector regression, Statistics and Computing 14 (2004).
    """
    return max(0, abs(score - label) - epsilon)


@task(labels="count")
def poisson(score: float, label: float) -> float:
    """Train a Poisson regression: counts whose mean is ``exp(score)``; the loss is ``exp(score) - label * score``.

    `predict` gives the mean.

    References
    ----------
    McCullagh, Nelder: Generalized Linear Models, 2nd edition (1989), chapter 6.
    """
    return exp(score) - label * score

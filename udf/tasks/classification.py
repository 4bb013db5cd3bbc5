"""Tasks with two classes. A label is +1 or -1, and ``label * score`` is how far a row is on the right side."""

from __future__ import annotations

from math import exp, log

from .task import task


@task
def logistic(score: float, label: float) -> float:
    """Train a logistic regression: the loss of a row is ``log(1 + exp(-label * score))``."""
    return log(1 + exp(-label * score))


@task
def svm(score: float, label: float) -> float:
    """Train a linear support vector machine: the hinge loss ``max(0, 1 - label * score)``.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3; Cortes,
    Vapnik: Support-Vector Networks, Machine Learning 20 (1995).
    """
    return max(0, 1 - label * score)


@task
def squared_hinge(score: float, label: float) -> float:
    """Train a linear classifier on the squared hinge loss ``max(0, 1 - label * score)^2``."""
    return max(0, 1 - label * score) ** 2


@task
def modified_huber(score: float, label: float) -> float:
    """Train a linear classifier on the modified Huber loss: squared hinge, straight below a margin of -1.

    References
    ----------
    Zhang: Solving large scale linear prediction problems using stochastic gradient descent algorithms, ICML 2004,
    section 2.
    """
    margin = label * score
    return max(0, 1 - margin) ** 2 if margin >= -1 else -4 * margin

"""The value that a training aggregate returns, and that the prediction functions take."""

from __future__ import annotations

from typing import NamedTuple

from ironlake.udf.engine.sqltypes import INTEGER

#: Kinds of labels: two classes, real numbers, counts, any number of classes.
BINARY, REAL, COUNT, CLASS = 0, 1, 2, 3


class LinearModel(NamedTuple):
    """A trained linear model as a SQL STRUCT; it lives in tables like any other value.

    Attributes
    ----------
    task : what it was trained for, such as ``logistic``.
    coefficients : one weight per feature.
    intercept : added to the weighted sum of the features.
    classes : the two labels, negative one first; empty where labels are numbers.
    n : rows seen.
    epochs : passes over them.
    converged : whether the tolerance was reached before the last epoch.
    stop_reason : ``tolerance`` or ``epochs``; from Newton's method also ``separable``, see `newton_fit`.
    loss : mean loss per row in the last epoch, each row's taken before the step on it.
    loss_history : the same for every epoch.
    step : gradient steps taken in all, those of the model that training started from included.
    degenerate : whether all rows were of one class; the model then says so of every row.
    warning : what is wrong with the rows that a user should know of, such as features of very uneven size; else empty.
    """

    task: str
    coefficients: list[float]
    intercept: float
    classes: list[float]
    n: int
    epochs: INTEGER
    converged: bool
    stop_reason: str
    loss: float
    loss_history: list[float]
    step: int
    degenerate: bool
    warning: str = ""


class StartModel(NamedTuple):
    """What training needs of a model to go on from it; a `LinearModel` has all of it."""

    task: str
    coefficients: list[float]
    intercept: float
    step: int


class RegressionModel(NamedTuple):
    """An exactly fitted linear regression as a SQL STRUCT.

    Attributes
    ----------
    task : what was fitted, such as ``ridge``.
    coefficients : one weight per feature.
    intercept : added to the weighted sum of the features.
    classes : empty, as the label is a number.
    n : rows seen.
    loss : mean of half the squared error of a row, without penalties.
    r2 : share of the label's variance that the model explains (of its mean square, without an intercept); NaN where
        there is none to explain.
    std_errors : of the coefficients; NaN for a coefficient that the rows do not determine; empty with a penalty or
        without a degree of freedom.
    p_values : of the two-sided t tests that a coefficient is 0; NaN and empty likewise.
    """

    task: str
    coefficients: list[float]
    intercept: float
    classes: list[float]
    n: int
    loss: float
    r2: float
    std_errors: list[float]
    p_values: list[float]

"""How good predicted numbers are."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ironlake.udf.engine import aggregate


class RegressionMetrics(NamedTuple):
    """The result of `regression_metrics`; the names are those of BigQuery's ML.EVALUATE."""

    mean_absolute_error: float
    mean_squared_error: float
    mean_squared_log_error: float
    median_absolute_error: float
    r2_score: float
    explained_variance: float
    n: int


@aggregate
class regression_metrics:  # noqa: N801 - the SQL name
    """Measure predicted numbers against true ones.

    One pass sums up the rows, and keeps the absolute error of each for the median: 8 bytes a row.

    Parameters
    ----------
    label : the true number.
    prediction : of a model.

    Returns
    -------
    STRUCT
        ``mean_absolute_error``, ``mean_squared_error``, ``mean_squared_log_error`` (the mean of
        ``(ln(1 + label) - ln(1 + prediction))^2``; NaN if a number is -1 or less), ``median_absolute_error``,
        ``r2_score`` (the share of the label's variance that is not left as squared error; NaN for one row),
        ``explained_variance`` (the same with the variance of the error in place of its square, which forgives a
        constant error) and the number of rows ``n``. Where all labels are equal, a share is 1 if nothing is left, else
        0. Rows with a NULL are skipped; no rows give NULL.

    Raises
    ------
    InvalidInputException
        If a number is NaN or infinite.

    References
    ----------
    Chan, Golub, LeVeque: Algorithms for Computing the Sample Variance, The American Statistician 37 (1983): variances
    in one pass, from parts, without loss of digits.

    Examples
    --------
    SELECT regression_metrics(y, p) AS metrics FROM (VALUES (3.0, 2.5), (0.5, 0.0), (2, 2), (7, 8)) t(y, p);
    """

    errors: list[float]  # absolute
    n: int
    mean_label: float
    label_squares: float  # of deviations from the mean
    mean_error: float
    error_squares: float  # of deviations from the mean
    log_squares: float

    def update(self, label: float, prediction: float):
        if not abs(label) < math.inf:
            raise ValueError("argument label must be finite numbers; a row has", label)
        if not abs(prediction) < math.inf:
            raise ValueError("argument prediction must be finite numbers; a row has", prediction)
        error = label - prediction
        self.n += 1
        apart = label - self.mean_label
        self.mean_label += apart / self.n
        self.label_squares += apart * (label - self.mean_label)
        apart = error - self.mean_error
        self.mean_error += apart / self.n
        self.error_squares += apart * (error - self.mean_error)
        if label > -1 and prediction > -1:
            self.log_squares += (math.log1p(label) - math.log1p(prediction)) ** 2
        else:
            self.log_squares = np.nan
        self.errors.append(abs(error))

    def merge(self, other):
        if other.n == 0:
            return
        share = other.n / (self.n + other.n)
        apart = other.mean_label - self.mean_label
        self.label_squares += other.label_squares + apart * apart * self.n * share
        self.mean_label += apart * share
        apart = other.mean_error - self.mean_error
        self.error_squares += other.error_squares + apart * apart * self.n * share
        self.mean_error += apart * share
        self.log_squares += other.log_squares
        self.errors.extend(other.errors)
        self.n += other.n

    def finish(self) -> RegressionMetrics:
        errors, n = self.errors[:], self.n
        absolute = 0.0
        for error in errors:
            absolute += error
        squares = self.error_squares + n * self.mean_error * self.mean_error
        return RegressionMetrics(
            absolute / n,
            squares / n,
            self.log_squares / n,
            np.median(errors),
            _explained(squares, self.label_squares) if n > 1 else np.nan,
            _explained(self.error_squares, self.label_squares),
            n,
        )


@njit
def _explained(left: float, total: float) -> float:
    """The share of a variance that is not left over."""
    if total > 0:
        return 1 - left / total
    return 0.0 if left > 0 else 1.0

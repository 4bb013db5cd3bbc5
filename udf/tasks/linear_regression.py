"""Exact linear regression in one pass: least squares, ridge, lasso and elastic net as aggregates.

The rows are summed up by their second moments (see `gram`), from which `least_squares` finds the weights.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from ironlake.udf.engine import aggregate
from ironlake.udf.engine.sqltypes import Vector

from .gram import CoMoments, second_moments
from .labels import Nulls
from .least_squares import solve, take_turns, two_sided_p
from .model import RegressionModel

_NO_CLASSES = np.empty(0)


_DOCUMENTATION = """{summary}

One pass sums up the rows; the result does not depend on their order, but for rounding. Penalties are weighed against
the mean loss of a row, as in the tasks that are trained by gradient descent.

Parameters
----------
label : a number.
features : a row of numbers, the same length in all rows of a group: a list or an array of FLOAT or DOUBLE.
sample_weight : how much a row counts: its loss is multiplied by it. It stands behind the options.
{options}fit_intercept : whether the model has an intercept; penalties leave it alone.
on_null : ``'skip'`` rows with a NULL label or NULL features, or refuse them with an ``'error'``.

Returns
-------
STRUCT
    The model, see `RegressionModel`; NULL for a group without rows. {remark}

Raises
------
InvalidInputException
    If rows differ in length, have more than 4094 features, or a number is NULL, NaN, infinite or above 1e150{trouble}.

References
----------
{reference}

Examples
--------
SELECT {name}([4, 3, 8][i % 3 + 1] + i, [i, i % 3]{call}) AS model FROM range(100) t(i);
"""
_DEPENDENT_FEATURES = (
    "Where features are constant or\n    depend on others, as with fewer rows than features, the weights of "
    "standardised features have the smallest norm."
)
_L1 = "l1 : weight of the penalty ``l1 |w|``; `alpha` of scikit-learn's Lasso.\n"
_L2 = "l2 : weight of the penalty ``l2 |w|^2 / 2``; `alpha` of scikit-learn's Ridge divided by the number of rows.\n"
_SWEEPS = "max_sweeps : most turns of coordinate descent; it ends at a duality gap of 1e-10 of the label's variance.\n"
_NOT_SETTLED = ", or ``max_sweeps`` do\n    not suffice"


class LeastSquares(CoMoments, Nulls):
    """Everything but the options of the four functions."""

    l1: float
    l2: float
    sweeps: int
    with_intercept: bool

    def prepare(self, l1, l2, fit_intercept, sweeps, on_null):
        """Check the options."""
        if not (0 <= l1 < math.inf and 0 <= l2 < math.inf):
            raise ValueError("options l1 and l2 must be at least 0, got", l1, "and", l2)
        if sweeps < 1:
            raise ValueError("option max_sweeps must be at least 1, got", sweeps)
        self.l1, self.l2, self.sweeps, self.with_intercept = l1, l2, sweeps, fit_intercept
        self.skip_nulls = on_null == "skip"

    def update(self, label: float, features: Vector, sample_weight: float = 1.0):
        if not 0 <= sample_weight < math.inf:
            raise ValueError("sample_weight must be at least 0 and finite; a row has", sample_weight)
        self.learn(label, features, sample_weight)

    def merge(self, other):
        self.nulls += other.nulls
        self.merge_moments(other)

    def finish(self) -> RegressionModel | None:
        self.refuse_nulls(self.n + self.pending)
        if self.width < 0:
            return None
        width, n = np.int64(self.width), self.n + self.pending
        means, all_products, mass = self.moments()
        if mass == 0:
            raise ValueError("the weights of the rows are all 0; at least one must be above")
        products, right, variance = second_moments(means, all_products, mass, width, self.with_intercept)
        inverse, freedom = np.empty(0), np.int64(0)
        if self.l1 > 0:
            weights = take_turns(products, right, variance, self.l1, self.l2, self.sweeps)
        else:
            weights, inverse, rank = solve(products, right, self.l2)
            freedom = n - rank - (1 if self.with_intercept else 0)
        square, intercept = variance, means[width] if self.with_intercept else 0.0
        for i in range(width):
            intercept -= weights[i] * means[i] if self.with_intercept else 0.0
            square -= weights[i] * (2 * right[i] - np.sum(products[i] * weights))
        square = max(square, 0.0)
        tested = self.l1 == 0 and self.l2 == 0 and freedom > 0
        tests = width if tested else 0
        errors, chances = np.empty(tests), np.empty(tests)
        for i in range(tests):
            errors[i] = math.sqrt(square * inverse[i] / freedom)
            ratio = weights[i] / errors[i] if errors[i] != 0 else math.copysign(math.inf, weights[i])
            chances[i] = two_sided_p(ratio, np.float64(freedom))
        return RegressionModel(
            self.task,
            weights,
            intercept,
            _NO_CLASSES,
            n,
            square / 2,
            1 - square / variance if variance > 0 else math.nan,
            errors,
            chances,
        )


def _documented(options: str = "", call: str = "", remark: str = "") -> Callable[[type], type]:
    """Add to a docstring of summary and references what the four functions have in common."""

    def document(owner: type) -> type:
        summary, reference = inspect.cleandoc(owner.__doc__ or "").split("\n\nReferences\n----------\n")
        owner.__doc__ = _DOCUMENTATION.format(
            name=owner.__name__,
            summary=summary,
            options=options,
            remark=remark,
            reference=reference.strip(),
            call=call,
            trouble=_NOT_SETTLED if "l1" in options else "",
        )
        return owner

    return document


@aggregate
@_documented(remark=_DEPENDENT_FEATURES)
class linear_regression_fit(LeastSquares):  # noqa: N801 - the SQL name
    """Fit a linear regression: the least mean of ``(w.x + b - label)^2 / 2``, exactly.

    References
    ----------
    Hellerstein and others: The MADlib Analytics Library, VLDB 2012, section 4.1; Seber, Lee: Linear Regression
    Analysis, 2nd edition (2003), chapter 3.
    """

    task = "linear_regression"

    def init(self, fit_intercept: bool = True, on_null: Literal["error", "skip"] = "error"):
        self.prepare(0.0, 0.0, fit_intercept, 1, on_null)


@aggregate
@_documented(_L2, ", {'l2': 0.1}")
class ridge_fit(LeastSquares):  # noqa: N801
    """Fit a ridge regression: the least mean of ``(w.x + b - label)^2 / 2`` plus ``l2 |w|^2 / 2``, exactly.

    References
    ----------
    Hoerl, Kennard: Ridge Regression: Biased Estimation for Nonorthogonal Problems, Technometrics 12 (1970).
    """

    task = "ridge"

    def init(self, l2: float = 1.0, fit_intercept: bool = True, on_null: Literal["error", "skip"] = "error"):
        self.prepare(0.0, l2, fit_intercept, 1, on_null)


@aggregate
@_documented(_L1 + _SWEEPS, ", {'l1': 0.1}")
class lasso_fit(LeastSquares):  # noqa: N801
    """Fit a lasso: the least mean of ``(w.x + b - label)^2 / 2`` plus ``l1 |w|``, exactly; many weights are 0.

    References
    ----------
    Tibshirani: Regression Shrinkage and Selection via the Lasso, Journal of the Royal Statistical Society B 58 (1996);
    Friedman, Hastie, Tibshirani: Regularization Paths for Generalized Linear Models via Coordinate Descent, Journal of
    Statistical Software 33 (2010).
    """

    task = "lasso"

    def init(
        self,
        l1: float = 1.0,
        max_sweeps: int = 10_000,
        fit_intercept: bool = True,
        on_null: Literal["error", "skip"] = "error",
    ):
        self.prepare(l1, 0.0, fit_intercept, max_sweeps, on_null)


@aggregate
@_documented(_L1 + _L2 + _SWEEPS, ", {'l1': 0.1, 'l2': 0.1}")
class elastic_net_fit(LeastSquares):  # noqa: N801
    """Fit an elastic net: the least mean of ``(w.x + b - label)^2 / 2`` plus ``l1 |w| + l2 |w|^2 / 2``, exactly.

    References
    ----------
    Zou, Hastie: Regularization and Variable Selection via the Elastic Net, Journal of the Royal Statistical Society B
    67 (2005); Friedman, Hastie, Tibshirani: Regularization Paths for Generalized Linear Models via Coordinate Descent,
    Journal of Statistical Software 33 (2010).
    """

    task = "elastic_net"

    def init(
        self,
        l1: float = 0.5,
        l2: float = 0.5,
        max_sweeps: int = 10_000,
        fit_intercept: bool = True,
        on_null: Literal["error", "skip"] = "error",
    ):
        self.prepare(l1, l2, fit_intercept, max_sweeps, on_null)

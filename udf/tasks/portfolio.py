"""Portfolio optimisation: how much of each asset to hold, from rows of returns or from their moments.

The weights ``w`` minimise, for a cost ``p`` (minus the expected returns), a covariance ``S`` and a risk aversion ``r``,

    p.w + r w.S w    where  sum w = 1,  lower <= w <= upper  and, long only, w >= 0.

`portfolio_kernels` solves it.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit

from ironlake.udf.engine import aggregate, scalar
from ironlake.udf.engine.sqltypes import Vector

from .gram import MOST_FEATURES, CoMoments
from .portfolio_kernels import bounded_minimum, free_minimum, projected_gradient

#: The eigenvalues of a covariance are above minus this share of the largest variance.
_NEGATIVE = 1e-10
#: Numbers on both sides of the diagonal are equal if they differ by less than this share.
_ASYMMETRIC = 1e-9
#: Bounds whose sum misses 1 by less are meant to add up to it.
_ROUNDING = 1e-9
_NO_BOUNDS = np.empty(0)


class Portfolio(NamedTuple):
    """The result of `portfolio_optimize` and `portfolio_weights`; ``n`` counts rows, and is NULL without any."""

    task: str
    weights: list[float]
    objective: float
    expected_return: float
    variance: float
    n: int | None


@njit
def _portfolio(cost: Any, sigma: Any, weights: Any, aversion: float) -> tuple[float, float, float]:
    """Objective, expected return and variance."""
    expense = np.sum(cost * weights)
    variance = 0.0
    for i in range(len(weights)):
        variance += weights[i] * np.sum(sigma[i] * weights)
    objective = expense + aversion * max(variance, 0.0)
    if not abs(objective) < math.inf:
        raise ValueError(
            "the objective is beyond what DOUBLE holds; expected smaller returns or a smaller risk_aversion"
        )
    return objective, -expense, max(variance, 0.0)


@njit
def _check_risk_aversion(risk_aversion: float) -> None:
    if not 0 <= risk_aversion < math.inf:
        raise ValueError("option risk_aversion must be at least 0 and finite, got", risk_aversion)


@njit
def _bounds(name: str, given: Any, assets: int, without: float) -> Any:
    """The bounds of all assets: one for each, one for all, or none."""
    if len(given) > 1 and len(given) != assets:
        raise ValueError(
            "option", name, "must be one bound for each of the", assets, "assets, or one for all, got", len(given)
        )
    bounds = np.full(assets, without)
    for asset in range(assets):
        if len(given) > 0:
            bounds[asset] = given[asset if len(given) > 1 else 0]
        if math.isnan(bounds[asset]):
            raise ValueError("option", name, "must be numbers, got nan")
    return bounds


@njit
def _minimum(cost: Any, hessian: Any, long_only: bool, lower: Any, upper: Any) -> Any:
    """The weights of least objective within the bounds."""
    if not long_only and len(lower) == 0 and len(upper) == 0:
        return free_minimum(cost, hessian)
    assets = len(cost)
    least = _bounds("lower", lower, assets, -math.inf)
    most = _bounds("upper", upper, assets, math.inf)
    if long_only:
        least = np.maximum(least, 0.0)
    for asset in range(assets):
        if least[asset] > most[asset] or least[asset] == math.inf or most[asset] == -math.inf:
            raise ValueError(
                "no portfolio is within the bounds: asset", asset + 1, "must be at least", least[asset], "and at most",
                most[asset],
            )  # fmt: skip
    if not np.sum(least) <= 1 + _ROUNDING or not np.sum(most) >= 1 - _ROUNDING:
        raise ValueError(
            "no portfolio is within the bounds: the weights must add up to 1, but can only to between", np.sum(least),
            "and", np.sum(most),
        )  # fmt: skip
    return bounded_minimum(cost, hessian, least, most)


@aggregate
class portfolio_optimize(CoMoments):  # noqa: N801 - the SQL name
    """Choose the weights of assets from rows of their returns: most return for least risk (Markowitz).

    The weights minimise ``-m.w + risk_aversion w.S w`` under ``sum w = 1``, where ``m`` are the mean returns and ``S``
    is their sample covariance (divided by ``n - 1``). One pass sums up both, without loss of digits.

    Parameters
    ----------
    returns : of the assets in one period, the same number in all rows of a group: a list or an array of numbers.
    risk_aversion : weight of the variance, at least 0; ``g / 2`` for the ``g`` of texts that weigh half the variance.
    long_only : whether weights must not be negative. Without, the assets must differ so that no combination of them is
        free of risk.
    lower, upper : bounds of the weights, one for each asset in order, or one for all, as in ``{'upper': [0.2]}``.
    method : ``'exact'`` solves the quadratic programme by an active set; ``'sgd'``, for very many assets, long only
        and without bounds, takes gradient steps that are projected on the simplex.
    epochs : most steps of ``'sgd'``.
    tolerance : ``'sgd'`` ends when the objective is this share of its terms from the minimum.

    Returns
    -------
    STRUCT
        ``task``, ``weights``, ``objective`` (as above), ``expected_return``, ``variance`` and the number of rows ``n``.
        Where several portfolios are best, one of them. Rows that are NULL are skipped; fewer than two rows, which have
        no sample covariance, give NULL.

    Raises
    ------
    InvalidInputException
        If rows differ in length or are empty, a number is NULL, NaN, infinite or above 1e150, an option is out of its
        range, no weights are within the bounds, there is no minimum without ``long_only``, or ``epochs`` do not
        suffice.

    References
    ----------
    Markowitz: Portfolio Selection, The Journal of Finance 7 (1952); Nocedal, Wright: Numerical Optimization, 2nd
    edition (2006), section 16.5; Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD
    2012, section 3; O'Donoghue, Candes: Adaptive Restart for Accelerated Gradient Schemes, Foundations of Computational
    Mathematics 15 (2015).

    Examples
    --------
    SELECT portfolio_optimize([sin(i), cos(i) / 2, 0.01], {'risk_aversion': 2}) AS portfolio FROM range(100) t(i);
    """

    gradient: bool  # method 'sgd'
    lowest: list[float]  # the options lower and upper
    highest: list[float]

    def init(
        self,
        risk_aversion: float = 1.0,
        long_only: bool = True,
        lower: list[float] = [],  # noqa: B006
        upper: list[float] = [],  # noqa: B006
        method: Literal["exact", "sgd"] = "exact",
        epochs: int = 10_000,
        tolerance: float = 1e-6,
    ):
        _check_risk_aversion(risk_aversion)
        if epochs < 1:
            raise ValueError("option epochs must be at least 1, got", epochs)
        if not 0 < tolerance < 1:
            raise ValueError("option tolerance must be between 0 and 1, got", tolerance)
        if method == "sgd" and not long_only:
            raise ValueError("option method 'sgd' needs long_only true; expected 'exact'")
        if method == "sgd" and len(lower) + len(upper) > 0:
            raise ValueError("option method 'sgd' takes no bounds; expected 'exact'")
        self.gradient = method == "sgd"
        self.lowest.extend(lower)
        self.highest.extend(upper)

    def update(self, returns: Vector):
        assets = len(returns)
        if assets != self.width:
            if self.width >= 0:
                raise ValueError(
                    "argument returns must have the same length in all rows, got", self.width, "and", assets
                )
            if not 1 <= assets <= MOST_FEATURES:
                raise ValueError("argument returns must have 1 to", MOST_FEATURES, "numbers; a row has", assets)
        for index in range(assets):
            if not abs(returns[index]) <= 1e150:
                raise ValueError(
                    "argument returns must be numbers up to 1e150; a row has", returns[index], "at position", index + 1
                )
        self.learn(0.0, returns, 1.0)

    def finish(self) -> Portfolio | None:
        n = self.n + self.pending
        if n < 2:
            return None
        means, products, _ = self.moments()
        assets, stride = np.int64(self.width), len(means)
        cost, sigma = -means[:assets], np.empty((assets, assets))
        for i in range(assets):
            for j in range(i + 1):
                sigma[i, j] = sigma[j, i] = products[i * stride + j] / (n - 1)
        hessian = 2 * self.risk_aversion * sigma
        if self.gradient:
            weights = projected_gradient(cost, hessian, self.epochs, self.tolerance)
        else:
            weights = _minimum(cost, hessian, self.long_only, self.lowest[:], self.highest[:])
        objective, expected, variance = _portfolio(cost, sigma, weights, self.risk_aversion)
        return Portfolio("portfolio", weights, objective, expected, variance, n)


@scalar
def portfolio_weights(
    p: list[float],
    sigma: list[list[float]],
    risk_aversion: float = 1.0,
    long_only: bool = True,
    lower: list[float] = _NO_BOUNDS,  # type: ignore[assignment]
    upper: list[float] = _NO_BOUNDS,  # type: ignore[assignment]
) -> Portfolio:
    """Choose the weights of assets from their costs and their covariance: the least ``p.w + risk_aversion w.S w``.

    Parameters
    ----------
    p : cost of each asset, minus its expected return.
    sigma : the covariance of the returns, a list of its rows.
    risk_aversion : weight of the variance, at least 0.
    long_only : whether weights must not be negative; their sum is 1 in any case.
    lower, upper : bounds of the weights, one for each asset or one for all; empty for none.

    Returns
    -------
    STRUCT
        ``task``, ``weights``, ``objective``, ``expected_return`` (minus ``p.w``), ``variance`` and ``n``, which is
        NULL. NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If ``sigma`` is no covariance or does not fit ``p``, a number is NULL, NaN, infinite or above 1e150, no weights
        are within the bounds, or there is no minimum without ``long_only``.

    References
    ----------
    Markowitz: Portfolio Selection, The Journal of Finance 7 (1952); Nocedal, Wright: Numerical Optimization, 2nd
    edition (2006), section 16.5.

    Examples
    --------
    SELECT portfolio_weights([-0.08, -0.06], [[0.10, 0.02], [0.02, 0.08]]) AS best;
    """
    _check_risk_aversion(risk_aversion)
    if len(p) == 0:
        raise ValueError("argument p must have at least 1 number; a row has none")
    for asset in range(len(p)):
        if not abs(p[asset]) <= 1e150:
            raise ValueError("argument p must be numbers up to 1e150; a row has", p[asset], "at position", asset + 1)
    cost, matrix = p.copy(), _covariance(sigma, len(p))
    hessian = 2 * risk_aversion * matrix
    weights = _minimum(cost, hessian, long_only, lower, upper)
    objective, expected, variance = _portfolio(cost, matrix, weights, risk_aversion)
    return Portfolio("portfolio", weights, objective, expected, variance, None)


@njit
def _covariance(sigma: Any, assets: int) -> Any:
    """The argument sigma as a matrix, if it is a covariance."""
    if len(sigma) != assets:
        raise ValueError(
            "argument sigma must be a matrix of", assets, "x", assets, "as p has; its rows are", len(sigma)
        )
    matrix, largest = np.empty((assets, assets)), 0.0
    for i in range(assets):
        row = sigma[i]
        if len(row) != assets:
            raise ValueError("argument sigma must be a matrix of", assets, "x", assets, "as p has; a row has", len(row))
        for j in range(assets):
            if not abs(row[j]) <= 1e150:
                raise ValueError(
                    "argument sigma must be numbers up to 1e150; it has", row[j], "in row", i + 1, "column", j + 1
                )
            matrix[i, j] = row[j]
        for j in range(i):
            mirrored, apart = matrix[j, i], abs(row[j] - matrix[j, i])
            if apart > _ASYMMETRIC * max(abs(row[j]), abs(mirrored)):
                raise ValueError(
                    "argument sigma must be symmetric; row",
                    i + 1,
                    "has",
                    row[j],
                    "where column",
                    i + 1,
                    "has",
                    mirrored,
                )
            matrix[i, j] = matrix[j, i] = (row[j] + mirrored) / 2
        largest = max(largest, abs(row[i]))
    if not _positive_definite(matrix, _NEGATIVE * largest):
        lowest = _smallest_eigenvalue(matrix)
        if lowest < 0:
            raise ValueError(
                "argument sigma must have no negative eigenvalue, as a covariance has none; it has", lowest
            )
    return matrix


@njit
def _positive_definite(matrix: Any, shift: float) -> bool:
    """Whether the matrix plus ``shift`` times the identity has a Cholesky factor."""
    size = len(matrix)
    factor = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i, j]
            for k in range(j):
                rest -= factor[i, k] * factor[j, k]
            if j < i:
                factor[i, j] = rest / factor[j, j]
            elif rest + shift > 0:
                factor[i, i] = math.sqrt(rest + shift)
            else:
                return False
    return True


@njit
def _smallest_eigenvalue(matrix: Any) -> float:
    """The smallest eigenvalue of a matrix that has a negative one, by halving: the shift that it needs."""
    low, high = 0.0, 0.0
    for i in range(len(matrix)):
        total = 0.0
        for j in range(len(matrix)):
            total += abs(matrix[i, j])
        high = max(high, total)  # no eigenvalue is farther from 0 (Gershgorin)
    for _ in range(60):
        middle = (low + high) / 2
        if _positive_definite(matrix, middle):
            high = middle
        else:
            low = middle
    return -high

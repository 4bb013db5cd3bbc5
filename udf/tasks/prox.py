"""Proximal operators: the step of training that a penalty or a constraint takes.

The operator of a function ``P`` at ``v`` is the point that trades ``P`` against the distance from ``v``,

    prox(v) = argmin over w of  tau P(w) + |w - v|^2 / 2.

For a constraint ``P`` is 0 inside and infinite outside: the operator is the nearest point of the set, whatever ``tau``.

The operators are for code that the engine compiles, such as the steps of a training aggregate, not for Python itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from ironlake.udf.engine import scalar
from ironlake.udf.engine.sqltypes import Vector

# -------------------------------------------------------------------------------------------------------- the operators


@njit
def soft_threshold(value: float, tau: float) -> float:
    """The operator of ``|w|``: towards 0 by ``tau``, and not beyond."""
    return math.copysign(max(abs(value) - tau, 0.0), value) + 0.0  # not -0


@njit
def shrink(value: float, tau: float) -> float:
    """The operator of ``w^2 / 2``: a scaling."""
    return value / (1 + tau)


@njit
def clamp(value: float, lower: float, upper: float) -> float:
    """The operator of ``lower <= w <= upper``."""
    return min(max(value, lower), upper)


@njit
def norm_factor(values: Any, tau: float) -> float:
    """What the operator of the norm ``|w|`` multiplies a vector by: ``max(0, 1 - tau / |v|)``."""
    largest, squares = 0.0, 0.0
    for value in values:
        largest = max(largest, abs(value))
    if largest == 0:
        return 0.0
    for value in values:  # in units of the largest: squares neither overflow nor vanish
        squares += (value / largest) ** 2
    return max(0.0, 1 - tau / largest / math.sqrt(squares))


@njit
def nearest_on_simplex(values: Any) -> Any:
    """The operator of ``w >= 0, sum w = 1``: all numbers go down by the same, and not below 0.

    With the numbers sorted, ``u_1 >= u_2 >= ...``, that is ``theta = (u_1 + ... + u_k - 1) / k`` for the largest ``k``
    with ``u_k > theta``.
    """
    largest = np.max(values)
    ordered = np.sort(values - largest)  # the differences alone count
    total, theta = 0.0, 0.0
    for count in range(1, len(ordered) + 1):
        value = ordered[len(ordered) - count]
        if count * value <= total + value - 1:
            break
        total += value
        theta = (total - 1) / count
    nearest = np.empty(len(values))
    for index in range(len(values)):
        nearest[index] = max(values[index] - largest - theta, 0.0)
    return nearest


# -------------------------------------------------------------------------------------------------------- the functions


@njit
def _check(values: Any) -> None:
    for index in range(len(values)):
        if not abs(values[index]) < math.inf:
            raise ValueError("argument v must be finite numbers; a row has", values[index], "at position", index + 1)


@njit
def _on_simplex(values: Any) -> Any:
    if len(values) == 0:
        raise ValueError("argument v must have at least 1 number, which are to add up to 1; a row has none")
    return nearest_on_simplex(values)


@scalar
def prox(v: Vector, kind: str, tau: float, lower: float = 0.0, upper: float = 1.0) -> list[float]:
    """Move a vector as a penalty or a constraint asks: the proximal operator, ``argmin tau P(w) + |w - v|^2 / 2``.

    Parameters
    ----------
    v : finite numbers.
    kind : the penalty ``P``: ``'l1'`` for ``|w_1| + |w_2| + ...``, ``'l2_squared'`` for ``|w|^2 / 2``, ``'l2'`` for the
        norm ``|w|``; or the constraint: ``'non_negative'``, ``'box'``, ``'simplex'`` (not negative, with the sum 1).
    tau : weight of the penalty, at least 0; in training, the step size times the penalty's factor. It makes no
        difference to a constraint.
    lower, upper : bounds of all numbers, for ``'box'`` alone; they may be infinite.

    Returns
    -------
    DOUBLE[]
        As long as ``v``; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If an argument is out of its range, ``kind`` is another text, or ``v`` is empty with ``'simplex'``.

    References
    ----------
    Parikh, Boyd: Proximal Algorithms, Foundations and Trends in Optimization 1 (2014), chapter 6; Feng, Kumar, Recht,
    Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.

    Examples
    --------
    SELECT prox([3, -0.5, -2], 'l1', 1) AS sparse, prox([3, -4], 'l2', 1) AS shorter;
    SELECT prox([3, -0.5, 0.2], 'box', 1, -1, 1) AS clamped;
    """
    _check(v)
    if not 0 <= tau < math.inf:
        raise ValueError("argument tau must be at least 0 and finite; a row has", tau)
    moved = np.empty(len(v))
    if kind == "l1":
        for index in range(len(v)):
            moved[index] = soft_threshold(v[index], tau)
    elif kind == "l2_squared":
        for index in range(len(v)):
            moved[index] = shrink(v[index], tau)
    elif kind == "l2":
        factor = norm_factor(v, tau)
        for index in range(len(v)):
            moved[index] = factor * v[index] + 0.0
    elif kind == "non_negative":
        for index in range(len(v)):
            moved[index] = clamp(v[index], 0.0, math.inf)
    elif kind == "box":
        if not lower <= upper:
            raise ValueError("argument lower must not be above upper; a row has", lower, "and", upper)
        for index in range(len(v)):
            moved[index] = clamp(v[index], lower, upper)
    elif kind == "simplex":
        moved[:] = _on_simplex(v)
    else:
        raise ValueError(
            "argument kind must be 'l1', 'l2_squared', 'l2', 'non_negative', 'box' or 'simplex'; a row has", kind
        )
    return moved


@scalar
def project_simplex(v: Vector) -> list[float]:
    """The nearest vector to a vector whose numbers are not negative and add up to 1, such as shares or probabilities.

    Parameters
    ----------
    v : finite numbers, at least one.

    Returns
    -------
    DOUBLE[]
        As long as ``v``; NULL if it is NULL.

    Raises
    ------
    InvalidInputException
        If ``v`` is empty or a number is NULL, NaN or infinite.

    References
    ----------
    Duchi, Shalev-Shwartz, Singer, Chandra: Efficient Projections onto the l1-Ball for Learning in High Dimensions,
    ICML 2008, figure 1.

    Examples
    --------
    SELECT project_simplex([0.5, 0.3, -0.2, 1.1]) AS shares;
    """
    _check(v)
    return _on_simplex(v)

"""State-space models, and the small matrices of their filters and smoothers, in plain loops.

States are few, so that a call of LAPACK would cost more than the arithmetic: matrices are small arrays and the loops
over them are written out.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from numba import njit

#: How the kernels are compiled; ``nogil`` lets the series of a GROUP BY run side by side.
COMPILED = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
#: A pivot below this part of its diagonal is rounding error.
ROUNDING = 1e-14
#: Covariances of unit variance that differ by less count as equal.
_LAST_BITS = 4e-16


class StateSpace(NamedTuple):
    """The model ``x[t] = A x[t-1] + N(0, Q)``, ``y[t] = C x[t] + N(0, R)``, ``x[0] = N(m0, P0)``, rows from t = 1.

    Attributes
    ----------
    A, Q, P0 : (states, states).
    C : (width, states).
    R : (width, width).
    m0 : (states,).
    """

    A: Any
    C: Any
    Q: Any
    R: Any
    m0: Any
    P0: Any


@njit(**COMPILED)
def apply(matrix: Any, vector: Any, out: Any) -> None:
    """``out = matrix vector``."""
    for i in range(len(out)):
        total = 0.0
        for j in range(len(vector)):
            total += matrix[i, j] * vector[j]
        out[i] = total


@njit(**COMPILED)
def add_sandwich(left: Any, middle: Any, inner: int, half: Any, out: Any) -> None:
    """``out += left middle left'`` for symmetric ``middle`` and ``out``, over the first ``inner`` columns."""
    for i in range(len(out)):
        for j in range(inner):
            total = 0.0
            for k in range(inner):
                total += left[i, k] * middle[k, j]
            half[i, j] = total
    for i in range(len(out)):
        for j in range(i + 1):
            total = out[i, j]
            for k in range(inner):
                total += half[i, k] * left[j, k]
            out[i, j] = out[j, i] = total


@njit(**COMPILED)
def factorise(matrix: Any, size: int, factor: Any) -> bool:
    """Cholesky factor of the leading block; False if it is not positive definite.

    A pivot of a semi-definite matrix that is zero but for rounding leaves a zero column, and `solve` a zero there: a
    solution as good as any, if there is one.
    """
    definite = True
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i > j:
                factor[i, j] = total / factor[j, j] if factor[j, j] > 0 else 0.0
            elif total > ROUNDING * matrix[i, i] and total < math.inf:
                factor[i, i] = math.sqrt(total)
            else:
                factor[i, i] = 0.0
                definite = False
    return definite


@njit(**COMPILED)
def solve(factor: Any, size: int, vector: Any) -> None:
    """Replace ``vector`` by the solution of ``factor factor' x = vector``."""
    for i in range(size):
        total = vector[i]
        for k in range(i):
            total -= factor[i, k] * vector[k]
        vector[i] = total / factor[i, i] if factor[i, i] > 0 else 0.0
    for i in range(size - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, size):
            total -= factor[k, i] * vector[k]
        vector[i] = total / factor[i, i] if factor[i, i] > 0 else 0.0


@njit(**COMPILED)
def identity_minus(left: Any, right: Any, rows: Any, count: int, out: Any) -> None:
    """``out = I - left right``, over the given rows of ``right``."""
    for i in range(len(out)):
        for j in range(len(out)):
            total = 1.0 if i == j else 0.0
            for k in range(count):
                total -= left[i, k] * right[rows[k], j]
            out[i, j] = total


@njit(**COMPILED)
def repeats(left: Any, right: Any) -> bool:
    """Whether two covariances are the same but for the last bits, measured by their standard deviations."""
    for i in range(len(left)):
        for j in range(i + 1):
            if (left[i, j] - right[i, j]) ** 2 > _LAST_BITS**2 * left[i, i] * left[j, j]:
                return False
    return True


@njit(**COMPILED)
def observe(row: Any, seen: Any, count: int) -> tuple[int, bool]:
    """List the components that are there in ``seen``; gives how many, and whether they are those listed before."""
    found, same = 0, True
    for component in range(len(row)):
        if not math.isnan(row[component]):
            same = same and found < count and seen[found] == component
            seen[found] = component
            found += 1
    return found, same and found == count

"""The options of the Kalman functions, as matrices of a state-space model."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kalman_matrices import StateSpace

#: Variance of the first state where no P0 is given: almost a flat prior for series of ordinary size.
_VAGUE = 1e6


def state_space(width: int, A: Any, C: Any, Q: Any, R: Any, m0: Any, P0: Any) -> StateSpace:  # noqa: N803
    """The model of the options, for observations of so many components."""
    states = next((len(given) for given in (A, Q, P0, m0) if isinstance(given, list)), None)
    if states is None and isinstance(C, list):
        states = len(C[0]) if C and isinstance(C[0], list) else len(C)
    states = width if states is None else states
    if not states:
        raise ValueError("options A, C, Q, P0 and m0 must not be empty lists; expected at least 1 state")
    mean = np.full(states, m0 or 0.0) if not isinstance(m0, list) else np.array(m0)
    if len(mean) != states or not np.isfinite(mean).all():
        raise ValueError(f"option m0 must be a finite number or a list of {states} (one for each state), got {m0}")
    row_or_rows = [C] if isinstance(C, list) and C and not isinstance(C[0], list) else C
    return StateSpace(
        A=_matrix("A", A, states, states),
        C=_matrix("C", row_or_rows, width, states),
        Q=_covariance("Q", Q, states),
        R=_covariance("R", R, width),
        m0=mean,
        P0=_covariance("P0", _VAGUE if P0 is None else P0, states),
    )


def _matrix(name: str, given: Any, rows: int, columns: int) -> np.ndarray:
    """A matrix option as an array."""
    if not isinstance(given, list):
        matrix = np.eye(rows, columns) * (1.0 if given is None else given)
    elif not given or isinstance(given[0], list):
        lengths = sorted({len(row) for row in given})
        if len(given) != rows or lengths != [columns]:
            found = f"{len(given)} lists of {' or '.join(map(str, lengths)) or 0}"
            raise ValueError(f"option {name} must be a number or {rows} lists of {columns} numbers, got {found}")
        matrix = np.array(given, np.float64)
    else:
        if len(given) != rows:
            raise ValueError(f"option {name} must be a diagonal of {rows} numbers, got {len(given)} numbers")
        matrix = np.diag(np.array(given, np.float64))
    if not np.isfinite(matrix).all():
        raise ValueError(f"option {name} must be finite numbers, got {given}")
    return matrix


def _covariance(name: str, given: Any, size: int) -> np.ndarray:
    """A covariance option as an array: symmetric, without negative eigenvalues."""
    matrix = _matrix(name, given, size, size)
    if not isinstance(given, list):
        smallest, largest = matrix[0, 0], abs(matrix[0, 0])
    else:
        if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=0):
            raise ValueError(f"option {name} must be symmetric, a covariance matrix, got {given}")
        matrix = (matrix + matrix.T) / 2
        eigenvalues = np.linalg.eigvalsh(matrix)
        smallest, largest = eigenvalues[0], abs(eigenvalues[-1])
    if smallest < -1e-12 * largest:
        raise ValueError(f"option {name} must be a covariance matrix, got one with the negative eigenvalue {smallest}")
    return matrix


def inverse_of(name: str, matrix: np.ndarray, method: str) -> np.ndarray:
    """The inverse of a covariance option that a method needs."""
    eigenvalues = np.linalg.eigvalsh(matrix)
    if eigenvalues[0] <= 1e-14 * eigenvalues[-1]:
        raise ValueError(f"option {name} must have an inverse with method {method!r}, got a singular matrix")
    return np.linalg.inv(matrix)

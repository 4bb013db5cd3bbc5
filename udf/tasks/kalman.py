"""Kalman filter and smoother: the hidden state of a series, its uncertainty, and how likely the series is.

The rows of a group are the series, in the order of ``t`` or of ``ORDER BY`` inside the call. The model is
``x[t] = A x[t-1] + N(0, Q)``, ``y[t] = C x[t] + N(0, R)``, from ``x[0] = N(m0, P0)`` one step before the first row.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ironlake.udf.engine import relation

from .kalman_kernels import filter_series, smooth_series
from .kalman_map import descend, minimise
from .kalman_matrices import StateSpace
from .kalman_options import inverse_of, state_space

if TYPE_CHECKING:
    import pyarrow as pa

#: A compiled loop cannot be interrupted.
_MOST_EPOCHS = 1_000_000
#: An option that is a matrix: a number times the identity, a diagonal (for C its only row), or the list of its rows.
Matrix = float | list[float] | list[list[float]] | None


class StateEstimate(NamedTuple):
    """The state at one row: its mean, and its covariance as a list of rows."""

    mean: list[float]
    cov: list[list[float]]


@relation(form="groups")
def kalman_filter(
    starts: np.ndarray,
    y: float | list[float],
    t: int | float | datetime.datetime | None = None,
    *,
    A: Matrix = None,  # noqa: N803 - the matrices have their names in the literature
    C: Matrix = None,  # noqa: N803
    Q: Matrix = None,  # noqa: N803
    R: Matrix = None,  # noqa: N803
    m0: float | list[float] | None = None,
    P0: Matrix = None,  # noqa: N803
) -> list[StateEstimate]:
    """Estimate the hidden state of a series at every row from the rows up to it (Kalman filter).

    Parameters
    ----------
    y : the observation of a row, a number or a vector. A NULL is missing: the state is predicted, not updated. In a
        vector that holds for the component that is NULL.
    t : when: rows are taken in the order of t, equal ones as they come. It stands behind the options, and does the
        same as ``ORDER BY t`` in the call, sooner, as DuckDB would sort the options with the rows. Without it and
        without ORDER BY rows are taken as they come.
    A : state transition. A matrix is a list of rows, a list of numbers its diagonal, a number that multiple of the
        identity; so are C, Q, R and P0. Default 1.
    C : what is observed of the state, a row for each component of y; a list of numbers is its only row. Default 1:
        component i is state i.
    Q : covariance of the state noise. Default 1.
    R : covariance of the observation noise. Default 1.
    m0 : mean of the state one step before the first row, a number for each state or one for all. Default 0.
    P0 : its covariance. Default 1e6, which leaves the first state almost to the data.

    Returns
    -------
    LIST(STRUCT)
        ``mean`` and ``cov`` of the state for every row, in order. The number of states is taken from the options, or
        else is the length of y: without options each component is a random walk with noise. No rows give NULL.

    Raises
    ------
    InvalidInputException
        If y is NaN, infinite or of changing length, t is NULL, options do not fit together or are no covariances, or
        numbers grow beyond what DOUBLE holds.

    References
    ----------
    Kalman: A New Approach to Linear Filtering and Prediction Problems, J. Basic Engineering 82 (1960); Feng, Kumar,
    Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.

    Examples
    --------
    SELECT unnest(kalman_filter(y, {'Q': 0.5, 'P0': 10} ORDER BY t)) AS level
    FROM (VALUES (1, 1.0), (2, 2.0), (3, NULL), (4, 3.0)) rows(t, y);
    SELECT k, kalman_filter(y, {'Q': 0.5}, t)[-1].mean AS last
    FROM (VALUES ('a', 2, 1.0), ('b', 1, 2.0), ('a', 1, 3.0)) rows(k, t, y) GROUP BY k;
    SELECT kalman_filter(i * i, {'A': [[1, 1], [0, 1]], 'C': [1, 0], 'Q': [0.01, 0.1]} ORDER BY i)[-1].mean AS trend
    FROM range(20) t(i);
    """

    def estimated(starts: np.ndarray, y: pa.Array) -> pa.Array:
        rows = _observations(y, C, R)
        means, covs, _ = _filtered(starts, rows, state_space(rows.shape[1], A, C, Q, R, m0, P0))
        return _estimates(starts, means, covs)

    return _of_equal_width(estimated, starts, _in_order(starts, y, t))


@relation(form="groups")
def kalman_loglik(
    starts: np.ndarray,
    y: float | list[float],
    t: int | float | datetime.datetime | None = None,
    *,
    A: Matrix = None,  # noqa: N803
    C: Matrix = None,  # noqa: N803
    Q: Matrix = None,  # noqa: N803
    R: Matrix = None,  # noqa: N803
    m0: float | list[float] | None = None,
    P0: Matrix = None,  # noqa: N803
) -> float:
    """Measure how likely a series is under a model with a hidden state; the best model has the largest.

    Parameters
    ----------
    y, t : the observation of a row, and when, as in `kalman_filter`.
    A, C, Q, R, m0, P0 : the model, as in `kalman_filter`.

    Returns
    -------
    DOUBLE
        The logarithm of the probability density of what is observed; missing numbers do not count. No rows give NULL.

    Raises
    ------
    InvalidInputException
        As `kalman_filter`.

    References
    ----------
    Schweppe: Evaluation of Likelihood Functions for Gaussian Signals, IEEE Trans. Information Theory 11 (1965).

    Examples
    --------
    SELECT q, kalman_loglik(y, {'Q': q} ORDER BY t) AS loglik
    FROM (VALUES (1, 1.0), (2, 2.0), (3, 1.5), (4, 3.0)) rows(t, y), (VALUES (0.1), (1.0)) noise(q) GROUP BY q;
    """
    import pyarrow as pa

    def measured(starts: np.ndarray, y: pa.Array) -> pa.Array:
        rows = _observations(y, C, R)
        model = state_space(rows.shape[1], A, C, Q, R, m0, P0)
        return pa.array(_filtered(starts, rows, model, keep=False)[2])

    return _of_equal_width(measured, starts, _in_order(starts, y, t))


@relation(form="groups")
def kalman_smooth(
    starts: np.ndarray,
    y: float | list[float],
    t: int | float | datetime.datetime | None = None,
    *,
    A: Matrix = None,  # noqa: N803
    C: Matrix = None,  # noqa: N803
    Q: Matrix = None,  # noqa: N803
    R: Matrix = None,  # noqa: N803
    m0: float | list[float] | None = None,
    P0: Matrix = None,  # noqa: N803
    method: Literal["rts", "map", "igd"] = "rts",
    epochs: int = 100,
    step_size: float = 0.1,
    decay: float = 0.02,
) -> list[StateEstimate]:
    """Estimate the hidden state of a series at every row from all rows, earlier and later ones (Kalman smoother).

    Parameters
    ----------
    y, t : the observation of a row, and when, as in `kalman_filter`.
    A, C, Q, R, m0, P0 : the model, as in `kalman_filter`.
    method : ``rts`` is the Rauch-Tung-Striebel smoother. ``map`` gives the most likely states without a prior on the
        first, which are those of least ``sum |y[t] - C x[t]|^2 + sum |x[t] - A x[t-1]|^2``, with the inverses of R and
        Q as weights, by solving the normal equations. ``igd`` descends on the same objective row by row.
    epochs : passes over the rows, for ``igd`` alone, as are step_size and decay.
    step_size : of the first pass, on half the objective.
    decay : pass e, counted from 0, has the step size ``step_size / (1 + decay * e)``.

    Returns
    -------
    LIST(STRUCT)
        ``mean`` and ``cov`` of the state for every row, in order; ``cov`` is NULL with ``igd``. No rows give NULL.

    Raises
    ------
    InvalidInputException
        As `kalman_filter`; with ``map`` and ``igd`` also if Q or R has no inverse, m0 or P0 is given, the rows leave
        some direction of the states open (``map``), or the descent diverges (``igd``).

    References
    ----------
    Rauch, Tung, Striebel: Maximum Likelihood Estimates of Linear Dynamic Systems, AIAA Journal 3 (1965); Feng, Kumar,
    Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.

    Examples
    --------
    SELECT unnest(kalman_smooth(y, {'Q': 0.5, 'P0': 10} ORDER BY t)) AS level
    FROM (VALUES (1, 1.0), (2, 2.0), (3, NULL), (4, 3.0)) rows(t, y);
    SELECT kalman_smooth(y, {'method': 'map'} ORDER BY t)[1].mean AS first
    FROM (VALUES (1, 1.0), (2, 2.0), (3, 1.5), (4, 3.0)) rows(t, y);
    """
    if method != "rts" and (m0 is not None or P0 is not None):
        raise ValueError(f"options m0 and P0 must be left out with method {method!r}, which has no prior; got one")

    def estimated(starts: np.ndarray, y: pa.Array) -> pa.Array:
        rows = _observations(y, C, R)
        model = state_space(rows.shape[1], A, C, Q, R, m0, P0)
        if method == "rts":
            means, covs, _ = _filtered(starts, rows, model)
            smooth_series(starts, model, means, covs)
            return _estimates(starts, means, covs)
        precision = inverse_of("Q", model.Q, method)
        inverse_of("R", model.R, method)
        means = np.zeros((len(rows), len(model.m0)))
        covs = np.empty((*means.shape, means.shape[1])) if method == "map" else None
        for first, last in itertools.pairwise(starts.tolist()):
            if covs is None:
                _descend(rows[first:last], model, precision, means[first:last], epochs, step_size, decay)
            else:
                _minimise(rows[first:last], model, precision, means[first:last], covs[first:last])
        return _estimates(starts, means, covs)

    return _of_equal_width(estimated, starts, _in_order(starts, y, t))


def _filtered(
    starts: np.ndarray, rows: np.ndarray, model: StateSpace, keep: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means and covariances of the filter, of all rows if they are kept, and the log-likelihood of each series."""
    kept, states = (len(rows) if keep else 0), len(model.m0)
    means, covs = np.empty((kept, states)), np.empty((kept, states, states))
    logliks = np.empty(len(starts) - 1)
    failed, finite = filter_series(starts, rows, model, keep, means, covs, logliks)
    if failed >= 0:
        raise ValueError(
            f"row {failed + 1}: the innovation covariance C P C' + R is not positive definite or not finite; expected "
            "an option R of full rank, and an option A under which states stay bounded"
        )
    if not finite:
        raise ValueError("the state grew beyond what DOUBLE holds; expected an option A under which it stays bounded")
    return means, covs, logliks


def _minimise(rows: np.ndarray, model: StateSpace, precision: np.ndarray, means: np.ndarray, covs: np.ndarray) -> None:
    below = -precision @ model.A
    if not minimise(rows, model, precision, below, -model.A.T @ below, means, covs):
        raise ValueError(
            "method 'map' has no single solution: the rows of argument y do not determine every state; "
            "expected more observed rows, or method 'rts', which has a prior"
        )
    if not (np.isfinite(means).all() and np.isfinite(covs).all()):
        raise ValueError("the state grew beyond what DOUBLE holds; expected an option A under which it stays bounded")


def _descend(
    rows: np.ndarray,
    model: StateSpace,
    precision: np.ndarray,
    means: np.ndarray,
    epochs: int,
    step_size: float,
    decay: float,
) -> None:
    if not 1 <= epochs <= _MOST_EPOCHS:
        raise ValueError(f"option epochs must be between 1 and {_MOST_EPOCHS}, got {epochs}")
    if not 0 < step_size < np.inf:
        raise ValueError(f"option step_size must be above 0 and finite, got {step_size}")
    if not 0 <= decay < np.inf:
        raise ValueError(f"option decay must be at least 0 and finite, got {decay}")
    diverged = descend(rows, model, precision, step_size, decay, epochs, means)
    if diverged >= 0:
        raise ValueError(
            f"method 'igd' diverged in epoch {diverged + 1}; expected an option step_size below {step_size}"
        )


# ------------------------------------------------------------------------------------------------- what comes and goes


def _in_order(starts: np.ndarray, y: pa.Array, t: pa.Array | None) -> pa.Array:
    """The rows of each series in the order of their times."""
    import pyarrow as pa

    if t is None:
        return y
    if t.null_count:
        raise ValueError("argument t has a NULL; filter such rows")
    times = t.to_numpy()
    sooner = times[1:] < times[:-1]
    sooner[starts[1:-1] - 1] = False
    if not sooner.any():
        return y
    return y.take(pa.array(np.lexsort((times, np.repeat(np.arange(len(starts) - 1), np.diff(starts))))))


def _of_equal_width(function: Callable[[np.ndarray, pa.Array], pa.Array], starts: np.ndarray, y: pa.Array) -> pa.Array:
    """What a function of series whose rows have the same length gives for series that may differ from each other."""
    import pyarrow as pa

    if pa.types.is_list(y.type):
        longest = np.maximum.reduceat(np.diff(y.offsets), starts[:-1])
        if (longest != longest[0]).any():
            series = itertools.pairwise(starts.tolist())
            alone = [function(np.array([0, last - first]), y.slice(first, last - first)) for first, last in series]
            return pa.concat_arrays(alone)
    return function(starts, y)


def _observations(y: pa.Array, C: Any, R: Any) -> np.ndarray:  # noqa: N803
    """The series as a (rows, width) array, missing numbers as NaN; without any vector the width is that of C or R."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(y.type):
        lengths = pc.drop_null(pc.list_value_length(y)).to_numpy()
        described = [matrix for matrix in (C, R) if isinstance(matrix, list) and matrix and isinstance(matrix[0], list)]
        width = int(lengths[0]) if len(lengths) else len(described[0]) if described else 1
        if not width or (lengths != width).any():
            other = int(lengths[lengths != width][0]) if width else 0
            raise ValueError(f"argument y has a row of {other} numbers; expected {width or 'at least 1'} in every row")
        numbers = y.flatten()
    else:
        width, numbers = 1, pc.drop_null(y)
    present = np.array(numbers.to_numpy(zero_copy_only=False))
    wrong = ~np.isfinite(present)
    if numbers.null_count:
        wrong &= numbers.is_valid().to_numpy(zero_copy_only=False)
    if wrong.any():
        raise ValueError(
            f"argument y has the value {present[wrong][0]}; expected finite numbers, or NULL where missing"
        )
    if not y.null_count:
        return present.reshape(-1, width)
    rows = np.full((len(y), width), np.nan)
    rows[y.is_valid().to_numpy(zero_copy_only=False)] = present.reshape(-1, width)
    return rows


def _estimates(starts: np.ndarray, means: np.ndarray, covs: np.ndarray | None) -> pa.Array:
    """LISTs of STRUCTs over the arrays as they are, for Python objects would take longer than the filter itself."""
    import pyarrow as pa

    def lists(values: pa.Array, offsets: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)

    rows, states = means.shape
    if rows * states**2 >= 2**31:
        raise ValueError(f"argument y has {rows} rows, too many for a list of their {states} x {states} covariances")
    every = np.arange(0, rows * states + 1) * states
    mean = lists(pa.array(means.reshape(-1)), every[: rows + 1])
    if covs is None:
        cov = pa.nulls(rows, pa.list_(pa.list_(pa.float64())))
    else:
        cov = lists(lists(pa.array(covs.reshape(-1)), every), every[: rows + 1])
    return lists(pa.StructArray.from_arrays([mean, cov], ["mean", "cov"]), starts)

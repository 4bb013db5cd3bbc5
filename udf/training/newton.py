"""Newton's method: the optimum of a linear task whose loss has a curvature, to the last digits.

With the scores ``z_i = w.x_i + b``, the slopes ``s_i = f'(z_i)`` and the curvatures ``c_i = f''(z_i)`` the objective
``sum_i v_i f(z_i) / sum_i v_i + l2 |w|^2 / 2`` has the gradient ``X^T s + l2 w`` and the Hessian ``X^T C X + l2``. A
step solves ``(H + m) d = g``; the damping ``m`` is 0 unless a step fails to lower the objective. Features are
standardised on the way.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ctypes import CFUNCTYPE, c_double, c_int64
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numba import njit

from ironlake.udf.engine import machine, relation
from ironlake.udf.engine.memory import address_of, view, writable_view
from ironlake.udf.engine.sqltypes import Vector

from ..tasks.epochs import HEAD
from ..tasks.expression import ZERO
from ..tasks.gram import TILE_ROWS, add_tile
from ..tasks.linear import CERTAIN
from ..tasks.model import BINARY, REAL, LinearModel
from ..tasks.task import Task
from ..tasks.vectors import LANES, REORDER, padded
from .kernels import address
from .preparation import check_labels, moments
from .rows import Rows, collect
from .settings import find_task

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows whose products are taken at once: they stay in the first cache.
_BLOCK_ROWS = 64
#: Added to the Hessian of standardised features where a step fails.
_LEAST_DAMPING = 1e-8
#: The objective is known to this fraction.
_ROUNDING = 1e-14
_MOST_FEATURES = 4000
_SCALE_ROWS = 50_000
#: Rows of a sample on which training begins, and how near to its optimum it goes.
_FEW_ROWS, _NEAR = 20_000, 1e-6


def _pass(step: Any, numbers: int) -> Callable[..., float]:
    """The sum of the losses of rows; adds their gradient and the lower triangle of their Hessian to what is there."""
    exec_scope: dict[str, Any] = {"step": step}
    given = "".join(f", given[{index}]" for index in range(numbers))
    exec(f"def row_loss(score, label, given):\n    return step(score, label{given})\n", exec_scope)
    row_loss = njit(exec_scope["row_loss"])

    def visit(
        rows: int, stride: int, start: int, stop: int, weights: int, scale: int, gradient: int, hessian: int,
        numbers_at: int,
    ) -> float:  # fmt: skip
        width = stride - HEAD
        room = padded(width + 1)
        theta, given = view(weights, width + 1, np.float64), view(numbers_at, numbers, np.float64)
        means, inverses = view(scale, width, np.float64), view(scale + 8 * width, width, np.float64)
        slopes = writable_view(gradient, width + 1, np.float64)
        block, loss, waiting = np.zeros(_BLOCK_ROWS * room), 0.0, 0
        for row in range(start, stop):
            head = view(rows + 4 * row * stride, HEAD, np.float32)
            features = view(rows + 4 * (row * stride + HEAD), width, np.float32)
            line = block[waiting * room : waiting * room + width + 1]
            score = theta[width]
            for index in range(width):
                value = (features[index] - means[index]) * inverses[index]
                line[index] = value
                score += theta[index] * value
            line[width] = 1.0
            value, slope, curvature = row_loss(score, np.float64(head[0]), given)
            loss += head[1] * value
            slope *= head[1]
            root = math.sqrt(max(curvature, 0.0) * head[1])
            for index in range(width + 1):
                slopes[index] += slope * line[index]
                line[index] *= root
            waiting += 1
            if waiting == _BLOCK_ROWS or row == stop - 1:
                for i in range(0, width + 1, TILE_ROWS):
                    for j in range(0, i + TILE_ROWS, LANES):
                        add_tile(hessian, address_of(block), waiting, room, i, j)
                waiting = 0
        return loss

    return visit


_VISIT = CFUNCTYPE(c_double, *[c_int64] * 9)
_loaded: dict[bytes, Callable[..., float]] = {}


def _visitor(task: Task) -> Callable[..., float]:
    """The compiled pass of a task."""
    key = machine.fingerprint("newton", task.loss.exact_source(), tuple(task.defaults), _pass.__code__)
    assert key is not None
    if key not in _loaded:

        def build() -> dict[str, tuple[Callable[..., Any], str]]:
            visit = njit(_pass(task.loss.exact(), len(task.defaults)), fastmath=set(REORDER))
            return {
                "visit": (
                    lambda a, b, c, d, e, f, g, h, i: visit(a, b, c, d, e, f, g, h, i),
                    f"float64({', '.join(['int64'] * 9)})",
                )
            }

        _loaded[key] = _VISIT(machine.compile_functions(build, key, f"newton_fit of {task.name}")["visit"])
    return _loaded[key]


class _Objective:
    """The objective of a task on rows, with its gradient and its Hessian, by weights of standardised features."""

    def __init__(self, task: Task, rows: Rows, l2: float, fit_intercept: bool, numbers: dict[str, float]) -> None:
        self.rows, self.fit_intercept = rows, fit_intercept
        self._visit = _visitor(task)
        # Any scale near that of the features will do.
        sample = rows.matrix[:: max(1, len(rows) // _SCALE_ROWS)]
        mean, inverse = moments(Rows(sample, False, math.inf), fit_intercept)
        self.scale = np.concatenate([mean, inverse])
        self.mean, self.inverse = mean, inverse
        self._penalty = np.append(l2 * inverse**2, 0.0)
        self._numbers = np.array([*{**task.defaults, **numbers}.values(), 0.0])
        self.mass = float(sum(piece[:, 1].sum(dtype=np.float64) for piece in rows.pieces()))
        self._threads = min(os.cpu_count() or 1, max(1, len(rows) // 20_000))

    def of_sample(self) -> _Objective | None:
        """The objective on some of the rows, evenly spaced, with the same scale; None if there are few anyway."""
        size = max(_FEW_ROWS, 50 * self.rows.width)
        if len(self.rows) < 16 * size:
            return None
        few = copy.copy(self)
        few.rows = Rows(np.ascontiguousarray(self.rows.matrix[:: len(self.rows) // size]), False, math.inf)
        few.mass = float(few.rows.matrix[:, 1].sum(dtype=np.float64))
        few._threads = 1
        return few if few.mass > 0 else None

    def mean_label(self) -> float:
        """The mean of the labels, by weight."""
        pieces = self.rows.pieces()
        return float(sum(piece[:, 0].astype(np.float64) @ piece[:, 1] for piece in pieces)) / self.mass

    def __call__(self, theta: np.ndarray[Any, Any]) -> tuple[float, float, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Objective, mean loss, gradient and Hessian."""
        size = len(theta)
        room = -(-size // LANES) * LANES
        bounds = np.linspace(0, len(self.rows), self._threads + 1).astype(int)
        gradients = [np.zeros(size) for _ in range(self._threads)]
        hessians = [np.zeros((room, room)) for _ in range(self._threads)]

        def part(index: int) -> float:
            return self._visit(
                address(self.rows.matrix), self.rows.matrix.shape[1], bounds[index], bounds[index + 1], address(theta),
                address(self.scale), address(gradients[index]), address(hessians[index]), address(self._numbers),
            )  # fmt: skip

        if self._threads == 1:
            total = part(0)
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                total = sum(pool.map(part, range(self._threads)))
        loss, gradient = total / self.mass, sum(gradients) / self.mass + self._penalty * theta
        lower = np.tril(sum(hessians)[:size, :size]) / self.mass
        hessian = lower + np.tril(lower, -1).T + np.diag(self._penalty)
        if not self.fit_intercept:
            gradient[-1] = 0.0
            hessian[-1, :] = hessian[:, -1] = 0.0
            hessian[-1, -1] = 1.0
        return loss + float((self._penalty * theta**2).sum()) / 2, loss, gradient, hessian

    def separates(self, theta: np.ndarray[Any, Any]) -> bool:
        """Whether the scores of all rows have the sign of their labels."""
        weights = theta[:-1] * self.inverse
        intercept = theta[-1] - weights @ self.mean
        return all((piece[:, 0] * (piece[:, HEAD:] @ weights + intercept) > 0).all() for piece in self.rows.pieces())


def _descend(
    objective: _Objective, theta: np.ndarray[Any, Any], iterations: int, tolerance: float
) -> tuple[np.ndarray[Any, Any], list[float], str]:
    """Newton's steps from some weights on, damped where they fail: the weights, the loss of each, and why they end."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    value, loss, gradient, hessian = objective(theta)
    history, damping = [loss], 0.0
    for _ in range(iterations):
        try:
            step = cho_solve(cho_factor(hessian + damping * np.eye(len(theta))), gradient)
            gain = float(gradient @ step) / 2
            if gain <= tolerance * abs(value):  # nothing to gain by another pass either
                return theta - step, history, "tolerance"
            found = objective(theta - step)
        except LinAlgError:
            gain, found = math.inf, (math.inf, loss, gradient, hessian)
        if damping == 0 and abs(found[0] - value) <= _ROUNDING * abs(value):
            if found[0] <= value:
                theta, history = theta - step, [*history, found[1]]
            return theta, history, "tolerance"
        if found[0] <= value - gain / 10:
            theta, (value, loss, gradient, hessian) = theta - step, found
            history.append(loss)
            damping = damping / 10 if damping > _LEAST_DAMPING else 0.0
        else:
            damping = max(10 * damping, _LEAST_DAMPING)
    return theta, history, "epochs"


def newton(
    task: Task,
    rows: Rows,
    l2: float = 0.0,
    fit_intercept: bool = True,
    iterations: int = 100,
    tolerance: float = 1e-12,
    numbers: dict[str, float] | None = None,
    class_weight: tuple[float, float] | None = None,
) -> LinearModel:
    """Train a model of a task to the optimum.

    Parameters
    ----------
    task : its loss must have a curvature.
    rows : labels and features; labels of two classes become +1 and -1 in place.
    l2 : weight of the penalty ``l2 |w|^2 / 2`` on each row's loss.
    iterations : most of them.
    tolerance : training ends when the objective is within this fraction of its minimum, by its quadratic model.
    numbers : further numbers of the loss.
    class_weight : weights of the negative and the positive class.

    Raises
    ------
    ValueError
        If the loss has no curvature, or a label or a weight is not valid.
    """
    if task.loss.curvature == ZERO:
        raise ValueError(f"the loss of {task.name} has no curvature; train it with {task.name}_fit or train")
    if rows.width > _MOST_FEATURES:
        raise ValueError(f"rows have {rows.width} features; Newton's method takes {_MOST_FEATURES} at most")
    classes = check_labels(task, rows, class_weight)
    objective = _Objective(task, rows, l2, fit_intercept, numbers or {})
    theta = np.zeros(rows.width + 1)
    if task.labels == REAL and fit_intercept:
        theta[-1] = objective.mean_label()
    degenerate = task.labels == BINARY and len(classes) == 1
    # Most of the way is as good on a few of the rows; what is left takes two or three passes over all.
    if not degenerate and (few := objective.of_sample()) is not None:
        near, _, reason = _descend(few, theta, iterations, _NEAR)
        theta = near if reason == "tolerance" else theta
    theta, history, reason = _descend(objective, theta, 0 if degenerate else iterations, tolerance)
    warning = ""
    if reason == "epochs" and task.labels == BINARY and not l2 and not degenerate and objective.separates(theta):
        reason = "separable"
        warning = (
            f"the features separate the two classes, and the loss of {task.name} has no minimum: the coefficients have "
            f"grown for {iterations} iterations; expected an option l2 above 0"
        )
        warnings.warn(f"newton_fit: {warning}", stacklevel=2)
    weights = theta[:-1] * objective.inverse
    intercept = float(theta[-1] - weights @ objective.mean) if fit_intercept else 0.0
    if degenerate:
        weights, intercept = np.zeros(rows.width), math.copysign(CERTAIN, classes[0] - 0.5) * fit_intercept
    return LinearModel(
        task.name, weights.tolist(), intercept,
        [] if task.labels != BINARY else [-1.0, 1.0] if -1 in classes else [0.0, 1.0], len(rows), len(history) - 1,
        reason == "tolerance", reason, history[-1], history[1:], len(history) - 1, degenerate, warning,
    )  # fmt: skip


@relation
def newton_fit(
    label: bool | float,
    features: Vector,
    sample_weight: float = 1.0,
    *,
    task: str = "logistic",
    l2: float = 0.0,
    fit_intercept: bool = True,
    iterations: int = 100,
    tolerance: float = 1e-12,
    class_weight: list[float] = [],  # noqa: B006
    delta: float | None = None,
    on_null: Literal["error", "skip"] = "error",
) -> LinearModel | None:
    """Train a linear model to the optimum by Newton's method.

    It is for tasks whose loss has a curvature: ``logistic``, ``poisson``, ``least_squares``, ``squared_hinge``,
    ``huber`` and tasks of your own. The rows of a group are held in memory.

    Parameters
    ----------
    label : as the task wants it: a class, true or false, 1 or 0, 1 or -1; a number; or a count.
    features : a row of numbers, the same length in all rows of a group.
    sample_weight : how much a row counts. It stands behind the options.
    task : such as ``logistic``.
    l2 : weight of the penalty ``l2 |w|^2 / 2`` on each row's loss, not on the intercept.
    fit_intercept : whether the model has an intercept.
    iterations : most of them.
    tolerance : training ends when the objective is within this fraction of its minimum.
    class_weight : weights of the negative and the positive class, as in ``[1, 5]``; for two classes only.
    delta : of the task ``huber``.
    on_null : ``'skip'`` rows with a NULL, or refuse them with an ``'error'``.

    Returns
    -------
    STRUCT
        The model, see `LinearModel`; NULL for a group without rows. `predict` takes it. Where the features separate two
        classes and nothing bounds the coefficients, its ``stop_reason`` is ``separable``, its ``warning`` says
        so, and Python warns.

    Raises
    ------
    InvalidInputException
        If rows differ in length, a value is NULL, NaN or infinite, or the loss of the task has no curvature.

    References
    ----------
    Boyd, Vandenberghe: Convex Optimization, Cambridge 2004, section 9.5.

    Examples
    --------
    SELECT newton_fit(i % 3 = 0, [sin(i), cos(i)], {'l2': 0.001}) AS model FROM range(1000) t(i);
    """
    import pyarrow as pa

    for name, value, low in (("l2", l2, 0), ("iterations", iterations, 1), ("tolerance", tolerance, 0)):
        if not low <= value < math.inf:
            raise ValueError(f"option {name} must be at least {low}, got {value}")
    columns: dict[str, pa.Array] = {"label": label, "features": features}
    if isinstance(sample_weight, pa.Array):
        columns["sample_weight"] = sample_weight
    weight = "sample_weight" if len(columns) == 3 else None
    rows = collect([pa.record_batch(columns)], "label", "features", weight, on_null == "skip", math.inf)
    if len(rows) == 0:
        return None
    if class_weight and len(class_weight) != 2:
        raise ValueError("option class_weight must be [weight of negatives, of positives]")
    numbers = {} if delta is None else {"delta": delta}
    declared = find_task(task)
    for name in numbers:
        if name not in declared.defaults:
            raise ValueError(f"option {name} is not one of the loss of {task}")
    pair = (class_weight[0], class_weight[1]) if class_weight else None
    return newton(declared, rows, l2, fit_intercept, iterations, tolerance, numbers, pair)

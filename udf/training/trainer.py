"""Training epoch by epoch: order, step size, parallelism, convergence and recovery, whatever the task."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ironlake.lakehouse.read_ahead import read_ahead, threads

from ..tasks.epochs import AVERAGED, HEAD
from ..tasks.linear import CERTAIN
from ..tasks.model import BINARY, LinearModel
from .kernels import (
    AVERAGING,
    FIRST,
    INTERCEPT,
    L1,
    L2,
    LOSS,
    OFFSET,
    OWN,
    POWER,
    SETTINGS,
    SLOPE,
    TAKEN,
    Kernels,
    Sharing,
    address,
)
from .orders import Visits
from .preparation import check_labels, split, standardize, warning_of_scales
from .rows import Rows
from .settings import Settings, check, find_task
from .steps import Schedule, schedule, typical_weight

#: Rows on which an automatic step size is chosen.
_SAMPLE_ROWS = 2000
#: Beyond so many bytes of weights, threads share a model: it no longer fits beside the rows in a core's cache.
_SHARED_BYTES = 4096
_HALVINGS = 5
_BLOCK_BYTES = 65536
#: Automatic step sizes are ``2^k`` of a unit.
_LOWEST, _HIGHEST = -10, 3


class Epoch(NamedTuple):
    """What one pass over the rows came to.

    Attributes
    ----------
    epoch : its number, from 1 on.
    step : gradient steps taken in all.
    loss : mean loss per row, each row's before the step on it.
    val_loss : mean loss of the rows held out, after the epoch; NaN if none are.
    step_size : of the last step.
    gradient_norm : length of the gradient of the objective after the epoch; NaN unless it was asked for.
    rows : steps of this epoch.
    seconds : that it took.
    stop_reason : why this epoch is the last; empty for the others.
    model : after the epoch.
    """

    epoch: int
    step: int
    loss: float
    val_loss: float
    step_size: float
    gradient_norm: float
    rows: int
    seconds: float
    stop_reason: str
    model: LinearModel


class DivergenceError(ValueError):
    """The steps led away from the optimum, to infinity."""


class Trainer:
    """Trains a model of a task on rows.

    Parameters
    ----------
    task : name of a declared task.
    rows : as `rows.collect` makes them; standardising changes them in place.
    settings : how to train.

    Raises
    ------
    ValueError
        If a setting or a label is not valid.
    """

    def __init__(self, task: str, rows: Rows, settings: Settings) -> None:
        self.task, self.settings = find_task(task), settings
        check(self.task, settings)
        if len(rows) == 0:
            raise ValueError("there are no rows to train on")
        self.classes = check_labels(self.task, rows, settings.class_weight)
        self.rows, self.held_out = split(rows, settings.validation_fraction, settings.seed)
        self.threads = settings.threads or os.cpu_count() or 1
        self.parallel = settings.parallel
        room = -(-self.rows.width // 8) * 8
        if self.parallel == "auto":
            self.parallel = "average" if room * 4 <= _SHARED_BYTES or self.threads == 1 else "nolock"
        sharing: Sharing = "own" if self.parallel == "average" else self.parallel
        self._kernels = Kernels(self.task, sharing, settings.step_rule)
        self._room = room
        self._scale = standardize(self.rows, self.held_out, settings.fit_intercept) if self._standardized else None
        # Penalties are on the weights of the features as they are, unless standardising was asked for.
        self._inverses = None if self._scale is None or settings.standardize else self._scale[1].astype(np.float32)
        self._warning = ""
        if self._scale is None and settings.step_rule not in ("adagrad", "vw"):
            self._warning = warning_of_scales(self.rows)
            if self._warning:
                warnings.warn(f"train: {self._warning}", stacklevel=2)
        block_rows = settings.block_rows or max(1, _BLOCK_BYTES // (self.rows.matrix.shape[1] * 4))
        buffer_rows = settings.buffer_rows or max(1, int(settings.buffer_mb * 1e6) // (self.rows.matrix.shape[1] * 4))
        self._visits = Visits(settings.order, len(self.rows), buffer_rows, block_rows, settings.seed)
        if settings.order == "shuffle_once":
            self.rows = self.rows.take(self._visits.permutation())
        self._windows = read_ahead(self._forever(buffer_rows if self.rows.spilled else len(self.rows)))
        self._mass = float(sum(piece[:, 1].sum(dtype=np.float64) for piece in self.rows.pieces()))
        self.model, self.intercepts, self.taken = self._start()
        self._state = [np.zeros(OWN) for _ in range(self.threads)]

    @property
    def _standardized(self) -> bool:
        standardize = self.settings.standardize
        return self.settings.step_rule == "auto" if standardize is None else standardize

    def _start(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
        model, intercepts = np.zeros(self._kernels.parts * self._room, np.float32), np.zeros(3)
        start = self.settings.init
        if start is None:
            return model, intercepts, 0
        weights = np.asarray(start.coefficients, np.float64)
        if start.task != self.task.name:
            raise ValueError(f"init is a model of the task {start.task!r}; expected one of {self.task.name!r}")
        if len(weights) != self.rows.width:
            raise ValueError(f"the rows have {self.rows.width} features, the model in init has {len(weights)}")
        intercepts[:2] = start.intercept
        if self._scale is not None:
            mean, inverse = self._scale
            intercepts[:2] += weights @ mean
            weights = weights / inverse
        model[: len(weights)] = weights
        if self.settings.step_rule == "auto":
            model[self._room : self._room + len(weights)] = weights
        return model, intercepts, start.step

    def epochs(self) -> Iterator[Epoch]:
        """Train; every epoch is yielded when it is done.

        Raises
        ------
        DivergenceError
            If the steps diverge, with ``on_divergence='halve'`` after five smaller step sizes too.
        """
        settings, step_size = self.settings, self._first_step_size()
        history: list[float] = []
        goal, best, since_best, halvings = math.inf, math.inf, 0, 0
        with threads(self.threads) as pool:
            while len(history) < settings.epochs:
                before = self.model.copy(), self.intercepts.copy(), [state.copy() for state in self._state]
                started = time.perf_counter()
                steps = self._schedule(len(history), step_size)
                loss, visited = self._pass(pool, steps)
                if not (abs(loss) < math.inf and np.isfinite(self.model).all()):
                    self.model, self.intercepts, self._state = before
                    halvings += 1
                    if settings.on_divergence == "error" or halvings > _HALVINGS:
                        raise DivergenceError(
                            f"training diverged in epoch {len(history) + 1} with step_size {step_size:g}; "
                            f"try {step_size / 8:g}, or leave step_size out"
                        )
                    step_size /= 2
                    continue
                self.taken += visited
                history.append(loss)
                last, goal = goal, loss + self._penalty()
                val_loss = self._mean_loss(self.held_out, pool) if self.held_out is not None else math.nan
                norm = self._gradient_norm(pool) if settings.gradient_norm is not None else math.nan
                since_best, best = (0, val_loss) if val_loss < best else (since_best + 1, best)
                reason = self._reason(history, last, goal, norm, since_best)
                seconds = time.perf_counter() - started
                yield Epoch(
                    len(history), self.taken, loss, val_loss, steps.at(max(1, self._clock())), norm, visited, seconds,
                    reason, self._trained(reason, history),
                )  # fmt: skip
                if reason:
                    return

    def _reason(self, history: list[float], last: float, goal: float, norm: float, since_best: int) -> str:
        """Why training ends here; empty if it goes on."""
        settings = self.settings
        if settings.target_loss is not None and history[-1] <= settings.target_loss:
            return "target_loss"
        if settings.gradient_norm is not None and norm <= settings.gradient_norm:
            return "gradient_norm"
        if self.held_out is not None and since_best >= settings.patience:
            return "patience"
        if settings.tolerance is not None and last < math.inf and last - goal < settings.tolerance * abs(last):
            return "tolerance"
        return "epochs" if len(history) == settings.epochs else ""

    # ------------------------------------------------------------------------------------------------- one epoch

    def _pass(self, pool: ThreadPoolExecutor, steps: Any) -> tuple[float, int]:
        """Visit the rows once; gives the mean loss and the number of steps."""
        given = self._given(steps)
        shares = [(self.model, self.intercepts)] * self.threads
        if self.parallel == "average":
            shares = [(self.model.copy(), self.intercepts.copy()) for _ in range(self.threads)]
        for state in self._state:
            state[LOSS] = 0
        lock, counts = np.zeros(1, np.int64), np.zeros(self.threads)
        mass, whole = 0.0, self.settings.order != "mrs"
        finite = True
        for matrix, places in iter(self._windows.__next__, None):
            if not finite:
                continue
            slices = np.array_split(places, self.threads)
            jobs = [
                pool.submit(self._descend, matrix, part, *share, state, given, lock)
                for part, share, state in zip(slices, shares, self._state, strict=True)
            ]
            done = [job.result() for job in jobs]
            counts += [len(part) for part in slices]
            mass += 0 if whole else float(matrix[places, 1].sum(dtype=np.float64))
            finite = all(count == len(part) for count, part in zip(done, slices, strict=True))
        if not finite:
            return math.inf, 0
        if self.parallel == "average":
            portions = counts / counts.sum()
            self.model = sum(
                p * model.astype(np.float64) for p, (model, _) in zip(portions, shares, strict=True)
            ).astype(np.float32)
            self.intercepts = sum(p * intercepts for p, (_, intercepts) in zip(portions, shares, strict=True))
        loss = sum(state[LOSS] for state in self._state) / max(self._mass if whole else mass, 1e-300)
        return float(loss), int(counts.sum())

    def _forever(self, window_rows: int) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None]:
        """The windows of all epochs, a matrix and places in it each; None at the end of an epoch."""
        while True:
            for index in self._visits.epoch(window_rows):
                yield self.rows.window(index)
            yield None

    def _descend(
        self,
        matrix: np.ndarray[Any, Any],
        places: np.ndarray[Any, Any],
        model: np.ndarray[Any, Any],
        intercepts: np.ndarray[Any, Any],
        state: np.ndarray[Any, Any],
        given: np.ndarray[Any, Any],
        lock: np.ndarray[Any, Any],
    ) -> int:
        places = np.ascontiguousarray(places)
        return self._kernels.descend(
            address(matrix), matrix.shape[1], address(places), len(places), address(model), address(intercepts),
            address(state), address(given), address(lock), 0 if self._inverses is None else address(self._inverses),
        )  # fmt: skip

    def _given(self, steps: Any) -> np.ndarray[Any, Any]:
        """The settings of a pass, as the kernels read them."""
        settings, given = self.settings, np.zeros(SETTINGS + len(self.task.defaults))
        given[[FIRST, OFFSET, SLOPE, POWER]] = steps
        given[[L1, L2, INTERCEPT]] = settings.l1, settings.l2, settings.fit_intercept
        given[AVERAGING] = settings.step_rule == "auto"
        given[SETTINGS:] = list({**self.task.defaults, **(settings.parameters or {})}.values())
        return given

    def _clock(self) -> int:
        return int(max(state[TAKEN] for state in self._state))

    def _schedule(self, epoch: int, step_size: float) -> Any:
        s = self.settings
        return schedule(s.step_rule, epoch, step_size, s.decay, s.power, s.l2, self._steepness())

    def _steepness(self) -> float:
        """Size of the loss's slope where Bottou's rule takes weights to be."""
        if self.settings.step_rule != "optimal":
            return 1.0
        row = Rows(np.array([[1, 1, 1]], np.float32), False, math.inf)
        weight = np.zeros(8, np.float32)
        weight[0] = -typical_weight(self.settings.l2)
        gradient, given = np.zeros(2), self._given(Schedule(1.0))
        self._kernels.assess(address(row.matrix), 3, 0, 1, address(weight), 0.0, address(gradient), address(given))
        return abs(float(gradient[0]))

    def _first_step_size(self) -> float:
        """The step size that was asked for, or the best of ``2^k / mean square of a row`` on a sample of the rows.

        What counts is the loss in one pass over the sample, before each step, and after it: one alone favours lucky
        ends. Where labels are real numbers the range of ``k`` grows with their size: so far weights have to go.
        """
        settings = self.settings
        if settings.step_size is not None or settings.step_rule == "optimal":
            return float(settings.step_size or 0)
        random = np.random.default_rng(settings.seed)
        chosen = random.choice(len(self.rows), min(_SAMPLE_ROWS, len(self.rows)), replace=False)
        matrix, places = self.rows.window(chosen)
        matrix = np.ascontiguousarray(matrix[places])
        squares = np.square(matrix[:, HEAD:], dtype=np.float64).sum() / len(matrix) + 1
        unit = 1.0 if settings.step_rule in ("adagrad", "vw") else 1 / squares
        size = math.sqrt(np.square(matrix[:, 0], dtype=np.float64).mean())
        wider = 0 if self.task.labels == BINARY or size == 0 else int(np.clip(math.log2(size), -40, 40))
        order, none = np.arange(len(matrix)), np.zeros(1, np.int64)
        best, found = math.inf, unit
        for power in range(_LOWEST + min(wider, 0), _HIGHEST + max(wider, 0) + 1):
            trial, moved, state = self.model.copy(), self.intercepts.copy(), np.zeros(OWN)
            given = self._given(self._schedule(0, unit * 2.0**power)._replace(power=0.0))
            given[AVERAGING] = 0
            if self._descend(matrix, order, trial, moved, state, given, none) < len(matrix):
                continue
            after = self._assess(matrix, 0, len(matrix), trial, moved[0])
            loss = state[LOSS] + after + len(matrix) * self._penalty(trial)
            if loss < best:
                best, found = loss, unit * 2.0**power
        return found

    # ------------------------------------------------------------------------------------------- what a model is worth

    def _now(self) -> tuple[np.ndarray[Any, Any], float]:
        """Weights, padded, and intercept as of now: averaged over the steps if the step size is automatic."""
        if self.settings.step_rule == "auto" and self._clock() >= AVERAGED:
            return self.model[self._room : 2 * self._room], float(self.intercepts[1])
        return self.model[: self._room], float(self.intercepts[0])

    def _assess(
        self,
        matrix: np.ndarray[Any, Any],
        start: int,
        stop: int,
        weights: np.ndarray[Any, Any],
        intercept: float,
        gradient: np.ndarray[Any, Any] | None = None,
    ) -> float:
        given = self._given(Schedule(0.0))
        return self._kernels.assess(
            address(matrix), matrix.shape[1], start, stop, address(weights), intercept,
            0 if gradient is None else address(gradient), address(given),
        )  # fmt: skip

    def _total(self, rows: Rows, pool: ThreadPoolExecutor, gradients: bool) -> tuple[float, np.ndarray[Any, Any]]:
        """Sum of the losses of rows, and of their gradients."""
        weights, intercept = self._now()
        weights = np.ascontiguousarray(weights)
        bounds = np.linspace(0, len(rows), self.threads + 1).astype(int)
        sums = [np.zeros(rows.width + 1) for _ in range(self.threads)]
        jobs = [
            pool.submit(self._assess, rows.matrix, start, stop, weights, intercept, each if gradients else None)
            for start, stop, each in zip(bounds, bounds[1:], sums, strict=False)
        ]
        return float(sum(job.result() for job in jobs)), np.sum(sums, axis=0)

    def _mean_loss(self, rows: Rows, pool: ThreadPoolExecutor) -> float:
        mass = sum(piece[:, 1].sum(dtype=np.float64) for piece in rows.pieces())
        return self._total(rows, pool, False)[0] / max(float(mass), 1e-300)

    def _gradient_norm(self, pool: ThreadPoolExecutor) -> float:
        """Length of the gradient of mean loss and penalties, in the scale of the features trained on."""
        gradient = self._total(self.rows, pool, True)[1] / max(self._mass, 1e-300)
        weights = self._now()[0][: self.rows.width].astype(np.float64)
        inverses = 1.0 if self._inverses is None else self._inverses.astype(np.float64)
        gradient[:-1] += self.settings.l2 * weights * inverses**2 + self.settings.l1 * np.sign(weights) * inverses
        return float(np.linalg.norm(gradient if self.settings.fit_intercept else gradient[:-1]))

    def _penalty(self, model: np.ndarray[Any, Any] | None = None) -> float:
        """The penalties of a model, per row."""
        weights = (self.model if model is None else model)[: self.rows.width].astype(np.float64)
        sizes = np.abs(weights if self._inverses is None else weights * self._inverses)
        return float(self.settings.l1 * sizes.sum() + self.settings.l2 / 2 * np.square(sizes).sum())

    def _trained(self, reason: str, history: list[float]) -> LinearModel:
        """The model in the scale of the features as they are."""
        weights, intercept = self._now()
        weights = weights[: self.rows.width].astype(np.float64)
        if self.settings.l1 > 0:
            weights[self.model[: self.rows.width] == 0] = 0  # the average alone is 0 nowhere
        if self._scale is not None:
            mean, inverse = self._scale
            weights = weights * inverse
            intercept -= float(weights @ mean)
        degenerate = self.task.labels == BINARY and len(self.classes) == 1 and self.settings.init is None
        if degenerate:
            weights, intercept = np.zeros(self.rows.width), 0.0
            if self.settings.fit_intercept:
                intercept = CERTAIN if self.classes[0] > 0 else -CERTAIN
        classes = [] if self.task.labels != BINARY else [-1.0, 1.0] if -1 in self.classes else [0.0, 1.0]
        return LinearModel(
            self.task.name, weights.tolist(), intercept, classes, len(self.rows), len(history),
            reason not in ("", "epochs", "patience"), reason, history[-1], list(history), self.taken, degenerate,
            self._warning,
        )  # fmt: skip

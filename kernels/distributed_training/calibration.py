"""The step-time model fitted on measured runs, and how good predictions are.

The fit minimises, over constants that stay within their bounds, the sum over the runs of a robust loss of
``log(predicted / measured)``, plus a weak pull towards each constant's prior. What the runs do not tell is not fitted:
constants whose effect cannot be told from that of others, by the pivots of a QR decomposition of the sensitivities.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ironlake.udf.engine import relation

from .checks import above_zero
from .clusters import find_cluster
from .constants import CONSTANTS, NAMES, column, record
from .runs import RUN, machine_of, run_of

if TYPE_CHECKING:
    import pyarrow as pa

#: A constant that moved across all its bounds counts like a run that is off by this share of an outlier's error.
_PULL = 0.5
#: A constant is told by the runs if its part in the sensitivities is above this share of the largest.
_TOLD = 1e-4
_STARTS = 4
#: Measured over predicted: beyond this the unit is wrong.
_MILLISECONDS = 500


class Constants(NamedTuple):
    """The constants of the step-time model; `step_time_constants` tells what they mean."""

    gemm_efficiency: float
    gemm_half_size: float
    hbm_efficiency: float
    launch_s: float
    kernel_s: float
    intra_efficiency: float
    inter_efficiency: float
    latency_factor: float
    gradient_overlap: float
    loss_bytes: float
    step_s: float
    optimizer_bytes: float


class Residual(NamedTuple):
    """The mean of predicted over measured, minus 1, of the runs that a component takes the most of beside compute."""

    component: str
    n: int
    mean_error: float


class Calibration(NamedTuple):
    """The result of `training_model_fit`."""

    constants: Constants
    mape: float
    p95: float
    n: int
    fitted: list[str]
    kept: list[str]
    at_bound: list[str]
    residuals: list[Residual]


@relation
def training_model_fit(
    step_time_s: float,
    layers: int,
    hidden: int,
    heads: int,
    seq: int,
    global_batch: int,
    micro_batch: int,
    tp: int,
    pp: int,
    dp: int,
    recompute: str = "full",
    chunks: int = 1,
    seq_parallel: bool = False,
    *,
    cluster: str = "selene_a100",
    inter_gbps_per_gpu: float | None = None,
    vocab: int = 51200,
    zero_stage: int = 0,
    outlier: float = 0.05,
) -> Calibration | None:
    """Fit the constants of the step-time model on measured runs, within their bounds.

    Parameters
    ----------
    step_time_s : measured seconds of a step.
    layers, hidden, heads, seq : of the model.
    global_batch, micro_batch : sequences of a step, and of a micro-batch.
    tp, pp, dp : devices of tensor parallelism, pipeline stages, replicas.
    recompute : ``none``, ``selective`` or ``full``; it and what follows come behind the options.
    chunks, seq_parallel : of the interleaved schedule, and whether activations are split along the sequence.
    cluster : where all of them ran.
    inter_gbps_per_gpu : GB/s of a device between nodes, if not that of the cluster.
    vocab, zero_stage : of all runs.
    outlier : relative error from which on a run counts by its error, not by the square.

    Returns
    -------
    STRUCT
        ``constants`` (a STRUCT of all; `step_time_constants` tells what they are), ``mape`` and ``p95`` DOUBLE (mean
        and 95th percentile of the relative errors), ``n`` BIGINT, ``fitted`` and ``kept`` VARCHAR[] (the constants
        that the runs tell, and those that stay at their priors, because there are fewer runs or because their effect
        cannot be told from that of others), ``at_bound`` VARCHAR[] (fitted ones that ended at a bound: the model is a
        curve fit there), ``residuals`` (``component``, ``n``, ``mean_error``: of the runs in which this component takes
        most time beside compute). Rows with a NULL are skipped; no rows give NULL.

    Raises
    ------
    InvalidInputException
        If a time or ``outlier`` is not above 0, times look like milliseconds, or a row is no run.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    whose terms the model has; Golub: Numerical methods for solving linear least squares problems (1965), for the
    pivots.

    Examples
    --------
    SELECT training_model_fit(s, 96, 12288, 96, 2048, 1536, 1, 8, 12, n // 96, {'cluster': 'selene_a100'}) AS fit
    FROM (VALUES (74.8, 384), (38.4, 768), (20.3, 1536)) measured(s, n);
    """
    above_zero(outlier=outlier)
    columns = {
        "layers": layers, "hidden": hidden, "heads": heads, "seq": seq, "global_batch": global_batch,
        "micro_batch": micro_batch, "tp": tp, "pp": pp, "dp": dp, "recompute": recompute, "chunks": chunks,
        "seq_parallel": seq_parallel,
    }  # fmt: skip
    runs, measured = _measured(columns, step_time_s, {"vocab": vocab, "zero_stage": zero_stage})
    if not len(runs):
        return None
    where = find_cluster(cluster, None)
    if inter_gbps_per_gpu is not None:
        where = dataclasses.replace(where, inter_gbps_per_gpu=inter_gbps_per_gpu)
    return fit(runs, np.repeat(machine_of(where), len(runs)), measured, outlier)


def _measured(
    columns: dict[str, Any], step_time_s: pa.Array, constant: dict[str, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The runs and their seconds, without rows that have a NULL."""
    given = {name: values.to_pylist() for name, values in columns.items() if not isinstance(values, str | int | bool)}
    left_out = {name: value for name, value in columns.items() if name not in given}
    runs, measured = [], []
    for row, seconds in enumerate(step_time_s.to_pylist()):
        values = {name: each[row] for name, each in given.items()}
        if seconds is None or any(value is None for value in values.values()):
            continue
        if not 0 < seconds < np.inf:
            raise ValueError(f"argument step_time_s must be above 0, got {seconds}")
        runs.append(run_of({**constant, **left_out, **values}))
        measured.append(seconds)
    return np.concatenate(runs) if runs else np.zeros(0, RUN), np.array(measured)


def fit(runs: Any, machines: Any, measured: np.ndarray[Any, Any], outlier: float) -> Calibration:
    """The constants that suit measured runs best; ``outlier`` as for `training_model_fit`.

    Raises
    ------
    ValueError
        If the times look like milliseconds.
    """
    from .step_time_kernels import predict

    prior = column("prior")
    predicted = predict(runs, machines, np.repeat(record(prior), len(runs)))
    if np.median(measured / predicted) > _MILLISECONDS:
        raise ValueError(
            f"argument step_time_s looks like milliseconds: the median run is {np.median(measured / predicted):.0f} "
            "times what the model predicts; expected seconds"
        )
    problem = _Problem(runs, machines, measured)
    told = problem.told()
    values = problem.solve(told, outlier)
    return problem.result(values, told)


class _Problem:
    """The fit in coordinates in which each constant goes from 0 to 1 between its bounds."""

    def __init__(self, runs: Any, machines: Any, measured: np.ndarray[Any, Any]) -> None:
        self.runs, self.machines, self.measured = runs, machines, measured
        self.low, self.high, prior = (column(name) for name in ("low", "high", "prior"))
        self.prior = (prior - self.low) / (self.high - self.low)

    def errors(self, point: np.ndarray[Any, Any]) -> Any:
        """``log(predicted / measured)`` of each run."""
        from .step_time_kernels import predict

        constants = np.zeros(len(self.runs), CONSTANTS)
        constants[:] = record(self.low + point * (self.high - self.low))
        return np.log(predict(self.runs, self.machines, constants) / self.measured)

    def told(self) -> np.ndarray[Any, Any]:
        """Places of the constants that the runs tell, the ones they tell best first."""
        from scipy.linalg import qr

        step = 1e-3
        inside = np.clip(self.prior, step, 1 - step)
        slopes = [self.errors(inside + step * axis) - self.errors(inside - step * axis) for axis in np.eye(len(NAMES))]
        sensitivities = np.stack(slopes, axis=1) / (2 * step)
        triangle, pivots = qr(sensitivities, mode="r", pivoting=True)
        diagonal = np.abs(np.diag(triangle))
        return np.asarray(pivots[: int((diagonal > _TOLD * diagonal[0]).sum())])

    def solve(self, told: np.ndarray[Any, Any], outlier: float) -> np.ndarray[Any, Any]:
        """The best values of all constants; those that are not told keep their priors."""
        from scipy.optimize import least_squares

        def whole(part: np.ndarray[Any, Any]) -> Any:
            point = self.prior.copy()
            point[told] = part
            return point

        def loss(part: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            errors = self.errors(whole(part)) / outlier
            robust = np.sign(errors) * np.sqrt(2 * (np.sqrt(1 + errors**2) - 1))
            return np.concatenate([robust, _PULL * (part - self.prior[told])])

        random = np.random.default_rng(0)
        starts = [np.clip(self.prior[told], 0.02, 0.98)]
        starts += [random.uniform(0.05, 0.95, len(told)) for _ in range(_STARTS - 1)]
        found = [least_squares(loss, start, bounds=(0, 1), x_scale=0.1) for start in starts]
        best = min(found, key=lambda each: float(each.cost))
        return np.asarray(self.low + whole(best.x) * (self.high - self.low))

    def result(self, values: np.ndarray[Any, Any], told: np.ndarray[Any, Any]) -> Calibration:
        """What the fit found, and how well it suits the runs."""
        point = (values - self.low) / (self.high - self.low)
        relative = np.exp(self.errors(point)) - 1
        fitted = [NAMES[place] for place in sorted(told)]
        return Calibration(
            Constants(*values.tolist()),
            float(np.abs(relative).mean()),
            float(np.quantile(np.abs(relative), 0.95)),
            len(relative),
            fitted,
            [name for name in NAMES if name not in fitted],
            [NAMES[place] for place in sorted(told) if not 1e-3 < point[place] < 1 - 1e-3],
            self._residuals(values, relative),
        )

    def _residuals(self, values: np.ndarray[Any, Any], relative: np.ndarray[Any, Any]) -> list[Residual]:
        from .step_time_kernels import COMPONENTS, COMPUTE, components

        seconds, _ = components(self.runs, self.machines, np.repeat(record(values), len(self.runs)))
        seconds[:, COMPUTE] = 0
        largest = seconds.argmax(axis=1)
        return [
            Residual(COMPONENTS[place], int((largest == place).sum()), float(relative[largest == place].mean()))
            for place in np.unique(largest)
        ]


class PlanQuality(NamedTuple):
    """The result of `plan_quality`."""

    mape: float
    median_ape: float
    kendall_tau: float | None
    top1_regret: float


@relation
def plan_quality(measured: float, predicted: float) -> PlanQuality | None:
    """Tell how good predicted times are: their errors, and whether they would have chosen the right plan.

    Parameters
    ----------
    measured, predicted : times of a plan, of any unit; a group is the plans of one model, say.

    Returns
    -------
    STRUCT
        ``mape`` and ``median_ape`` DOUBLE (mean and median of ``|predicted / measured - 1|``), ``kendall_tau`` DOUBLE
        (tau-b, 1 if they order the plans alike; NULL for fewer than two different times), ``top1_regret`` DOUBLE (how
        much longer the plan with the least predicted time takes than the fastest one). Rows with a NULL are skipped;
        no rows give NULL.

    Raises
    ------
    InvalidInputException
        If a time is not above 0.

    References
    ----------
    Kendall: The Treatment of Ties in Ranking Problems, Biometrika 33 (1945).

    Examples
    --------
    SELECT plan_quality(measured, predicted) AS quality FROM (VALUES (1.0, 1.1), (2.0, 1.9), (3.0, 2.7)) t(measured,
    predicted);
    """
    import pyarrow.compute as pc
    from scipy.stats import kendalltau

    valid = pc.and_(measured.is_valid(), predicted.is_valid())  # type: ignore[attr-defined]
    times = {"measured": measured, "predicted": predicted}
    real, model = (each.filter(valid).to_numpy() for each in times.values())  # type: ignore[attr-defined]
    if not len(real):
        return None
    for name, values in (("measured", real), ("predicted", model)):
        if not (wrong := (values > 0) & (values < np.inf)).all():
            raise ValueError(f"argument {name} must be times above 0, got {values[~wrong][0]}")
    errors = np.abs(model / real - 1)
    tau = float(kendalltau(real, model).statistic) if len(real) > 1 else np.nan
    return PlanQuality(
        float(errors.mean()), float(np.median(errors)), None if np.isnan(tau) else tau,
        float(real[model.argmin()] / real.min() - 1),
    )  # fmt: skip

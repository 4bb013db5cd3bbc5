"""The time of a training step: what it is made of, and predictions for whole tables of runs.

    layer    = max(sum of kernels by arithmetic or memory + kernel_s each, launches) + 2 all-reduces (+ 2 all-to-alls)
    stage    = layers * (forward + 2 forward + what is computed again) + loss + messages
    step     = micro-batches * stage + bubble of the schedule + exposed exchange of gradients + optimizer + host

A matrix product takes ``2 m n k / (peak * gemm_efficiency / (1 + gemm_half_size / min(m, n, k)))`` or the time of its
memory traffic; element-wise kernels take that of theirs. Collectives are rings whose latency and bandwidth depend on
whether they leave the node. `step_time_kernels` has the formulas, `step_time_constants` the twelve constants.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ironlake.udf.engine import Database, scalar, table
from ironlake.udf.engine.sqltypes import ANY

from .clusters import find_cluster
from .constants import CONSTANTS, NAMES, bounded, column, constants_of
from .runs import (
    OFFLOAD,
    PLACES,
    check_devices,
    columns_to_machines,
    columns_to_runs,
    floats,
    machine_of,
    model_of,
    run_of,
)

if TYPE_CHECKING:
    import pyarrow as pa


@table
def training_step_time(
    model: ANY,
    database: Database,
    cluster: str = "selene_a100",
    global_batch: int = 1,
    micro_batch: int = 1,
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    ep: int = 1,
    gpus: int | None = None,
    chunks: int = 1,
    schedule: str | None = None,
    recompute: str = "full",
    seq_parallel: bool = False,
    zero_stage: int = 0,
    offload: str = "none",
    offload_params: str | None = None,
    offload_activations: str = "none",
    calibration: ANY = None,
    allow_cross_node_tp: bool = False,
) -> pa.Table:
    """Tell what the time of a training step is made of.

    Parameters
    ----------
    model : a name of `training_models`, or a STRUCT of ``layers``, ``hidden``, ``heads``, and if they are others
        ``seq`` (2048), ``vocab`` (51200), ``ffn`` (``4 * hidden``), ``kv_heads`` (``heads``), ``gated`` (false),
        ``experts`` (1) and ``experts_per_token`` (1).
    cluster : a name of `training_clusters`.
    global_batch, micro_batch : sequences of a step, and of a micro-batch.
    tp, pp, dp : devices of tensor parallelism, pipeline stages, replicas.
    ep : replicas that share the experts of each layer, and send each other the tokens for them; a divisor of ``dp`` and
        of the experts. Tokens are taken to be spread evenly over experts.
    gpus : all devices, if it shall be checked that these are ``tp * pp * dp``.
    chunks : virtual stages of a device.
    schedule : ``1f1b`` (the default), ``interleaved_1f1b`` (the default with chunks), ``gpipe``, ``chimera`` or
        ``zb_h1``, by their closed forms.
    recompute : what the backward pass computes again: ``none``, ``selective`` (attention) or ``full``.
    seq_parallel : whether norms and dropout are split along the sequence.
    zero_stage : 0, or what is sharded over replicas: 1 states of the optimizer, 2 and gradients, 3 and parameters.
    offload : where the optimizer's states (from stage 2 on with the gradients) are: ``none``, ``cpu`` or ``nvme``.
    offload_params : where the parameters are; needs stage 3, with which they follow ``offload`` by default.
    offload_activations : where activations wait for the backward pass.
    calibration : what `training_model_fit` gives, or a STRUCT of some constants; the shipped ones by default.
    allow_cross_node_tp : whether tensor parallelism may leave the node, which is slow.

    Returns
    -------
    TABLE
        ``component`` VARCHAR, ``seconds`` (what it adds to the step), ``overlapped`` (seconds that are hidden behind
        compute), ``share`` (of the step) DOUBLE; the seconds add up to the step.

    Raises
    ------
    ValueError
        If a name is unknown, the numbers do not fit together, or the cluster lacks a fact.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    sections 2 and 3.

    Examples
    --------
    FROM training_step_time('gpt_175b', global_batch := 1536, tp := 8, pp := 12, dp := 4);
    FROM training_step_time('mixtral_8x7b', global_batch := 1024, tp := 2, dp := 16, ep := 8, zero_stage := 1);
    SELECT sum(seconds)
    FROM training_step_time({'layers': 24, 'hidden': 2048, 'heads': 16}, global_batch := 32, dp := 8);
    """
    import pyarrow as pa

    from .step_time_kernels import COMPONENTS, components

    if gpus is not None:
        check_devices(gpus, tp, pp, dp)
    run = run_of(
        {
            **model_of(model), "global_batch": global_batch, "micro_batch": micro_batch, "tp": tp, "pp": pp, "dp": dp,
            "ep": ep, "chunks": chunks, "schedule": schedule, "recompute": recompute, "seq_parallel": seq_parallel,
            "zero_stage": zero_stage, "offload": offload, "offload_params": offload_params,
            "offload_activations": offload_activations,
        }
    )  # fmt: skip
    if zero_stage == 3 and pp > 1 and global_batch > dp * micro_batch:
        warnings.warn(
            "zero_stage 3 with pp above 1 and several micro-batches gathers the parameters again for each of them",
            stacklevel=2,
        )
    where = find_cluster(cluster, database)
    if tp > where.gpus_per_node and not allow_cross_node_tp:
        raise ValueError(
            f"argument tp is {tp}, but a node of {where.name!r} has {where.gpus_per_node} devices; split tensors "
            "inside a node and layers (pp) across nodes, or set allow_cross_node_tp"
        )
    machine = machine_of(where, *(OFFLOAD[int(run[0][place])] for place in PLACES))
    [seconds], [overlapped] = components(run, machine, constants_of(calibration))
    shown = (seconds > 0) | (overlapped > 0)
    return pa.table(
        {
            "component": np.array(COMPONENTS)[shown],
            "seconds": seconds[shown],
            "overlapped": overlapped[shown],
            "share": seconds[shown] / seconds.sum(),
        }
    )


@scalar(form="arrow", nulls=True)
def training_step_predict(row: ANY, calibration: ANY = None) -> float:
    """Predict the seconds of a training step, for a table of runs.

    Parameters
    ----------
    row : a STRUCT, or a row of a table as ``t`` in ``FROM runs t``: ``layers``, ``hidden``, ``heads``,
        ``global_batch``, and if they are there ``seq``, ``vocab``, ``micro_batch``, ``tp``, ``pp``, ``dp`` (from
        ``gpus`` if missing), ``ep``, ``chunks``, ``schedule``, ``recompute``, ``seq_parallel``, ``zero_stage``,
        ``offload``, ``offload_params``, ``offload_activations`` and the rest of a model as for `training_step_time`;
        ``cluster`` (``selene_a100`` if missing), and columns of `training_clusters`
        that are to stand in for the cluster's. Other fields are left alone.
    calibration : what `training_model_fit` gives, or a STRUCT of some constants, a row's own; NULL for the shipped
        ones.

    Returns
    -------
    DOUBLE
        Seconds; NULL for a NULL row.

    Raises
    ------
    InvalidInputException
        If a field is missing, unknown as a name, or the numbers of a row do not fit together.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    sections 2 and 3.

    Examples
    --------
    SELECT tp, pp, training_step_predict(t) AS seconds
    FROM (SELECT 96 AS layers, 12288 AS hidden, 96 AS heads, 1536 AS global_batch, 8 AS tp, pp, 512 AS gpus
          FROM (VALUES (4), (8), (16)) p(pp)) t;
    SELECT training_step_predict({'layers': 24, 'hidden': 2048, 'heads': 16, 'global_batch': 8}, {'step_s': 0.1}) AS s;
    """
    import pyarrow as pa

    from .step_time_kernels import predict

    rows, columns = _fields("row", row)
    present = np.asarray(row.is_valid())
    if not present.any():
        return pa.nulls(rows, pa.float64())  # type: ignore[no-any-return]
    chosen = {name: values.filter(pa.array(present)) for name, values in columns.items()}
    runs = columns_to_runs(chosen, int(present.sum()))
    machines = columns_to_machines(chosen, len(runs))
    seconds = np.full(rows, np.nan)
    seconds[present] = predict(runs, machines, _constants(calibration, present))
    return pa.array(seconds, mask=~present)  # type: ignore[no-any-return]


def _constants(calibration: Any, present: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The constants of each row that is there."""
    constants = np.zeros(int(present.sum()), CONSTANTS)
    for name, value in zip(NAMES, column("value"), strict=True):
        constants[name] = value
    if calibration is None or calibration.null_count == len(calibration):
        return constants
    _, columns = _fields("calibration", calibration)
    if "constants" in columns:
        _, columns = _fields("calibration", columns["constants"])
    for name, values in columns.items():
        given = bounded(name, floats(values)[present])
        constants[name] = np.where(np.isnan(given), constants[name], given)
    return constants


def _fields(name: str, column: Any) -> tuple[int, dict[str, Any]]:
    """The fields of a column of STRUCTs, each NULL where the STRUCT is."""
    import pyarrow as pa

    if not pa.types.is_struct(column.type):
        raise ValueError(f"argument {name} must be a STRUCT, such as a row of a table, got {column.type}")
    return len(column), dict(zip((field.name for field in column.type), column.flatten(), strict=True))

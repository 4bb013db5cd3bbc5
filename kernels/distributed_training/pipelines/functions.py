"""The SQL functions that make, compare and judge pipeline schedules."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ironlake.udf.engine import Database, table

from .catalogue import SCHEDULES, Request, build
from .costs import Costs, Floats
from .measured import measured
from .schedule import Kind, Schedule
from .simulator import Simulation, simulate
from .synchronization import Launch, Synchronization, synchronizations

if TYPE_CHECKING:
    import pyarrow as pa

ScheduleName = Literal[
    "gpipe", "1f1b", "interleaved_1f1b", "looped_bfs", "chimera", "chimera_forward_doubling",
    "chimera_backward_halving", "gems", "pipedream", "pipedream_2bw", "zb_h1", "zb_h2", "zb_v", "v_half", "v_min",
    "dualpipe", "dualpipe_v", "hanayo",
]  # fmt: skip
_PARAMETERS = """schedule : its name.
    stages : workers of a pipeline, each of which holds a part of the model.
    micro_batches : of a training step; as many as there are stages by default.
    chunks : parts of the model on each worker, where the schedule leaves that open (``interleaved_1f1b``,
        ``looped_bfs``, ``hanayo``).
    pipelines : replicas of the model that ``chimera`` runs over the same workers, half of them in each direction.
    forward_time, backward_time : what a worker takes for a micro-batch, in any unit of time; its chunks share it.
    weight_time : the part of the backward time that gives the gradient of the weights, for schedules that split it;
        half of it by default.
    comm_time : until the result of an operation is there on another worker.
    stage_forward_times : the forward time of each part of the model, first to last, if they differ; backward times
        differ alike.
    trace : a table or query with the columns ``op`` (F, B, I, W), ``stage`` and ``dur_us`` (as in
        ``pipeline_op_trace``): measured times, in seconds, which replace those above where there are any.
    seed : draw each operation's time from the measured ones; their means are taken by default.
    sync : when the gradients of a stage are summed up over its replicas: ``after`` the worker has computed everything,
        ``eager`` as soon as they are there, ``eager_opt`` eagerly where that does not end later.
    sync_time : what summing up a stage's gradients takes.
    max_activations : the most micro-batches whose activations a worker holds; schedules that are found by search
        (``zb_*``, ``v_*``, ``hanayo``) keep to it, others fail if they need more.
"""


@dataclass(frozen=True)
class Result:
    """A schedule that was made and run.

    Attributes
    ----------
    name : str
        The schedule.
    request : Request
        What was asked for.
    costs : Costs
        What its operations take.
    simulation : Simulation
        When they run.
    synchronizations : list of Synchronization
        When gradients are summed up.
    """

    name: str
    request: Request
    costs: Costs
    simulation: Simulation
    synchronizations: list[Synchronization]

    @property
    def schedule(self) -> Schedule:
        """The order of its operations."""
        return self.simulation.schedule

    @property
    def makespan(self) -> float:
        """Of a step, with summing up gradients; in the long run if workers do not wait for each other in between."""
        if self.schedule.is_synchronous:
            return max([self.simulation.makespan, *(each.end for each in self.synchronizations)])
        more = dataclasses.replace(self.request, micro_batches=2 * self.request.micro_batches)
        return simulate(build(self.name, more, self.costs), self.costs).makespan - self.simulation.makespan


def run(
    database: Database,
    schedule: ScheduleName = "1f1b",
    stages: int = 4,
    micro_batches: int | None = None,
    chunks: int = 1,
    pipelines: int = 2,
    forward_time: float = 1.0,
    backward_time: float = 2.0,
    weight_time: float | None = None,
    comm_time: float = 0.0,
    stage_forward_times: list[float] | None = None,
    trace: str | None = None,
    seed: int | None = None,
    sync: Launch = "after",
    sync_time: float = 0.0,
    max_activations: float | None = None,
) -> Result:
    """Make a schedule from the arguments of the SQL functions, and run it."""
    micro_batches = stages if micro_batches is None else micro_batches
    request = Request(stages, micro_batches, chunks, pipelines, max_activations)
    if stages < 1 or chunks < 1:
        raise ValueError(f"arguments stages and chunks must be at least 1, got {stages} and {chunks}")
    if not 0 <= sync_time < np.inf:
        raise ValueError(f"argument sync_time must be a time from 0 on, got {sync_time}")
    parts = SCHEDULES[schedule].chunks_of(request)
    given = (forward_time, backward_time, weight_time, comm_time, stage_forward_times)
    costs = Costs.of(stages * parts, parts, *given)
    samples = None
    if trace is not None:
        costs, samples = measured(database.query(_as_query(trace)), costs)
    made = build(schedule, request, costs)
    duration: Floats | None = None
    if samples is not None and seed is not None:
        duration = samples.draw(made, costs, np.random.default_rng(seed))
    simulation = simulate(made, costs, duration)
    peak = float(simulation.peak_activations.max())
    if max_activations is not None and peak > max_activations + 1e-9:
        raise ValueError(
            f"{schedule} needs activations of {peak:g} micro-batches, more than max_activations {max_activations:g}"
        )
    summed = synchronizations(simulation, sync, sync_time) if sync_time and made.is_synchronous else []
    return Result(schedule, request, costs, simulation, summed)


def _as_query(relation: str) -> str:
    return f"FROM ({relation})" if " " in relation.strip() else f"FROM {relation}"


def _takes_those_of_run(function: Callable[..., pa.Table]) -> Callable[..., pa.Table]:
    """Give a function the parameters of `run`, behind its own, and their documentation."""
    own = inspect.signature(function).parameters
    shared = inspect.signature(run).parameters
    first = {name: each for name, each in own.items() if name != "arguments"}
    parameters = {"database": shared["database"], **first, **shared}
    if first:
        del parameters["schedule"]
    function.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    function.__annotations__ = {**run.__annotations__, **function.__annotations__}
    function.__doc__ = (function.__doc__ or "").format(parameters=_PARAMETERS)
    return function


@table
@_takes_those_of_run
def pipeline_schedule(**arguments: Any) -> pa.Table:
    """Tell what every worker of a training pipeline computes and when: a schedule, run by an event simulation.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    TABLE
        A row per operation: ``worker``, ``seq`` INTEGER (its place there), ``op`` VARCHAR (F forward, FF on two
        micro-batches; B backward, BH half of it; I the part of it that gives the gradient of the input, W that of the
        weights; SYNC summing up gradients), ``stage``, ``chunk``, ``pipeline``, ``micro_batch`` INTEGER (NULL in SYNC),
        ``start_time``, ``end_time`` DOUBLE, ``activations_after`` DOUBLE (micro-batches whose activations the worker
        holds then). A forward and a backward pass of a worker at the same time run together (``dualpipe``).

    Raises
    ------
    ValueError
        If there is no such schedule for these numbers of stages, micro-batches, chunks or pipelines, or a time is
        negative.

    References
    ----------
    Chimera (SC 2021), sections 2 and 3; GPipe (2019); PipeDream (2019) and PipeDream-2BW (2021); DAPPLE (2021); GEMS
    (2020); Megatron-LM (SC 2021), section 2.2; Zero Bubble (ICLR 2024); Controllable Memory (NeurIPS 2024); DeepSeek-V3
    (2024); Hanayo (SC 2023).

    Examples
    --------
    FROM pipeline_schedule(schedule := 'chimera', stages := 4, micro_batches := 4);
    SELECT worker, max(activations_after) FROM pipeline_schedule(schedule := '1f1b', stages := 8, micro_batches := 32)
    GROUP BY worker ORDER BY worker;
    """
    return operations(run(**arguments))


def operations(result: Result) -> pa.Table:
    """The operations of a schedule as rows."""
    import pyarrow as pa

    schedule, simulation = result.schedule, result.simulation
    names = [kind.name for kind in Kind]
    if schedule.forward_span > schedule.units // schedule.micro_batches:
        names[Kind.F] = "FF"
    if schedule.units > schedule.micro_batches:
        names[Kind.B] = "BH"
    summed = result.synchronizations
    count = len(schedule.kind)

    def column(values: Any, more: list[Any], type_: pa.DataType) -> pa.Array:
        return pa.concat_arrays([pa.array(values, type_), pa.array(more, type_)])

    workers = schedule.worker
    lengths = np.diff(schedule.offsets)
    after, places = lengths.copy(), []
    for each in summed:
        places.append(int(after[each.worker]))
        after[each.worker] += 1
    chunk_of = np.zeros_like(schedule.worker_of)
    chunk_of[schedule.pipeline, schedule.stage] = schedule.chunk
    int32, double = pa.int32(), pa.float64()
    kinds = pa.DictionaryArray.from_arrays(pa.array(schedule.kind, int32), pa.array(names)).cast(pa.string())
    columns = {
        "worker": column(workers, [each.worker for each in summed], int32),
        "seq": column(np.arange(count) - schedule.offsets[:-1][workers], places, int32),
        "op": pa.concat_arrays([kinds, pa.array(["SYNC"] * len(summed), pa.string())]),
        "stage": column(schedule.stage, [each.stage for each in summed], int32),
        "chunk": column(schedule.chunk, [int(chunk_of[each.pipeline, each.stage]) for each in summed], int32),
        "pipeline": column(schedule.pipeline, [each.pipeline for each in summed], int32),
        "micro_batch": column(schedule.micro_batch, [None] * len(summed), int32),
        "start_time": column(simulation.start, [each.start for each in summed], double),
        "end_time": column(simulation.end, [each.end for each in summed], double),
        "activations_after": column(simulation.activations, [0.0] * len(summed), double),
    }
    return pa.table(columns)


@table
@_takes_those_of_run
def pipeline_summary(**arguments: Any) -> pa.Table:
    """Tell what a pipeline schedule costs in time and memory, and how much of the time workers idle.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    TABLE
        One row: ``schedule`` VARCHAR, ``makespan`` DOUBLE (the time of a step; for ``pipedream`` and ``pipedream_2bw``,
        whose workers do not wait for the end of a step, in the long run), ``ideal`` (without idling), ``bubble_ratio``
        (the part of the makespan in which workers idle), ``stage_span_bubble`` (that between a worker's first and last
        operation, of the worst), ``warmup_bubble``, ``steady_bubble``, ``drain_bubble`` (the part before a worker's
        first backward pass, between, and after its last forward pass), ``peak_activations_min``,
        ``peak_activations_max`` (micro-batches whose activations workers hold), ``weight_copies`` (most on a worker),
        ``cf``, ``cb``, ``cw`` INTEGER (forward, backward and weight operations on the critical path),
        ``closed_form_bubble`` (the bubble ratio by the paper's formula, for equal stages without communication; NULL if
        there is none).

    Raises
    ------
    ValueError
        As `pipeline_schedule`.

    References
    ----------
    Li, Hoefler: Chimera, SC 2021, tables 1 to 3 and section 3; the papers that `pipeline_schedule` names.

    Examples
    --------
    FROM pipeline_summary(schedule := 'chimera', stages := 8, micro_batches := 8);
    """
    return _summaries([run(**arguments)])


@table
@_takes_those_of_run
def pipeline_compare(schedules: list[str] | None = None, **arguments: Any) -> pa.Table:
    """Rank pipeline schedules by the time of a step.

    Parameters
    ----------
    schedules : their names; by default all that there are for these numbers of stages and micro-batches.
    the others : as of `pipeline_summary`.

    Returns
    -------
    TABLE
        A row per schedule, the fastest first, with the columns of `pipeline_summary`.

    Raises
    ------
    ValueError
        As `pipeline_schedule`.

    References
    ----------
    Li, Hoefler: Chimera, SC 2021, tables 1 to 3 and section 3; the papers that `pipeline_schedule` names.

    Examples
    --------
    SELECT schedule, makespan, bubble_ratio, peak_activations_max
    FROM pipeline_compare(stages := 8, micro_batches := 16, chunks := 2);
    """
    if schedules is not None and (unknown := [name for name in schedules if name not in SCHEDULES]):
        raise ValueError(f"argument schedules: there is no {unknown[0]!r}; expected some of {', '.join(SCHEDULES)}")
    results, refused = [], []
    for name in schedules if schedules is not None else SCHEDULES:
        try:
            results.append(run(**arguments, schedule=cast(ScheduleName, name)))
        except ValueError as error:
            if schedules is not None:
                raise
            refused.append(error)
    if not results and refused:
        raise refused[0]
    return _summaries(sorted(results, key=lambda result: result.makespan))


def _summaries(results: list[Result]) -> pa.Table:
    import pyarrow as pa

    double = pa.float64()
    types = dict.fromkeys(_SUMMARY, double) | {"schedule": pa.string()} | dict.fromkeys(("cf", "cb", "cw"), pa.int32())
    return pa.Table.from_pylist([_summary(result) for result in results], pa.schema([(n, types[n]) for n in _SUMMARY]))


_SUMMARY = [
    "schedule", "makespan", "ideal", "bubble_ratio", "stage_span_bubble", "warmup_bubble", "steady_bubble",
    "drain_bubble", "peak_activations_min", "peak_activations_max", "weight_copies", "cf", "cb", "cw",
    "closed_form_bubble",
]  # fmt: skip


def _summary(result: Result) -> dict[str, Any]:
    simulation, request, entry = result.simulation, result.request, SCHEDULES[result.name]
    busy, makespan = float(simulation.busy.mean()), result.makespan
    phases = simulation.phase_bubbles if result.schedule.is_synchronous else (0.0, 1.0 - busy / makespan, 0.0)
    if result.synchronizations:
        # The rest of the makespan is the end of the step.
        scale = simulation.makespan / makespan
        warmup, steady, drain = (phase * scale for phase in phases)
        phases = warmup, steady, drain + 1.0 - scale
    peaks = simulation.peak_activations
    forward, backward, _, weight = result.costs.time[:, 0] * entry.chunks_of(request)
    values = [
        result.name, makespan, busy, 1.0 - busy / makespan, simulation.stage_span_bubble, *phases,
        float(peaks.min()), float(peaks.max()), float(entry.weight_copies(request)),
        simulation.on_critical_path(Kind.F), simulation.on_critical_path(Kind.B, Kind.I),
        simulation.on_critical_path(Kind.W),
        entry.bubble(request, forward, backward, weight) if entry.bubble else None,
    ]  # fmt: skip
    return dict(zip(_SUMMARY, values, strict=True))

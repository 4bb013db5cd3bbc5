"""Schedules for other programs, and from them: Chrome and Perfetto traces, PyTorch's pipelining CSV.

Source: Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU;
torch.distributed.pipelining.schedules.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ironlake.udf.engine import check_external_access, relation, table

from .schedule import Kind, Schedule, rows_of
from .simulator import DeadlockError, simulate

if TYPE_CHECKING:
    import pyarrow as pa

_CELL = re.compile(r"(\d+)([FBIW])(\d+)")
_PAIR = re.compile(r"\((.*);(.*)\)OVERLAP_F_B")


@relation
def pipeline_trace_json(
    worker: int,
    op: str,
    stage: int,
    chunk: int,
    pipeline: int,
    micro_batch: int,
    start_time: float,
    end_time: float,
    *,
    time_unit_us: float = 1e6,
) -> str | None:
    """Write operations of a pipeline as a trace that chrome://tracing and Perfetto show.

    Parameters
    ----------
    worker, op, stage, chunk, pipeline, micro_batch, start_time, end_time : columns as `pipeline_schedule` gives them.
    time_unit_us : [us] of a unit of the times; by default they are seconds.

    Returns
    -------
    VARCHAR
        JSON of the Trace Event Format: an event per operation, by worker, and arrows from each forward or backward pass
        to the one on the next worker. No rows give NULL.

    Raises
    ------
    InvalidInputException
        If time_unit_us is not greater than 0.

    References
    ----------
    Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.

    Examples
    --------
    SELECT pipeline_trace_json(worker, op, stage, chunk, pipeline, micro_batch, start_time, end_time)
    FROM pipeline_schedule(schedule := '1f1b', stages := 2, micro_batches := 2);
    """
    if not 0 < time_unit_us < np.inf:
        raise ValueError(f"option time_unit_us must be greater than 0, got {time_unit_us}")
    columns: tuple[Any, ...] = (worker, op, stage, chunk, pipeline, micro_batch, start_time, end_time)
    if not len(columns[0]):
        return None
    return f'{{"traceEvents":[\n{_events(columns, time_unit_us)}\n],"displayTimeUnit":"ms"}}\n'


def _events(columns: tuple[Any, ...], unit: float) -> str:
    """The events, a line each, put together column by column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    worker, op, stage, chunk, pipeline, micro_batch, start, end = columns
    begin, length = (_whole(each) for each in (pc.multiply(start, unit), pc.multiply(pc.subtract(end, start), unit)))
    operations = _lines(
        '{"ph":"X","name":"', op, " ", micro_batch, '","cat":"', op, '","pid":', pipeline, ',"tid":', worker, ',"ts":',
        begin, ',"dur":', length, ',"args":{"stage":', stage, ',"chunk":', chunk, ',"micro_batch":', micro_batch,
        ',"kind":"', op, '"}}',
    )  # fmt: skip
    sender, receiver = _sent(op, pipeline, stage, micro_batch, worker)
    number = pa.array(np.arange(1, len(sender) + 1))
    event = ('","name":"p2p","cat":"p2p","id":', number, ',"pid":', pipeline.take(sender), ',"tid":')
    sent = pc.add(begin.take(sender), length.take(sender))
    starts = _lines('{"ph":"s', *event, worker.take(sender), ',"ts":', sent, "}")
    ends = _lines('{"ph":"f', *event, worker.take(receiver), ',"ts":', begin.take(receiver), ',"bp":"e"}')
    lines = pa.concat_arrays([operations, starts, ends])
    everything = pa.LargeListArray.from_arrays([0, len(lines)], lines)
    return str(pc.binary_join(everything, pa.scalar(",\n", pa.large_string()))[0].as_py())


def _whole(numbers: pa.Array) -> pa.Array:
    """Numbers as integers, which are shorter and sooner written, if they all are."""
    import pyarrow as pa

    try:
        return numbers.cast(pa.int64())
    except pa.ArrowInvalid:
        return numbers


def _lines(*parts: Any) -> pa.Array:
    """Texts and columns joined row by row; NULL is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    null, large = pa.scalar("null", pa.large_string()), pa.large_string()
    texts = [pa.scalar(part, large) if isinstance(part, str) else pc.coalesce(part.cast(large), null) for part in parts]
    return pc.binary_join_element_wise(*texts, pa.scalar("", large))


def _sent(op: pa.Array, pipeline: pa.Array, stage: pa.Array, micro_batch: pa.Array, worker: pa.Array) -> Any:
    """The operations whose results go to another worker, and those that get them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = op.cast(pa.large_string())
    is_forward = np.asarray(pc.starts_with(names, "F"))
    makes = np.asarray(pc.invert(pc.is_in(names, pa.array(["W", "SYNC"], pa.large_string()))))
    pipe, at, unit, who = (np.asarray(pc.fill_null(column, 0)) for column in (pipeline, stage, micro_batch, worker))
    shape = (2, int(pipe.max()) + 1, int(at.max()) + 1, int(unit.max()) + 1)
    place = np.full(shape, -1)
    own = np.flatnonzero(makes)
    place[is_forward[own].astype(int), pipe[own], at[own], unit[own]] = own
    following = at[own] + np.where(is_forward[own], 1, -1)
    inside = (following >= 0) & (following < shape[2])
    own, following = own[inside], following[inside]
    other = place[is_forward[own].astype(int), pipe[own], following, unit[own]]
    crosses = (other >= 0) & (who[np.maximum(other, 0)] != who[own])
    return own[crosses], other[crosses]


@relation
def pipeline_schedule_csv(
    worker: int, seq: int, op: str, stage: int, micro_batch: int, start_time: float
) -> str | None:
    """Write the order of operations of a pipeline as PyTorch's pipelining schedules are loaded.

    Parameters
    ----------
    worker, seq, op, stage, micro_batch, start_time : columns as `pipeline_schedule` gives them.

    Returns
    -------
    VARCHAR
        A line per worker, a cell per operation: stage, kind (F, B, I, W), micro-batch, such as ``0F3``. A forward and a
        backward pass that run together are ``(0F3;7B1)OVERLAP_F_B``. SYNC is left out. No rows give NULL.

    Raises
    ------
    InvalidInputException
        If an operation is none that PyTorch knows (FF, BH), or a stage is on several workers.

    References
    ----------
    torch.distributed.pipelining.schedules, the format of its compute-only CSV files.

    Examples
    --------
    SELECT pipeline_schedule_csv(worker, seq, op, stage, micro_batch, start_time)
    FROM pipeline_schedule(schedule := 'interleaved_1f1b', stages := 2, micro_batches := 4, chunks := 2);
    """
    rows = sorted(row for row in rows_of(worker, seq, op, stage, micro_batch, start_time) if row[2] != "SYNC")
    if not rows:
        return None
    if unknown := next((row[2] for row in rows if row[2] not in Kind.__members__), None):
        raise ValueError(f"argument op: PyTorch has no operation {unknown!r}; expected F, B, I or W")
    worker_of = {row[3]: row[0] for row in rows}
    if twice := next((row for row in rows if worker_of[row[3]] != row[0]), None):
        raise ValueError(
            f"argument stage: PyTorch's format has no replicas of the model, but stage {twice[3]} is on the workers "
            f"{twice[0]} and {worker_of[twice[3]]}"
        )
    lines: list[list[str]] = [[] for _ in range(rows[-1][0] + 1)]
    skipped = False
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if skipped:
            skipped = False
            continue
        cell = f"{row[3]}{row[2]}{row[4]}"
        if following and row[2] == "F" and following[0] == row[0] and following[5] == row[5]:
            cell = f"({cell};{following[3]}{following[2]}{following[4]})OVERLAP_F_B"
            skipped = True
        lines[row[0]].append(cell)
    return "".join(",".join(line) + "\n" for line in lines)


@table
def read_pipeline_csv(path: str) -> pa.Table:
    """Read a pipelining schedule of PyTorch, and check that it is one.

    Parameters
    ----------
    path : a CSV file with a line per rank and a cell per operation, such as ``0F3``.

    Returns
    -------
    TABLE
        A row per operation: ``worker``, ``seq`` INTEGER, ``op`` VARCHAR (F, B, I, W), ``stage``, ``micro_batch``
        INTEGER, ``start_time``, ``end_time`` DOUBLE (if F takes 1, B 2, I and W 1).

    Raises
    ------
    ValueError
        If a cell is no operation or there twice, a backward pass is missing, a stage is on two ranks, or ranks wait for
        each other; the rank, the cell and the operation are told.

    References
    ----------
    torch.distributed.pipelining.schedules, the format of its compute-only CSV files.

    Examples
    --------
    COPY (SELECT '0F0', '0F1', '0B0', '0B1') TO 'one_rank.csv' (HEADER false);
    FROM read_pipeline_csv('one_rank.csv');
    """
    import pyarrow as pa

    from .costs import Costs

    check_external_access(f"the file {path!r}")
    schedule = parse(Path(path).read_text(encoding="utf-8"), path)
    costs = Costs.of(schedule.stages, 1, 1.0, 2.0, None, 0.0)
    try:
        simulation = simulate(schedule, costs)
    except DeadlockError as error:
        raise ValueError(f"{path!r}: ranks wait for each other: {error}") from None
    int32 = pa.int32()
    worker = schedule.worker
    return pa.table(
        {
            "worker": pa.array(worker, int32),
            "seq": pa.array(np.arange(len(worker)) - schedule.offsets[:-1][worker], int32),
            "op": pa.array([Kind(kind).name for kind in schedule.kind], pa.string()),
            "stage": pa.array(schedule.stage, int32),
            "micro_batch": pa.array(schedule.unit, int32),
            "start_time": pa.array(simulation.start, pa.float64()),
            "end_time": pa.array(simulation.end, pa.float64()),
        }
    )


def parse(text: str, path: str) -> Schedule:
    """A schedule from PyTorch's CSV.

    Raises
    ------
    ValueError
        It is none.
    """
    orders: list[list[tuple[int, int, int, int]]] = []
    rank_of: dict[int, int] = {}
    seen: Counter[tuple[int, int, int]] = Counter()
    for rank, line in enumerate(text.splitlines()):
        order: list[tuple[int, int, int, int]] = []
        for cell in filter(None, (cell.strip().strip('"') for cell in line.split(","))):
            pair = _PAIR.fullmatch(cell)
            for index, part in enumerate(pair.groups() if pair else (cell,)):
                found = _CELL.fullmatch(part)
                if found is None:
                    raise ValueError(
                        f"{path!r}, rank {rank}: the cell {cell!r} is no operation; expected such as '0F3'"
                    )
                stage, kind, unit = int(found[1]), int(Kind[found[2]]), int(found[3])
                seen[kind, stage, unit] += 1
                if seen[kind, stage, unit] > 1:
                    raise ValueError(f"{path!r}, rank {rank}: the operation {part!r} is there twice")
                if rank_of.setdefault(stage, rank) != rank:
                    raise ValueError(
                        f"{path!r}, rank {rank}: the cell {cell!r} is on stage {stage}, which is on rank "
                        f"{rank_of[stage]}"
                    )
                order.append((~kind if pair and index == 0 else kind, 0, stage, unit))
        orders.append(order)
    if not seen:
        raise ValueError(f"{path!r} has no operations")
    stages, units = max(rank_of) + 1, max(unit for _, _, unit in seen) + 1
    if missing := set(range(stages)) - rank_of.keys():
        raise ValueError(f"{path!r}: stage {min(missing)} is on no rank")
    for stage in range(stages):
        for unit in range(units):
            names = [kind.name for kind in Kind if seen[kind, stage, unit]]
            if names not in (["F", "B"], ["F", "I", "W"]):
                has = " and ".join(names) or "nothing"
                raise ValueError(
                    f"{path!r}, rank {rank_of[stage]}: stage {stage} has {has} on micro-batch {unit}; expected "
                    f"'{stage}F{unit}', and '{stage}B{unit}' or both '{stage}I{unit}' and '{stage}W{unit}'"
                )
    worker_of = [[rank_of[stage] for stage in range(stages)]]
    return Schedule.of(path, units, worker_of, orders)

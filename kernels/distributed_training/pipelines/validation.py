"""Whether the operations of a schedule are a training step: complete, in an order that works, one at a time."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ironlake.udf.engine import relation

from .schedule import rows_of

if TYPE_CHECKING:
    pass

_MOST_ERRORS = 20
#: What an operation does: forward passes, micro-batches of these, backward passes, parts of the gradient of weights.
_FORWARD = {"F": 1, "FF": 2}
_BACKWARD = {"B": 1.0, "I": 1.0, "BH": 0.5}
_KNOWN = {*_FORWARD, *_BACKWARD, "W", "SYNC"}
_NAMES = ", ".join(sorted(_KNOWN))


class Validation(NamedTuple):
    """The result of `schedule_validate`."""

    ok: bool
    errors: list[str]
    makespan: float
    bubble_ratio: float


class Operation(NamedTuple):
    """A row of a schedule."""

    worker: int
    op: str
    stage: int
    pipeline: int
    micro_batch: int | None
    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.op} of stage {self.stage} on micro-batch {self.micro_batch} (worker {self.worker})"


@relation
def schedule_validate(
    worker: int, op: str, stage: int, pipeline: int, micro_batch: int, start_time: float, end_time: float
) -> Validation | None:
    """Check the operations of a pipeline schedule: all are there, none too early, a worker computes one at a time.

    Parameters
    ----------
    worker, op, stage, pipeline, micro_batch, start_time, end_time : columns as `pipeline_schedule` gives them.

    Returns
    -------
    STRUCT
        ``ok`` BOOLEAN, ``errors`` VARCHAR[] (the first 20; the first two operations that overlap on a worker, passes
        that are missing or there twice, operations that start before what they need has ended), ``makespan`` DOUBLE,
        ``bubble_ratio`` DOUBLE (the part of it in which workers idle). No rows give NULL.

    References
    ----------
    Li, Hoefler: Chimera, SC 2021, section 2.

    Examples
    --------
    SELECT schedule_validate(worker, op, stage, pipeline, micro_batch, start_time, end_time)
    FROM pipeline_schedule(schedule := 'zb_h1', stages := 4, micro_batches := 8);
    """
    rows = [Operation(*row) for row in rows_of(worker, op, stage, pipeline, micro_batch, start_time, end_time)]
    return validate(rows) if rows else None


def validate(rows: list[Operation]) -> Validation:
    """What is wrong with the operations of a schedule."""
    errors = _wrong_values(rows)
    if not errors:
        errors = [*_overlaps(rows), *_gaps(rows), *_too_early(rows)]
    known = [row for row in rows if None not in (row.start, row.end)]
    makespan = max((row.end for row in known), default=0.0) - min((row.start for row in known), default=0.0)
    busy: defaultdict[int, float] = defaultdict(float)
    for each in {(row.worker, row.start, row.end) for row in known if row.op != "SYNC"}:
        busy[each[0]] += each[2] - each[1]
    bubble = 1.0 - float(np.mean(list(busy.values()))) / makespan if busy and makespan > 0 else 0.0
    return Validation(not errors, errors[:_MOST_ERRORS], makespan, bubble)


def _wrong_values(rows: list[Operation]) -> list[str]:
    errors = []
    for row in rows:
        if None in (row.worker, row.op, row.stage, row.pipeline, row.start, row.end):
            errors.append(f"a row has a NULL: {tuple(row)}")
        elif row.op not in _KNOWN:
            errors.append(f"worker {row.worker} has an operation {row.op!r}; expected one of {_NAMES}")
        elif row.micro_batch is None and row.op != "SYNC":
            errors.append(f"{row} has no micro_batch")
        elif not row.end >= row.start:
            errors.append(f"{row} ends at {row.end:g}, before it starts at {row.start:g}")
    return errors


def _overlaps(rows: list[Operation]) -> list[str]:
    """The first two operations that a worker computes at the same time, unless they are a pair."""
    errors = []
    by_worker: dict[int, list[Operation]] = defaultdict(list)
    for row in rows:
        if row.op != "SYNC":
            by_worker[row.worker].append(row)
    for own in by_worker.values():
        own.sort(key=lambda row: (row.start, row.end))
        pairs = itertools.pairwise(own)
        tolerance = 1e-9 * max(abs(own[-1].end), 1.0)
        for one, two in pairs:
            is_pair = (one.start, one.end) == (two.start, two.end) and (one.op in _FORWARD) != (two.op in _FORWARD)
            if two.start < one.end - tolerance and not is_pair:
                errors.append(f"{two} starts at {two.start:g}, before {one} ends at {one.end:g}")
                break
    return errors


def _gaps(rows: list[Operation]) -> list[str]:
    """Passes that are missing, or there twice."""
    forward: Counter[tuple[int, int, int]] = Counter()
    backward: Counter[tuple[int, int, int]] = Counter()
    weight: Counter[tuple[int, int, int]] = Counter()
    for row in rows:
        key = (row.pipeline, row.stage, row.micro_batch or 0)
        for more in range(_FORWARD.get(row.op, 0)):
            forward[key[0], key[1], key[2] + more] += 1
        backward[key] += _BACKWARD.get(row.op, 0)  # type: ignore[assignment]
        weight[key] += {"W": 1, "I": -1}.get(row.op, 0)
    errors = []
    for pipeline in sorted({key[0] for key in forward}):
        micro_batches = {key[2] for key in forward if key[0] == pipeline}
        stages = range(max(key[1] for key in forward if key[0] == pipeline) + 1)
        for name, found in (("forward", forward), ("backward", backward)):
            for key in ((pipeline, stage, each) for stage in stages for each in sorted(micro_batches)):
                if found[key] != 1:
                    what = "no" if found[key] == 0 else f"{found[key]:g} passes instead of one"
                    place = f"stage {key[1]} on micro-batch {key[2]} of pipeline {pipeline}"
                    errors.append(
                        f"{name} pass of {place} is missing" if what == "no" else f"{name} of {place}: {what}"
                    )
    for key, more in weight.items():
        if more:
            kinds = ("an I without W", "a W without I")
            errors.append(f"stage {key[1]} has {kinds[more > 0]} on micro-batch {key[2]} of pipeline {key[0]}")
    return errors


def _too_early(rows: list[Operation]) -> list[str]:
    """Operations that start before what they need has ended."""
    ends: dict[tuple[str, int, int, int], float] = {}
    for row in rows:
        for more in range(_FORWARD.get(row.op, 0)):
            ends["F", row.pipeline, row.stage, (row.micro_batch or 0) + more] = row.end
        if row.op in _BACKWARD:
            ends["B", row.pipeline, row.stage, row.micro_batch or 0] = max(
                row.end, ends.get(("B", row.pipeline, row.stage, row.micro_batch or 0), row.end)
            )
    errors = []
    tolerance = 1e-9 * max([1.0, *(abs(end) for end in ends.values())])
    for row in rows:
        unit = row.micro_batch or 0
        if row.op in _FORWARD:
            needed = [("F", row.stage - 1, unit + more) for more in range(_FORWARD[row.op])]
        elif row.op == "W":
            needed = [("B", row.stage, unit)]
        elif row.op == "BH":
            needed = [("F", row.stage, unit)]  # either half may be that of the stage behind
        elif row.op in _BACKWARD:
            needed = [("F", row.stage, unit), ("B", row.stage + 1, unit)]
        else:
            continue
        for kind, stage, each in needed:
            end = ends.get((kind, row.pipeline, stage, each))
            if end is not None and row.start < end - tolerance:
                what = "forward" if kind == "F" else "backward"
                errors.append(f"{row} starts at {row.start:g}, before the {what} pass of stage {stage} ends at {end:g}")
    return errors

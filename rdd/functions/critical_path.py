"""The chain of stages that a job had to wait for."""

from __future__ import annotations

import graphlib
from typing import TYPE_CHECKING, NamedTuple

from ironlake.udf.engine import relation
from ironlake.udf.engine.sqltypes import INTEGER

if TYPE_CHECKING:
    import pyarrow as pa


class CriticalPath(NamedTuple):
    """The result of `stage_critical_path`."""

    path: list[INTEGER]
    ms: float
    fraction: float


@relation
def stage_critical_path(
    stage_id: INTEGER, parent: INTEGER | list[INTEGER], start_ms: float, end_ms: float
) -> CriticalPath | None:
    """Find the chain of stages, each waiting for the one before, that takes longest.

    A job cannot be faster than its critical path, however many cores there are: what is not on it need not be improved.

    Parameters
    ----------
    stage_id : a stage; it has a row per parent, or one row with a list of them, and a row for each of its attempts.
    parent : a stage whose outputs it reads, or a list of them; NULL or an empty list if there are none. Parents that
        are no stages of the group are left out.
    start_ms, end_ms : when the stage began and ended, milliseconds from any origin; of several rows for a stage the
        first beginning and the last end.

    Returns
    -------
    STRUCT
        ``path`` INTEGER[] (stages, the first one first), ``ms`` DOUBLE (the sum of their durations) and ``fraction``
        DOUBLE (of the time from the first beginning to the last end; 1 if there is none). It is above 1 where stages
        began before their parents had ended. Rows without a stage or a time are skipped; no rows give NULL.

    Raises
    ------
    InvalidInputException
        If a stage ends before it begins, a time is NaN, or stages wait for each other in a circle.

    References
    ----------
    Kelley, Walker: Critical-Path Planning and Scheduling, Eastern Joint Computer Conference (1959).

    Examples
    --------
    SELECT stage_critical_path(stage, parent, start_ms, end_ms) AS critical
    FROM (VALUES (0, NULL, 0, 50), (1, NULL, 0, 80), (2, 0, 80, 100), (2, 1, 80, 100))
        t(stage, parent, start_ms, end_ms);
    """
    parents, times = _stages(stage_id, parent, start_ms, end_ms)
    if not times:
        return None
    for stage, (start, end) in times.items():
        if not start <= end:
            raise ValueError(f"argument end_ms must not be before start_ms; stage {stage} is from {start} to {end}")
    known = {stage: [each for each in sorted(above) if each in times] for stage, above in parents.items()}
    try:
        order = list(graphlib.TopologicalSorter(known).static_order())
    except graphlib.CycleError as error:
        raise ValueError(f"argument parent: stages wait for each other in a circle, {error.args[1]}") from None
    longest: dict[int, float] = {}
    before: dict[int, int | None] = {}
    for stage in order:
        start, end = times[stage]
        before[stage] = max(known[stage], key=longest.__getitem__, default=None)
        longest[stage] = end - start + (0 if before[stage] is None else longest[before[stage]])  # type: ignore[index]
    last: int | None = max(sorted(longest), key=longest.__getitem__)
    ms = longest[last]  # type: ignore[index]
    path: list[int] = []
    while last is not None:
        path.append(last)
        last = before[last]
    span = max(end for _, end in times.values()) - min(start for start, _ in times.values())
    return CriticalPath(path[::-1], ms, ms / span if span else 1.0)


def _stages(
    stage_id: pa.Array, parent: pa.Array, start_ms: pa.Array, end_ms: pa.Array
) -> tuple[dict[int, set[int]], dict[int, tuple[float, float]]]:
    """The parents of each stage, and when it ran."""
    parents: dict[int, set[int]] = {}
    times: dict[int, tuple[float, float]] = {}
    columns = (column.to_pylist() for column in (stage_id, parent, start_ms, end_ms))
    for stage, above, start, end in zip(*columns, strict=True):
        if stage is None or start is None or end is None:
            continue
        if start != start or end != end:
            raise ValueError(f"arguments start_ms and end_ms must be numbers; a row of stage {stage} has NaN")
        above = above if isinstance(above, list) else [above]
        parents.setdefault(stage, set()).update(each for each in above if each is not None)
        first, last = times.get(stage, (start, end))
        times[stage] = min(first, start), max(last, end)
    return parents, times

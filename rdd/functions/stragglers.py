"""Tasks that hold a stage up, by the rule by which they are run a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ironlake.udf.engine import relation
from ironlake.udf.engine.sqltypes import INTEGER

if TYPE_CHECKING:
    import pyarrow as pa


class StragglerScore(NamedTuple):
    """The result of `straggler_score`."""

    stage_id: int
    median_ms: float
    threshold_ms: float
    n_speculatable: INTEGER
    wasted_ms: float


@relation
def straggler_score(
    stage_id: int,
    duration_ms: float,
    *,
    multiplier: float = 3.0,
    quantile: float = 0.9,
    min_runtime_ms: float = 100.0,
) -> StragglerScore | None:
    """Count the tasks so slow that a second copy of each would have been started, and what they cost.

    The tasks of a stage are taken to begin at the same time. When the quantile of them is done, the median of their
    durations gives the threshold: ``max(multiplier * median, min_runtime_ms)``. Tasks that run longer are speculatable.

    Parameters
    ----------
    stage_id : the stage of a task; tasks are compared within their stage.
    duration_ms : of a task, milliseconds.
    multiplier : how many times the median makes a task slow; Spark's ``spark.speculation.multiplier``.
    quantile : the part of a stage's tasks that have to be done before the others are looked at;
        ``spark.speculation.quantile``.
    min_runtime_ms : tasks that take no longer are never slow; ``spark.speculation.minTaskRuntime``.

    Returns
    -------
    STRUCT
        ``n_speculatable`` INTEGER tasks, and ``wasted_ms`` DOUBLE, which they took beyond the median of their stages,
        of all stages in the group. ``stage_id`` BIGINT, ``median_ms`` and ``threshold_ms`` DOUBLE are those of the
        stage that wastes most, the first of them. Rows with a NULL are skipped; no rows give NULL.

    Raises
    ------
    InvalidInputException
        If a duration is negative, NaN or infinite, or an option is out of its range.

    References
    ----------
    Apache Spark 4.3.0, configuration of speculation; Dean, Barroso: The Tail at Scale, Communications of the ACM 56
    (2013).

    Examples
    --------
    SELECT straggler_score(0, ms).n_speculatable AS slow FROM (VALUES (200), (210), (220), (2500)) tasks(ms);
    SELECT stage, straggler_score(stage, ms, {'quantile': 0.75}) AS score
    FROM (VALUES (0, 200), (0, 210), (0, 220), (0, 2500), (1, 90)) tasks(stage, ms) GROUP BY stage;
    """
    if not (multiplier > 0 and 0 < quantile <= 1 and min_runtime_ms >= 0):
        raise ValueError(
            "options multiplier, quantile and min_runtime_ms must be above 0, above 0 up to 1, and at least 0, got "
            f"{multiplier}, {quantile} and {min_runtime_ms}"
        )
    stages, durations = _without_nulls(stage_id, duration_ms)
    if not len(stages):
        return None
    wrong = durations[~((durations >= 0) & (durations < np.inf))]
    if len(wrong):
        raise ValueError(f"argument duration_ms must be a number of milliseconds, 0 or more; a row has {wrong[0]}")
    worst: StragglerScore | None = None
    slow, wasted = 0, 0.0
    for stage in np.unique(stages):
        score = _score(int(stage), np.sort(durations[stages == stage]), multiplier, quantile, min_runtime_ms)
        slow, wasted = slow + score.n_speculatable, wasted + score.wasted_ms
        if worst is None or score.wasted_ms > worst.wasted_ms:
            worst = score
    return worst and worst._replace(n_speculatable=slow, wasted_ms=wasted)


def _score(
    stage: int, durations: np.ndarray, multiplier: float, quantile: float, min_runtime_ms: float
) -> StragglerScore:
    """The score of one stage, whose durations are in order."""
    done = max(int(quantile * len(durations)), 1)
    median = float(np.median(durations[:done]))
    threshold = max(multiplier * median, min_runtime_ms)
    slow = durations[done:][durations[done:] > threshold]
    return StragglerScore(stage, median, threshold, len(slow), float((slow - median).sum()))


def _without_nulls(stage_id: pa.Array, duration_ms: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The rows in which neither is NULL."""
    import pyarrow.compute as pc

    valid = pc.and_(stage_id.is_valid(), duration_ms.is_valid())
    return stage_id.filter(valid).to_numpy(), duration_ms.filter(valid).to_numpy()

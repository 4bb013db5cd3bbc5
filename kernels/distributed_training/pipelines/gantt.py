"""Pictures of pipeline schedules: for a terminal, and with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ironlake.udf.engine import relation

from .schedule import rows_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from matplotlib.axes import Axes

_MOST_COLUMNS = 10_000
_COLORS = {"F": "#4c78a8", "B": "#54a24b", "I": "#72b7b2", "W": "#eeca3b", "SYNC": "#b279a2"}
_LEGEND = "0-9 forward pass of a micro-batch (its last digit), a-j backward, w gradient of weights, = sum of gradients"


@relation
def pipeline_gantt(
    worker: int, op: str, micro_batch: int, start_time: float, end_time: float, *, width: int = 100
) -> str | None:
    """Draw the operations of a pipeline for a terminal: a line per worker, from left to right in time.

    Parameters
    ----------
    worker, op, micro_batch, start_time, end_time : columns as `pipeline_schedule` gives them.
    width : the most characters of a line; fewer if a character for the shortest operation is enough.

    Returns
    -------
    VARCHAR
        Lines with a digit for each part of a forward pass (the last digit of its micro-batch), a letter for one of a
        backward pass (a for 0), ``w`` for gradients of weights, ``=`` for summing up gradients, ``.`` for idling. No
        rows give NULL.

    Raises
    ------
    InvalidInputException
        If the width is not between 1 and 10,000.

    References
    ----------
    Li, Hoefler: Chimera, SC 2021, figure 2.

    Examples
    --------
    SELECT pipeline_gantt(worker, op, micro_batch, start_time, end_time)
    FROM pipeline_schedule(schedule := 'chimera', stages := 4, micro_batches := 4);
    """
    if not 1 <= width <= _MOST_COLUMNS:
        raise ValueError(f"option width must be 1 ... {_MOST_COLUMNS}, got {width}")
    rows = [row for row in rows_of(worker, op, micro_batch, start_time, end_time) if None not in row[3:]]
    if not rows:
        return None
    first, last = min(row[3] for row in rows), max(row[4] for row in rows)
    shortest = min((row[4] - row[3] for row in rows if row[4] > row[3]), default=1.0)
    cells = max(1, min(width, round((last - first) / shortest)))
    step = (last - first) / cells or 1.0
    count = max(row[0] for row in rows) + 1
    lines = np.full((count, cells), ".", "<U1")
    for place, name, unit, start, end in rows:
        shown = _character(name, unit)
        begin, stop = round((start - first) / step), round((end - first) / step)
        free = lines[place, begin : max(stop, begin + 1)]
        free[(free == ".") | (name != "SYNC")] = shown
    margin = len(str(count - 1))
    drawn = [f"{place:>{margin}} {''.join(line)}" for place, line in enumerate(lines)]
    return "\n".join([*drawn, f"a character: {step:.6g}; {_LEGEND}"])


def _character(op: str, micro_batch: int | None) -> str:
    if op in ("W", "SYNC") or micro_batch is None:
        return "w" if op == "W" else "="
    return chr(ord("0" if op.startswith("F") else "a") + micro_batch % 10)


def draw_schedule(operations: duckdb.DuckDBPyRelation | pa.Table, axes: Axes | None = None) -> Axes:
    """Draw the operations of a pipeline: a bar per operation, a row per worker, darker ones of later micro-batches.

    Parameters
    ----------
    operations : duckdb.DuckDBPyRelation or pyarrow.Table
        The columns worker, op, micro_batch, start_time and end_time of `pipeline_schedule`.
    axes : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        Where it was drawn.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import patches, pyplot
    except ImportError:
        raise ImportError("draw_schedule needs matplotlib: pip install 'ironlake[plot]'") from None
    import pyarrow as pa

    rows: list[dict[str, Any]] = pa.table(operations).to_pylist()
    workers = max(row["worker"] for row in rows) + 1
    if axes is None:
        _, axes = pyplot.subplots(figsize=(12, 0.5 + 0.4 * workers), layout="constrained")
    units = max(row["micro_batch"] or 0 for row in rows) + 1
    span = max(row["end_time"] for row in rows)
    forward, backward = (
        {(row["worker"], row["start_time"]) for row in rows if row["op"] in kinds} for kinds in (("F",), ("B", "I"))
    )
    pairs = forward & backward
    for row in rows:
        kind = row["op"] if row["op"] in _COLORS else row["op"][0]
        # Operations that run together share a row; sums of gradients run beside the others.
        is_shared = kind == "SYNC" or (row["worker"], row["start_time"]) in pairs
        height = 0.4 if is_shared else 0.8
        low = row["worker"] - 0.4 + (0.4 if is_shared and kind != "F" else 0)
        length = row["end_time"] - row["start_time"]
        alpha = 0.55 + 0.45 * (row["micro_batch"] or 0) / units
        axes.broken_barh(
            [(row["start_time"], length)], (low, height), facecolor=_COLORS[kind], alpha=alpha, edgecolor="white"
        )
        if row["micro_batch"] is not None and length > span / 80:
            middle = row["start_time"] + length / 2
            axes.text(middle, low + height / 2, str(row["micro_batch"]), ha="center", va="center", fontsize=7)
    axes.set(xlabel="time", ylabel="worker", yticks=range(workers), xlim=(0, span))
    axes.invert_yaxis()
    present = [kind for kind in _COLORS if any(row["op"].startswith(kind) for row in rows)]
    names = {"F": "forward", "B": "backward", "I": "gradient of input", "W": "gradient of weights", "SYNC": "sum"}
    handles = [patches.Patch(color=_COLORS[kind], label=names[kind]) for kind in present]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return axes

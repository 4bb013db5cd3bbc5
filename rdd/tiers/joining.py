"""Joins of pairs, on columns."""

from __future__ import annotations

from collections.abc import Sequence

from ..batches import Batch
from .grouping import LEAST_PAIRS, grouped, is_keyed, joined


def join_batches(left: Sequence[Batch], right: Sequence[Batch]) -> Batch | None:
    """The pairs of values of equal keys: keys as they first come on the left, values in their order."""
    ours, theirs = joined(left), joined(right)
    if ours is None or theirs is None or not is_keyed(ours.kind) or not is_keyed(theirs.kind):
        return None
    if ours.kind[1][0] != theirs.kind[1][0] or len(ours) + len(theirs) < LEAST_PAIRS:
        return None
    one, other = ours.array.field(0), theirs.array.field(0)
    if one.null_count or other.null_count:
        return None
    import pyarrow as pa

    from . import kernels

    groups, keys = grouped(ours.kind[1][0], pa.concat_arrays([one, other]))
    left_order, left_starts = kernels.order_by_part(groups[: len(ours)], len(keys))
    right_order, right_starts = kernels.order_by_part(groups[len(ours) :], len(keys))
    left_rows, right_rows = kernels.matches(left_order, left_starts, right_order, right_starts)
    taken, matched = ours.array.take(pa.array(left_rows)), theirs.array.take(pa.array(right_rows))
    values = pa.StructArray.from_arrays([taken.field(1), matched.field(1)], ["0", "1"])
    kind = ("tuple", (ours.kind[1][0], ("tuple", (ours.kind[1][1], theirs.kind[1][1]))))
    return Batch(kind, pa.StructArray.from_arrays([taken.field(0), values], ["0", "1"]), len(left_rows))

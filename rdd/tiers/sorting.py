"""Pairs in the order of their keys, on columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..batches import Batch, Kind

if TYPE_CHECKING:
    import numpy as np

#: Pairs for which columns pay.
LEAST_PAIRS = 2048


def has_order(kind: Kind) -> bool:
    """Whether elements are pairs with keys that columns can order: integers or floats."""
    return isinstance(kind, tuple) and kind[0] == "tuple" and len(kind[1]) == 2 and kind[1][0] in ("int", "float")


def is_sortable(batch: Batch) -> bool:
    """Whether elements are pairs with keys that columns can order as Python does: integers, or floats without NaN."""
    if batch.is_small or not has_order(batch.kind) or len(batch) < LEAST_PAIRS or batch.array.field(0).null_count:
        return False
    import numpy as np

    return batch.kind[1][0] == "int" or not bool(np.isnan(sort_keys(batch)).any())


def sort_keys(batch: Batch) -> np.ndarray:
    """The keys."""
    return batch.array.field(0).to_numpy()  # type: ignore[no-any-return]


def sort_batch(batch: Batch, ascending: bool) -> Batch:
    """The pairs in the order of their keys; equal keys stay in their order, in either direction."""
    import numpy as np
    import pyarrow as pa

    keys = sort_keys(batch)
    if keys.dtype == np.int64:
        from .kernels import order_integers

        order = order_integers(keys if ascending else ~keys)
    else:
        order = np.argsort(keys if ascending else -keys, kind="stable")
    return Batch(batch.kind, batch.array.take(pa.array(order)), len(batch))

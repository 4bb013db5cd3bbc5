"""Pairs by their keys, on columns: which partition each goes to, and the values of each key put together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..batches import Batch, Kind
from ..hashing import portable_hash
from . import verifying
from .columns import arguments_of, array_of, columns_of
from .generating import compiled, fold_source, leaves, shape_of
from .symbols import Untraceable, Value
from .tracing import Path, trace

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Pairs for which compiled loops pay.
LEAST_PAIRS = 4096


def is_keyed(kind: Kind) -> bool:
    """Whether elements of a kind are pairs with a key that loops know: an integer or a text."""
    return isinstance(kind, tuple) and kind[0] == "tuple" and len(kind[1]) == 2 and kind[1][0] in ("int", "str")


def parts_of(batch: Batch, partitions: int) -> np.ndarray | None:
    """The partition of each pair by PySpark's hash of its key; None if Python has to tell."""
    if batch.is_small or not is_keyed(batch.kind) or len(batch) < LEAST_PAIRS:
        return None
    keys = batch.array.field(0)
    if keys.null_count:
        return None
    import numpy as np

    from . import kernels

    if batch.kind[1][0] == "int":
        return kernels.hash_integers(keys.to_numpy(), partitions)  # type: ignore[no-any-return]
    offsets = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset : keys.offset + len(keys) + 1]
    content = np.frombuffer(keys.buffers()[2] or b"\0", np.uint8)
    parts: np.ndarray = kernels.hash_texts(offsets, content, partitions)
    for row in np.flatnonzero(parts < 0).tolist():
        parts[row] = portable_hash(keys[row].as_py()) % partitions
    return parts


def scattered(batch: Batch, parts: np.ndarray, partitions: int) -> list[Batch | None]:
    """The pairs of each partition."""
    import pyarrow as pa

    from . import kernels

    order, starts = kernels.order_by_part(parts, partitions)
    arranged = batch.array.take(pa.array(order))
    return [
        Batch(batch.kind, arranged.slice(start, end - start), int(end - start)) if end > start else None
        for start, end in itertools.pairwise(starts)
    ]


def joined(batches: Sequence[Batch]) -> Batch | None:
    """Batches of one kind as one; None if they differ, or hold what loops do not know."""
    if not batches or len({repr(batch.kind) for batch in batches}) > 1:
        return None
    import pyarrow as pa

    array = batches[0].array if len(batches) == 1 else pa.concat_arrays([batch.array for batch in batches])
    return Batch(batches[0].kind, array, sum(map(len, batches)))


class Reducible:
    """Whether batches can have the values of their keys put together by a function on columns.

    Parameters
    ----------
    function : callable
        Puts two values together.
    is_made : bool
        Whether batches are made for this, which pays for many pairs only.
    """

    def __init__(self, function: Callable[[Any, Any], Any], is_made: bool) -> None:
        self._function, self._least = function, LEAST_PAIRS if is_made else 0
        self._kind: Kind | None = None

    def __call__(self, batch: Batch) -> bool:
        """Whether it is one, of the kind of those before it."""
        if batch.is_small:
            return False
        if self._kind is None and is_keyed(batch.kind) and len(batch) >= self._least:
            try:
                _fold_ways(self._function, batch.kind[1][1], columns_of(batch)[1:])
            except Untraceable:
                return False
            self._kind = batch.kind
        return self._kind is not None and self._kind == batch.kind


def _fold_ways(
    function: Callable[[Any, Any], Any], kind: Kind, values: Sequence[pa.Array]
) -> tuple[list[Path], list[float]]:
    """The ways through a function that puts two values of a kind together.

    Raises
    ------
    Untraceable
        It is not done on columns.
    """
    so_far, row = arguments_of(kind, values), arguments_of(kind, values, len(values))
    ways, given = trace(function, so_far, row)
    if any(not isinstance(leaf, Value) for leaf in leaves(so_far)):
        raise Untraceable("its values are no numbers")
    if any(repr(shape_of(way.result)) != repr(shape_of(so_far)) for way in ways):
        raise Untraceable("what it returns is not of the type of its values")
    return ways, given


def reduced(batches: Sequence[Batch], function: Callable[[Any, Any], Any]) -> Batch | None:
    """The values of each key put together from left to right, keys as they first come; None if Python has to do it."""
    import numpy as np
    import pyarrow as pa

    batch = joined(batches)
    if batch is None or not is_keyed(batch.kind) or len(batch) < LEAST_PAIRS:
        return None
    columns = columns_of(batch)
    if any(column.null_count for column in columns):
        return None
    value_kind = batch.kind[1][1]
    values = columns[1:]
    width = len(values)
    try:
        ways, given = _fold_ways(function, value_kind, values)
    except Untraceable:
        return None
    groups, keys = grouped(batch.kind[1][0], columns[0])
    count = len(keys)
    read = [column.to_numpy(zero_copy_only=False) for column in values]
    sums = [np.empty(count, each.dtype) for each in read]
    loop = compiled(fold_source(ways, width))
    if loop(len(batch), groups, np.zeros(count, np.bool_), np.array(given, np.float64), *sums, *read) < len(batch):
        return None
    array = pa.StructArray.from_arrays([keys, array_of(value_kind, map(pa.array, sums))], ["0", "1"])
    made = Batch(batch.kind, array, count)
    if verifying.is_on:
        verifying.compare("reduceByKey", made.objects(), list(in_python(batch.objects(), function).items()))
    return made


def group_batches(batches: Sequence[Batch]) -> Batch | None:
    """The values of each key in their order, keys as they first come; None if Python has to do it."""
    import pyarrow as pa

    from . import kernels

    batch = joined(batches)
    if batch is None or not is_keyed(batch.kind) or len(batch) < LEAST_PAIRS or batch.array.field(0).null_count:
        return None
    groups, keys = grouped(batch.kind[1][0], batch.array.field(0))
    order, starts = kernels.order_by_part(groups, len(keys))
    values = pa.ListArray.from_arrays(pa.array(starts.astype("int32")), batch.array.field(1).take(pa.array(order)))
    kind = ("tuple", (batch.kind[1][0], ("grouped", batch.kind[1][1])))
    return Batch(kind, pa.StructArray.from_arrays([keys, values], ["0", "1"]), len(keys))


def in_python(pairs: Iterable[tuple[Any, Any]], function: Callable[[Any, Any], Any]) -> dict[Any, Any]:
    """The values of each key put together from left to right, keys as they first come."""
    values: dict[Any, Any] = {}
    for key, value in pairs:
        values[key] = function(values[key], value) if key in values else value
    return values


def grouped(kind: str, keys: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The group of each key, and the keys of the groups as they first come."""
    if kind == "int":
        import pyarrow as pa

        from . import kernels

        groups, first = kernels.group_integers(keys.to_numpy())
        return groups, pa.array(first)
    encoded = keys.dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary

"""What an action makes of a partition, on columns where that gives what Python gives."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from ..batches import Batch
from ..streams import Batches, Elements, Stream
from . import verifying
from .columns import arguments_of, array_of, columns_of, is_worth_compiling
from .generating import compiled, fold_source, leaves, shape_of
from .grouping import grouped, joined
from .symbols import Untraceable, Value
from .tracing import trace

#: Floats that Python adds up sooner than a loop is loaded.
_FEW_FLOATS = 16_384


class Collect:
    """The elements, as batches where they are such."""

    def __call__(self, elements: Iterator[Any]) -> list[Any]:
        return [list(elements)]

    def of_stream(self, stream: Stream) -> list[Any]:
        """The same of a stream."""
        return self(iter(stream)) if isinstance(stream, Elements) else list(stream.batches())


class Count:
    """How many elements there are."""

    def __call__(self, elements: Iterator[Any]) -> list[int]:
        return [sum(1 for _ in elements)]

    def of_stream(self, stream: Stream) -> list[int]:
        """The same of a stream."""
        if isinstance(stream, Elements):
            return self(iter(stream))
        return [sum(map(len, stream.batches()))]


class CountEach:
    """How often each element is there, elements as they first come."""

    def __call__(self, elements: Iterable[Any]) -> list[dict[Any, int]]:
        return [_counted({}, elements)]

    def of_stream(self, stream: Stream) -> list[dict[Any, int]]:
        """The same of a stream."""
        counts: dict[Any, int] = {}
        for part in stream.parts() if isinstance(stream, Elements) else stream.batches():
            if not isinstance(part, Batch):
                _counted(counts, part)
            elif part.is_small or part.kind not in ("int", "str") or part.array.null_count:
                _counted(counts, part.objects())
            else:
                import numpy as np

                groups, keys = grouped(part.kind, part.array)
                for key, count in zip(keys.to_pylist(), np.bincount(groups).tolist(), strict=True):
                    counts[key] = counts.get(key, 0) + count
        return [counts]


def _counted(counts: dict[Any, int], elements: Iterable[Any]) -> dict[Any, int]:
    for element in elements:
        counts[element] = counts.get(element, 0) + 1
    return counts


class Sum:
    """The sum of the elements."""

    def __call__(self, elements: Iterable[Any]) -> list[Any]:
        return [sum(elements)]

    def of_stream(self, stream: Stream) -> list[Any]:
        """The same of a stream: integers exactly, floats from left to right."""
        if isinstance(stream, Elements):
            return self(stream)
        total: Any = 0
        batches = stream.batches()
        for batch in batches:
            added = _added(total, batch)
            if added is None:
                rest = chain([batch], batches)
                return [sum(chain.from_iterable(each.objects() for each in rest), total)]
            total = added
        return [total]


def _added(total: Any, batch: Batch) -> Any:
    """A total and the elements of a batch; None if Python has to add them."""
    if not len(batch):
        return total
    if batch.is_small or batch.array.null_count:
        return None
    if batch.kind == "int" and type(total) is int:
        values = batch.array.to_numpy()
        return total + (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
    if batch.kind == "float" and sys.version_info < (3, 12) and -(2**53) <= total <= 2**53:
        if len(batch) < _FEW_FLOATS:
            return sum(batch.objects(), total)
        from . import kernels

        return kernels.sum_floats(batch.array.to_numpy(), float(total))
    return None


class Reduce:
    """The elements put together by a function, from left to right; none if there are no elements."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function

    def __call__(self, elements: Iterator[Any]) -> list[Any]:
        for first in elements:
            return [functools.reduce(self.function, elements, first)]
        return []

    def of_stream(self, stream: Stream) -> list[Any]:
        """The same of a stream."""
        if isinstance(stream, Elements):
            return self(iter(stream))
        batches = list(stream.batches())
        found = folded(batches, self.function)
        return self(iter(Batches(batches))) if found is None else found.objects()


def folded(batches: list[Batch], function: Callable[[Any, Any], Any]) -> Batch | None:
    """All elements put together, as a batch of one; None if Python has to do it."""
    import numpy as np
    import pyarrow as pa

    if any(batch.is_small for batch in batches):
        return None
    batch = joined(batches)
    if batch is None or not len(batch):
        return None
    columns = columns_of(batch)
    width = len(columns)
    try:
        so_far, row = arguments_of(batch.kind, columns), arguments_of(batch.kind, columns, width)
        ways, given = trace(function, so_far, row)
    except Untraceable:
        return None
    if not is_worth_compiling(len(batch), ways):
        return None
    is_numeric = all(isinstance(leaf, Value) for leaf in leaves(so_far))
    if not is_numeric or any(repr(shape_of(way.result)) != repr(shape_of(so_far)) for way in ways):
        return None
    read = [column.to_numpy(zero_copy_only=False) for column in columns]
    total = [np.empty(1, each.dtype) for each in read]
    loop = compiled(fold_source(ways, width))
    groups = np.zeros(len(batch), np.int32)
    if loop(len(batch), groups, np.zeros(1, np.bool_), np.array(given, np.float64), *total, *read) < len(batch):
        return None
    made = Batch(batch.kind, array_of(batch.kind, map(pa.array, total)), 1)
    if verifying.is_on:
        verifying.compare("reduce", made.objects(), [functools.reduce(function, batch.objects())])
    return made

"""The elements of a partition on their way through a task: one by one, or in batches, whichever comes cheaper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Protocol

from .batches import Batch, batched


class Stream(Protocol):
    """Elements that can be had once, in either form."""

    def __iter__(self) -> Iterator[Any]:
        """One by one."""

    def batches(self) -> Iterator[Batch]:
        """In batches."""


class Elements:
    """Elements one by one; nothing is computed before it is asked for."""

    __slots__ = ("_elements",)

    def __init__(self, elements: Iterable[Any]) -> None:
        self._elements = elements

    def __iter__(self) -> Iterator[Any]:
        return iter(self._elements)

    def batches(self) -> Iterator[Batch]:
        return batched(self._elements)


class Batches:
    """Elements in batches."""

    __slots__ = ("_batches",)

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(batch.objects() for batch in self._batches)

    def batches(self) -> Iterator[Batch]:
        return iter(self._batches)


class Listed:
    """A function of elements as one of a partition, whose result is a list."""

    def __init__(self, function: Callable[[Iterator[Any]], Iterable[Any]]) -> None:
        self.function = function

    def __call__(self, _: int, stream: Stream) -> list[Any]:
        of_stream = getattr(self.function, "of_stream", None)
        return list(self.function(iter(stream)) if of_stream is None else of_stream(stream))

"""The elements of a partition on their way through a task: one by one, or in batches, whichever comes cheaper.

A stream is had once, and in one form only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, NoReturn, Protocol

from .batches import BATCH_ROWS, Batch
from .running import running_task

#: Elements that are looked at to see of which kind all may be.
FIRST_ROWS = 16_384


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
        self._elements = iter(elements)

    def __iter__(self) -> Iterator[Any]:
        return self._elements

    def batches(self) -> Iterator[Batch]:
        """In batches."""
        for part in self.parts():
            yield part if isinstance(part, Batch) else Batch.of(part)

    def parts(self) -> Iterator[Batch | list[Any]]:
        """In batches where they are columns, and in lists where they are not; the first is smaller than others."""
        yield from parted(self._elements)


class Batches:
    """Elements in batches."""

    __slots__ = ("_batches",)

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(batch.objects() for batch in self._batches)

    def batches(self) -> Iterator[Batch]:
        """In batches."""
        return self._batches


def parted(elements: Iterable[Any], rows: int = FIRST_ROWS) -> Iterator[Batch | list[Any]]:
    """Elements in parts; if getting one fails, those before it are a part, and the next fails."""
    iterator = iter(elements)
    failure: BaseException | None = None
    while failure is None:
        part: list[Any] = []
        try:
            part.extend(islice(iterator, rows))
        except BaseException as error:
            failure = error
        if part:
            yield Batch.typed(part) or part
        elif failure is None:
            return
        rows = BATCH_ROWS
    raise failure


def gathered(
    stream: Stream,
    is_wanted: Callable[[Batch], bool],
    shortened: Callable[[list[Batch]], Batch | None] = lambda _: None,
) -> tuple[list[Batch] | None, Iterator[Any]]:
    """All elements in batches, if all of them are wanted so; otherwise the elements one by one, in Python's order.

    More columns than the running task may hold are not gathered, unless `shortened` makes less of them: the elements
    are one by one, which can be sorted and grouped in files.

    What fails on the way fails when the element is asked for that could not be had, as if nothing had been gathered.
    """
    taken: list[Batch | list[Any]] = []
    parts: Iterator[Batch | list[Any]] = stream.parts() if isinstance(stream, Elements) else stream.batches()
    task, size = running_task(), 0
    try:
        for part in parts:
            taken.append(part)
            size += part.nbytes if isinstance(part, Batch) else 0
            if not isinstance(part, Batch) or not is_wanted(part):
                return None, _objects(taken, parts)
            part.forget()
            if task is not None and size > task.assignment.memory:
                short = shortened([each for each in taken if isinstance(each, Batch)])
                if short is None or 2 * short.nbytes > task.assignment.memory:
                    return None, _objects(taken, parts)
                taken, size = [short], short.nbytes
    except Exception as error:
        return None, chain(_objects(taken), map(_fail, [error]))
    return [part for part in taken if isinstance(part, Batch)], iter(())


def _objects(taken: list[Batch | list[Any]], rest: Iterable[Batch | list[Any]] = ()) -> Iterator[Any]:
    """The elements of parts; none is held any longer than its elements are needed."""
    for part in chain((taken.pop(0) for _ in range(len(taken))), rest):
        yield from part.objects() if isinstance(part, Batch) else part


def _fail(error: Exception) -> NoReturn:
    raise error


class Listed:
    """A function of elements as one of a partition, whose result is a list."""

    def __init__(self, function: Callable[[Iterator[Any]], Iterable[Any]]) -> None:
        self.function = function

    def __call__(self, _: int, stream: Stream) -> list[Any]:
        of_stream = getattr(self.function, "of_stream", None)
        return list(self.function(iter(stream)) if of_stream is None else of_stream(stream))

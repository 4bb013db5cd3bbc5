"""Operations on elements as steps from batch to batch: on columns where that can be done, in Python where not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from ..batches import Batch, Kind
from ..streams import Elements, Stream, parted
from . import verifying
from .columns import TYPES, Plan, array_of, columns_of, has_nulls, plan_of
from .flattening import FlatPlan, flat_plan_of
from .sharing import State
from .symbols import Untraceable


def _itself(argument: Any) -> Any:
    return argument


def _value(argument: Any) -> Any:
    if not isinstance(argument, tuple) or len(argument) != 2:
        raise Untraceable("its elements are no pairs")
    return argument[1]


def _result(_: Any, result: Any) -> Any:
    return result


def _with_key(argument: Any, result: Any) -> Any:
    return argument[0], result


def _keyed(argument: Any, result: Any) -> Any:
    return result, argument


#: The operations that are done on columns: what of an element the function is called with, and what then goes on.
TIERED: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "map": (_itself, _result), "filter": (_itself, _result),
    "mapValues": (_value, _with_key), "keyBy": (_itself, _keyed),
    "flatMap": (_itself, _result), "flatMapValues": (_value, _with_key),
}  # fmt: skip


class Step:
    """What one operation makes of batches, on columns where that can be done.

    Parameters
    ----------
    operation : str
        ``map``, ``filter``, ``mapValues``, ``keyBy``, ``flatMap`` or ``flatMapValues``.
    user : callable
        The user's function.
    python : callable
        The operation on elements, in Python.
    report : callable
        Told the tier, and why it is not a better one, when the first batch is seen.
    changed : frozenset
        What functions of the stage change.
    """

    def __init__(
        self,
        operation: str,
        user: Any,
        python: Callable[[Iterator[Any]], Iterable[Any]],
        report: Callable[[str, str], None],
        changed: frozenset[State] = frozenset(),
    ) -> None:
        self._changed = changed
        self._operation, self._user, self._python, self.report = operation, user, python, report
        self._plan: Plan | FlatPlan | None = None
        self._kind: Kind | None = None

    def prepare(self, first: Batch) -> bool:
        """Look at the first batch: whether batches like it are done on columns."""
        if first.is_small:
            self.report("T2", "its elements are too few to compile it")
            return False
        self._kind = first.kind
        try:
            make = flat_plan_of if self._operation.startswith("flat") else plan_of
            self._plan = make(self._user, first, *TIERED[self._operation], self._changed)
        except Untraceable as error:
            self.report("T2", str(error))
            return False
        self.report(self._plan.tier, "")
        return True

    def python(self, elements: Iterable[Any]) -> Iterator[Any]:
        """The operation in Python."""
        return iter(self._python(iter(elements)))

    def run(self, batch: Batch) -> Batch | None:
        """The operation on columns; None if Python has to do it."""
        if self._plan is None or batch.kind != self._kind or any(map(has_nulls, columns_of(batch))):
            return None
        found = self._plan.run(batch)
        if found is None:
            return None
        kind, arrays = found
        if self._operation != "filter":
            made = Batch(kind, array_of(kind, iter(arrays)), len(arrays[0]))
        elif kind in TYPES:
            import pyarrow as pa

            mask = arrays[0].to_numpy(zero_copy_only=False) != 0
            chosen = batch.array.filter(pa.array(mask))
            made = Batch(batch.kind, chosen, len(chosen))
        else:
            return None
        if verifying.is_on:
            verifying.compare(self._operation, made.objects(), list(self.python(batch.objects())))
        return made


class OnColumns:
    """What a step makes of batches; one that does not fit is done in Python.

    Parameters
    ----------
    step : Step
        The operation, which has seen the first batch.
    batches : iterator of Batch
        The elements.
    """

    def __init__(self, step: Step, batches: Iterator[Batch]) -> None:
        self._step, self._batches = step, batches

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            made = self._step.run(batch)
            yield from self._step.python(batch.objects()) if made is None else made.objects()

    def batches(self) -> Iterator[Batch]:
        """In batches."""
        for batch in self._batches:
            made = self._step.run(batch)
            if made is not None:
                yield made
            else:
                yield from Elements(self._step.python(batch.objects())).batches()


class OnElements(Elements):
    """What a step makes of elements: in Python, one by one, or on columns for who takes all of them in batches.

    Parameters
    ----------
    step : Step
        The operation.
    source : Elements
        The elements.
    """

    __slots__ = ("_source", "_step")

    def __init__(self, step: Step, source: Elements) -> None:
        super().__init__(step.python(source))
        self._step, self._source = step, source

    def parts(self) -> Iterator[Batch | list[Any]]:
        """In batches where they are columns."""
        is_prepared = False
        for part in self._source.parts():
            made = None
            if isinstance(part, Batch):
                if not is_prepared:
                    self._step.prepare(part)
                    is_prepared = True
                made = self._step.run(part)
            if made is not None:
                yield made
            else:
                objects = part.objects() if isinstance(part, Batch) else part
                yield from parted(self._step.python(objects), max(1, len(objects)))


def stream_of_step(step: Step, source: Stream) -> Stream:
    """What a step makes of a stream, in the form that comes cheapest."""
    if isinstance(source, Elements):
        step.report("T2", "its elements come one by one, from a step in Python")
        return OnElements(step, source)
    batches = source.batches()
    first = next(batches, None)
    if first is None:
        return Elements(())
    together = chain([first], batches)
    if step.prepare(first):
        return OnColumns(step, together)
    return Elements(step.python(chain.from_iterable(batch.objects() for batch in together)))

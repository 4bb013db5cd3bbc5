"""Functions of elements applied to batches, column by column.

Three tiers: a function that only picks, orders and adds constants is done on columns at once (T0); one that computes runs as
a compiled loop (T1); any other as it is, element by element (T2). The tier is chosen when the first batch of a partition is
seen, for its kind of elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from ..batches import Batch, Kind
from .generating import compiled, leaves, map_source, shape_of
from .tracing import Expression, Opaque, Path, Untraceable, Value, trace

#: Elements of a batch for which compiling a loop pays.
LEAST_ROWS = 16_384

_TYPES = {"int": np.int64, "float": np.float64, "bool": np.bool_}


def columns_of(batch: Batch) -> list[pa.Array]:
    """The columns of a batch, those of tuples within tuples in order."""
    return list(_columns(batch.kind, batch.array))


def _columns(kind: Kind, array: pa.Array) -> Iterator[pa.Array]:
    if isinstance(kind, tuple) and kind[0] == "tuple":
        for place, inner in enumerate(kind[1]):
            yield from _columns(inner, array.field(place))
    else:
        yield array


def arguments_of(kind: Kind, columns: Sequence[pa.Array], first: int = 0) -> Any:
    """What a function is called with to find out what it does with elements of a kind.

    Raises
    ------
    Untraceable
        Elements of the kind are no numbers, nor tuples with some.
    """
    places = iter(range(first, first + len(columns)))

    def argument(kind: Kind) -> Any:
        if isinstance(kind, tuple) and kind[0] == "tuple":
            return tuple(map(argument, kind[1]))
        if not isinstance(kind, str) or kind == "object":
            raise Untraceable("its elements are no numbers, texts, or tuples of such")
        place = next(places)
        if kind in _TYPES and columns[place - first].null_count == 0:
            return Value(("in", place), kind)
        return Opaque(("in", place))

    return argument(kind)


def kinds_of(kind: Kind) -> list[Kind]:
    """The kinds of the columns, in the order of `columns_of`."""
    if isinstance(kind, tuple) and kind[0] == "tuple":
        return [each for inner in kind[1] for each in kinds_of(inner)]
    return [kind]


@dataclass(frozen=True)
class Plan:
    """How a function is done on columns.

    Attributes
    ----------
    tier : str
        T0 or T1.
    ways : list of Path
        What it computes.
    given : numpy.ndarray
        The numbers that it found in its surroundings.
    source : str
        The loop, if there is one.
    inputs, outputs : list of int
        The columns that the loop reads, and the leaves of the result that it computes.
    """

    tier: str
    ways: list[Path]
    given: np.ndarray
    source: str
    inputs: list[int]
    outputs: list[int]

    def run(self, batch: Batch) -> tuple[Kind, list[pa.Array]] | None:
        """The kind and the columns of the result; None if Python has to do it."""
        columns, rows = columns_of(batch), len(batch)
        result = self.ways[0].result
        found = leaves(result)
        kinds = kinds_of(batch.kind)
        made: dict[int, np.ndarray] = {}
        if self.outputs:
            read = [columns[place].to_numpy(zero_copy_only=False) for place in self.inputs]
            made = {place: np.empty(rows, _TYPES[_type(found[place])]) for place in self.outputs}
            if compiled(self.source)(rows, self.given, *read, *made.values()) < rows:
                return None
        arrays: list[pa.Array] = []
        out_kinds: list[Kind] = []
        for place, leaf in enumerate(found):
            if place in made:
                arrays.append(pa.array(made[place]))
                out_kinds.append(_type(leaf))
            elif isinstance(leaf, Value | Opaque) and leaf.expression[0] == "in":
                arrays.append(columns[leaf.expression[1]])
                out_kinds.append(kinds[leaf.expression[1]])
            else:
                number = self.given[leaf.expression[1]] if isinstance(leaf, Value) else leaf
                arrays.append(pa.array(np.full(rows, number, _TYPES[_type(leaf)])))
                out_kinds.append(_type(leaf))
        return _assembled(result, iter(out_kinds)), arrays


def _type(leaf: Any) -> str:
    return leaf.type if isinstance(leaf, Value) else type(leaf).__name__


def _assembled(result: Any, kinds: Iterator[Kind]) -> Kind:
    if isinstance(result, tuple):
        return ("tuple", tuple(_assembled(each, kinds) for each in result))
    return next(kinds)


def array_of(kind: Kind, columns: Iterator[pa.Array]) -> pa.Array:
    """The column of elements of a kind from those of its parts."""
    if isinstance(kind, tuple) and kind[0] == "tuple":
        parts = [array_of(inner, columns) for inner in kind[1]]
        return pa.StructArray.from_arrays(parts, [str(place) for place in range(len(parts))])
    return next(columns)


def plan_of(function: Callable[..., Any], batch: Batch, arrange: Callable[[Any, Any], Any]) -> Plan:
    """How a function is done on the columns of batches like this one.

    `arrange` makes the element that goes on, from the argument and what the function returns.

    Raises
    ------
    Untraceable
        It is not done on columns; the message says why.
    """
    if arrange is values_arranged and not (batch.kind[0] == "tuple" and len(batch.kind[1]) == 2):
        raise Untraceable("its elements are no pairs")
    columns = columns_of(batch)
    argument = arguments_of(batch.kind, columns)
    found, given = trace(function, argument[1] if arrange is values_arranged else argument)
    ways = [Path(way.decisions, arrange(argument, way.result)) for way in found]
    if len({repr_of(shape_of(way.result)) for way in ways}) > 1:
        raise Untraceable("what it returns does not have one type")
    by_way = [leaves(way.result) for way in ways]
    outputs = [
        place
        for place, leaf in enumerate(by_way[0])
        if not _is_plain(leaf) or any(_key(each[place]) != _key(leaf) for each in by_way[1:])
    ]
    if not outputs:
        return Plan("T0", ways, np.array(given, np.float64), "", [], [])
    if len(batch) < LEAST_ROWS:
        raise Untraceable("its elements are too few to compile it")
    inputs = sorted(
        set().union(
            *(inputs_of(ways, place) for place in outputs), _inputs([c for way in ways for c, _ in way.decisions])
        )
    )
    source = map_source(ways, inputs, outputs)
    return Plan("T1", ways, np.array(given, np.float64), source, inputs, outputs)


def repr_of(shape: Any) -> str:
    """A shape as a text that can be compared."""
    return repr(shape)


def _is_plain(leaf: Any) -> bool:
    """Whether a leaf needs no loop: it is an input, or one number for all rows."""
    return isinstance(leaf, Opaque) or not isinstance(leaf, Value) or leaf.expression[0] in ("in", "given")


def _key(leaf: Any) -> Any:
    return leaf.expression if isinstance(leaf, Value | Opaque) else (type(leaf), leaf)


def inputs_of(ways: Sequence[Path], place: int) -> set[int]:
    """The columns that a leaf of the result follows from."""
    found = [leaves(way.result)[place] for way in ways]
    return _inputs([leaf.expression for leaf in found if isinstance(leaf, Value)])


def _inputs(expressions: Iterable[Expression]) -> set[int]:
    found: set[int] = set()
    visits, seen = list(expressions), set()
    while visits:
        expression = visits.pop()
        if id(expression) in seen or expression[0] in ("const", "given"):
            continue
        seen.add(id(expression))
        if expression[0] == "in":
            found.add(expression[1])
        else:
            visits += expression[1:]
    return found


def mapped(_: Any, result: Any) -> Any:
    """The element that goes on in ``map``."""
    return result


def values_arranged(argument: Any, result: Any) -> Any:
    """The element that goes on in ``mapValues``."""
    return argument[0], result


def keyed(argument: Any, result: Any) -> Any:
    """The element that goes on in ``keyBy``."""
    return result, argument


#: The operations that are done on columns, with how the element that goes on is made.
TIERED: dict[str, Callable[[Any, Any], Any]] = {
    "map": mapped, "filter": mapped, "mapValues": values_arranged, "keyBy": keyed,
}  # fmt: skip


class Tiered:
    """What an operation makes of a stream of batches, on columns where that can be done.

    Parameters
    ----------
    operation : str
        ``map``, ``filter``, ``mapValues`` or ``keyBy``.
    user : callable
        The user's function.
    python : callable
        The operation on elements, in Python.
    batches : iterable of Batch
        The elements.
    """

    def __init__(
        self, operation: str, user: Any, python: Callable[[Iterator[Any]], Iterable[Any]], batches: Iterator[Batch]
    ) -> None:
        self._operation, self._python = operation, python
        first = next(batches, None)
        self._batches = batches if first is None else chain([first], batches)
        self.plan, self.reason, self._kind = None, "there are no elements", first.kind if first is not None else None
        if first is not None:
            try:
                self.plan = plan_of(user, first, TIERED[operation])
            except Untraceable as error:
                self.reason = str(error)

    @property
    def tier(self) -> str:
        """T0, T1 or T2."""
        return self.plan.tier if self.plan is not None else "T2"

    def _run(self, batch: Batch) -> Batch | None:
        if self.plan is None or batch.kind != self._kind or any(each.null_count for each in columns_of(batch)):
            return None
        found = self.plan.run(batch)
        if found is None:
            return None
        kind, arrays = found
        if self._operation != "filter":
            return Batch(kind, array_of(kind, iter(arrays)), len(batch))
        if kind not in _TYPES:
            return None
        mask = arrays[0].to_numpy(zero_copy_only=False) != 0
        chosen = batch.array.filter(pa.array(mask))
        return Batch(batch.kind, chosen, len(chosen))

    def __iter__(self) -> Iterator[Any]:
        if self.plan is None:
            yield from self._python(chain.from_iterable(batch.objects() for batch in self._batches))
            return
        for batch in self._batches:
            made = self._run(batch)
            yield from self._python(iter(batch.objects())) if made is None else made.objects()

    def batches(self) -> Iterator[Batch]:
        """In batches."""
        for batch in self._batches:
            made = self._run(batch)
            if made is not None:
                yield made
            elif elements := list(self._python(iter(batch.objects()))):
                yield Batch.of(elements)

"""Functions of elements applied to batches, column by column.

Three tiers: a function that only picks, orders and adds constants is done on columns at once (T0); one that computes
runs as a compiled loop (T1); any other as it is, element by element (T2). The tier is chosen when the first batch of a
partition is seen, for its kind of elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..batches import LISTS, Batch, Kind
from .generating import can_fail, compiled, leaves, map_source, shape_of
from .sharing import State
from .symbols import Expression, Members, Opaque, Text, Untraceable, Value, input_of
from .tracing import Path, trace

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Elements of a batch for which compiling a loop pays.
LEAST_ROWS = 16_384

#: The kinds of numbers, with NumPy's names of their types.
TYPES = {"int": "int64", "float": "float64", "bool": "bool"}


def columns_of(batch: Batch) -> list[pa.Array]:
    """The columns of a batch, those of tuples within tuples in order."""
    return list(_columns(batch.kind, batch.array))


def _columns(kind: Kind, array: pa.Array) -> Iterator[pa.Array]:
    if isinstance(kind, tuple) and kind[0] == "tuple":
        for place, inner in enumerate(kind[1]):
            yield from _columns(inner, array.field(place))
    else:
        yield array


def arguments_of(kind: Kind, columns: Sequence[pa.Array], first: int = 0, members: int = 0) -> Any:
    """What a function is called with to find out what it does with elements of a kind.

    The inputs are the columns, from number `first` on, and after those for each a number of members of lists and these
    themselves, of which there are `members`; see `kinds_after`.

    Raises
    ------
    Untraceable
        Elements of the kind are no numbers, nor tuples with some.
    """
    places = iter(range(first, first + len(columns)))

    def argument(kind: Kind) -> Any:
        if isinstance(kind, tuple) and kind[0] == "tuple":
            return tuple(map(argument, kind[1]))
        if isinstance(kind, tuple) and kind[0] in LISTS and not first:
            place = next(places)
            start, width = len(columns) + 2 * place, 2 * len(columns)
            inner = [_symbol(kind[1], start + 1 + width * number) for number in range(members)]
            return Members(input_of(place), Value(input_of(start), "int"), inner, kind[0])
        if not isinstance(kind, str) or kind == "object":
            raise Untraceable("its elements are no numbers, texts, or tuples of such")
        place = next(places)
        if columns[place - first].null_count:
            return Opaque(input_of(place))
        return _symbol(kind, place)

    return argument(kind)


def _symbol(kind: Kind, place: int) -> Any:
    """What stands for an input without nulls."""
    if isinstance(kind, str) and kind in TYPES:
        return Value(input_of(place), kind)
    return Text(input_of(place)) if kind == "str" else Opaque(input_of(place))


def kinds_after(kind: Kind) -> list[Kind]:
    """The kinds of the inputs: those of the columns, and for each that of a list's length and of its members."""
    own = kinds_of(kind)
    return own + [each for column in own for each in ("int", column[1] if column[0] in LISTS else "int")]


class WithLengths(Sequence[Any]):
    """The columns of a batch, and after them the lengths of lists; made when they are asked for."""

    def __init__(self, columns: Sequence[Any]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return 3 * len(self._columns)

    def __getitem__(self, place: Any) -> Any:
        import pyarrow as pa

        count = len(self._columns)
        if place < count:
            return self._columns[place]
        return self._columns[(place - count) // 2].value_lengths().cast(pa.int64())


def has_nulls(column: pa.Array) -> bool:
    """Whether there are nulls in a column, or in its lists."""
    import pyarrow as pa

    return bool(column.null_count or (pa.types.is_list(column.type) and column.flatten().null_count))


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
    kinds : list of Kind
        Those of the inputs.
    source : str
        The loop, if there is one.
    inputs, outputs : list of int
        The columns that the loop reads, and the leaves of the result that it computes.
    """

    tier: str
    ways: list[Path]
    given: np.ndarray
    kinds: list[Kind]
    source: str
    inputs: list[int]
    outputs: list[int]

    def run(self, batch: Batch) -> tuple[Kind, list[pa.Array]] | None:
        """The kind and the columns of the result; None if Python has to do it."""
        return self.run_columns(WithLengths(columns_of(batch)), len(batch))

    def run_columns(self, columns: Sequence[pa.Array], rows: int) -> tuple[Kind, list[pa.Array]] | None:
        """The same of columns."""
        import numpy as np
        import pyarrow as pa

        result = self.ways[0].result
        found = leaves(result)
        kinds = self.kinds
        made: dict[int, np.ndarray] = {}
        if self.source:
            read = [columns[place].to_numpy(zero_copy_only=False) for place in self.inputs]
            made = {place: np.empty(rows, TYPES[_type(found[place])]) for place in self.outputs}
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
                kind = kinds[leaf.expression[1]]
                out_kinds.append((leaf.name, kind[1]) if isinstance(leaf, Members) else kind)
            else:
                number = self.given[leaf.expression[1]] if isinstance(leaf, Value) else leaf
                arrays.append(pa.array(np.full(rows, number, TYPES[_type(leaf)])))
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
    import pyarrow as pa

    if isinstance(kind, tuple) and kind[0] == "tuple":
        parts = [array_of(inner, columns) for inner in kind[1]]
        return pa.StructArray.from_arrays(parts, [str(place) for place in range(len(parts))])
    return next(columns)


def plan_of(
    function: Callable[..., Any],
    batch: Batch,
    chosen: Callable[[Any], Any],
    arrange: Callable[[Any, Any], Any],
    changed: frozenset[State] = frozenset(),
) -> Plan:
    """How a function is done on the columns of batches like this one.

    `chosen` is what the function is called with, of an element; `arrange` makes the element that goes on, of the one
    that came and what the function returns; `changed` is what other functions change meanwhile.

    Raises
    ------
    Untraceable
        It is not done on columns; the message says why.
    """
    argument = arguments_of(batch.kind, columns_of(batch))
    found, given = trace(function, chosen(argument), changed=changed)
    ways = [Path(way.decisions, arrange(argument, way.result), way.done) for way in found]
    return plan_of_ways(ways, given, kinds_after(batch.kind), len(batch))


def plan_of_ways(ways: list[Path], given: list[float], kinds: list[Kind], rows: int) -> Plan:
    """How what a function computes is done on columns of some kinds, of about so many rows.

    Raises
    ------
    Untraceable
        It is not done on columns; the message says why.
    """
    import numpy as np

    lists = [leaf.expression for leaf in leaves(ways[0].result) if isinstance(leaf, Members)]
    if len(set(lists)) < len(lists):
        raise Untraceable("a list is in its result twice")
    if len({repr_of(shape_of(way.result)) for way in ways}) > 1:
        raise Untraceable("what it returns does not have one type")
    by_way = [leaves(way.result) for way in ways]
    outputs = [
        place
        for place, leaf in enumerate(by_way[0])
        if not _is_plain(leaf) or any(_key(each[place]) != _key(leaf) for each in by_way[1:])
    ]
    checked = [expression for way in ways for expression in way.done if can_fail(expression)]
    if not outputs and not checked:
        return Plan("T0", ways, np.array(given, np.float64), kinds, "", [], [])
    if not is_worth_compiling(rows, ways):
        raise Untraceable("its elements are too few to compile it")
    inputs = sorted(
        set().union(
            *(inputs_of(ways, place) for place in outputs),
            _inputs([*checked, *(condition for way in ways for condition, _ in way.decisions)]),
        )
    )
    source = map_source(ways, inputs, outputs)
    return Plan("T1", ways, np.array(given, np.float64), kinds, source, inputs, outputs)


def is_worth_compiling(rows: int, ways: Sequence[Path]) -> bool:
    """Whether a loop over some rows saves what compiling it costs, if it is used again: many rows, or much for each."""
    return rows >= LEAST_ROWS or rows * max(len(way.done) for way in ways) >= 8 * LEAST_ROWS


def repr_of(shape: Any) -> str:
    """A shape as a text that can be compared."""
    return repr(shape)


def _is_plain(leaf: Any) -> bool:
    """Whether a leaf needs no loop: it is an input, or one number for all rows."""
    return isinstance(leaf, Opaque) or not isinstance(leaf, Value) or leaf.expression[0] in ("in", "given")


def _key(leaf: Any) -> Any:
    return leaf.expression if isinstance(leaf, Value | Opaque) else (type(leaf), repr(leaf))


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

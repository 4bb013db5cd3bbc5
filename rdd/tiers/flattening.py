"""``flatMap`` and ``flatMapValues`` on columns: what a function makes of each element, one after the other.

Three shapes are known: as many results as a list of the element has members, one made of each (a comprehension, or a
generator with one loop); a fixed number of results; the words of a text. Whether a function has the first shape is
found by calling it with lists of two and of three members: it makes two and three results, which differ in nothing but
the member. Nothing else can come of longer lists, since neither its loops nor what it calls have a state (`_loops`).
"""

from __future__ import annotations

import dis
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..batches import Batch, Kind
from .columns import Plan, WithLengths, arguments_of, columns_of, kinds_after, kinds_of, plan_of_ways
from .generating import can_fail, leaves, shape_of
from .sharing import State
from .symbols import Expression, Opaque, Untraceable, Value, Words, input_of
from .tracing import Path, codes_of, trace

if TYPE_CHECKING:
    import pyarrow as pa

#: Results of a batch for which columns are made.
_MOST = 1 << 24
#: The most results of an element of which there is a fixed number.
_WIDEST = 8


@dataclass(frozen=True)
class FlatPlan:
    """How a function with many results is done on columns.

    Attributes
    ----------
    tier : str
        T0 or T1.
    plan : Plan or None
        What is computed for each result, of columns that have a row for each; for fixed numbers one for each place.
    members : int or None
        The column whose lists have a member for each result.
    words : Words or None
        What texts are split at.
    checked : bool
        Whether something is computed that may fail, also for elements without results.
    """

    tier: str
    plans: tuple[Plan, ...]
    members: int | None = None
    words: Words | None = None
    checked: bool = False

    def run(self, batch: Batch) -> tuple[Kind, list[pa.Array]] | None:
        """The kind and the columns of the results; None if Python has to do it."""
        if self.words is not None:
            return split_texts(batch, self.words, self.plans[0])
        if self.members is None:
            return self._interleaved(batch)
        import numpy as np
        import pyarrow as pa

        columns = columns_of(batch)
        lists = columns[self.members]
        counts = lists.value_lengths().to_numpy(zero_copy_only=False)
        total = int(counts.sum())
        if total > _MOST or (self.checked and not counts.all()):
            return None
        rows = pa.array(np.repeat(np.arange(len(counts)), counts))
        return self.plans[0].run_columns(Repeated(columns, self.members, rows), total)

    def _interleaved(self, batch: Batch) -> tuple[Kind, list[pa.Array]] | None:
        import numpy as np
        import pyarrow as pa

        parts = [plan.run(batch) for plan in self.plans]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        width = len(found)
        order = pa.array(np.arange(width * len(batch)).reshape(width, -1).T.ravel())
        columns = [pa.concat_arrays(same).take(order) for same in zip(*(arrays for _, arrays in found), strict=True)]
        return found[0][0], columns


class Repeated(Sequence[Any]):
    """The columns of elements with a row for each member of one of their lists; made when they are asked for."""

    def __init__(self, columns: Sequence[Any], members: int, rows: Any) -> None:
        self._columns, self._members, self._rows = WithLengths(columns), members, rows
        self._place = len(columns) + 2 * members + 1

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, place: Any) -> Any:
        if place == self._place:
            return self._columns[self._members].flatten()
        return self._columns[place].take(self._rows)


def split_texts(batch: Batch, words: Words, plan: Plan) -> tuple[Kind, list[pa.Array]] | None:
    """The words of texts; None if what separates them are no bytes."""
    import numpy as np
    import pyarrow as pa

    from . import kernels

    columns = columns_of(batch)
    texts = columns[words.place]
    if texts.null_count:
        return None
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(texts.buffers()[2] or b"\0", np.uint8)
    separator = np.frombuffer((words.separator or "").encode(), np.uint8)
    starts, ends, counts = kernels.split(offsets, content, separator)
    if len(counts) < len(texts):
        return None
    found_offsets, found_content = kernels.gather(starts, ends, content)
    found = pa.StringArray.from_buffers(len(starts), pa.py_buffer(found_offsets), pa.py_buffer(found_content))
    rows = pa.array(np.repeat(np.arange(len(texts)), counts))
    needed = {leaf.expression[1] for leaf in leaves(plan.ways[0].result)} - {len(columns)}
    spread = [column.take(rows) if place in needed else column for place, column in enumerate(columns)]
    return plan.run_columns([*spread, found], len(found))


def flat_plan_of(
    function: Callable[..., Any],
    batch: Batch,
    chosen: Callable[[Any], Any],
    arrange: Callable[[Any, Any], Any],
    changed: frozenset[State] = frozenset(),
) -> FlatPlan:
    """How a function with many results is done on the columns of batches like this one.

    The arguments are those of `plan_of`.

    Raises
    ------
    Untraceable
        It is not done on columns; the message says why.
    """
    columns = columns_of(batch)
    count = len(columns)
    found = []
    for members in (2, 3):
        argument = arguments_of(batch.kind, columns, members=members)
        ways, given = trace(function, chosen(argument), changed=changed, is_flat=True)
        if len(ways) > 1:
            raise Untraceable("how many results it has depends on conditions")
        found.append((argument, ways[0], given))
    argument, way, given = found[0]
    if isinstance(way.result, Words):
        word = Opaque(input_of(count))
        path = Path((), arrange(argument, word), ())
        plan = plan_of_ways([path], given, [*kinds_of(batch.kind), "str"], len(batch))
        return FlatPlan(max(plan.tier, "T1"), (plan,), words=way.result)
    results = [list(each.result) for _, each, _ in found]
    if len(results[0]) == len(results[1]):
        return _fixed(batch, argument, way, given, results[0], arrange)
    if [len(each) for each in results] != [2, 3]:
        raise Untraceable("how many results it has is not how many members a list has")
    place = _iterated(results[1], count)
    _check_alike(results[0], place, count)
    _check_alike(results[1], place, count)
    _loops(function)
    path = Path((), arrange(argument, results[0][0]), _of_first(way.done, place, count))
    plan = plan_of_ways([path], given, kinds_after(batch.kind), len(columns[place].flatten()))
    return FlatPlan(plan.tier, (plan,), members=place, checked=any(map(can_fail, path.done)))


def _fixed(
    batch: Batch, argument: Any, way: Path, given: list[float], results: list[Any], arrange: Callable[[Any, Any], Any]
) -> FlatPlan:
    """The plan of a function with a fixed number of results."""
    if not 1 <= len(results) <= _WIDEST:
        raise Untraceable("it has no results, or too many")
    arranged = [arrange(argument, result) for result in results]
    if len({repr(shape_of(each)) for each in arranged}) > 1:
        raise Untraceable("its results do not have one type")
    columns = len(kinds_of(batch.kind))
    if any(place >= columns and (place - columns) % 2 for each in arranged for place in _places(each)):
        raise Untraceable("it takes single members of a list")
    kinds = kinds_after(batch.kind)
    plans = tuple(plan_of_ways([Path((), each, way.done)], given, kinds, len(batch)) for each in arranged)
    return FlatPlan(max(plan.tier for plan in plans), plans)


def _iterated(results: list[Any], count: int) -> int:
    """The column whose lists a function goes through: members of no other are in its results."""
    odd = {place for each in results for place in _places(each) if place >= count and (place - count) % 2}
    if not odd:
        raise Untraceable("its results do not depend on the members of a list")
    lists = {(place - count) % (2 * count) // 2 for place in odd}
    if len(lists) > 1:
        raise Untraceable("it goes through two lists")
    return lists.pop()


def _member(place: int, count: int, number: int) -> int:
    """The input that stands for a member of the lists of a column."""
    return count + 2 * place + 1 + 2 * count * number


def _check_alike(results: list[Any], place: int, count: int) -> None:
    """Check that each result follows from its member as the first does from the first."""
    for number, result in enumerate(results):
        if _shape(result) != _shape(results[0]):
            raise Untraceable("its results do not have one type")
        for one, other in zip(leaves(results[0]), leaves(result), strict=True):
            if not _is_alike(one, other, _member(place, count, 0), _member(place, count, number)):
                raise Untraceable("its results depend on other members of the list than their own")


def _shape(result: Any) -> Any:
    return tuple(map(_shape, result)) if isinstance(result, tuple) else getattr(result, "type", type(result).__name__)


def _is_alike(one: Any, other: Any, first: int, own: int) -> bool:
    if not isinstance(one, Value | Opaque) or not isinstance(other, Value | Opaque):
        return type(one) is type(other) and repr(one) == repr(other)
    visits, seen = [(one.expression, other.expression)], set()
    while visits:
        ours, theirs = visits.pop()
        if (id(ours), id(theirs)) in seen:
            continue
        seen.add((id(ours), id(theirs)))
        if ours[0] == "in" or theirs[0] == "in":
            if ours[0] != theirs[0] or theirs[1] != (own if ours[1] == first else ours[1]):
                return False
            if ours[1] != first and theirs[1] != ours[1]:
                return False
        elif ours[0] in ("const", "given"):
            if ours is not theirs and (ours[0] != theirs[0] or repr(ours[1:]) != repr(theirs[1:])):
                return False
        elif ours[0] != theirs[0] or len(ours) != len(theirs):
            return False
        else:
            visits += zip(ours[1:], theirs[1:], strict=True)
    return True


def _of_first(done: tuple[Expression, ...], place: int, count: int) -> tuple[Expression, ...]:
    """The operations that are done for the first member, or for none."""
    last = 3 * count
    return tuple(each for each in done if all(found < last for found in _inputs(each)))


def _places(result: Any) -> set[int]:
    return {place for leaf in leaves(result) if isinstance(leaf, Value | Opaque) for place in _inputs(leaf.expression)}


def _inputs(expression: Expression) -> set[int]:
    found, visits, seen = set(), [expression], set()
    while visits:
        current = visits.pop()
        if id(current) in seen or current[0] in ("const", "given"):
            continue
        seen.add(id(current))
        if current[0] == "in":
            found.add(current[1])
        else:
            visits += current[1:]
    return found


def _loops(function: Callable[..., Any]) -> None:
    """Check that the loops of a function keep nothing from one member to the next.

    Raises
    ------
    Untraceable
        They may.
    """
    if isinstance(function, types.FunctionType):
        for code in codes_of(function.__code__):
            if reason := _state_of_loops(code):
                raise Untraceable(reason)


@lru_cache(maxsize=1024)
def _state_of_loops(code: types.CodeType) -> str:
    """Why the loops of some code may keep something; empty if they do not."""
    instructions = list(dis.get_instructions(code))
    names = [each.opname for each in instructions]
    loops = names.count("FOR_ITER")
    if any("SLICE" in name for name in names):
        return "it takes a part of a list"
    if loops != sum(name.startswith("JUMP_BACKWARD") for name in names) or loops > 1:
        return "it has loops within loops, or such that end early"
    if not loops:
        return ""
    if any("JUMP_IF" in name or name.startswith("POP_JUMP") for name in names):
        return "it has conditions in a loop"
    start = names.index("FOR_ITER")
    end = next(place for place, name in enumerate(names) if name.startswith("JUMP_BACKWARD"))
    known: set[Any] = set()
    stored = {each.argval for each in instructions[start:end] if each.opname.startswith("STORE_FAST")}
    for each in instructions[start:end]:
        if each.opname.startswith("STORE_FAST"):
            known.add(each.argval)
        elif each.opname.startswith("LOAD_FAST") and each.argval in stored and each.argval not in known:
            return "its loop remembers something of one member for the next"
    return ""

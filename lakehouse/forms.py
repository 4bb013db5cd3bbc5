"""How batches hold their rows: as NumPy arrays, Arrow tables or torch tensors; and how a buffer of them is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from .arrays import Array, array_of, unequal
from .shuffle import PIECE_ROWS, Deck, permutation, taken

if TYPE_CHECKING:
    import pyarrow as pa

Arrays = dict[str, Array]

#: Rows that are dealt out at a time, if batches are not larger.
_DEALT_ROWS = 32_768


class Buffer(Protocol):
    """Rows that are handed out from the first to the last."""

    count: int

    def next(self, count: int) -> Any:
        """The next rows."""


class Form(NamedTuple):
    """A form of rows.

    Attributes
    ----------
    stored : makes a buffer of a table, in its order.
    piece : makes a piece of a buffer of a small table; the seed is for its order.
    shuffled : makes a buffer of pieces, in random order.
    join : puts what two buffers handed out together.
    finish : makes a batch of that.
    """

    stored: Callable[[pa.Table], Buffer]
    piece: Callable[[pa.Table, int], Any]
    shuffled: Callable[[list[Any], np.random.Generator], Buffer]
    join: Callable[[Any, Any], Any]
    finish: Callable[[Any], Any]

    def pieces(self, table: pa.Table, seed: int) -> list[Any]:
        """The pieces of a buffer that a table makes."""
        starts = range(0, table.num_rows, PIECE_ROWS)
        seeds = np.random.default_rng(seed).integers(1 << 63, size=len(starts)).tolist()
        return [self.piece(table.slice(start, PIECE_ROWS), own) for start, own in zip(starts, seeds, strict=True)]

    def batches(self, buffers: Iterator[Buffer], size: int) -> Iterator[Any]:
        """Batches of one size from buffers of any; the last one may be smaller."""
        rest: Any = None
        held = 0
        for buffer in buffers:
            left = buffer.count
            if held:
                more = min(size - held, left)
                rest, held, left = self.join(rest, buffer.next(more)), held + more, left - more
                if held < size:
                    continue
                yield self.finish(rest)
            for _ in range(left // size):
                yield self.finish(buffer.next(size))
            held = left % size
            rest = buffer.next(held) if held else None
        if held:
            yield self.finish(rest)


# --------------------------------------------------------------------------------------------------------------- arrays


class _StoredArrays:
    """Arrays from the first row to the last."""

    def __init__(self, arrays: Arrays, count: int) -> None:
        self.count = self.left = count
        self._arrays = arrays

    def next(self, count: int) -> Arrays:
        start = self.count - self.left
        self.left -= count
        return {name: values[start : start + count] for name, values in self._arrays.items()}


class _ShuffledArrays:
    """Pieces that are dealt out, several small batches at a time."""

    def __init__(self, pieces: list[Arrays], random: np.random.Generator) -> None:
        for piece in pieces:
            _check_widths(pieces[0], piece)
        self._deck = Deck(pieces, random)
        self.count = self._deck.left
        self._dealt = _StoredArrays({}, 0)

    def next(self, count: int) -> Arrays:
        held = None
        if 0 < (left := self._dealt.left) < count:
            held = self._dealt.next(left)
            count -= left
        if not self._dealt.left:
            some = min(count * max(1, _DEALT_ROWS // count), self._deck.left)
            self._dealt = _StoredArrays(self._deck.deal(some), some)
        rows = self._dealt.next(count)
        return rows if held is None else _join_arrays(held, rows)


def _arrays(table: pa.Table) -> Arrays:
    return {name: array_of(column, name) for name, column in zip(table.column_names, _whole(table), strict=True)}


def _whole(table: pa.Table) -> Iterator[pa.Array]:
    """The columns of a table, each in one."""
    for column in table.columns:
        yield column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _shuffled_arrays(table: pa.Table, seed: int) -> Arrays:
    order = permutation(table.num_rows, seed)
    return {name: taken(values, order) for name, values in _arrays(table).items()}


def _check_widths(first: Arrays, second: Arrays) -> None:
    for name, values in first.items():
        if values.shape[1:] != (other := second[name]).shape[1:]:
            raise ValueError(unequal(name, values.shape[1], other.shape[1]))


def _join_arrays(first: Arrays, second: Arrays) -> Arrays:
    _check_widths(first, second)
    return {name: np.concatenate([values, second[name]]) for name, values in first.items()}


def _tensors(arrays: Arrays) -> dict[str, Any]:
    import torch

    tensors = {}
    for name, values in arrays.items():
        if values.dtype.kind not in "biuf":
            raise ValueError(f"the column {name!r} is no number but {values.dtype}, for which torch has no tensors")
        tensors[name] = torch.from_numpy(values if values.flags.writeable else values.copy())
    return tensors


# --------------------------------------------------------------------------------------------------------------- tables


class _StoredTable:
    """A table from the first row to the last."""

    def __init__(self, table: pa.Table) -> None:
        self.count = table.num_rows
        self._table, self._start = table, 0

    def next(self, count: int) -> pa.Table:
        start, self._start = self._start, self._start + count
        return self._table.slice(start, count)


def _shuffled_table(pieces: list[pa.Table], random: np.random.Generator) -> Buffer:
    table = _join_tables(*pieces).combine_chunks()
    return _StoredTable(table.take(permutation(table.num_rows, int(random.integers(1 << 63)))))


def _join_tables(*tables: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables)


def _record_batch(table: pa.Table) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches()
    return batch


_ARRAYS = Form(
    lambda table: _StoredArrays(_arrays(table), table.num_rows),
    _shuffled_arrays,
    _ShuffledArrays,
    _join_arrays,
    lambda arrays: arrays,
)
#: The forms by the names that `Frame.batches` takes.
FORMS: dict[str, Form] = {
    "numpy": _ARRAYS,
    "arrow": Form(
        _StoredTable,
        lambda table, seed: table,
        _shuffled_table,
        _join_tables,
        _record_batch,
    ),
    "torch": _ARRAYS._replace(finish=_tensors),
}

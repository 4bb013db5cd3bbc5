"""Training rows: taken from a stream of Arrow batches into one float32 matrix, in memory or in a temporary file.

A row is its label, its weight and its features, end to end, as the tasks keep rows too. Up to a number of bytes the
matrix is an array; beyond, it is a file that is mapped into memory and disappears with the process, so what the machine
has room for stays in memory and the rest is read again in every epoch.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from ..tasks.columns import holes_of, matrix_of, numbers_of
from ..tasks.epochs import HEAD

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a spilled matrix that are copied or counted at a time.
_PIECE_BYTES = 64_000_000


class Rows:
    """A matrix of rows, ``[label, weight, features...]`` each, float32.

    Attributes
    ----------
    matrix : of shape (rows, 2 + features); mapped from a file if it is spilled.
    spilled : whether it lies in a file.
    buffer : bytes that may be held in memory.
    """

    def __init__(self, matrix: np.ndarray[Any, Any], spilled: bool, buffer: float) -> None:
        self.matrix, self.spilled, self.buffer = matrix, spilled, buffer

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def width(self) -> int:
        """The number of features."""
        return int(self.matrix.shape[1]) - HEAD

    def pieces(self) -> Iterable[np.ndarray[Any, Any]]:
        """The matrix, some megabytes at a time; writing to a piece writes to the matrix."""
        step = max(1, _PIECE_BYTES // (self.matrix.shape[1] * 4))
        return (self.matrix[start : start + step] for start in range(0, len(self), step))

    def window(self, index: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """A matrix that holds some rows, and where each of them is in it.

        Rows of a file are read in ascending order; rows in memory stay where they are.
        """
        if not self.spilled:
            return self.matrix, index
        ascending = np.argsort(index, kind="stable")
        places = np.empty_like(index)
        places[ascending] = np.arange(len(index))
        return np.asarray(self.matrix[index[ascending]]), places

    def take(self, index: np.ndarray[Any, Any]) -> Rows:
        """Some rows, in that order."""
        if not self.spilled:
            return Rows(self.matrix[index], False, self.buffer)
        made = _Collector(self.buffer)
        step = max(1, int(self.buffer / 4 // (self.matrix.shape[1] * 4)))
        for start in range(0, len(index), step):
            matrix, places = self.window(index[start : start + step])
            made.add(matrix[places])
        return made.rows()


class _Collector:
    """Puts pieces of a matrix together: in memory, and in a file once they are too many."""

    def __init__(self, buffer: float) -> None:
        self._buffer, self._bytes = buffer, 0
        self._pieces: list[np.ndarray[Any, Any]] = []
        self._file: Any = None
        self._width = 0

    def add(self, piece: np.ndarray[Any, Any]) -> None:
        self._width = piece.shape[1]
        self._bytes += piece.nbytes
        self._pieces.append(piece)
        if self._file is None and self._bytes > self._buffer:
            self._file = tempfile.TemporaryFile(prefix="ironlake-rows-")  # noqa: SIM115 - lives as long as the rows
        if self._file is not None:
            for held in self._pieces:
                self._file.write(np.ascontiguousarray(held).data)
            self._pieces.clear()

    def rows(self) -> Rows:
        """What was put together."""
        if self._file is None:
            pieces = self._pieces or [np.empty((0, HEAD), np.float32)]
            return Rows(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), False, self._buffer)
        self._file.flush()
        count = os.fstat(self._file.fileno()).st_size // (self._width * 4)
        matrix: np.ndarray[Any, Any] = np.memmap(self._file, np.float32, "r+", shape=(count, self._width))
        return Rows(matrix, True, self._buffer)


def collect(
    batches: Iterable[pa.RecordBatch],
    label: str,
    features: str | Sequence[str],
    sample_weight: str | None,
    skip_nulls: bool,
    buffer: float,
) -> Rows:
    """Take in all rows of a stream.

    Parameters
    ----------
    batches : with the columns named below.
    label : column of numbers or booleans.
    features : one column of lists or arrays of numbers, all of one length; or several columns of numbers.
    sample_weight : column of weights; without, every row weighs 1.
    skip_nulls : leave out rows with a NULL; otherwise they are an error.
    buffer : bytes that may be held in memory.

    Raises
    ------
    ValueError
        If a column is missing or of another type, a value is NULL, NaN or infinite, or rows differ in length.
    """
    made = _Collector(buffer)
    width, seen = None, 0
    for batch in batches:
        columns = [label, *([features] if isinstance(features, str) else features)]
        columns += [sample_weight] if sample_weight else []
        columns = list(dict.fromkeys(columns))
        for name in columns:
            if name not in batch.schema.names:
                raise ValueError(f"the rows have no column {name!r}; their columns are {', '.join(batch.schema.names)}")
        piece = _piece(batch.select(columns), label, features, sample_weight, skip_nulls, seen)
        seen += batch.num_rows
        if len(piece) == 0:
            continue
        width = width or piece.shape[1]
        if piece.shape[1] != width:
            raise ValueError(f"a row has {piece.shape[1] - HEAD} features, the rows before it have {width - HEAD}")
        made.add(piece)
    return made.rows()


def _piece(
    batch: pa.RecordBatch,
    label: str,
    features: str | Sequence[str],
    sample_weight: str | None,
    skip_nulls: bool,
    seen: int,
) -> np.ndarray[Any, Any]:
    """The rows of one batch."""
    import pyarrow as pa

    holes = {name: holes_of(batch.column(name)) for name in batch.schema.names}
    for name, each in holes.items():
        if each.any() and not skip_nulls:
            raise ValueError(
                f"{each.sum()} of {batch.num_rows} rows from row {seen + 1} on have a NULL in the column {name!r}; "
                "filter such rows, use coalesce, or pass on_null = 'skip'"
            )
    if any(each.any() for each in holes.values()):
        batch = batch.filter(pa.array(~np.any(list(holes.values()), axis=0)))
    if batch.num_rows == 0:
        return np.empty((0, HEAD), np.float32)
    if isinstance(features, str):
        values = matrix_of(batch.column(features), features)
    else:
        values = np.stack([numbers_of(batch.column(name), name) for name in features], axis=1)
    piece = np.empty((batch.num_rows, HEAD + values.shape[1]), np.float32)
    piece[:, 0] = numbers_of(batch.column(label), label)
    piece[:, 1] = 1 if sample_weight is None else numbers_of(batch.column(sample_weight), sample_weight)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    if not _copied(values, piece):
        _refuse_infinite(piece, seen)
    return piece


@njit(cache=True, nogil=True)
def _copied(values: Any, piece: Any) -> bool:
    """Copy features behind labels and weights; gives whether all numbers of the rows are finite as float32."""
    sound = True
    for row in range(len(values)):
        line = piece[row]
        for index in range(values.shape[1]):
            line[HEAD + index] = values[row, index]
        for number in line:
            sound &= abs(number) < np.inf
    return sound


def _refuse_infinite(piece: np.ndarray[Any, Any], seen: int) -> None:
    row, column = np.argwhere(~np.isfinite(piece))[0]
    what = ("the label", "the weight")[column] if column < HEAD else f"feature {column - HEAD + 1}"
    raise ValueError(
        f"{what} of row {seen + row + 1} is NaN or infinite as a FLOAT; filter such rows, or use "
        "coalesce(nullif(x, 'nan'), 0)"
    )

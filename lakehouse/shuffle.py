"""Random orders of rows that suit caches.

A buffer is a list of pieces, each of so few rows that they fit into a cache. A piece is shuffled by itself when it is
read. Some rows of the buffer at a time are then the next ones of each piece, in random order; how many of each is drawn
as it would be from a buffer that is shuffled as a whole. So all orders are equally likely, but memory is read from
front to back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .shuffle_kernels import deal, shuffle, take

Array = np.ndarray[Any, Any]

#: Rows of a piece.
PIECE_ROWS = 65_536


def permutation(count: int, seed: int) -> Array:
    """Numbers below a count in random order."""
    order = np.arange(count, dtype=np.int32)
    shuffle(order, seed)
    return order


def taken(rows: Array, order: Array) -> Array:
    """The rows of an array in an order."""
    if rows.dtype == object or not rows.size:
        return rows[order]
    import pyarrow as pa

    # Arrow's pool uses memory again, where NumPy gives it back to the system and asks for it anew.
    moved: Array = np.ndarray(rows.shape, rows.dtype, pa.allocate_buffer(rows.nbytes))
    take(_words(rows), order, _words(moved))
    return moved


class Deck:
    """The rows of pieces in random order, some at a time.

    Parameters
    ----------
    pieces : the columns of each piece, shuffled.
    random : what decides on the order.

    Attributes
    ----------
    left : how many rows there are still.
    """

    def __init__(self, pieces: list[dict[str, Array]], random: np.random.Generator) -> None:
        self._columns = {name: [piece[name] for piece in pieces] for name in pieces[0]}
        self._addresses = {
            name: np.array([values.ctypes.data for values in column]) for name, column in self._columns.items()
        }
        self._rest = np.array([len(values) for values in next(iter(self._columns.values()))])
        self._heads = np.zeros_like(self._rest)
        self._random = random
        self.left = int(self._rest.sum())

    def deal(self, count: int) -> dict[str, Array]:
        """The next rows."""
        shares = self._random.multivariate_hypergeometric(self._rest, count, method="marginals")
        order = permutation(count, int(self._random.integers(1 << 63)))
        dealt = {name: self._dealt(name, shares, order) for name in self._columns}
        self._heads += shares
        self._rest -= shares
        self.left -= count
        return dealt

    def _dealt(self, name: str, shares: Array, order: Array) -> Array:
        """A column of the next rows: the shares of the pieces, each row at its place in the order."""
        column = self._columns[name]
        rows = np.empty((len(order), *column[0].shape[1:]), column[0].dtype)
        if rows.dtype == object:
            spans = zip(column, self._heads, self._heads + shares, strict=True)
            rows[order] = np.concatenate([values[start:stop] for values, start, stop in spans])
        elif rows.size:
            deal(self._addresses[name], self._heads, shares, order, _words(rows))
        return rows


def _words(rows: Array) -> Array:
    """The bytes of each row as whole words, the same type for all arrays whose rows are as long."""
    size = rows.nbytes // len(rows)
    word = next(width for width in (8, 4, 1) if size % width == 0)
    return np.ascontiguousarray(rows).reshape(-1).view(f"u{word}").reshape(len(rows), size // word)

"""Random orders of rows, and putting columns into them: compiled, since this is what feeding costs beyond reading."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]


@njit(cache=True, nogil=True)
def permutation(count: int, seed: int) -> Any:
    """Numbers below a count in random order, by Fisher and Yates with the generator SplitMix64."""
    order = np.arange(count).astype(np.int32)
    state = np.uint64(seed)
    for last in range(count - 1, 0, -1):
        state += np.uint64(0x9E3779B97F4A7C15)
        mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        at = ((mixed >> np.uint64(32)) * np.uint64(last + 1)) >> np.uint64(32)
        order[last], order[at] = order[at], order[last]
    return order


def joined(pieces: list[Array], order: Array | None = None) -> Array:
    """The rows of arrays as one array, in their order, or each at the place that an order gives it."""
    if order is None:
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    whole = np.empty((len(order), *pieces[0].shape[1:]), pieces[0].dtype)
    start = 0
    for piece in pieces:
        places = order[start : start + len(piece)]
        if piece.dtype == object:
            whole[places] = piece
        elif whole.size:
            _put(_words(whole), places, _words(piece))
        start += len(piece)
    return whole


def _words(rows: Array) -> Array:
    """The bytes of each row as whole words, the same type for all arrays whose rows are as long."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    word = next(width for width in (8, 4, 1) if flat.shape[1] * flat.itemsize % width == 0)
    return flat.view(np.uint8).view(f"u{word}")


@njit(cache=True, nogil=True)
def _put(whole: Any, places: Any, rows: Any) -> None:
    """Copy each row to its place."""
    width = rows.shape[1]
    if width == 1:
        for row in range(len(rows)):
            whole[places[row], 0] = rows[row, 0]
    else:
        for row in range(len(rows)):
            place = places[row]
            for word in range(width):
                whole[place, word] = rows[row, word]

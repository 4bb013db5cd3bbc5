"""The loops that shuffle rows: compiled, since this is what feeding costs beyond reading."""

from typing import Any

import numpy as np
from numba import njit

from ironlake.udf.engine.memory import load


@njit(cache=True, nogil=True)
def shuffle(order: Any, seed: int) -> None:
    """Put numbers into random order, by Fisher and Yates with the generator SplitMix64."""
    state = np.uint64(seed)
    for last in range(len(order) - 1, 0, -1):
        state += np.uint64(0x9E3779B97F4A7C15)
        mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        at = ((mixed >> np.uint64(32)) * np.uint64(last + 1)) >> np.uint64(32)
        order[last], order[at] = order[at], order[last]


@njit(cache=True, nogil=True)
def take(rows: Any, order: Any, moved: Any) -> None:
    """Copy rows of words in an order."""
    width = rows.shape[1]
    if width == 1:
        for place in range(len(order)):
            moved[place, 0] = rows[order[place], 0]
    else:
        for place in range(len(order)):
            row = order[place]
            for word in range(width):
                moved[place, word] = rows[row, word]


@njit(cache=True, nogil=True)
def deal(addresses: Any, heads: Any, shares: Any, order: Any, rows: Any) -> None:
    """Copy the shares of pieces, which begin at their heads, to the places of an order."""
    width, word_bytes = rows.shape[1], rows.itemsize
    dealt = 0
    for piece in range(len(addresses)):
        at = addresses[piece] + heads[piece] * width * word_bytes
        for place in order[dealt : dealt + shares[piece]]:
            for word in range(width):
                rows[place, word] = load(at, rows.dtype.type)
                at += word_bytes
        dealt += shares[piece]

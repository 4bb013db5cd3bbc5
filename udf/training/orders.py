"""The orders in which an epoch visits the rows, each a sequence of windows of row numbers.

References
----------
Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.3 (stored,
shuffle_once, shuffle_always, multiplexed reservoir sampling); Xu et al.: In-Database Machine Learning with CorgiPile,
SIGMOD 2022 (block_shuffle).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numba import njit

from ironlake.lakehouse.blocks import BlockOrder

Order = Literal["stored", "shuffle_once", "shuffle_always", "block_shuffle", "mrs"]
Index = np.ndarray[Any, Any]


class Visits:
    """Which rows each epoch visits, and in what order.

    Attributes
    ----------
    order : ``stored``: as they come; ``shuffle_once``: the same permutation in every epoch; ``shuffle_always``: another
        one in each; ``block_shuffle``: blocks of neighbours in random order, shuffled inside a buffer of several
        blocks; ``mrs``: multiplexed reservoir sampling.
    rows : how many there are.
    buffer_rows : rows that fit into the buffer of ``block_shuffle``, or into the reservoir of ``mrs``.
    block_rows : rows of a block.
    """

    def __init__(self, order: Order, rows: int, buffer_rows: int, block_rows: int, seed: int) -> None:
        self.order, self.rows = order, rows
        self.buffer_rows, self.block_rows = max(1, min(buffer_rows, rows)), max(1, min(block_rows, rows))
        self._random = np.random.default_rng(seed)
        self._index: Index = np.empty(0, np.int64)
        self._reservoir: Index = np.empty(0, np.int64)

    def permutation(self) -> Index:
        """A permutation of all rows: another shuffle of the one before."""
        if len(self._index) != self.rows:
            self._index = np.arange(self.rows)
        self._random.shuffle(self._index)
        return self._index

    def epoch(self, window_rows: int) -> Iterator[Index]:
        """The windows of the next epoch, none larger than asked for or than the buffer."""
        if self.order == "block_shuffle":
            yield from self._blocks()
        elif self.order == "mrs":
            yield from self._multiplexed(window_rows)
        else:
            index = self.permutation() if self.order == "shuffle_always" else None
            for start in range(0, self.rows, window_rows):
                stop = min(start + window_rows, self.rows)
                yield np.arange(start, stop) if index is None else index[start:stop]

    def _blocks(self) -> Iterator[Index]:
        sizes = np.full(-(-self.rows // self.block_rows), self.block_rows)
        blocks = BlockOrder(sizes, self._random)
        while blocks:
            first = blocks.take(self.buffer_rows)[:, None] * self.block_rows
            index = (first + np.arange(self.block_rows)).ravel()
            index = index[index < self.rows]
            self._random.shuffle(index)
            yield index

    def _multiplexed(self, window_rows: int) -> Iterator[Index]:
        """The rows that fall out of the reservoir, each followed by one of the reservoir of the epoch before.

        The paper's two workers run at once; here they take turns, so that the order is the same in every run.
        """
        reservoir, size = np.arange(self.buffer_rows), self.buffer_rows
        turn = 0
        for start in range(size, self.rows, window_rows):
            stop = min(start + window_rows, self.rows)
            places = self._random.integers(0, np.arange(start, stop) + 1)
            visits = np.empty((stop - start) * (2 if len(self._reservoir) else 1), np.int64)
            _multiplex(start, places, reservoir, self._reservoir, turn, visits)
            turn += stop - start
            yield visits
        if size == self.rows:
            yield self._reservoir if len(self._reservoir) else reservoir
        self._reservoir = reservoir


@njit(cache=True)
def _multiplex(start: int, places: Any, reservoir: Any, before: Any, turn: int, visits: Any) -> None:
    """Offer rows to the reservoir; note those that fall out, and in between those of the one before."""
    step = 2 if len(before) else 1
    for at in range(len(places)):
        dropped, place = start + at, places[at]
        if place < len(reservoir):
            dropped, reservoir[place] = reservoir[place], dropped
        visits[at * step] = dropped
        if step == 2:
            visits[at * step + 1] = before[(turn + at) % len(before)]

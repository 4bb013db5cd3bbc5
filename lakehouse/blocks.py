"""Blocks of rows that are stored together, in the order in which an epoch reads them.

References
----------
Xu et al.: In-Database Machine Learning with CorgiPile: Stochastic Gradient Descent without Full Data Shuffle, SIGMOD
2022, https://arxiv.org/abs/2206.05830.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Index = np.ndarray[Any, Any]


class BlockOrder:
    """Blocks of some sizes in random order, or in their own, which are taken as many at a time as there is room for.

    Parameters
    ----------
    sizes : rows of each block.
    random : what the order is drawn from; None keeps the blocks' own.
    shard : which portion of the blocks, of how many.
    """

    def __init__(
        self, sizes: Index, random: np.random.Generator | None = None, shard: tuple[int, int] = (0, 1)
    ) -> None:
        numbers = np.arange(len(sizes)) if random is None else random.permutation(len(sizes))
        self._numbers = numbers[shard[0] :: shard[1]]
        self._ends = np.cumsum(sizes[self._numbers])
        self._taken = 0

    def __bool__(self) -> bool:
        return self._taken < len(self._numbers)

    def take(self, room: int) -> Index:
        """The next blocks that together have no more rows than there is room for; at least one, while there is one."""
        start = self._taken
        before = self._ends[start - 1] if start else 0
        stop = int(np.searchsorted(self._ends, before + room, side="right"))
        self._taken = min(max(stop, start + 1), len(self._numbers))
        return np.asarray(self._numbers[start : self._taken])

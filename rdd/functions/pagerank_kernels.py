"""The loop of PageRank over compressed sparse rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def iterate(
    offsets: Any, targets: Any, ranks: Any, base: float, damping: float, iterations: int, drops: bool
) -> tuple[Any, float]:
    """Compute ranks anew a number of times; -1 marks a page that is not there.

    Parameters
    ----------
    offsets, targets : the links of each page.
    ranks : (pages,) what to begin with; changed.
    base : what a page has without links to it.
    damping : the part of a rank that comes along links.
    iterations : how often.
    drops : whether pages that receive nothing are left out.

    Returns
    -------
    ranks : (pages,)
    delta : the sum of the absolute changes in the last iteration.
    """
    pages = len(ranks)
    sums, reached, delta = np.empty(pages), np.empty(pages, np.bool_), 0.0
    for _ in range(iterations):
        sums[:] = 0.0
        reached[:] = False
        for page in range(pages):
            start, stop = offsets[page], offsets[page + 1]
            if start == stop or (drops and ranks[page] < 0.0):
                continue
            share = ranks[page] / (stop - start)
            for link in range(start, stop):
                sums[targets[link]] += share
                reached[targets[link]] = True
        delta = 0.0
        for page in range(pages):
            new = base + damping * sums[page] if reached[page] or not drops else -1.0
            delta += abs(max(new, 0.0) - max(ranks[page], 0.0))
            ranks[page] = new
    return ranks, delta

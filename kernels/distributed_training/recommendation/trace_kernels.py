"""Loops over traces of lookups: counting, exact LRU stack distances, and traces with given ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, boundscheck=False)
def largest(tables: Any, rows: Any, found: Any) -> None:
    """Put the largest row of each table into ``found``, which has -1 for each; unsigned numbers need no checks."""
    for index in range(len(rows)):
        table = tables[index]
        found[table] = max(found[table], rows[index])


@njit(cache=True, nogil=True, boundscheck=False)
def count(tables: Any, rows: Any, starts: Any, counts: Any) -> None:
    """Add up how often each row is looked up: row r of table t is at ``starts[t] + r``; all are unsigned."""
    if len(starts) == 1:
        for index in range(len(rows)):
            counts[rows[index]] += np.uint32(1)
        return
    for index in range(len(rows)):
        counts[starts[tables[index]] + rows[index]] += np.uint32(1)


@njit(cache=True, nogil=True)
def stack_distances(keys: Any, unique: int) -> Any:
    """How many other keys were used since a key was used last, as a histogram.

    Every key stands in a slot, in the order of its last use; a Fenwick tree counts the slots in use. When all slots are
    taken the keys move together, so that the tree stays as small as twice the keys.

    Parameters
    ----------
    keys : of int64, from 0 to ``unique - 1``.
    unique : how many there are.

    Returns
    -------
    (unique,) of int64
        How often each distance came up; the first use of a key has none.
    """
    capacity = 2 * unique + 1
    tree, slot_of, key_at = (
        np.zeros(capacity + 1, np.int32),
        np.full(unique, -1, np.int64),
        np.empty(capacity, np.int64),
    )
    histogram = np.zeros(unique, np.int64)
    used, active = 0, 0
    for index in range(len(keys)):
        if used == capacity:
            used = _compact(tree, slot_of, key_at, capacity)
        key = keys[index]
        slot = slot_of[key]
        if slot >= 0:
            older = 0
            place = slot + 1
            while place > 0:
                older += tree[place]
                place &= place - 1
            histogram[active - older] += 1
            _add(tree, slot, -1)
            key_at[slot] = -1
        else:
            active += 1
        slot_of[key], key_at[used] = used, key
        _add(tree, used, 1)
        used += 1
    return histogram


@njit(cache=True, nogil=True)
def reuse(distances: Any, seeds: Any) -> Any:
    """A trace of keys with given stack distances.

    Parameters
    ----------
    distances : of each lookup: 0 for a key that is new, d for the d-th of those used last, 1 being the last one; if
        there are fewer, a new one.
    seeds : unused slots to begin with, as many as keys there can be.

    Returns
    -------
    (lookups,) of int64
        Keys, numbered in the order of their first use.
    """
    capacity = 2 * len(seeds) + 1
    tree, slot_of, key_at = np.zeros(capacity + 1, np.int32), seeds, np.full(capacity, -1, np.int64)
    keys = np.empty(len(distances), np.int64)
    highest = 1
    while 2 * highest <= capacity:
        highest *= 2
    used, active = 0, 0
    for index in range(len(distances)):
        if used == capacity:
            used = _compact(tree, slot_of, key_at, capacity)
        distance = distances[index]
        if distance == 0 or distance > active:
            key = active
            active += 1
        else:
            left, place, step = active - distance + 1, 0, highest  # the slot of so many-th key in use
            while step > 0:
                if place + step <= capacity and tree[place + step] < left:
                    place += step
                    left -= tree[place]
                step //= 2
            key = key_at[place]
            _add(tree, place, -1)
            key_at[place] = -1
        keys[index] = key
        slot_of[key], key_at[used] = used, key
        _add(tree, used, 1)
        used += 1
    return keys


@njit(cache=True, nogil=True)
def _add(tree: Any, slot: int, value: int) -> None:
    place = slot + 1
    while place < len(tree):
        tree[place] += value
        place += place & -place


@njit(cache=True, nogil=True)
def _compact(tree: Any, slot_of: Any, key_at: Any, capacity: int) -> int:
    """Move the keys to the first slots, in their order; answers how many there are."""
    used = 0
    for slot in range(capacity):
        key = key_at[slot]
        if key >= 0:
            key_at[slot] = -1
            key_at[used] = key
            slot_of[key] = used
            used += 1
    tree[:] = 0
    for place in range(1, len(tree)):
        tree[place] += 1 if place <= used else 0
        above = place + (place & -place)
        if above < len(tree):
            tree[above] += tree[place]
    return used

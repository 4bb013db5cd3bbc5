"""Placing shards on devices: largest first, then moves, swaps and splits between two devices.

A shard is a row of five integers: table, first row, row after the last, first column, column after the last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

#: Columns of a shard come in multiples of so many, as vector units read them.
STEP = 4
#: How much above the mean a load may stay.
TOLERANCE = 1e-3
_TABLE, _ROW, _ROW_END, _DIM, _DIM_END = range(5)
#: What is done to a pair of devices.
_MOVE, _SWAP, _SPLIT_DIMS, _SPLIT_ROWS = range(4)


class Tables(NamedTuple):
    """What the search has to know of the tables.

    Attributes
    ----------
    tiers, rows, dims : of each table: the memory it is in, its rows, and numbers in a row.
    cell, row_state : bytes of a number, and of a row's state.
    coefficients : (tables, 2, 5), of shards with all rows and with some; see `costs`.
    block, least : what narrow rows cost more, and the columns that are charged at least.
    """

    tiers: Any
    rows: Any
    dims: Any
    cell: Any
    row_state: Any
    coefficients: Any
    block: Any
    least: float


@njit(cache=True, nogil=True)
def cost_of(coefficients: Any, block: Any, least: float, share: float, dim: int) -> Any:
    """[ms] of a shard with a share of a table's rows and some of its columns; see `costs`."""
    is_whole = share == 1.0
    c = coefficients[0 if is_whole else 1]
    factor, width = 1.0, float(dim)
    if is_whole:
        factor = 1.0 if dim >= 128 else block[0] if dim >= 64 else block[1]
        width = max(width, least)
    return factor * (c[0] * share * width + c[1] * share + c[2] * dim) + c[3] * dim + c[4] * share


@njit(cache=True, nogil=True)
def shard_cost(shard: Any, tables: Tables) -> Any:
    """[ms] of a shard."""
    table = shard[_TABLE]
    share = (shard[_ROW_END] - shard[_ROW]) / tables.rows[table]
    width = shard[_DIM_END] - shard[_DIM]
    return cost_of(tables.coefficients[table], tables.block, tables.least, share, width)


@njit(cache=True, nogil=True)
def shard_bytes(shard: Any, tables: Tables) -> Any:
    """Bytes of a shard: its numbers and the state of its rows."""
    table = shard[_TABLE]
    width = shard[_DIM_END] - shard[_DIM]
    return (shard[_ROW_END] - shard[_ROW]) * (width * tables.cell[table] + tables.row_state[table])


@njit(cache=True, nogil=True)
def place(costs: Any, sizes: Any, tiers: Any, groups: Any, order: Any, load: Any, room: Any, per_node: int) -> Any:
    """Give each shard, in an order, to the device with the least load that has room; load and room are changed.

    Of devices with equal loads it is the emptiest.

    Parameters
    ----------
    costs, sizes, tiers : of each shard; its memory is ``room[tier]``.
    groups : of each shard; those of a group of 0 or more are one after another and go to the devices of a node in turn.
    order : in which shards are placed; of a group only the first is in it.
    load : (devices,) [ms].
    room : (tiers, devices) [bytes].
    per_node : devices of a node.

    Returns
    -------
    (shards,) of int64
        The device of each shard; -1 where none had room.
    """
    devices = np.full(len(costs), -1, np.int64)
    for shard in order:
        members = per_node if groups[shard] >= 0 else 1
        best, best_load, best_room = -1, np.inf, 0.0
        for first in range(0, len(load), members):
            highest, least_room = 0.0, np.inf
            for member in range(members):
                least_room = min(least_room, room[tiers[shard], first + member])
                highest = max(highest, load[first + member])
            is_equal = abs(highest - best_load) <= 1e-9 * highest and least_room > best_room
            if least_room >= sizes[shard] and (highest < best_load * (1 - 1e-9) or is_equal):
                best, best_load, best_room = first, highest, least_room
        if best < 0:
            return devices
        for member in range(members):
            devices[shard + member] = best + member
            load[best + member] += costs[shard + member]
            room[tiers[shard + member], best + member] -= sizes[shard + member]
    return devices


@njit(cache=True, nogil=True)
def balance(
    shards: Any, devices: Any, groups: Any, count: int, load: Any, room: Any, tables: Tables, splits: Any, changes: int
) -> tuple[int, bool]:  # fmt: skip
    """Take load from the device that has most, for as long as that pays; everything is changed in place.

    Parameters
    ----------
    shards, devices, groups : of ``count`` shards, with space for those that splits add; -1 is the group of those that
        may be moved.
    load, room : of each device, as in `place`.
    tables : what they are shards of.
    splits : three booleans: whether columns may be split, rows, and both of a table.
    changes : most changes.

    Returns
    -------
    count : of shards.
    done : whether no change pays any more.
    """
    piece = np.empty(5, np.int64)
    for _ in range(changes):
        high, target = int(np.argmax(load)), load.mean()
        if load[high] <= target * (1 + TOLERANCE) or count == len(shards):
            return count, True
        kind, one, other, cut, low = -1, -1, -1, 0, -1
        best = load[high] - target - 1e-6 * target
        for to in range(len(load)):
            if load[to] >= target:
                continue
            for shard in range(count):
                if devices[shard] != high or groups[shard] >= 0:
                    continue
                found = _change(shards, devices, groups, count, shard, to, load, room, tables, splits, piece)
                if found[0] < best:
                    best, kind, other, cut = found
                    one, low = shard, to
        if kind < 0:
            return count, True
        _shift(shards[one], high, load, room, tables, -1)
        if kind == _MOVE:
            devices[one] = low
        elif kind == _SWAP:
            _shift(shards[other], low, load, room, tables, -1)
            devices[one], devices[other] = low, high
            _shift(shards[other], high, load, room, tables, 1)
        else:
            first, last = (_DIM, _DIM_END) if kind == _SPLIT_DIMS else (_ROW, _ROW_END)
            shards[count] = shards[one]
            shards[count, last] = shards[one, first] + cut
            shards[one, first] += cut
            devices[count], groups[count] = low, -1
            _shift(shards[count], low, load, room, tables, 1)
            count += 1
        _shift(shards[one], devices[one], load, room, tables, 1)
    return count, False


@njit(cache=True, nogil=True)
def _change(
    shards: Any, devices: Any, groups: Any, count: int, shard: int, to: int, load: Any, room: Any, tables: Tables,
    splits: Any, piece: Any,
) -> tuple[float, int, int, int]:  # fmt: skip
    """The best change of a shard that helps a device with less load.

    Returns
    -------
    left : [ms] that both devices have above the mean afterwards, with what a split costs.
    kind : of change.
    other : the shard that comes back, if two are swapped.
    cut : columns or rows that go, if the shard is split.
    """
    high, target = load[devices[shard]], load.mean()
    cost, size = shard_cost(shards[shard], tables), shard_bytes(shards[shard], tables)
    free = room[tables.tiers[shards[shard, _TABLE]], to]
    best, kind, other, cut = np.inf, -1, -1, 0
    if size <= free:
        best, kind = _excess(high - cost, load[to] + cost, target), _MOVE
    for partner in range(count):
        if devices[partner] != to or groups[partner] >= 0:
            continue
        back = shard_cost(shards[partner], tables)
        left = _excess(high - cost + back, load[to] + cost - back, target)
        if left < best and _can_swap(shards, shard, partner, room, devices[shard], to, tables):
            best, kind, other = left, _SWAP, partner
    has_all_rows = shards[shard, _ROW_END] - shards[shard, _ROW] == tables.rows[shards[shard, _TABLE]]
    has_all_dims = shards[shard, _DIM_END] - shards[shard, _DIM] == tables.dims[shards[shard, _TABLE]]
    if splits[0] and (splits[2] or has_all_rows):
        left, taken = _cut_dims(shards[shard], cost, high, load[to], target, free, len(load), tables, piece)
        if left < best:
            best, kind, cut = left, _SPLIT_DIMS, taken
    if splits[1] and (splits[2] or has_all_dims):
        left, taken = _cut_rows(shards[shard], cost, high, load[to], target, free, len(load), tables, piece)
        if left < best:
            best, kind, cut = left, _SPLIT_ROWS, taken
    return best, kind, other, cut


@njit(cache=True, nogil=True)
def _excess(high: float, low: float, target: float) -> float:
    """What two devices have above the target together."""
    return max(high - target, 0.0) + max(low - target, 0.0)


@njit(cache=True, nogil=True)
def _can_swap(shards: Any, one: int, other: int, room: Any, high: int, low: int, tables: Tables) -> Any:
    """Whether both devices have room for the other's shard."""
    size, back = shard_bytes(shards[one], tables), shard_bytes(shards[other], tables)
    tier, tier_back = tables.tiers[shards[one, _TABLE]], tables.tiers[shards[other, _TABLE]]
    same = 1.0 if tier == tier_back else 0.0
    return room[tier, low] + same * back >= size and room[tier_back, high] + same * size >= back


@njit(cache=True, nogil=True)
def _cut_dims(
    shard: Any, cost: float, high: float, low: float, target: float, free: float, devices: int, tables: Tables,
    piece: Any,
) -> tuple[float, int]:  # fmt: skip
    """The columns to give to another device: what both then have too much, and how many.

    What the split costs counts as what it adds to the mean load.
    """
    best, cut = np.inf, 0
    piece[:] = shard
    for taken in range(STEP, shard[_DIM_END] - shard[_DIM], STEP):
        piece[_DIM], piece[_DIM_END] = shard[_DIM], shard[_DIM] + taken
        if shard_bytes(piece, tables) > free:
            break
        given = shard_cost(piece, tables)
        piece[_DIM], piece[_DIM_END] = shard[_DIM] + taken, shard[_DIM_END]
        kept = shard_cost(piece, tables)
        left = _excess(high - cost + kept, low + given, target) + (given + kept - cost) / devices
        if left < best:
            best, cut = left, taken
    return best, cut


@njit(cache=True, nogil=True)
def _cut_rows(
    shard: Any, cost: float, high: float, low: float, target: float, free: float, devices: int, tables: Tables,
    piece: Any,
) -> tuple[float, int]:  # fmt: skip
    """The rows to give to another device, as `_cut_dims`.

    Costs are linear in the rows, so it is best to fill one device up to the target, or to bring the other down to it.
    """
    count = shard[_ROW_END] - shard[_ROW]
    if count < 2:
        return np.inf, 0
    piece[:] = shard
    piece[_ROW_END] = shard[_ROW] + 1
    least, row_bytes = shard_cost(piece, tables), shard_bytes(piece, tables)
    piece[_ROW_END] = shard[_ROW_END] - 1
    per_row = (shard_cost(piece, tables) - least) / max(count - 2, 1)
    most = min(count - 1, int(free / row_bytes))
    best, cut = np.inf, 0
    for wanted in (target - low, high - target):
        taken = count // 2 if per_row <= 0 else int((wanted - least) / per_row) + 1
        taken = max(1, min(taken, most))
        if taken > most:
            continue
        piece[_ROW], piece[_ROW_END] = shard[_ROW], shard[_ROW] + taken
        given = shard_cost(piece, tables)
        piece[_ROW], piece[_ROW_END] = shard[_ROW] + taken, shard[_ROW_END]
        kept = shard_cost(piece, tables)
        left = _excess(high - cost + kept, low + given, target) + (given + kept - cost) / devices
        if left < best:
            best, cut = left, taken
    return best, cut


@njit(cache=True, nogil=True)
def _shift(shard: Any, device: int, load: Any, room: Any, tables: Tables, sign: int) -> None:
    """Give a shard to a device (1), or take it from there (-1)."""
    load[device] += sign * shard_cost(shard, tables)
    room[tables.tiers[shard[_TABLE]], device] -= sign * shard_bytes(shard, tables)

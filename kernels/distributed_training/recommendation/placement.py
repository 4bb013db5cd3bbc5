"""Which shard of which embedding table goes to which device.

A step lasts as long as its slowest device, so the largest load is made small, in three steps:

1. Each table gets the cheapest arrangement whose pieces are no larger than what a device should have of load and can
   hold: whole, in columns, in rows, in rows over a node, in both, or a copy on each device.
2. Pieces are placed largest first, each on the device with the least load that has room.
3. As long as it pays, the device with most load gives a piece, or a part of it, to another, or swaps two.

No plan can be better than the sum of the cheapest arrangements spread evenly, or than the cheapest piece of the table
that can be split least: the lower bound.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .costs import Costs
from .tables import EmbeddingTables

KINDS = ("table_wise", "column_wise", "row_wise", "table_row_wise", "grid", "data_parallel")
#: Optimizer state of a row.
ROW_STATE_BYTES = 4
#: The part of a device's memory that copies of small tables may take.
_COPIES = 0.1
#: How full devices may be planned: pieces leave gaps, and columns repeat the state of their rows.
_FILLED = 0.9
_COLUMN_STEP = 4
_CHANGES = 64
_GIB = 1 << 30


class Memory(NamedTuple):
    """[bytes] of a device's own memory and of its part of the CPU's."""

    hbm: float
    ddr: float


class Arrangement(NamedTuple):
    """A way to arrange each table, if it can be.

    Attributes
    ----------
    kind : one of `KINDS`.
    columns, rows : pieces along each.
    piece, total : (tables,) [ms] of a piece, and of all.
    piece_bytes : (tables,)
    possible : (tables,) of bool.
    """

    kind: str
    columns: int
    rows: int
    piece: Any
    total: Any
    piece_bytes: Any
    possible: Any


@dataclass
class Plan:
    """Where everything is.

    Attributes
    ----------
    shards : (shards, 5) of int64: table, rows from and to, columns from and to.
    devices : (shards,)
    groups : (shards,) 0 or more for rows over a node.
    copied : (tables,) of bool: the tables that each device has a copy of.
    load : (devices,) [ms].
    lower_bound : [ms]
    """

    shards: Any
    devices: Any
    groups: Any
    copied: Any
    load: Any
    lower_bound: float


def choose_tiers(tables: EmbeddingTables, devices: int, memory: Memory) -> Any:
    """Which tables are kept in CPU memory: those that are read least for their size, if not all fit the devices.

    Raises
    ------
    ValueError
        If both memories together are too small.
    """
    sizes = _sizes(tables)
    if sizes.sum() > devices * (memory.hbm + memory.ddr):
        raise ValueError(
            f"argument tables needs {sizes.sum() / _GIB:.1f} GiB with optimizer states; {devices} devices hold "
            f"{devices * memory.hbm / _GIB:.1f} GiB in HBM and {devices * memory.ddr / _GIB:.1f} GiB in DDR; expected "
            "more devices, hbm_gib or ddr_gib"
        )
    far = np.zeros(len(tables), np.bool_)
    over = sizes.sum() - _FILLED * devices * memory.hbm
    for table in np.argsort(tables.pooling / tables.rows, kind="stable"):
        if over <= 0:
            break
        far[table] = True
        over -= sizes[table]
    return far


def plan(
    tables: EmbeddingTables,
    costs: Costs,
    devices: int,
    per_node: int,
    memory: Memory,
    far: Any,
    kinds: list[str],
    time_limit_s: float,
) -> Plan:
    """Find a plan.

    Parameters
    ----------
    tables, costs : what to place, and what that costs.
    devices, per_node : full nodes of them.
    memory : of a device.
    far : (tables,) which tables are kept in CPU memory.
    kinds : the arrangements that are allowed.
    time_limit_s : of computing, after which no more changes are tried.

    Raises
    ------
    ValueError
        If a table does not fit by the kinds that are allowed, or all together leave no room for one.
    """
    from .placement_kernels import balance, place

    room = np.empty((2, devices))
    room[0], room[1] = memory.hbm, memory.ddr
    capacity = room[far.astype(np.int64), 0]
    arrangements = _arrangements(tables, costs, devices, per_node, kinds)
    copied = _copied(tables, costs, devices, memory, arrangements) if "data_parallel" in kinds else far & False
    bound = _lower_bound(tables, arrangements, costs, devices, min(devices, per_node), kinds)
    load = np.full(devices, costs.replicated[copied].sum())
    room[0] -= _sizes(tables)[copied].sum()
    kernel_tables = _kernel_tables(tables, costs, far)
    for shards, groups in _cuts(tables, arrangements, copied, bound - load[0], capacity, kinds):
        prices, sizes, room_of = _priced(shards, groups, costs, kernel_tables)
        for order in (_order(prices, sizes, groups), _order(sizes, prices, groups)):  # the latter leaves fewer gaps
            loads, rooms = load.copy(), room.copy()
            found = place(prices, sizes, room_of, groups, order, loads, rooms, min(devices, per_node))
            if found.min(initial=0) >= 0:
                break
        else:
            continue
        break
    else:
        lost = tables.names[int(shards[np.argmin(found), 0])]
        raise ValueError(
            f"argument tables leaves no device room for a part of {lost!r}; expected more hbm_gib or ddr_gib, or other "
            "kinds"
        )
    spare = 8 * devices + 64
    shards = np.concatenate([shards, np.zeros((spare, 5), np.int64)])
    groups, found = (np.concatenate([each, np.full(spare, -1)]) for each in (groups, found))
    splits = np.array(["column_wise" in kinds, "row_wise" in kinds, "grid" in kinds])
    count, done = balance(shards, found, groups, len(prices), loads, rooms, kernel_tables, splits, 0)  # compiles
    deadline = time.thread_time() + time_limit_s
    while not done and time.thread_time() < deadline:
        count, done = balance(shards, found, groups, count, loads, rooms, kernel_tables, splits, _CHANGES)
    return Plan(shards[:count], found[:count], groups[:count], copied, loads, bound)


def _sizes(tables: EmbeddingTables) -> Any:
    """[bytes] of each table with its optimizer state."""
    return tables.bytes + ROW_STATE_BYTES * tables.rows


def _kernel_tables(tables: EmbeddingTables, costs: Costs, far: Any) -> Any:
    from .placement_kernels import Tables

    coefficients = np.stack([costs.whole.sum(1), costs.split.sum(1)], 1)
    row_state = np.full(len(tables), float(ROW_STATE_BYTES))
    return Tables(
        far.astype(np.int64), tables.rows, tables.dims, tables.number_bytes, row_state, coefficients, costs.block,
        costs.least,
    )  # fmt: skip


def _arrangements(
    tables: EmbeddingTables, costs: Costs, devices: int, per_node: int, kinds: list[str]
) -> list[Arrangement]:
    """Every way to cut tables that is allowed, the fewest pieces first."""
    local = min(devices, per_node)
    counts = [2**power for power in range(1, 31) if 2**power <= max(devices, 2)]
    ways = [("table_wise", 1, 1)]
    ways += [("column_wise", count, 1) for count in counts]
    ways += [("row_wise", 1, count) for count in sorted({*counts, devices}) if count <= devices]
    if local > 1:
        ways += [("table_row_wise", 1, local), *(("grid", count, local) for count in counts)]
    found = []
    for kind, columns, rows in ways:
        if kind not in kinds:
            continue
        width = _even(tables.dims, columns)
        share = 1 / rows
        parts = costs.of_whole(width) if rows == 1 else costs.of_split(share, width, grouped=kind != "row_wise")
        piece = parts.sum(1)
        size = np.ceil(tables.rows * share) * (width * tables.number_bytes + ROW_STATE_BYTES)
        possible = (tables.rows >= rows) & (tables.dims >= columns * _COLUMN_STEP if columns > 1 else True)
        pieces = np.ceil(tables.dims / width) * rows
        found.append(Arrangement(kind, columns, rows, piece, piece * pieces, size, possible))
    return found


def _even(dims: Any, columns: int) -> Any:
    """Columns of each piece, a multiple of what vector units read."""
    if columns == 1:
        return dims
    return np.minimum(-(-dims // columns // _COLUMN_STEP) * _COLUMN_STEP, dims)


def _copied(
    tables: EmbeddingTables,
    costs: Costs,
    devices: int,
    memory: Memory,
    arrangements: list[Arrangement],
) -> Any:
    """The tables for which a copy on each device costs less than any cut, as far as copies have room."""
    copied = np.zeros(len(tables), np.bool_)
    cheapest = np.full(len(tables), np.inf)
    for each in arrangements:
        cheapest = np.where(each.possible, np.minimum(cheapest, each.total), cheapest)
    sizes, free = _sizes(tables), (_COPIES if arrangements else 1.0) * memory.hbm
    for table in np.argsort(sizes, kind="stable"):
        if sizes[table] <= free and devices * costs.replicated[table].sum() < cheapest[table]:
            copied[table] = True
            free -= sizes[table]
    return copied


def _lower_bound(
    tables: EmbeddingTables, arrangements: list[Arrangement], costs: Costs, devices: int, local: int, kinds: list[str]
) -> float:
    """[ms] that no plan is faster than, whatever memory there is."""
    columns, row = np.minimum(tables.dims, _COLUMN_STEP), 1 / tables.rows
    smallest = {
        "table_wise": lambda: costs.of_whole(tables.dims),
        "column_wise": lambda: costs.of_whole(columns),
        "row_wise": lambda: costs.of_split(row, tables.dims),
        "table_row_wise": lambda: costs.of_split(1 / local, tables.dims, grouped=True),
        "grid": lambda: costs.of_split(row if {"row_wise", "column_wise"} & {*kinds} else 1 / local, columns),
        "data_parallel": lambda: costs.replicated,
    }
    piece = np.min([smallest[kind]().sum(1) for kind in kinds], axis=0)
    total = np.full(len(tables), np.inf)
    if "data_parallel" in kinds:
        total = costs.replicated.sum(1) * devices
    for each in arrangements:
        total = np.where(each.possible, np.minimum(total, each.total), total)
    return float(max(total.sum() / devices, piece.max()))


def _cuts(
    tables: EmbeddingTables,
    arrangements: list[Arrangement],
    copied: Any,
    most_ms: float,
    capacity: Any,
    kinds: list[str],
) -> Iterator[tuple[Any, Any]]:
    """Pieces of all tables, and smaller and smaller ones, for devices that are nearly full."""
    yield _pieces(tables, arrangements, copied, most_ms, capacity, kinds)
    for divisor in (2, 4, 8, 16, 32):
        try:
            yield _pieces(tables, arrangements, copied, most_ms, capacity / divisor, kinds)
        except ValueError:  # no smaller ones
            return


def _pieces(
    tables: EmbeddingTables,
    arrangements: list[Arrangement],
    copied: Any,
    most_ms: float,
    most_bytes: Any,
    kinds: list[str],
) -> tuple[Any, Any]:
    """The pieces of all tables that are not copied: the cheapest arrangement with pieces that are small enough."""
    chosen = np.full(len(tables), -1)
    price = np.full(len(tables), np.inf)
    for limit in (most_ms, np.inf):  # a piece that costs too much is better than one that has no room
        open_ones = (chosen < 0) & ~copied
        for index, each in enumerate(arrangements):
            better = open_ones & each.possible & (each.piece <= limit) & (each.piece_bytes <= most_bytes)
            better &= each.total < price
            chosen[better], price[better] = index, each.total[better]
    lost = np.flatnonzero((chosen < 0) & ~copied)
    if len(lost):
        raise _too_large(tables, int(lost[0]), most_bytes[lost[0]], arrangements, kinds)
    shards, groups = [], []
    for table in np.flatnonzero(~copied):
        way = arrangements[chosen[table]]
        rows, width = int(tables.rows[table]), int(_even(tables.dims, way.columns)[table])
        bounds = [rows * part // way.rows for part in range(way.rows + 1)]
        for start in range(0, int(tables.dims[table]), width):
            end = min(start + width, int(tables.dims[table]))
            shards += [(table, low, high, start, end) for low, high in itertools.pairwise(bounds)]
            groups += [len(shards) if way.kind in ("table_row_wise", "grid") else -1] * way.rows
    return np.array(shards, np.int64).reshape(-1, 5), np.array(groups, np.int64)


def _too_large(
    tables: EmbeddingTables, table: int, most_bytes: float, arrangements: list[Arrangement], kinds: list[str]
) -> ValueError:
    smallest = min((each.piece_bytes[table] for each in arrangements if each.possible[table]), default=np.inf)
    size = _sizes(tables)[table]
    if np.isinf(smallest):
        told = f"has {tables.rows[table]} rows of {tables.dims[table]} numbers, which cannot be cut by {kinds}"
    else:
        told = f"takes {size:.0f} bytes with its optimizer state, its smallest piece by kinds {kinds} {smallest:.0f}"
    others = ", ".join(repr(kind) for kind in KINDS if kind not in kinds and kind != "data_parallel")
    expected = f"kinds such as {others}" if others else "more hbm_gib"
    return ValueError(f"the table {tables.names[table]!r} {told}; a device holds {most_bytes:.0f}; expected {expected}")


def _priced(shards: Any, groups: Any, costs: Costs, tables: Any) -> tuple[Any, Any, Any]:
    """[ms], [bytes] and the memory of each piece."""
    parts = parts_of(shards, groups, costs, tables.rows)
    width = shards[:, 4] - shards[:, 3]
    table = shards[:, 0]
    sizes = (shards[:, 2] - shards[:, 1]) * (width * tables.cell[table] + tables.row_state[table])
    return parts.sum(1), sizes.astype(np.float64), tables.tiers[table]


def parts_of(shards: Any, groups: Any, costs: Costs, rows: Any) -> Any:
    """[ms] of the forward pass, the backward pass and communication of each shard; (shards, 3)."""
    table, width = shards[:, 0], shards[:, 4] - shards[:, 3]
    share = (shards[:, 2] - shards[:, 1]) / rows[table]
    of_shards = costs._replace(whole=costs.whole[table], split=costs.split[table], grouped=costs.grouped[table])
    split = np.where(
        (groups >= 0)[:, None], of_shards.of_split(share, width, grouped=True), of_shards.of_split(share, width)
    )
    return np.where(((share == 1) & (groups < 0))[:, None], of_shards.of_whole(width), split)


def _order(first: Any, second: Any, groups: Any) -> Any:
    """The pieces of the largest numbers first, of equal ones by the second numbers; a group follows its first piece."""
    is_first = np.ones(len(first), np.bool_)
    is_first[1:] = (groups[1:] < 0) | (groups[1:] != groups[:-1])
    order = np.lexsort([-second, -first])
    return order[is_first[order]]

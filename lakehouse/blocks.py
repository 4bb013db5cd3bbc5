"""Blocks of rows that are stored together, in the order in which an epoch reads them.

References
----------
Xu et al.: In-Database Machine Learning with CorgiPile: Stochastic Gradient Descent without Full Data Shuffle, SIGMOD
2022, https://arxiv.org/abs/2206.05830.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .scan import FILE, ROW, scan_sql
from .schema import quote_text
from .snapshot import Snapshot
from .storage import database

Index = np.ndarray[Any, Any]

#: Rows of the row groups of data files, which never change; files of which they are kept.
_row_groups: dict[str, list[int]] = {}
_KEPT = 100_000


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


class Block(NamedTuple):
    """A row group: the file's place in the snapshot, its first row in the file, and the one behind its last."""

    file: int
    start: int
    stop: int


def row_groups(snapshot: Snapshot, files: Sequence[int]) -> list[Block]:
    """The row groups of files, in the order in which they are stored."""
    if len(_row_groups) > _KEPT:
        _row_groups.clear()
    if missing := [name for name in {snapshot.files[index] for index in files} if name not in _row_groups]:
        names = ", ".join(map(quote_text, missing))
        rows = database().sql(
            f"SELECT file_name, row_group_id, any_value(row_group_num_rows) FROM parquet_metadata([{names}]) "
            "GROUP BY ALL ORDER BY ALL"
        ).fetchall()  # fmt: skip
        _row_groups.update({name: [] for name in missing})
        for name, _, count in rows:
            _row_groups[name].append(count)
    blocks = []
    for index in files:
        start = 0
        for count in _row_groups[snapshot.files[index]]:
            blocks.append(Block(index, start, start + count))
            start += count
    return blocks


def rows_sql(snapshot: Snapshot, blocks: list[Block], chosen: Index) -> str:
    """The SELECT of the rows of chosen blocks, in the order in which they are stored."""
    counts: dict[int, int] = {}
    for block in blocks:
        counts[block.file] = counts.get(block.file, 0) + 1
    parts = []
    by_file = itertools.groupby((blocks[number] for number in np.sort(chosen)), key=lambda block: block.file)
    taken = [(file, list(group)) for file, group in by_file]
    vectors = snapshot.state.files["vector"]

    def kind(entry: tuple[int, list[Block]]) -> tuple[bool, bool | int]:
        """Neighbours that are read as a whole, with or without deletion vectors, share a scan."""
        file, group = entry
        whole = len(group) == counts[file]
        return whole, vectors[file].is_valid if whole else file

    for (whole, _), entries in itertools.groupby(taken, key=kind):
        run = list(entries)
        if whole:
            parts.append(scan_sql(snapshot, [file for file, _ in run]))
            continue
        ((file, group),) = run
        ranges = " OR ".join(f"({ROW} >= {block.start} AND {ROW} < {block.stop})" for block in group)
        scan = scan_sql(snapshot, [file], positions=True)
        parts.append(f"SELECT * EXCLUDE ({FILE}, {ROW}) FROM ({scan}) WHERE {ranges}")
    return " UNION ALL ".join(f"({part})" for part in parts) or scan_sql(snapshot, [])

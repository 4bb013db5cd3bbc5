"""Read row groups of a table in any order: as they are stored, where that is all that is wanted, or by a query."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from .blocks import BlockOrder
from .forms import Form
from .row_groups import Block, is_plain, read_block, row_groups
from .scan import FILE, ROW, check_files, scan_sql
from .snapshot import Snapshot

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: Where the scan stands in a query.
SCAN = "<ironlake scan>"


class Reader:
    """What a query gives for row groups of some files of a version.

    Parameters
    ----------
    snapshot, files : the version, and the places of the files in it.
    connection : what runs the query.
    query : SQL in which `SCAN` stands for the scan of row groups.
    plain : whether the query does no more than to choose columns.
    pool : threads that read row groups side by side.

    Attributes
    ----------
    sizes : rows of each row group.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        files: list[int],
        connection: duckdb.DuckDBPyConnection,
        query: str,
        plain: bool,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._snapshot, self._connection, self._query, self._pool = snapshot, connection, query, pool
        if snapshot.storage.is_local:
            check_files(snapshot, files)
        self._schema = self._run(scan_sql(snapshot, [])).schema
        self._plain = {file for file in files if plain and is_plain(snapshot, file, self._schema)}
        self._blocks = row_groups(snapshot, files)
        self.sizes = np.array([block.stop - block.start for block in self._blocks], np.int64)

    def in_order(self, order: BlockOrder, room: int) -> Iterator[pa.Table]:
        """The rows of row groups, in an order, of which so many rows are read at a time."""
        while order:
            chosen = [self._blocks[number] for number in order.take(room)]
            for plain, group in itertools.groupby(chosen, key=self._is_plain):
                blocks = list(group)
                tables = self._pool.map(self._read, blocks) if plain else [self._selected(blocks)]
                yield from (table for table in tables if table.num_rows)

    def mixed(self, order: BlockOrder, room: int, form: Form, random: np.random.Generator) -> Iterator[list[Any]]:
        """The pieces of one buffer after the other, with room for some rows."""
        import pyarrow as pa

        pieces: list[Any] = []
        selected: list[pa.Table] = []
        rows = 0
        while order:
            chosen = [self._blocks[number] for number in np.sort(order.take(room - rows))]
            plain = [block for block in chosen if self._is_plain(block)]
            seeds = random.integers(1 << 63, size=len(plain)).tolist()
            coming = self._pool.map(lambda block, seed: form.pieces(self._read(block), seed), plain, seeds)
            if len(plain) < len(chosen):
                selected.append(self._selected([block for block in chosen if not self._is_plain(block)]))
                rows += selected[-1].num_rows
            pieces += itertools.chain.from_iterable(coming)
            rows += sum(block.stop - block.start for block in plain)
            # Filters leave room: a buffer is read in several steps until it is half full.
            if rows > room // 2 or (rows and not order):
                if selected:
                    pieces += form.pieces(pa.concat_tables(selected), int(random.integers(1 << 63)))
                yield pieces
                pieces, selected, rows = [], [], 0

    def _is_plain(self, block: Block) -> bool:
        return block.file in self._plain

    def _read(self, block: Block) -> pa.Table:
        return read_block(self._snapshot, self._schema, block)

    def _selected(self, blocks: list[Block]) -> pa.Table:
        return self._run(_rows_sql(self._snapshot, self._blocks, blocks))

    def _run(self, scan: str) -> pa.Table:
        return self._connection.sql(self._query.replace(SCAN, scan)).to_arrow_table()


def _rows_sql(snapshot: Snapshot, blocks: list[Block], chosen: list[Block]) -> str:
    """The SELECT of the rows of chosen blocks, in their order, which is that in which they are stored."""
    counts: dict[int, int] = {}
    for block in blocks:
        counts[block.file] = counts.get(block.file, 0) + 1
    parts = []
    taken = [(file, list(group)) for file, group in itertools.groupby(chosen, key=lambda block: block.file)]
    vectors = snapshot.state.files["vector"]

    def kind(entry: tuple[int, list[Block]]) -> tuple[bool, bool | int]:
        """Neighbours that are read as a whole, with or without deletion vectors, share a scan."""
        file, group = entry
        whole = len(group) == counts[file]
        return whole, vectors[file].is_valid if whole else file

    for (whole, _), entries in itertools.groupby(taken, key=kind):
        run = list(entries)
        if whole:
            parts.append(scan_sql(snapshot, [file for file, _ in run], lasting=False))
            continue
        ((file, group),) = run
        ranges = " OR ".join(f"({ROW} >= {block.start} AND {ROW} < {block.stop})" for block in group)
        scan = scan_sql(snapshot, [file], positions=True, lasting=False)
        parts.append(f"SELECT * EXCLUDE ({FILE}, {ROW}) FROM ({scan}) WHERE {ranges}")
    return " UNION ALL ".join(f"({part})" for part in parts)

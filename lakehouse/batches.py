"""Batches of rows for training, in an order that is drawn anew for each epoch.

A reader goes over the row groups of the data files in random order, fills a buffer with as many as fit, and shuffles
the rows inside it (CorgiPile). The next buffer is read on a thread of its own while batches are made of the one before.
Every buffer is a query of DuckDB in which the frame's filters and columns stand over the scan of its row groups, so
only those columns are decoded, and a row group is skipped if its statistics rule it out.

References
----------
Xu et al.: In-Database Machine Learning with CorgiPile: Stochastic Gradient Descent without Full Data Shuffle, SIGMOD
2022, https://arxiv.org/abs/2206.05830.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from .arrays import Array, array_of, unequal
from .blocks import BlockOrder, row_groups, rows_sql
from .read_ahead import read_ahead
from .scan import FILE, ROW, scan_sql
from .schema import quote_text
from .shuffle import joined, permutation
from .snapshot import open_snapshot
from .storage import Storage, scratch

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from .snapshot import Snapshot

Shuffle = Literal["block", "full", "stored"]
Format = Literal["numpy", "arrow", "torch"]

#: Where the scan stands in the query of `Batches`.
SCAN = "<ironlake scan>"
#: Rows that are looked at to find out how many fit into a buffer, and what a row takes if there are none.
_SAMPLE_ROWS, _UNKNOWN_BYTES = 1000, 64


@dataclass
class Batches:
    """The rows of a frame, batch by batch; each iteration is an epoch. Made by `Frame.batches`.

    The order of an epoch depends on the version of the table, the seed and the number of the epoch alone. A `Batches`
    can be pickled, so that worker processes read their shards of it.

    Attributes
    ----------
    epoch : int
        The number of the next epoch.
    """

    root: str
    version: int
    query: str
    files: list[int]
    zone: str
    batch_rows: int
    shuffle: Shuffle
    format: Format
    seed: int
    buffer_rows: int
    shard: tuple[int, int]
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be the epoch of this number; worker processes have to be told."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        shard = _worker_shard(self.shard)
        random = np.random.default_rng([self.seed, epoch, *shard]) if self.shuffle == "block" else None
        connection, form = _connection(Storage.of(self.root), self.zone), _FORMS[self.format]
        tables = read_ahead(self._tables(connection, epoch, shard))
        try:
            yield from _batches((form.prepare(table, random) for table in tables), self.batch_rows, form)
        finally:
            # A consumer that stops early needs no more. The thread that reads may still be busy with the connection,
            # which closes when both have let go of it.
            connection.interrupt()

    def _tables(self, connection: duckdb.DuckDBPyConnection, epoch: int, shard: tuple[int, int]) -> Iterator[pa.Table]:
        """The contents of one buffer after the other."""
        import pyarrow as pa

        snapshot = open_snapshot(self.root, self.version, "")
        room = self.buffer_rows
        if self.shuffle == "full":
            scan = _shuffled(snapshot, self.files, f"{self.seed} {epoch}", shard)
            for batch in connection.sql(self.query.replace(SCAN, scan)).to_arrow_reader(room):
                yield pa.Table.from_batches([batch])
            return
        blocks = row_groups(snapshot, self.files)
        random = np.random.default_rng([self.seed, epoch]) if self.shuffle == "block" else None
        order = BlockOrder(np.array([block.stop - block.start for block in blocks], np.int64), random, shard)
        held: list[pa.Table] = []
        rows = 0
        while order:
            text = self.query.replace(SCAN, rows_sql(snapshot, blocks, order.take(room - rows)))
            table = connection.sql(text).to_arrow_table()
            if table.num_rows:
                held.append(table)
                rows += table.num_rows
            # Filters leave room: a buffer is read in several steps until it is half full.
            if rows > room // 2 or (rows and not order):
                yield pa.concat_tables(held)
                held, rows = [], 0
        if held:
            yield pa.concat_tables(held)


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """The database that reads batches; what it has to sort beyond memory lies in the temporary folder."""
    return scratch()


def _connection(storage: Storage, zone: str) -> duckdb.DuckDBPyConnection:
    """A connection to it in a time zone, which can open the files of a table."""
    storage.reach(_database())
    connection = _database().cursor()
    connection.execute(f"SET TimeZone = {quote_text(zone)}")
    return connection


def fitting(snapshot: Snapshot, query: str, files: list[int], zone: str, megabytes: float) -> int:
    """How many rows of a query fit into a buffer, by the size of some."""
    if not megabytes > 0:
        raise ValueError(f"argument buffer_mb is {megabytes!r}; expected a number of megabytes above 0")
    scan = f"SELECT * FROM ({scan_sql(snapshot, files[:1])}) LIMIT {_SAMPLE_ROWS}"
    with _connection(snapshot.storage, zone) as connection:
        sample = connection.sql(query.replace(SCAN, scan)).to_arrow_table()
    size = sample.nbytes / sample.num_rows if sample.num_rows else sample.num_columns * _UNKNOWN_BYTES
    return max(1, int(megabytes * 1e6 / max(size, 1)))


def check(batches: Batches) -> None:
    """Refuse settings that make no sense.

    Raises
    ------
    ValueError
        Naming the argument, and what is expected.
    """
    for name, least in (("batch_rows", 1), ("buffer_rows", 1), ("seed", 0)):
        value = getattr(batches, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"argument {name} is {value!r}; expected a whole number from {least} on")
    for name, choices in (("shuffle", get_args(Shuffle)), ("format", get_args(Format))):
        if (choice := getattr(batches, name)) not in choices:
            raise ValueError(f"argument {name} is {choice!r}; expected one of {', '.join(map(repr, choices))}")
    rank, size = batches.shard
    if not 0 <= rank < size:
        raise ValueError(f"argument shard is {batches.shard!r}; expected (rank, size) with 0 <= rank < size")


def _shuffled(snapshot: Snapshot, files: list[int], key: str, shard: tuple[int, int]) -> str:
    """The SELECT of the rows of files in an order that a key decides; it is sorted beyond memory, too."""
    rank, size = shard
    where = "" if size == 1 else f"WHERE hash({FILE}, {ROW}) % {size} = {rank} "
    return (
        f"SELECT * EXCLUDE ({FILE}, {ROW}) FROM ({scan_sql(snapshot, files, positions=True)}) "
        f"{where}ORDER BY hash({FILE}, {ROW}, {quote_text(key)}), {FILE}, {ROW}"
    )


# --------------------------------------------------------------------------------------------------- buffers to batches


class _Form(NamedTuple):
    """How rows are held: prepared of a buffer, taken from a range, put together, and finished as a batch."""

    prepare: Callable[[pa.Table, np.random.Generator | None], Any]
    count: Callable[[Any], int]
    range: Callable[[Any, int, int], Any]
    join: Callable[[Any, Any], Any]
    finish: Callable[[Any], Any]


def _batches(buffers: Iterator[Any], size: int, form: _Form) -> Iterator[Any]:
    """Batches of one size from buffers of any; the last one may be smaller."""
    rest: Any = None
    for buffer in buffers:
        start, count = 0, form.count(buffer)
        if rest is not None:
            start = min(size - form.count(rest), count)
            rest = form.join(rest, form.range(buffer, 0, start))
            if form.count(rest) < size:
                continue
            yield form.finish(rest)
            rest = None
        stop = count - (count - start) % size
        for at in range(start, stop, size):
            yield form.finish(form.range(buffer, at, at + size))
        if stop < count:
            rest = form.range(buffer, stop, count)
    if rest is not None:
        yield form.finish(rest)


def _order(count: int, random: np.random.Generator | None) -> Array | None:
    return None if random is None else permutation(count, int(random.integers(1 << 63)))


def _arrays(table: pa.Table, random: np.random.Generator | None) -> dict[str, Array]:
    order, arrays = _order(table.num_rows, random), {}
    for name in table.column_names:
        pieces = [array_of(chunk, name) for chunk in table[name].chunks]
        for piece in pieces:
            _check_widths(name, pieces[0], piece)
        arrays[name] = joined(pieces, order)
    return arrays


def _check_widths(name: str, first: Array, other: Array) -> None:
    if first.shape[1:] != other.shape[1:]:
        raise ValueError(unequal(name, first.shape[1], other.shape[1]))


def _join_arrays(first: dict[str, Array], second: dict[str, Array]) -> dict[str, Array]:
    for name, values in first.items():
        _check_widths(name, values, second[name])
    return {name: joined([values, second[name]]) for name, values in first.items()}


def _table(table: pa.Table, random: np.random.Generator | None) -> pa.Table:
    table, order = table.combine_chunks(), _order(table.num_rows, random)
    return table if order is None else table.take(order)


def _join_tables(first: pa.Table, second: pa.Table) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables([first, second])


def _record_batch(table: pa.Table) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches()
    return batch


def _tensors(arrays: dict[str, Array]) -> dict[str, Any]:
    import torch

    tensors = {}
    for name, values in arrays.items():
        if values.dtype.kind not in "biuf":
            raise ValueError(f"the column {name!r} is no number but {values.dtype}, for which torch has no tensors")
        tensors[name] = torch.from_numpy(values if values.flags.writeable else values.copy())
    return tensors


_ARRAYS = _Form(
    _arrays,
    lambda arrays: len(next(iter(arrays.values()))),
    lambda arrays, start, stop: {name: values[start:stop] for name, values in arrays.items()},
    _join_arrays,
    lambda arrays: arrays,
)
_FORMS: dict[str, _Form] = {
    "numpy": _ARRAYS,
    "arrow": _Form(
        _table,
        lambda table: table.num_rows,
        lambda table, start, stop: table.slice(start, stop - start),
        _join_tables,
        _record_batch,
    ),
    "torch": _ARRAYS._replace(finish=_tensors),
}


# ---------------------------------------------------------------------------------------------------------------- torch


def _worker_shard(shard: tuple[int, int]) -> tuple[int, int]:
    """The shard of a worker process of a torch DataLoader; outside of one, the shard itself."""
    if "torch" not in sys.modules:
        return shard
    from torch.utils.data import get_worker_info

    worker = get_worker_info()
    rank, size = shard
    return shard if worker is None else (rank * worker.num_workers + worker.id, size * worker.num_workers)


@functools.cache
def _dataset_class() -> type[Batches]:
    """`Batches` that a torch DataLoader takes for a data set."""
    try:
        from torch.utils.data import IterableDataset
    except ModuleNotFoundError:
        raise ModuleNotFoundError("format='torch' needs PyTorch: pip install torch") from None

    return type("Dataset", (Batches, IterableDataset), {"__reduce__": lambda self: (_dataset, (_values(self),))})


def _values(batches: Batches) -> dict[str, Any]:
    return {field.name: getattr(batches, field.name) for field in dataclasses.fields(Batches)}


def _dataset(values: dict[str, Any]) -> Batches:
    return _dataset_class()(**values)


def made(batches: Batches) -> Batches:
    """Batches of checked settings, as a data set of torch if that is their format."""
    check(batches)
    return _dataset(_values(batches)) if batches.format == "torch" else batches

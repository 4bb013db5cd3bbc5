"""Batches of rows for training, in an order that is drawn anew for each epoch.

A reader goes over the row groups of the data files in random order, fills a buffer with as many as fit, and shuffles
the rows inside it (CorgiPile). The next buffer is read on threads of its own while batches are made of the one before.
Row groups whose columns are wanted as they are stored are read side by side. Of others, a buffer is a query of DuckDB
in which the frame's filters and columns stand over the scan of its row groups, so only those columns are decoded, and
a row group is skipped if its statistics rule it out.

References
----------
Xu et al.: In-Database Machine Learning with CorgiPile: Stochastic Gradient Descent without Full Data Shuffle, SIGMOD
2022, https://arxiv.org/abs/2206.05830.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from .blocks import BlockOrder
from .forms import FORMS, Buffer, Form
from .read_ahead import read_ahead, threads
from .reader import SCAN, Reader
from .scan import FILE, ROW, scan_sql
from .schema import quote_text
from .snapshot import open_snapshot
from .storage import Storage, scratch

if TYPE_CHECKING:
    import duckdb

    from .snapshot import Snapshot

Shuffle = Literal["block", "full", "stored"]
Format = Literal["numpy", "arrow", "torch"]

#: Rows that are looked at to find out how many fit into a buffer, and what a row takes if there are none.
_SAMPLE_ROWS, _UNKNOWN_BYTES = 1000, 64
#: Row groups that are read side by side from an object store.
_REQUESTS = 16


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
    plain: bool
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
        connection, form = _connection(Storage.of(self.root), self.zone), FORMS[self.format]
        buffers = read_ahead(self._buffers(connection, form, epoch, _worker_shard(self.shard)))
        try:
            yield from form.batches(buffers, self.batch_rows)
        finally:
            # A consumer that stops early needs no more. The thread that reads may still be busy with the connection,
            # which closes when both have let go of it.
            connection.interrupt()

    def _buffers(
        self, connection: duckdb.DuckDBPyConnection, form: Form, epoch: int, shard: tuple[int, int]
    ) -> Iterator[Buffer]:
        """One buffer after the other."""
        import pyarrow as pa

        snapshot = open_snapshot(self.root, self.version, "")
        if self.shuffle == "full":
            scan = _sorted(snapshot, self.files, f"{self.seed} {epoch}", shard)
            for batch in connection.sql(self.query.replace(SCAN, scan)).to_arrow_reader(self.buffer_rows):
                yield form.stored(pa.Table.from_batches([batch]))
            return
        with threads(pa.cpu_count() if snapshot.storage.is_local else _REQUESTS) as pool:
            reader = Reader(snapshot, self.files, connection, self.query, self.plain, pool)
            if self.shuffle == "stored":
                yield from map(form.stored, reader.in_order(BlockOrder(reader.sizes, None, shard), self.buffer_rows))
                return
            blocks = BlockOrder(reader.sizes, np.random.default_rng([self.seed, epoch]), shard)
            random = np.random.default_rng([self.seed, epoch, *shard])
            for pieces in reader.mixed(blocks, self.buffer_rows, form, random):
                yield form.shuffled(pieces, random.spawn(1)[0])


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
    scan = f"SELECT * FROM ({scan_sql(snapshot, files[:1], lasting=False)}) LIMIT {_SAMPLE_ROWS}"
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


def _sorted(snapshot: Snapshot, files: list[int], key: str, shard: tuple[int, int]) -> str:
    """The SELECT of the rows of files in an order that a key decides; it is sorted beyond memory, too."""
    rank, size = shard
    where = "" if size == 1 else f"WHERE hash({FILE}, {ROW}) % {size} = {rank} "
    return (
        f"SELECT * EXCLUDE ({FILE}, {ROW}) FROM ({scan_sql(snapshot, files, positions=True, lasting=False)}) "
        f"{where}ORDER BY hash({FILE}, {ROW}, {quote_text(key)}), {FILE}, {ROW}"
    )


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

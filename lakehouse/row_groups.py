"""Row groups of data files: which there are, and reading them where a file has the columns just as the table has them.

PyArrow decodes a row group that is asked for by its number for less than DuckDB selects its rows for, so it reads what
needs no more than decoding: no filter, no deletion vector, no value of another type or place. The rest is DuckDB's.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .snapshot import Snapshot


#: Files whose footers are kept.
_FOOTERS = 1000


class Block(NamedTuple):
    """A row group: the file's place in the snapshot, its number in it, its first row, and the one behind its last."""

    file: int
    number: int
    start: int
    stop: int


class Footer(NamedTuple):
    """What a data file says of itself.

    Attributes
    ----------
    metadata : what its reader needs.
    schema : its columns.
    rows : of each row group.
    """

    metadata: pq.FileMetaData
    schema: pa.Schema
    rows: list[int]


@functools.lru_cache(maxsize=_FOOTERS)
def _footer(storage: Storage, file: str) -> Footer:
    """The footer of a data file; those never change."""
    with _opened(storage, file) as opened:
        metadata = opened.metadata
        rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        return Footer(metadata, opened.schema_arrow, rows)


def _opened(storage: Storage, file: str, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    if storage.is_local:
        return pq.ParquetFile(file, metadata=metadata, pre_buffer=False)
    return pq.ParquetFile(storage.open(file), metadata=metadata, pre_buffer=True)


def row_groups(snapshot: Snapshot, files: Sequence[int]) -> list[Block]:
    """The row groups of files, in the order in which they are stored."""
    names = [snapshot.files[index] for index in files]
    footers = snapshot.storage.map(functools.partial(_footer, snapshot.storage), names)
    blocks = []
    for index, footer in zip(files, footers, strict=True):
        ends = itertools.accumulate(footer.rows, initial=0)
        blocks += [Block(index, number, *ends) for number, ends in enumerate(itertools.pairwise(ends))]
    return blocks


def _alike(stored: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of two types are the same; items of lists may have other names."""
    import pyarrow.types as is_

    if is_.is_list(stored) and is_.is_list(wanted):
        return _alike(stored.value_type, wanted.value_type)
    return bool(stored == wanted)


def is_plain(snapshot: Snapshot, file: int, wanted: pa.Schema) -> bool:
    """Whether a file has the columns of a schema as they are wanted."""
    if snapshot.mapping != "none" or snapshot.state.files["vector"][file].is_valid:
        return False
    stored = _footer(snapshot.storage, snapshot.files[file]).schema
    return all(
        field.name in stored.names
        and field.name not in snapshot.partitions
        and _alike(stored.field(field.name).type, field.type)
        for field in wanted
    )


def read_block(snapshot: Snapshot, wanted: pa.Schema, block: Block) -> pa.Table:
    """The columns of a schema of a row group, on this thread."""
    storage, file = snapshot.storage, snapshot.files[block.file]
    with _opened(storage, file, _footer(storage, file).metadata) as opened:
        table = opened.read_row_group(block.number, columns=wanted.names, use_threads=False)
    return table.select(wanted.names).cast(wanted)

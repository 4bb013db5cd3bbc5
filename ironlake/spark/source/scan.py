"""Tasks of a scan: which files, or rows of a file, one task of Spark reads, and how it reads them.

A task is planned where Spark plans the query and read on whichever machine runs it, by DuckDB on one thread: the
lakehouse's own SELECT over the task's files, with the filters of the query, so that row groups are skipped too.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import InputPartition

from ironlake.lakehouse.scan import ROW, scan_sql
from ironlake.lakehouse.schema import quote_name
from ironlake.lakehouse.snapshot import Snapshot
from ironlake.lakehouse.storage import Storage, scratch

from .columns import fitted

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: The most bytes of files that a task reads, as for Spark's own sources, and the least where there is more to read.
_MOST_BYTES, _LEAST_BYTES = 134_217_728, 4_194_304
#: The most rows of a batch, and about the most bytes.
_BATCH_ROWS, _BATCH_BYTES = 65_536, 33_554_432
#: How many times smaller values are in files than in memory, about.
_COMPRESSION = 3


@dataclass(frozen=True)
class ScanTask(InputPartition):
    """What one task reads: files as the state of a snapshot lists them, and of a single one perhaps only some rows."""

    files: pa.Table
    rows: tuple[int, int] | None = None


def bare(snapshot: Snapshot) -> Snapshot:
    """A version without its files, which is small wherever it is sent."""
    state = snapshot.state
    state = dataclasses.replace(state, files=state.files.schema.empty_table(), transactions={}, domains={})
    return Snapshot(snapshot.storage, snapshot.segment, state)


def with_files(snapshot: Snapshot, files: pa.Table) -> Snapshot:
    """A version that has just these files."""
    return Snapshot(snapshot.storage, snapshot.segment, dataclasses.replace(snapshot.state, files=files))


def tasks(files: pa.Table, bytes_each: int | None = None) -> list[ScanTask]:
    """Share files out to tasks of some size, in their order: small files together, large ones in ranges of rows.

    The size is by default such that all cores of this machine have a task, up to 128 MiB.
    """
    sizes = [size or 0 for size in files["size"].to_pylist()]
    if bytes_each is None:
        bytes_each = min(_MOST_BYTES, max(_LEAST_BYTES, sum(sizes) // (os.cpu_count() or 1)))
    planned: list[ScanTask] = []
    together: list[int] = []

    def flush() -> None:
        if together:
            planned.append(ScanTask(files.take(together)))
            together.clear()

    for index, size in enumerate(sizes):
        rows = json.loads(files["stats"][index].as_py() or "{}").get("numRecords") if size > bytes_each else None
        if rows:
            flush()
            parts = min(rows, -(-size // bytes_each))
            bounds = [rows * part // parts for part in range(parts + 1)]
            planned += [ScanTask(files.take([index]), pair) for pair in itertools.pairwise(bounds)]
            continue
        if together and sum(sizes[each] for each in together) + size > bytes_each:
            flush()
        together.append(index)
    flush()
    return planned


def read(snapshot: Snapshot, task: ScanTask, schema: pa.Schema, condition: str | None) -> Iterator[pa.RecordBatch]:
    """The rows of a task that meet a condition, as batches of a schema whose columns are those to read."""
    part = with_files(snapshot, task.files)
    conditions = [] if condition is None else [condition]
    if task.rows is not None:
        conditions.append(f"{ROW} >= {task.rows[0]} AND {ROW} < {task.rows[1]}")
    # A worker lives long; the deletion vectors are held as long as the version that has them is.
    query = scan_sql(part, positions=task.rows is not None, lasting=False)
    yield from batches(part.storage, select(query, schema, conditions), schema, _batch_rows(task.files))


def select(query: str, schema: pa.Schema, conditions: Sequence[str]) -> str:
    """The columns of a schema from the rows of a query that meet all conditions."""
    columns = ", ".join(map(quote_name, schema.names))
    where = f" WHERE {' AND '.join(f'({each})' for each in conditions)}" if conditions else ""
    return f"SELECT {columns} FROM ({query}){where}"


def batches(storage: Storage, query: str, schema: pa.Schema, rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The rows of a query as batches of a schema."""
    connection = _database()
    storage.reach(connection)
    for batch in connection.cursor().sql(query).to_arrow_reader(rows):
        yield fitted(batch, schema)


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """The worker's database; other cores of the machine belong to other tasks."""
    connection = scratch()
    connection.execute("SET threads = 1")
    return connection


def _batch_rows(files: pa.Table) -> int:
    """How many rows a batch has: fewer where they are large."""
    known: list[Any] = [json.loads(text or "{}").get("numRecords") for text in files["stats"].to_pylist()]
    if None in known or not (count := sum(known)):
        return _BATCH_ROWS
    row_bytes = _COMPRESSION * sum(size or 0 for size in files["size"].to_pylist()) / count
    return int(min(_BATCH_ROWS, max(1024, _BATCH_BYTES / max(row_bytes, 1))))

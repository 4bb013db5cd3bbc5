"""Change rows where they are stored: files keep their rows and get a deletion vector, or are rewritten without them.

What is to happen stands in a table ``changed`` of a scratch database: for each row where it is stored (`FILE` and
`ROW`; NULL for a new one), what becomes of it (``kind``: delete, update, insert) and, unless it is deleted, its new
values.

Marking writes a few bytes a row, whatever the size of the files. One file beside the data holds the vectors of a
commit: a version byte, and each vector as its size, its bitmap and the bitmap's CRC-32.

Source: Delta protocol, "Deletion Vectors"; "Writer Requirements for Deletion Vectors"; "Change Data Files".
"""

from __future__ import annotations

import json
import os
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from .deletion_vectors import deleted_rows, encode, vector_path, z85_encode
from .errors import sentence
from .protocol import with_features
from .pruning import PredicateError, kept_files
from .scan import BATCH_ROWS, FILE, ROW, scan_sql
from .schema import quote_name, quote_text

if TYPE_CHECKING:
    import duckdb

    from .snapshot import Snapshot
    from .transaction import Transaction

ENABLED = "delta.enableDeletionVectors"
_FEED = "delta.enableChangeDataFeed"
#: The kinds of change, and what `apply` calls their numbers of rows.
KINDS = {"update": "rows_updated", "delete": "rows_deleted", "insert": "rows_inserted"}


def marks_rows(snapshot: Snapshot, wanted: bool | None) -> bool:
    """Whether rows are marked, as the caller says or else the table."""
    return _is_set(snapshot, ENABLED) if wanted is None else wanted


def find(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, predicate: str, kind: str, values: str = ""
) -> None:
    """Make the table ``changed`` of the rows that meet a predicate, with new values in SQL.

    Raises
    ------
    PredicateError
        The predicate fails on a row.
    """
    import duckdb

    scan = scan_sql(snapshot, kept_files(snapshot, predicate), positions=True, lasting=False)
    select = ", ".join([FILE, ROW, f"{quote_text(kind)} AS kind", *([values] if values else [])])
    try:
        connection.execute(f"CREATE TABLE changed AS SELECT {select} FROM ({scan}) WHERE ({predicate})")
    except duckdb.Error as error:
        told = f"the predicate {predicate!r}" + (" or a new value" if values else "")
        raise PredicateError(f"{told} fails: {sentence(error)}") from None


def apply(
    change: Transaction, connection: duckdb.DuckDBPyConnection, marking: bool, has_values: bool = True
) -> dict[str, int]:
    """Make the table ``changed`` part of a transaction; the numbers of rows and files that it changes.

    Without ``has_values`` the table has no new values, because no row gets any.
    """
    snapshot = change.snapshot
    counts: dict[str, int] = dict(connection.execute("SELECT kind, count(*) FROM changed GROUP BY kind").fetchall())
    told = {name: counts.get(kind, 0) for kind, name in KINDS.items()}
    files = {"files_marked": 0, "files_removed": 0, "files_added": 0}
    if not counts:
        return told | files
    columns = ", ".join(quote_name(name) for name in change.after([]).schema.names)
    gone = _gone(connection)
    if _is_set(snapshot, _FEED):
        _feed(change, connection, list(gone), columns, has_values)
    if marking:
        files |= _mark(change, gone)
    else:
        files["files_removed"] = len(gone)
        for index in gone:
            change.remove(index)
        files["files_added"] += _rewrite(change, connection, list(gone), columns)
    if has_values:
        rows = connection.sql(f"SELECT {columns} FROM changed WHERE kind <> 'delete'").to_arrow_reader(BATCH_ROWS)
        files["files_added"] += len(change.write(rows))
    change.metrics |= {
        "numUpdatedRows": told["rows_updated"],
        "numDeletedRows": told["rows_deleted"],
        "numInsertedRows": told["rows_inserted"],
        "numDeletionVectorsAdded": files["files_marked"],
        "numRemovedFiles": files["files_removed"],
        "numAddedFiles": files["files_added"],
    }
    return told | files


def _is_set(snapshot: Snapshot, name: str) -> bool:
    return snapshot.configuration.get(name, "false").lower() == "true"


def _gone(connection: duckdb.DuckDBPyConnection) -> dict[int, np.ndarray[Any, Any]]:
    """For each file the rows that are no longer in it, ascending."""
    rows = connection.sql(f"SELECT {FILE}, {ROW} FROM changed WHERE {FILE} IS NOT NULL ORDER BY ALL").to_arrow_table()
    numbers, places = (rows[name].to_numpy() for name in rows.column_names)
    files, starts = np.unique(numbers, return_index=True)
    return dict(zip(files.tolist(), np.split(places, starts[1:]), strict=True)) if len(files) else {}


def _feed(
    change: Transaction, connection: duckdb.DuckDBPyConnection, files: list[int], columns: str, has_values: bool
) -> None:
    """Write what happened to each row to the change data feed."""
    parts = []
    if files:
        scan = scan_sql(change.snapshot, files, positions=True, lasting=False)
        before = "CASE kind WHEN 'update' THEN 'update_preimage' ELSE kind END AS _change_type"
        named = ", ".join(f"before.{name}" for name in columns.split(", "))
        parts.append(f"SELECT {named}, {before} FROM ({scan}) AS before JOIN changed USING ({FILE}, {ROW})")
    if has_values:
        after = "CASE kind WHEN 'update' THEN 'update_postimage' ELSE kind END AS _change_type"
        parts.append(f"SELECT {columns}, {after} FROM changed WHERE kind <> 'delete'")
    change.feed(connection.sql(" UNION ALL ".join(parts)).to_arrow_reader(BATCH_ROWS))


def _rewrite(change: Transaction, connection: duckdb.DuckDBPyConnection, files: list[int], columns: str) -> int:
    """Write the rows of files that stay, in their order; the number of files that this takes."""
    # A writer is one thread, so that rows keep their order: each takes some of the files.
    writers = max(1, min(len(files), os.cpu_count() or 1))

    def write(part: list[int]) -> int:
        scan = scan_sql(change.snapshot, part, positions=True, lasting=False)
        kept = f"SELECT {columns} FROM ({scan}) ANTI JOIN changed USING ({FILE}, {ROW})"
        with connection.cursor() as cursor:
            return len(change.write(cursor.sql(kept).to_arrow_reader(BATCH_ROWS)))

    with ThreadPoolExecutor(writers) as pool:
        return sum(pool.map(write, [files[start::writers] for start in range(writers)]))


def _mark(change: Transaction, gone: dict[int, np.ndarray[Any, Any]]) -> dict[str, int]:
    """Give the files deletion vectors; those without rows leave the table."""
    snapshot = change.snapshot
    change.protocol = with_features(change.protocol, {"deletionVectors"})
    properties = {**snapshot.configuration, ENABLED: "true"}
    change.metadata = {**change.metadata, "configuration": properties}
    counts = {"files_marked": 0, "files_removed": 0}
    name = z85_encode(uuid.uuid4().bytes)
    content = bytearray(b"\x01")
    for index, rows in gone.items():
        vector = snapshot.state.files["vector"][index].as_py()
        if vector:
            rows = np.union1d(rows, deleted_rows(snapshot.storage, vector))
        count, stats = _statistics(snapshot, index)
        if len(rows) == count:
            change.remove(index)
            counts["files_removed"] += 1
            continue
        payload = encode(rows)
        descriptor = {"storageType": "u", "pathOrInlineDv": name, "offset": len(content)}
        descriptor |= {"sizeInBytes": len(payload), "cardinality": len(rows)}
        content += len(payload).to_bytes(4, "big") + payload + zlib.crc32(payload).to_bytes(4, "big")
        change.mark(index, descriptor, stats)
        counts["files_marked"] += 1
    if counts["files_marked"]:
        change.written.append(vector_path(name))
        snapshot.storage.create(vector_path(name), bytes(content))
    return counts


def _statistics(snapshot: Snapshot, index: int) -> tuple[int, str]:
    """The number of rows in a file, deleted ones included, and its statistics once more of them are deleted."""
    import pyarrow.parquet

    stats = json.loads(snapshot.state.files["stats"][index].as_py() or "{}")
    if "numRecords" not in stats:
        with snapshot.storage.open(snapshot.files[index]) as file:
            stats["numRecords"] = pyarrow.parquet.read_metadata(file).num_rows
    return stats["numRecords"], json.dumps({**stats, "tightBounds": False}, separators=(",", ":"))

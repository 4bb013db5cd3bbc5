"""Delete rows: files keep their rows and get a deletion vector, or are rewritten without them.

Marking writes a few bytes a row, whatever the size of the files. One file beside the data holds the vectors of a
commit: a version byte, and each vector as its size, its bitmap and the bitmap's CRC-32.

Source: Delta protocol, "Deletion Vectors"; "Writer Requirements for Deletion Vectors".
"""

from __future__ import annotations

import json
import uuid
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .deletion_vectors import deleted_rows, encode, vector_path, z85_encode
from .files import write_files
from .protocol import check_deletable, with_deletion_vectors, writer_features
from .pruning import PredicateError, check_predicate, kept_files
from .scan import BATCH_ROWS, FILE, ROW, scan_sql
from .snapshot import Snapshot, open_snapshot
from .storage import database
from .transaction import Transaction

_ENABLED = "delta.enableDeletionVectors"


def delete(path: Path, predicate: str | None, marking: bool | None, where: str) -> dict[str, int]:
    """Delete rows of the table at `path`; see `Table.delete`.

    `where` starts the error messages, such as ``"Table.delete('sales'): "``.
    """
    snapshot = open_snapshot(path, None, where)
    condition = "true" if predicate is None else predicate
    enabled = snapshot.configuration.get(_ENABLED, "false").lower() == "true"
    marking = enabled if marking is None else marking
    try:
        check_deletable(snapshot.state.protocol, snapshot.state.metadata)
        check_predicate(snapshot, condition)
        if not marking:
            _check_rewritable(snapshot)
        gone = _found(snapshot, kept_files(snapshot, condition), condition)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
    rows = sum(map(len, gone.values()))
    if not gone:
        return {"version": snapshot.version, "rows": 0, "files_marked": 0, "files_removed": 0, "files_added": 0}
    change = Transaction(snapshot, "DELETE", condition, {"predicate": [condition]})
    return {"rows": rows, **(_mark(change, gone, enabled) if marking else _rewrite(change, list(gone)))}


def _check_rewritable(snapshot: Snapshot) -> None:
    """Refuse to write files that a table would need in another form."""
    feed = snapshot.configuration.get("delta.enableChangeDataFeed", "false").lower() == "true"
    if feed or snapshot.mapping != "none":
        told = "has a change data feed" if feed else "maps its columns"
        raise ValueError(f"the table {told}, and its files are not rewritten here; pass deletion_vectors=True")


def _rewrite(change: Transaction, files: list[int]) -> dict[str, int]:
    """Write the files anew without the rows."""
    snapshot = change.snapshot
    kept = f"FROM ({scan_sql(snapshot, files)}) WHERE ({change.predicate}) IS NOT TRUE"
    rows = database().cursor().sql(kept).to_arrow_reader(BATCH_ROWS)
    added = write_files(snapshot.path, rows, snapshot.schema, snapshot.partition_columns)
    for index in files:
        change.remove(index)
    for action in added:
        change.add(action)
    change.metrics = {"numRemovedFiles": len(files), "numAddedFiles": len(added)}
    try:
        version = change.commit()
    except BaseException:
        for action in added:
            (snapshot.path / action.path).unlink(missing_ok=True)
        raise
    return {"version": version, "files_marked": 0, "files_removed": len(files), "files_added": len(added)}


def _mark(change: Transaction, gone: dict[int, np.ndarray[Any, Any]], enabled: bool) -> dict[str, int]:
    """Give the files deletion vectors."""
    snapshot = change.snapshot
    metrics = {"files_marked": 0, "files_removed": 0, "files_added": 0}
    features = writer_features(snapshot.state.protocol)
    if "deletionVectors" not in features:
        change.actions.append({"protocol": with_deletion_vectors(snapshot.state.protocol)})
    if not enabled:
        metadata = snapshot.state.metadata
        properties = {**snapshot.configuration, _ENABLED: "true"}
        change.actions.append({"metaData": {**metadata, "configuration": properties}})
    name = uuid.uuid4()
    content = bytearray(b"\x01")
    for index, rows in gone.items():
        vector = snapshot.state.files["vector"][index].as_py()
        if vector:
            rows = np.union1d(rows, deleted_rows(snapshot.storage, vector))
        count, stats = _statistics(snapshot, index)
        if len(rows) == count:
            change.remove(index)
            metrics["files_removed"] += 1
            continue
        payload = encode(rows)
        descriptor = {"storageType": "u", "pathOrInlineDv": z85_encode(name.bytes), "offset": len(content)}
        descriptor |= {"sizeInBytes": len(payload), "cardinality": len(rows)}
        content += len(payload).to_bytes(4, "big") + payload + zlib.crc32(payload).to_bytes(4, "big")
        change.mark(index, descriptor, stats)
        metrics["files_marked"] += 1
    file = vector_path(z85_encode(name.bytes))
    change.metrics = {
        "numDeletedRows": sum(map(len, gone.values())),
        "numDeletionVectorsAdded": metrics["files_marked"],
        "numRemovedFiles": metrics["files_removed"],
    }
    try:
        if metrics["files_marked"]:
            snapshot.storage.create(file, bytes(content))
        return {"version": change.commit(), **metrics}
    except BaseException:
        (snapshot.path / file).unlink(missing_ok=True)
        raise


def _found(snapshot: Snapshot, files: list[int], predicate: str) -> dict[int, np.ndarray[Any, Any]]:
    """For each file the rows that meet a predicate, ascending."""
    import duckdb

    query = f"SELECT {FILE}, {ROW} FROM ({scan_sql(snapshot, files, positions=True)}) WHERE ({predicate})"
    try:
        rows = database().sql(f"{query} ORDER BY ALL").to_arrow_table()
    except duckdb.Error as error:
        raise PredicateError(f"the predicate {predicate!r} fails: {str(error).splitlines()[0]}") from None
    numbers, places = (rows[name].to_numpy() for name in rows.column_names)
    chosen, starts = np.unique(numbers, return_index=True)
    return dict(zip(chosen.tolist(), np.split(places, starts[1:]), strict=True)) if len(chosen) else {}


def _statistics(snapshot: Snapshot, index: int) -> tuple[int, str]:
    """The number of rows in a file, deleted ones included, and its statistics once more of them are deleted."""
    import pyarrow.parquet

    stats = json.loads(snapshot.state.files["stats"][index].as_py() or "{}")
    if "numRecords" not in stats:
        stats["numRecords"] = pyarrow.parquet.read_metadata(snapshot.files[index]).num_rows
    return stats["numRecords"], json.dumps({**stats, "tightBounds": False}, separators=(",", ":"))

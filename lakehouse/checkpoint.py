"""Checkpoints: the state of a table at a version in one Parquet file, so that readers need not replay the log before.

Source: Delta protocol, "Checkpoints", "V1 Spec" and "Last Checkpoint File".
"""

from __future__ import annotations

import json
import re
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .log import FOLDER
from .replay import actions_to_keep
from .schema import quote_text
from .snapshot import Snapshot, open_snapshot
from .storage import Storage, database

if TYPE_CHECKING:
    import pyarrow as pa

#: After how many commits there is a checkpoint, unless the table's properties say so.
INTERVAL = 100
#: How long files that are no longer part of a table stay, in hours, unless its properties say so.
RETENTION_HOURS = 168.0

_HOURS = {"week": 168.0, "day": 24.0, "hour": 1.0, "minute": 1 / 60, "second": 1 / 3600}
_HOURS |= {"millisecond": 1 / 3_600_000, "microsecond": 1 / 3_600_000_000, "nanosecond": 1 / 3_600_000_000_000}


def checkpoint(snapshot: Snapshot) -> int:
    """Write the checkpoint of a version, and tell readers of it; the version."""
    since = int(time.time() * 1000 - retention_hours(snapshot.configuration) * 3_600_000)
    files = actions_to_keep(snapshot.storage, snapshot.segment, since)
    others = _others(snapshot)
    with tempfile.TemporaryDirectory() as folder, database().cursor() as connection:
        connection.register("files", files)
        connection.register("others", others)
        file = Path(folder, "checkpoint.parquet")
        # Of a file it is said once more that it is there, not that rows are new.
        connection.execute(
            "COPY (FROM others UNION ALL BY NAME SELECT "
            "CASE WHEN add.path IS NOT NULL THEN struct_insert(add, dataChange := false) END AS add, "
            "CASE WHEN add.path IS NULL THEN remove END AS remove FROM files) "
            f"TO {quote_text(str(file))} (FORMAT parquet)"
        )
        content = file.read_bytes()
    # If it is there, another process has written the same.
    snapshot.storage.create(f"{FOLDER}/{snapshot.version:020}.checkpoint.parquet", content)
    told = {"version": snapshot.version, "size": len(files) + len(others), "sizeInBytes": len(content)}
    told["numOfAddFiles"] = len(snapshot.files)
    snapshot.storage.replace(f"{FOLDER}/_last_checkpoint", json.dumps(told).encode())
    return snapshot.version


def checkpoint_if_due(storage: Storage, version: int, metadata: dict[str, Any]) -> None:
    """Write a checkpoint of a version that was just committed, if it is time for one; the commit stands anyway."""
    try:
        interval = int((metadata.get("configuration") or {}).get("delta.checkpointInterval", INTERVAL))
        if interval > 0 and version % interval == 0:
            checkpoint(open_snapshot(storage, version, ""))
    except Exception as error:
        warnings.warn(f"version {version} of {storage.root!r} has no checkpoint: {error}", stacklevel=2)


def retention_hours(configuration: dict[str, str]) -> float:
    """For how many hours a table keeps files that are no longer part of it."""
    text = configuration.get("delta.deletedFileRetentionDuration", "")
    parts = re.findall(r"(\d+)\s+([a-z]+?)s?\b", text.lower())
    return sum(int(number) * _HOURS.get(unit, 0.0) for number, unit in parts) if parts else RETENTION_HOURS


def _others(snapshot: Snapshot) -> pa.Table:
    """The actions that are not on files."""
    import pyarrow as pa

    state, text, number = snapshot.state, pa.string(), pa.int64()
    texts = pa.map_(text, text)
    protocol = {"minReaderVersion": pa.int32(), "minWriterVersion": pa.int32()}
    protocol |= dict.fromkeys(("readerFeatures", "writerFeatures"), pa.list_(text))
    metadata = {"id": text, "name": text, "description": text}
    metadata["format"] = pa.struct({"provider": text, "options": texts})
    metadata |= {
        "schemaString": text,
        "partitionColumns": pa.list_(text),
        "configuration": texts,
        "createdTime": number,
    }
    schema = {
        "protocol": pa.struct(protocol),
        "metaData": pa.struct(metadata),
        "txn": pa.struct({"appId": text, "version": number, "lastUpdated": number}),
        "domainMetadata": pa.struct({"domain": text, "configuration": text, "removed": pa.bool_()}),
    }
    form = state.metadata.get("format") or {}
    told = {**state.metadata, "configuration": list(snapshot.configuration.items())}
    told["format"] = {"provider": form.get("provider"), "options": list((form.get("options") or {}).items())}
    rows: list[dict[str, Any]] = [{"protocol": state.protocol}, {"metaData": told}]
    rows += [{"txn": {"appId": name, "version": version}} for name, version in state.transactions.items()]
    rows += [
        {"domainMetadata": {"domain": name, "configuration": value, "removed": False}}
        for name, value in state.domains.items()
    ]
    return pa.Table.from_pylist(rows, pa.schema(schema))

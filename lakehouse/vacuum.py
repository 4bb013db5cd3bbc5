"""Remove the files that are no longer part of a table.

Source: Delta protocol, "Remove File" and "Vacuum Protocol Check".
"""

from __future__ import annotations

import datetime as dt
import math
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .checkpoint import retention_hours
from .deletion_vectors import vector_path
from .errors import telling
from .index import unneeded
from .protocol import check_writable
from .replay import actions_to_keep
from .snapshot import Snapshot, open_snapshot
from .storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

#: A thousand years: more than times can go back.
_MOST_HOURS = 8_766_000


def vacuum(storage: Storage, retain_hours: float | None, dry_run: bool, force: bool, where: str) -> pa.Table:
    """Remove old files, or tell which; see `Table.vacuum`."""
    import pyarrow as pa

    with telling(where):
        snapshot = open_snapshot(storage, None, "")
        check_writable(snapshot.state.protocol, snapshot.state.metadata, "append")
        least = retention_hours(snapshot.configuration)
        hours = least if retain_hours is None else retain_hours
        if not (math.isfinite(hours) and hours >= 0):
            raise ValueError(f"argument retain_hours is {hours}; expected a number of hours, from 0 on")
        if hours < least and not (force or dry_run):
            raise ValueError(
                f"argument retain_hours is {hours:g}, and the table keeps files for {least:g} hours: queries of old "
                "versions would fail, and files of writers that have not committed yet would be lost; pass force=True "
                "if there are none"
            )
        before = dt.datetime.now(dt.UTC) - dt.timedelta(hours=min(hours, _MOST_HOURS))
        needed = _needed(snapshot, int(before.timestamp() * 1000))
        useless = set(unneeded(snapshot, needed))
        old = sorted(
            (file.path, file.size, file.modified)
            for file in storage.files()
            if file.modified < before
            and (file.path in useless or not (_is_hidden(file.path) or storage.locate(file.path) in needed))
        )
        if not dry_run:
            storage.remove([path for path, _, _ in old])
        rows = [{"path": path, "size": size, "modification_time": time} for path, size, time in old]
        return pa.Table.from_pylist(rows, columns())


def columns() -> pa.Schema:
    """What is told of each file."""
    import pyarrow as pa

    return pa.schema({"path": pa.string(), "size": pa.int64(), "modification_time": pa.timestamp("us", "UTC")})


def _needed(snapshot: Snapshot, since: int) -> set[str]:
    """The locations of the files of the newest version, and of those that were there after a time."""
    needed, storage = set(), snapshot.storage
    for row in actions_to_keep(storage, snapshot.segment, since).to_pylist():
        action: dict[str, Any] = row["add"] if row["add"] and row["add"]["path"] is not None else row["remove"]
        needed.add(_normal(storage.locate(unquote(action["path"]))))
        vector = action["deletionVector"] or {}
        if vector.get("storageType") == "u":
            needed.add(_normal(storage.locate(vector_path(vector["pathOrInlineDv"]))))
    return needed


def _normal(location: str) -> str:
    """A location without steps up, as listings have it."""
    return location if "://" in location else os.path.normpath(location)


def _is_hidden(path: str) -> bool:
    """Whether a file, or a directory that it is in, begins with ``_`` or ``.``.

    Change data are files of the table too; a partition is a directory even if its column's name begins so.
    """
    parts = path.split("/")
    if parts[0] == "_change_data":
        parts = parts[1:]
    return any(part[0] in "._" and "=" not in part for part in parts)

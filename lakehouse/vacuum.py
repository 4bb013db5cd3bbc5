"""Remove the files that are no longer part of a table.

Source: Delta protocol, "Remove File" and "Vacuum Protocol Check".
"""

from __future__ import annotations

import datetime as dt
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint import retention_hours
from .deletion_vectors import vector_path
from .errors import telling
from .index import unneeded
from .log import actions_to_keep
from .protocol import check_writable
from .snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    import pyarrow as pa


def vacuum(path: Path, retain_hours: float | None, dry_run: bool, force: bool, where: str) -> pa.Table:
    """Remove old files, or tell which; see `Table.vacuum`."""
    import pyarrow as pa

    with telling(where):
        snapshot = open_snapshot(path, None, "")
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
        before = time.time() - hours * 3600
        needed = _needed(snapshot, int(before * 1000))
        found = [*_files(snapshot.path), *_indexes(snapshot, needed)]
        old = [(file, stat) for file, stat in found if stat.st_mtime < before and file not in needed]
        rows = [
            {
                "path": Path(file).relative_to(snapshot.path).as_posix(),
                "size": stat.st_size,
                "modification_time": dt.datetime.fromtimestamp(stat.st_mtime, dt.UTC),
            }
            for file, stat in sorted(old)
        ]
        if not dry_run:
            for file, _ in old:
                Path(file).unlink(missing_ok=True)
        return pa.Table.from_pylist(rows, columns())


def columns() -> pa.Schema:
    """What is told of each file."""
    import pyarrow as pa

    return pa.schema({"path": pa.string(), "size": pa.int64(), "modification_time": pa.timestamp("us", "UTC")})


def _needed(snapshot: Snapshot, since: int) -> set[str]:
    """The files of the newest version, and of those that were there after a time."""
    from urllib.parse import unquote

    needed = set()
    for row in actions_to_keep(snapshot.storage, snapshot.segment, since).to_pylist():
        action: dict[str, Any] = row["add"] if row["add"] and row["add"]["path"] is not None else row["remove"]
        needed.add(os.path.normpath(snapshot.storage.locate(unquote(action["path"]))))
        vector = action["deletionVector"] or {}
        if vector.get("storageType") == "u":
            needed.add(os.path.normpath(snapshot.storage.locate(vector_path(vector["pathOrInlineDv"]))))
    return needed


def _indexes(snapshot: Snapshot, needed: set[str]) -> Iterator[tuple[str, os.stat_result]]:
    """The index files that tell of none of the files that are needed."""
    for path in unneeded(snapshot, needed):
        file = snapshot.path / path
        yield str(file), file.stat()


def _files(folder: Path, top: bool = True) -> Iterator[tuple[str, os.stat_result]]:
    """The files below a directory, without those that begin with ``_`` or ``.`` and those inside such a directory.

    Change data are files of the table too; a partition is a directory even if its column's name begins so.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            hidden = entry.name[0] in "._" and "=" not in entry.name and not (top and entry.name == "_change_data")
            if hidden or entry.is_symlink():
                continue
            if entry.is_dir():
                yield from _files(Path(entry.path), top=False)
            else:
                yield entry.path, entry.stat()

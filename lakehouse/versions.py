"""Make an old version the newest one again, and start tables from versions of others."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from pathlib import Path
from typing import Any

from .deletion_vectors import vector_path
from .errors import telling
from .protocol import check_writable
from .snapshot import Snapshot, open_snapshot
from .storage import Storage
from .transaction import ConflictError, Transaction, create_table, encoded, known_file

_MOST_ID = "delta.columnMapping.maxColumnId"


def restore(storage: Storage, version: int | None, timestamp: dt.datetime | str | None, where: str) -> dict[str, int]:
    """Commit a version that has the rows and the rules of an old one; see `Table.restore`."""
    with telling(where):
        if (version is None) == (timestamp is None):
            raise ValueError("expected either a version or a timestamp")
        now, then = open_snapshot(storage, None, ""), open_snapshot(storage, version, "", timestamp)
        check_writable(now.state.protocol, now.state.metadata, "change")
        ours, theirs = _keys(now), _keys(then)
        back = [index for key, index in theirs.items() if key not in ours]
        missing = [then.files[index] for index, there in zip(back, _exist(then, back), strict=True) if not there]
        if missing:
            raise FileNotFoundError(
                f"version {then.version} cannot be restored: {len(missing)} of its files are gone, "
                f"such as {missing[0]!r}; vacuum removes the files of old versions"
            )
        with Transaction(now, "RESTORE", "true", {"version": then.version}) as change:
            change.metadata = _restored(now, then)
            for index in (index for key, index in ours.items() if key not in theirs):
                change.remove(index)
            change.actions += [known_file(then, index) for index in back]
            change.metrics |= {"numRestoredFiles": len(back), "numRemovedFiles": len(ours.keys() - theirs.keys())}
            told = {"files_added": len(back), "files_removed": len(ours.keys() - theirs.keys())}
            return {"version": change.commit(), **told}


def clone(source: Snapshot, destination: str | Path, shallow: bool, where: str) -> Storage:
    """Start a table from a version of another; see `Table.clone`."""
    with telling(where):
        target = Storage.of(destination)
        if not target.is_free():
            raise FileExistsError(f"{target.root!r} exists; expected a directory that does not, or is empty")
        if shallow and target.is_local != source.storage.is_local:
            raise ValueError("a shallow clone cannot be on a disk if the table is in an object store, or vice versa")
        copied: set[str] = set()
        try:
            actions = [_moved(source, index, target, None if shallow else copied) for index in range(len(source.files))]
            metadata = {**source.state.metadata, "id": str(uuid.uuid4()), "createdTime": time.time_ns() // 1_000_000}
            told = {"source": source.storage.root, "sourceVersion": source.version, "isShallow": shallow}
            first = [{"protocol": source.state.protocol}, {"metaData": metadata}]
            if not create_table(target, "CLONE", told, [*first, *actions]):
                raise ConflictError("another writer created the table meanwhile; try again")
        except BaseException:
            target.remove(copied)
            target.tidy()
            raise
    return target


def _moved(source: Snapshot, index: int, target: Storage, copied: set[str] | None) -> dict[str, Any]:
    """The action that puts a file of another table into one, copied, or by pointing to it without such a set."""
    action = known_file(source, index)
    vector = action["add"].get("deletionVector", {})
    located = vector_path(vector["pathOrInlineDv"]) if vector.get("storageType") == "u" else None
    if copied is None:
        action["add"]["path"] = _absolute(source.files[index])
        if located:
            absolute = _absolute(source.storage.locate(located))
            action["add"]["deletionVector"] = {**vector, "storageType": "p", "pathOrInlineDv": absolute}
        return action
    own = source.state.files["path"][index].as_py()
    if Path(own).is_absolute() or ":" in own.split("/", 1)[0]:
        own = f"part-{uuid.uuid4()}.parquet"  # of a shallow clone
        action["add"]["path"] = encoded(own)
    for start, end in [(source.files[index], own), *([(source.storage.locate(located), located)] if located else [])]:
        if end not in copied:  # a file of vectors is one for several
            copied.add(end)
            with source.storage.open(start) as content:
                target.copy(end, content)
    return action


def _absolute(location: str) -> str:
    """A location as the log of another table has it."""
    return encoded(location) if "://" in location else Path(location).as_uri()


def _keys(snapshot: Snapshot) -> dict[Any, int]:
    """The files of a version, by what they are known by in the log."""
    vectors = snapshot.state.files["vector"].to_pylist()
    names = ("storageType", "pathOrInlineDv", "offset")
    return {
        (path, *((vector or {}).get(name) for name in names)): index
        for index, (path, vector) in enumerate(zip(snapshot.files, vectors, strict=True))
    }


def _exist(snapshot: Snapshot, indexes: list[int]) -> list[bool]:
    return snapshot.storage.exist([snapshot.files[index] for index in indexes])


def _restored(now: Snapshot, then: Snapshot) -> dict[str, Any]:
    """The metadata of an old version; numbers of columns that were given since are not given again."""
    metadata, most = then.state.metadata, now.configuration.get(_MOST_ID)
    if most is None:
        return metadata
    return {**metadata, "configuration": {**then.configuration, _MOST_ID: most}}

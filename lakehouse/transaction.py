"""One commit to a table: actions that follow from a version that was read, and count if they come to stand.

A commit is the file of the next version, which must not exist yet. Whoever finds it there reads what the winner did: if
that has nothing to do with the rows that this transaction looked at, it tries the version after; otherwise it fails,
and the table is as if it had never begun.

Source: Delta protocol, "Delta Log Entries" and "Commit Provenance Information"; conflicts as in the isolation level
*write serializable* of Armbrust and others: Delta Lake, PVLDB 13 (2020), section 3.2.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .log import FOLDER, Log
from .pruning import kept_files
from .snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    from deltalake.transaction import AddAction

#: How often a commit is tried again.
MOST_RETRIES = 15


class ConflictError(RuntimeError):
    """Another writer changed what a transaction had read."""


@dataclass
class Transaction:
    """Changes to a table that become one version.

    Attributes
    ----------
    snapshot : Snapshot
        The version that the changes follow from.
    operation : str
        What the table's history calls it, such as ``DELETE``.
    predicate : str
        The SQL condition of the rows that were looked at.
    parameters, metrics : dict
        What else the history says.
    actions : list of dict
        The actions so far, as the log has them.
    """

    snapshot: Snapshot
    operation: str
    predicate: str
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    actions: list[dict[str, Any]] = field(default_factory=list)

    def remove(self, index: int) -> None:
        """Take one of the snapshot's files out of the table."""
        self.actions.append({"remove": {**self._entry(index), "deletionTimestamp": _now(), "dataChange": True}})

    def mark(self, index: int, vector: dict[str, Any], stats: str) -> None:
        """Give one of the snapshot's files another deletion vector."""
        self.remove(index)
        entry = {**self._entry(index), "deletionVector": vector, "stats": stats}
        modified = self.snapshot.state.files["modification_time"][index].as_py()
        self.actions.append({"add": {**entry, "modificationTime": modified, "dataChange": True}})

    def add(self, file: AddAction) -> None:
        """Put a new file into the table."""
        entry = {"path": encoded(file.path), "partitionValues": dict(file.partition_values), "size": file.size}
        entry |= {"modificationTime": file.modification_time, "dataChange": True, "stats": file.stats}
        self.actions.append({"add": entry})

    def commit(self) -> int:
        """Make the changes a version of the table; its number.

        Raises
        ------
        ConflictError
            Another writer changed the same files, rows or the table's rules since the snapshot.
        """
        storage, version = self.snapshot.storage, self.snapshot.version
        for _ in range(MOST_RETRIES + 1):
            newest = Log(storage).newest
            for winner in range(version + 1, newest + 1):
                self._check(winner)
            version = newest
            content = "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in self._all(version))
            if storage.create(f"{FOLDER}/{version + 1:020}.json", content.encode()):
                return version + 1
        raise ConflictError(
            f"{self.operation} was overtaken by other writers {MOST_RETRIES} times, last by version {version + 1}"
        )

    def _entry(self, index: int) -> dict[str, Any]:
        """What an action says to name a file."""
        files = self.snapshot.state.files
        row = {name: files[name][index].as_py() for name in ("path", "partition", "size", "vector")}
        entry = {"path": encoded(row["path"]), "partitionValues": dict(row["partition"] or ()), "size": row["size"]}
        if row["vector"]:
            entry["deletionVector"] = {name: value for name, value in row["vector"].items() if value is not None}
        return entry

    def _all(self, version: int) -> list[dict[str, Any]]:
        """The actions with who did what in front."""
        told = {
            "timestamp": _now(),
            "operation": self.operation,
            "operationParameters": {name: json.dumps(value) for name, value in self.parameters.items()},
            "operationMetrics": {name: str(value) for name, value in self.metrics.items()},
            "readVersion": self.snapshot.version,
            "isolationLevel": "WriteSerializable",
            "isBlindAppend": False,
            "engineInfo": "ironlake",
            "txnId": str(uuid.uuid4()),
        }
        if self.snapshot.configuration.get("delta.enableInCommitTimestamps", "").lower() == "true":
            before = Log(self.snapshot.storage).committed(version)
            told = {"inCommitTimestamp": max(_now(), int(before.timestamp() * 1000) + 1), **told}
        return [{"commitInfo": told}, *self.actions]

    def _check(self, winner: int) -> None:
        """Whether a version that came first leaves room for this transaction."""
        storage = self.snapshot.storage
        lines = storage.read(storage.locate(f"{FOLDER}/{winner:020}.json")).splitlines()
        theirs = [json.loads(line) for line in lines if line.strip()]
        info: dict[str, Any] = next((each["commitInfo"] for each in theirs if "commitInfo" in each), {})
        told = f"version {winner} ({info.get('operation', 'of another writer')})"
        if any("protocol" in each or "metaData" in each for each in theirs):
            raise ConflictError(f"{self.operation} failed: {told} changed the rules of the table; try again")
        ours = {each["remove"]["path"] for each in self.actions if "remove" in each}
        if any(each["remove"]["path"] in ours for each in theirs if "remove" in each):
            raise ConflictError(f"{self.operation} failed: {told} changed the same files; try again")
        added = {each["add"]["path"] for each in theirs if "add" in each and each["add"].get("dataChange", True)}
        if added and not info.get("isBlindAppend"):
            then = open_snapshot(self.snapshot.path, winner, "")
            paths = then.state.files["path"].to_pylist()
            if added & {encoded(paths[index]) for index in kept_files(then, self.predicate)}:
                raise ConflictError(f"{self.operation} failed: {told} wrote rows that it should have seen; try again")


def encoded(path: str) -> str:
    """A path as the log writes it."""
    return quote(path, safe="/:=+,@!$&'()*;~")


def _now() -> int:
    """The time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000

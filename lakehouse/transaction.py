"""One commit to a table: actions that follow from a version that was read, and count if they come to stand.

A commit is the file of the next version, which must not exist yet. Whoever finds it there reads what the winner did: if
that has nothing to do with the rows that this transaction looked at, it tries the version after; otherwise it fails,
and the table is as if it had never begun.

Source: Delta protocol, "Delta Log Entries" and "Commit Provenance Information"; conflicts as in the isolation level
*write serializable* of Armbrust and others: Delta Lake, PVLDB 13 (2020), section 3.2.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .checkpoint import checkpoint_if_due
from .files import FILE_BYTES, write_files
from .governance.expectations import conditions, judge, kept, tell
from .log import FOLDER, Log
from .pruning import kept_files
from .rules import check_rows, computed_columns
from .snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa

    from .files import DataFile
    from .storage import Storage

#: How often a commit is tried again.
MOST_RETRIES = 15


class ConflictError(RuntimeError):
    """Another writer changed what a transaction had read."""


@dataclass
class Transaction:
    """Changes to a table that become one version; as a context, nothing is left of them if that fails.

    Attributes
    ----------
    snapshot : Snapshot
        The version that the changes follow from.
    operation : str
        What the table's history calls it, such as ``DELETE``.
    predicate : str or None
        The SQL condition of the rows that were looked at; None if none were.
    parameters, metrics : dict
        What else the history says.
    actions : list of dict
        The actions so far, as the log has them.
    written : list of str
        The files that were written for them, relative to the table.
    """

    snapshot: Snapshot
    operation: str
    predicate: str | None
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    actions: list[dict[str, Any]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.snapshot.storage.remove(self.written)

    @property
    def protocol(self) -> dict[str, Any]:
        """The protocol after the changes so far; setting it is one."""
        return self._newest("protocol", self.snapshot.state.protocol)

    @protocol.setter
    def protocol(self, protocol: dict[str, Any]) -> None:
        self._replace("protocol", self.protocol, protocol)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata after the changes so far; setting them is one."""
        return self._newest("metaData", self.snapshot.state.metadata)

    @metadata.setter
    def metadata(self, metadata: dict[str, Any]) -> None:
        self._replace("metaData", self.metadata, metadata)

    def _newest(self, kind: str, before: dict[str, Any]) -> dict[str, Any]:
        return next((each[kind] for each in self.actions if kind in each), before)

    def _replace(self, kind: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        if after != before:
            self.actions = [{kind: after}, *(each for each in self.actions if kind not in each)]

    def remove(self, index: int, data_change: bool = True) -> None:
        """Take one of the snapshot's files out of the table."""
        entry = _entry(self.snapshot, index)
        self.actions.append({"remove": {**entry, "deletionTimestamp": now(), "dataChange": data_change}})

    def mark(self, index: int, vector: dict[str, Any], stats: str) -> None:
        """Give one of the snapshot's files another deletion vector."""
        self.remove(index)
        added = known_file(self.snapshot, index)
        self.actions.append({"add": {**added["add"], "deletionVector": vector, "stats": stats}})

    def add(self, file: DataFile, data_change: bool = True) -> None:
        """Put a new file into the table."""
        self.actions.append(add_action(file, data_change))

    def rearrange(self, rows: pa.RecordBatchReader, file_bytes: int) -> list[DataFile]:
        """Put rows into the table that are in it already, in files of a size, which its readers need not notice."""
        files = self._files(rows, self.after([]).schema, file_bytes=file_bytes)
        for file in files:
            self.add(file, data_change=False)
        return files

    def write(
        self, rows: pa.RecordBatchReader, rules: Mapping[str, str] | None = None, dropping: bool = False
    ) -> list[DataFile]:
        """Put rows into the table: their files are written, and checked against its rules and more of the caller's.

        With ``dropping`` the rows are left out that an expectation says to drop; otherwise they break a rule.

        Raises
        ------
        ConstraintError
            Some rows break a rule.
        """
        dropped: dict[str, int] = {}
        after = self.after([])
        files = self._files(kept(after, rows, dropped) if dropping else rows, after.schema)
        for file in files:
            self.add(file)
        strict = conditions(after, ("fail",) if dropping else ("drop", "fail"))
        check_rows(self.after(files), {**(rules or {}), **strict})
        self.metrics |= judge(self.after(files), dropped)
        return files

    def feed(self, rows: pa.RecordBatchReader) -> None:
        """Write rows to the change data feed; they say in ``_change_type`` what became of them."""
        for file in self._files(rows, self.after([]).schema.append(_change_type()), "_change_data"):
            entry = {"path": encoded(file.path), "partitionValues": file.partition_values, "size": file.size}
            self.actions.append({"cdc": {**entry, "dataChange": False}})

    def _files(
        self, rows: pa.RecordBatchReader, schema: pa.Schema, folder: str = "", file_bytes: int = FILE_BYTES
    ) -> list[DataFile]:
        after = self.after([])
        computed = computed_columns(after.schema)
        mapped = after.mapping != "none"
        files = write_files(after.storage, rows, schema, after.partition_columns, mapped, computed, folder, file_bytes)
        self.written += [file.path for file in files]
        return files

    def after(self, files: list[DataFile]) -> Snapshot:
        """The table with the rules that it will have and only these files."""
        rows = [
            {
                "path": file.path,
                "partition": list(file.partition_values.items()),
                "size": file.size,
                "modification_time": file.modification_time,
                "stats": file.stats,
            }
            for file in files
        ]
        before = self.snapshot.state
        table = before.files.slice(0, 0).from_pylist(rows, before.files.schema)
        state = dataclasses.replace(before, protocol=self.protocol, metadata=self.metadata, files=table)
        return Snapshot(self.snapshot.storage, self.snapshot.segment, state)

    def commit(self) -> int:
        """Make the changes a version of the table; its number. Without changes it is that of the snapshot.

        That an expectation left all rows out is told in a version of its own.

        Raises
        ------
        ConflictError
            Another writer changed the same files, rows or the table's rules since the snapshot.
        """
        storage, version = self.snapshot.storage, self.snapshot.version
        if not self.actions and not tell(self.metrics):
            _record(storage, self.operation, version, self.predicate)
            return version
        for _ in range(MOST_RETRIES + 1):
            newest = Log(storage).newest
            for winner in range(version + 1, newest + 1):
                self._check(winner)
            version = newest
            if storage.create(f"{FOLDER}/{version + 1:020}.json", lines(self._all(version))):
                self.written.clear()
                checkpoint_if_due(storage, version + 1, self.metadata)
                _record(storage, self.operation, version + 1, self.predicate)
                return version + 1
        raise ConflictError(
            f"{self.operation} was overtaken by other writers {MOST_RETRIES} times, last by version {version + 1}"
        )

    @property
    def _is_blind(self) -> bool:
        """Whether rows are only added, and none were looked at."""
        return self.predicate is None and all("add" in each for each in self.actions)

    def _all(self, version: int) -> list[dict[str, Any]]:
        """The actions with who did what in front."""
        told = {
            **provenance(self.operation, self.parameters, self.metrics),
            "readVersion": self.snapshot.version,
            "isolationLevel": "WriteSerializable",
            "isBlindAppend": self._is_blind,
        }
        if self.snapshot.configuration.get("delta.enableInCommitTimestamps", "").lower() == "true":
            before = Log(self.snapshot.storage).committed(version)
            told = {"inCommitTimestamp": max(now(), int(before.timestamp() * 1000) + 1), **told}
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
        if added and self.predicate is not None and not info.get("isBlindAppend"):
            then = open_snapshot(storage, winner, "")
            paths = then.state.files["path"].to_pylist()
            if added & {encoded(paths[index]) for index in kept_files(then, self.predicate)}:
                raise ConflictError(f"{self.operation} failed: {told} wrote rows that it should have seen; try again")


def create_table(storage: Storage, operation: str, parameters: dict[str, Any], actions: list[dict[str, Any]]) -> bool:
    """Commit the first version of a table; False if another writer was first."""
    told = {"commitInfo": {**provenance(operation, parameters, {}), "isBlindAppend": True}}
    if not storage.create(f"{FOLDER}/{0:020}.json", lines([told, *actions])):
        return False
    _record(storage, operation, 0, None)
    return True


def _record(storage: Storage, operation: str, version: int, predicate: str | None) -> None:
    """Tell the audit log of the lake, if there is one."""
    from .governance.audit import record_commit  # which writes by transactions itself

    record_commit(storage, operation, version, predicate)


def lines(actions: list[dict[str, Any]]) -> bytes:
    """Actions as a commit has them."""
    return "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions).encode()


def provenance(operation: str, parameters: dict[str, Any], metrics: dict[str, int]) -> dict[str, Any]:
    """What a commit says of itself."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    return {
        "timestamp": now(),
        "operation": operation,
        "operationParameters": texts,
        "operationMetrics": {name: str(value) for name, value in metrics.items()},
        "engineInfo": "ironlake",
        "txnId": str(uuid.uuid4()),
    }


def _change_type() -> pa.Field:
    import pyarrow as pa

    return pa.field("_change_type", pa.string())


def _entry(snapshot: Snapshot, index: int) -> dict[str, Any]:
    """What an action says to name a file of a snapshot."""
    files = snapshot.state.files
    row = {name: files[name][index].as_py() for name in ("path", "partition", "size", "vector")}
    entry = {"path": encoded(row["path"]), "partitionValues": dict(row["partition"] or ()), "size": row["size"]}
    if row["vector"]:
        entry["deletionVector"] = {name: value for name, value in row["vector"].items() if value is not None}
    return entry


def known_file(snapshot: Snapshot, index: int) -> dict[str, Any]:
    """The action that puts a file of a snapshot into a table."""
    files = snapshot.state.files
    entry = {**_entry(snapshot, index), "modificationTime": files["modification_time"][index].as_py()}
    stats = files["stats"][index].as_py()
    return {"add": {**entry, "dataChange": True, **({} if stats is None else {"stats": stats})}}


def add_action(file: DataFile, data_change: bool = True) -> dict[str, Any]:
    """The action that puts a file into a table."""
    entry = {"path": encoded(file.path), "partitionValues": file.partition_values, "size": file.size}
    entry |= {"modificationTime": file.modification_time, "dataChange": data_change, "stats": file.stats}
    return {"add": entry}


def encoded(path: str) -> str:
    """A path as the log writes it."""
    return quote(path, safe="/:=+,@!$&'()*;~")


def now() -> int:
    """The time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000

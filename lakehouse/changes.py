"""What became of a table's rows between two versions: the change data feed.

A commit may have files that say it row by row (*change data files*). For the others it follows from the actions that
change data: the rows of a file that comes are inserted, those of a file that goes are deleted, and of a file that gets
another deletion vector the rows that only one of the two vectors has. Rows that a vector had already deleted are in
neither.

Source: Delta protocol, "Add CDC File" and "Reader Requirements for AddCDCFile".
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from .deletion_vectors import deleted_rows
from .errors import telling
from .log import FOLDER, Log, VersionError
from .pinned import pinned_rows
from .protocol import mapping_mode
from .scan import FILE, ROW, scan_sql
from .schema import logged_schema, physical_name, physical_type, quote_name, quote_text, sql_type, widens
from .snapshot import Snapshot, instant, open_snapshot
from .storage import Storage, database

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

#: The column of change data files that says what became of a row.
CHANGE_TYPE = "_change_type"
#: What `changes` adds to the columns of a table.
ADDED = (CHANGE_TYPE, "_commit_version", "_commit_timestamp")


@dataclass(frozen=True)
class _File:
    """A file of which rows have changed in a version.

    ``change`` is insert or delete; None where the file itself says it. Rows that ``vector`` deletes have not, nor have
    those that are not in ``only``, where that is a vector.
    """

    version: int
    partition_columns: tuple[str, ...]
    path: str
    partition: dict[str, str | None]
    change: str | None
    vector: dict[str, Any] | None = None
    only: dict[str, Any] | None = None


def changes(
    path: Storage | Path | str,
    from_version: int | None,
    to_version: int | None,
    from_timestamp: dt.datetime | str | None,
    to_timestamp: dt.datetime | str | None,
    where: str,
) -> duckdb.DuckDBPyRelation:
    """The changes of some versions of the table at `path`, lazily; see `Table.changes`."""
    with telling(where):
        return database().cursor().sql(changes_sql(path, from_version, to_version, from_timestamp, to_timestamp))


def changes_sql(
    path: Storage | Path | str,
    from_version: int | None,
    to_version: int | None,
    from_timestamp: dt.datetime | str | None,
    to_timestamp: dt.datetime | str | None,
) -> str:
    """The SELECT of the changes of some versions; see `Table.changes`."""
    for name, version, timestamp in (("from", from_version, from_timestamp), ("to", to_version, to_timestamp)):
        if version is not None and timestamp is not None:
            raise ValueError(f"both {name}_version and {name}_timestamp are given; expected one of them")
    if from_version is None and from_timestamp is None:
        raise ValueError("neither from_version nor from_timestamp is given; expected one of them")
    end = open_snapshot(path, to_version, "", to_timestamp)
    if taken := [name for name in ADDED if name in end.schema.names]:
        raise ValueError(
            f"the table has a column {taken[0]!r}; rename it, as the changes tell something under this name"
        )
    log = Log(end.storage)
    start = _first_since(log, instant(from_timestamp, "")) if from_timestamp is not None else from_version
    assert start is not None
    if start > end.version and from_timestamp is None:
        raise ValueError(f"from_version is {start}, and the last version is {end.version}; expected one up to that")
    files = list(_changed_files(end, log, start)) if start <= end.version else []
    return _query(end, log, files)


def _first_since(log: Log, time: dt.datetime) -> int:
    """The first version that was committed at a time or later."""
    try:
        version = log.version_at(time)
    except VersionError:
        return max(log.oldest, 0)
    return version if log.committed(version) == time else version + 1


def _changed_files(end: Snapshot, log: Log, start: int) -> Iterator[_File]:
    """The files of which rows changed, from a version to that of a snapshot.

    Raises
    ------
    ValueError
        A version is missing, or its columns are not those of the last one.
    """
    root = end.storage.root
    metadata = open_snapshot(root, start, "").state.metadata
    fitting: set[str | None] = set()
    for version in range(start, end.version + 1):
        actions = list(commit_actions(end.storage, log, version))
        changed = [each for each in actions if next(iter(each.values())).get("dataChange", True)]
        gone = [each["remove"] for each in changed if "remove" in each]
        news = next((each["metaData"] for each in actions if "metaData" in each), metadata)
        if version == start and gone and news is not metadata:
            metadata = open_snapshot(root, version - 1, "").state.metadata  # that of the rows that go
        for each in (metadata, news) if gone else (news,):
            if each.get("schemaString") not in fitting:
                _check_columns(end, version, each)
                fitting.add(each.get("schemaString"))
        told = [each["cdc"] for each in actions if "cdc" in each]
        if told:
            for each in told:
                yield _File(version, _partitions(news), unquote(each["path"]), each.get("partitionValues") or {}, None)
        else:
            come = [each["add"] for each in changed if "add" in each]
            yield from _derived(end, version, gone, come, _partitions(metadata), _partitions(news))
        metadata = news


def commit_actions(storage: Storage, log: Log, version: int) -> Iterator[dict[str, Any]]:
    """The actions of a commit."""
    if version not in log.commits:
        left = sorted(each for each in log.commits if each > version)
        told = f"changes are known from version {left[0]} on" if left else "no later commit is left"
        raise VersionError(f"the commit of version {version} is gone: {told}")
    content = storage.read(storage.locate(f"{FOLDER}/{log.commits[version]}"))
    for line in content.splitlines():
        if line.strip():
            yield json.loads(line)


def _partitions(metadata: dict[str, Any]) -> tuple[str, ...]:
    return tuple(metadata.get("partitionColumns") or ())


def _check_columns(end: Snapshot, version: int, metadata: dict[str, Any]) -> None:
    """Refuse rows whose columns are not all among those of the last version, or of another type.

    Raises
    ------
    ValueError
        The message names the column, and versions that can be asked for.
    """
    mapped = end.mapping != "none"
    columns = {physical_name(field) if mapped else field.name: field for field in end.schema}
    for field in logged_schema(metadata.get("schemaString")):
        now = columns.get(physical_name(field) if mapped else field.name)
        if now is None:
            told = "no longer in"
        elif not widens(physical_type(field.type, mapped, False), physical_type(now.type, mapped, False)):
            told = f"{sql_type(field.type)} and became {sql_type(now.type)} up to"
        else:
            continue
        raise ValueError(
            f"the columns differ: in version {version} there is a column {field.name!r}, which is {told} version "
            f"{end.version}; ask for the versions before and after that change apart"
        )


def _derived(
    end: Snapshot,
    version: int,
    gone: list[dict[str, Any]],
    come: list[dict[str, Any]],
    before: tuple[str, ...],
    after: tuple[str, ...],
) -> Iterator[_File]:
    """The changes of a commit that does not say them row by row."""
    come_by_path = {unquote(each["path"]): each for each in come}
    for each in gone:
        path, values = unquote(each["path"]), each.get("partitionValues")
        if values is None:  # a writer may leave it out
            values = _values_before(end, version, path) if before else {}
        old = each.get("deletionVector")
        if path not in come_by_path:
            yield _File(version, before, path, values, "delete", old)
            continue
        new = come_by_path.pop(path).get("deletionVector")
        was, is_ = _rows(end, old), _rows(end, new)
        if len(np.setdiff1d(is_, was)):
            yield _File(version, before, path, values, "delete", old, only=new)
        if len(np.setdiff1d(was, is_)):
            yield _File(version, before, path, values, "insert", new, only=old)
    for path, each in come_by_path.items():
        yield _File(version, after, path, each.get("partitionValues") or {}, "insert", each.get("deletionVector"))


def _rows(end: Snapshot, vector: dict[str, Any] | None) -> np.ndarray[Any, Any]:
    return deleted_rows(end.storage, _whole(vector)) if vector else np.empty(0, np.int64)


def _whole(vector: dict[str, Any]) -> dict[str, Any]:
    """A descriptor with all of its fields; the log leaves out those that are NULL."""
    return {"offset": None, **vector}


def _values_before(end: Snapshot, version: int, path: str) -> dict[str, str | None]:
    """The partition values of a file that a commit removed."""
    files = open_snapshot(end.storage.root, version - 1, "").state.files
    return dict(files["partition"][files["path"].to_pylist().index(path)].as_py() or ())


def _query(end: Snapshot, log: Log, files: list[_File]) -> str:
    """The SELECT of the changes in all files; those that are read alike stand together."""
    kinds: dict[tuple[Any, ...], list[_File]] = {}
    for file in files:
        kinds.setdefault((file.partition_columns, file.change is None, file.only is None), []).append(file)
    times = {version: log.committed(version) for version in {file.version for file in files}}
    parts = [_select(end, times, alike) for alike in kinds.values()]
    if not parts:
        columns = [f"NULL::{sql_type(field.type)} AS {quote_name(field.name)}" for field in end.schema]
        columns += [f"NULL::{type_} AS {name}" for name, type_ in zip(ADDED, _TYPES, strict=True)]
        return f"SELECT {', '.join(columns)} LIMIT 0"
    return " UNION ALL ".join(parts)


_TYPES = ("VARCHAR", "BIGINT", "TIMESTAMPTZ")


def _select(end: Snapshot, times: dict[int, dt.datetime], files: list[_File]) -> str:
    """The SELECT of the changes in files that are read alike."""
    try:
        scan = scan_sql(_as_snapshot(end, files), positions=True)
    except FileNotFoundError:
        there = end.storage.exist([end.storage.locate(file.path) for file in files])
        if all(there):
            raise  # a deletion vector
        missing = files[there.index(False)]
        raise FileNotFoundError(
            f"the changes of version {missing.version} need the file {missing.path!r}, which is gone; was the table "
            "vacuumed?"
        ) from None
    columns = [quote_name(field.name) for field in end.schema]
    known: dict[str, list[Any]] = {
        CHANGE_TYPE: [file.change for file in files],
        ADDED[1]: [file.version for file in files],
        ADDED[2]: [times[file.version].isoformat() for file in files],
    }
    for (name, values), type_ in zip(known.items(), _TYPES, strict=True):
        listed = ", ".join("NULL" if value is None else quote_text(str(value)) for value in values)
        columns.append(name if values[0] is None else f"([{listed}]::{type_}[])[{FILE} + 1] AS {name}")
    query = f"SELECT {', '.join(columns)} FROM ({scan})"
    if files[0].only is not None:
        numbers = ", ".join(str(pinned_rows(end.storage, _whole(file.only))) for file in files if file.only is not None)
        query += f" WHERE NOT lake_row_kept(([{numbers}]::BIGINT[])[{FILE} + 1], {ROW})"
    return query


def _as_snapshot(end: Snapshot, files: list[_File]) -> Snapshot:
    """A version of the table that has just these files, all of whose rows that no vector deletes have changed."""
    state = end.state
    rows = [
        {"path": file.path, "partition": list(file.partition.items()), "vector": file.vector and _whole(file.vector)}
        for file in files
    ]
    metadata = {**state.metadata, "partitionColumns": list(files[0].partition_columns)}
    if files[0].change is None:
        schema = json.loads(metadata["schemaString"])
        told = {"name": CHANGE_TYPE, "type": "string", "nullable": True, "metadata": {}}
        metadata["schemaString"] = json.dumps({**schema, "fields": [*schema["fields"], told]})
        if mapping_mode(state.protocol, metadata) == "id":
            # Their columns have the physical names too, and this one has no number.
            metadata["configuration"] = {**end.configuration, "delta.columnMapping.mode": "name"}
    table = state.files.slice(0, 0).from_pylist(rows, state.files.schema)
    return Snapshot(end.storage, end.segment, dataclasses.replace(state, metadata=metadata, files=table))

"""What the actions in the log of a Delta table add up to.

Of the actions on a file, which is known by its path and its deletion vector, the newest counts, and of the others the
newest of their kind.

Source: the Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .log import FOLDER, Log, LogError, Segment
from .schema import quote_name, quote_text
from .storage import Storage, database

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_SIDECARS = f"{FOLDER}/_sidecars"
#: The longest line that is read of small files.
_LINE_BYTES = 1_048_576

_VECTOR = {"storageType": "VARCHAR", "pathOrInlineDv": "VARCHAR", "offset": "INTEGER", "cardinality": "BIGINT"}
_VECTOR["sizeInBytes"] = "INTEGER"


def _struct(fields: dict[str, str]) -> str:
    return f"STRUCT({', '.join(f'{quote_name(name)} {type_}' for name, type_ in fields.items())})"


#: What is read of the actions on files.
_ADD = {
    "path": "VARCHAR",
    "partitionValues": "MAP(VARCHAR, VARCHAR)",
    "size": "BIGINT",
    "modificationTime": "BIGINT",
    "stats": "VARCHAR",
    "deletionVector": _struct(_VECTOR),
    "baseRowId": "BIGINT",
    "defaultRowCommitVersion": "BIGINT",
}
_REMOVE = {"path": "VARCHAR", "deletionVector": _struct(_VECTOR)}
#: What checkpoints keep of them besides.
_KEPT_ADD = {**_ADD, "tags": "MAP(VARCHAR, VARCHAR)"}
_KEPT_REMOVE = {**_REMOVE, "deletionTimestamp": "BIGINT", "dataChange": "BOOLEAN", "extendedFileMetadata": "BOOLEAN"}
_KEPT_REMOVE |= {"partitionValues": "MAP(VARCHAR, VARCHAR)", "size": "BIGINT"}
OTHERS = ("metaData", "protocol", "txn", "domainMetadata")
_SIDECAR = {"path": "VARCHAR"}
#: The fields of structured actions that are read for a snapshot, and for a checkpoint.
READ = {"add": _ADD, "remove": _REMOVE, "sidecar": _SIDECAR}
_KEPT = {"add": _KEPT_ADD, "remove": _KEPT_REMOVE, "sidecar": _SIDECAR}


@dataclass(frozen=True)
class State:
    """What a log says of a table at a version.

    Attributes
    ----------
    protocol, metadata : dict
        The newest of these actions.
    files : pyarrow.Table
        The data files: path VARCHAR (not URL-encoded), partition MAP(VARCHAR, VARCHAR), size, modification_time BIGINT
        (milliseconds since 1970), stats VARCHAR (JSON), vector STRUCT (the deletion vector), base_row_id BIGINT, oldest
        first.
    transactions : dict of str to int
        The newest version of each application.
    domains : dict of str to str
        The configuration of each metadata domain.
    """

    protocol: dict[str, Any]
    metadata: dict[str, Any]
    files: pa.Table
    transactions: dict[str, int]
    domains: dict[str, str]


def replay(storage: Storage, segment: Segment) -> State:
    """Read the files of a version, and reconcile their actions.

    Raises
    ------
    LogError
        A file of the log is damaged, or there is no protocol or no metadata.
    """
    return read_state(storage, segment, segment, FILES, State({}, {}, None, {}, {}))


def read_state(storage: Storage, segment: Segment, files: Segment, select: str, before: State) -> State:
    """The state of a version by the actions in files of its log, which follow on a state, and the SELECT of its files.

    Raises
    ------
    LogError
        As of `replay`.
    """
    import duckdb

    connection = database()
    try:
        _load(connection, storage, files, READ)
        others = connection.execute(
            f"SELECT {', '.join(OTHERS)} FROM actions WHERE coalesce({', '.join(OTHERS)}) IS NOT NULL "
            "ORDER BY version, position"
        ).fetchall()
        known = before.files  # noqa: F841 - DuckDB finds it by its name
        found = connection.sql(select).to_arrow_table()
        connection.execute("DROP TABLE actions")
    except duckdb.Error as error:
        told = str(error).splitlines()[0].split(": ", 1)[-1]
        raise LogError(f"a file of the log is damaged: {told}") from error
    newest: dict[str, Any] = {"protocol": before.protocol, "metaData": before.metadata}
    transactions = dict(before.transactions)
    domains: dict[str, str | None] = dict(before.domains)
    for row in others:
        for kind, text in zip(OTHERS, row, strict=True):
            action = json.loads(text) if text else None
            if action is None:
                continue
            if kind == "txn":
                transactions[action["appId"]] = action["version"]
            elif kind == "domainMetadata":
                domains[action["domain"]] = None if action.get("removed") else action.get("configuration")
            else:
                newest[kind] = action
    for missing in (kind for kind, action in newest.items() if not action):
        raise LogError(f"the log has no {missing} action up to version {segment.version}")
    return State(
        newest["protocol"], newest["metaData"], found, transactions,
        {name: text for name, text in domains.items() if text is not None},
    )  # fmt: skip


#: Of the actions on a file the newest.
NEWEST = """
SELECT add, remove FROM actions WHERE coalesce(add.path, remove.path) IS NOT NULL QUALIFY row_number() OVER (
    PARTITION BY
        regexp_replace(url_decode(coalesce(add.path, remove.path)), '^file:/+', '/'),
        coalesce(add.deletionVector, remove.deletionVector)['storageType'],
        coalesce(add.deletionVector, remove.deletionVector)['pathOrInlineDv'],
        coalesce(add.deletionVector, remove.deletionVector)['offset']
    ORDER BY version DESC, position DESC
) = 1
"""

#: The files that are part of the table.
FILES = f"""
SELECT
    url_decode(add.path) AS path, add.partitionValues AS partition, add.size AS size,
    add.modificationTime AS modification_time, add.stats AS stats,
    CASE WHEN add.deletionVector.storageType IS NOT NULL THEN add.deletionVector END AS vector,
    add.baseRowId AS base_row_id
FROM ({NEWEST}) WHERE add.path IS NOT NULL ORDER BY modification_time, path
"""


def actions_to_keep(storage: Storage, segment: Segment, since: int) -> pa.Table:
    """The actions on files as a checkpoint has them, in columns ``add`` and ``remove``.

    Files that were removed before a time, in milliseconds since 1970, are forgotten.
    """
    connection = database()
    _load(connection, storage, segment, _KEPT)
    found = connection.sql(
        f"FROM ({NEWEST}) WHERE add.path IS NOT NULL OR coalesce(remove.deletionTimestamp, 0) >= {since}"
    ).to_arrow_table()
    connection.execute("DROP TABLE actions")
    return found


def removed_at(storage: Storage, version: int, path: str) -> int | None:
    """The version behind another that took a file out of the table; None if there is none."""
    log = Log(storage)
    later = [storage.locate(f"{FOLDER}/{name}") for each, name in log.commits.items() if each > version]
    if not later:
        return None
    with storage.nearby() as near:
        lines = _json_lines(near(later), {"remove": _REMOVE})
        ((removed,),) = database().execute(
            f"SELECT min(version) FROM ({lines}) WHERE url_decode(remove.path) = ?", [path]
        ).fetchall()  # fmt: skip
    return None if removed is None else int(removed)


def _load(
    connection: duckdb.DuckDBPyConnection, storage: Storage, segment: Segment, fields: Mapping[str, dict[str, str]]
) -> None:
    """Make the table ``actions`` of all actions, with some of their fields and the version that each counts for."""
    with storage.nearby() as near:
        parts = []
        if segment.commits:
            parts.append(_json_lines(near([storage.locate(f"{FOLDER}/{name}") for name in segment.commits]), fields))
        files = near([storage.locate(f"{FOLDER}/{name}") for name in segment.checkpoint_files])
        if files:
            parts.append(_checkpoint(connection, files, fields, segment.checkpoint))
            sidecars = connection.execute(
                f"SELECT sidecar.path FROM ({parts[-1]}) WHERE sidecar.path IS NOT NULL"
            ).fetchall()
            if sidecars:
                located = near([storage.locate(f"{_SIDECARS}/{path}") for (path,) in sidecars])
                parts.append(_checkpoint(connection, located, fields, segment.checkpoint))
        connection.execute(f"CREATE OR REPLACE TEMP TABLE actions AS {' UNION ALL BY NAME '.join(parts)}")


def read_lines(files: list[str], columns: dict[str, str]) -> str:
    """The relation, in SQL, of the lines of local JSON files: these columns and ``filename``."""
    wanted = ", ".join(f"{quote_text(name)}: {quote_text(type_)}" for name, type_ in columns.items())
    # A line is no longer than its file. DuckDB's buffers are twice as long, and there are several for each file.
    longest = max(_LINE_BYTES, *(Path(file).stat().st_size for file in files))
    return (
        f"read_json([{', '.join(map(quote_text, files))}], format := 'newline_delimited', columns := {{{wanted}}}, "
        f"filename := true, maximum_object_size := {longest})"
    )


def _json_lines(files: list[str], fields: Mapping[str, dict[str, str]], version: str | None = None) -> str:
    columns = {**{name: _struct(inner) for name, inner in fields.items()}, **dict.fromkeys(OTHERS, "JSON")}
    version = version or r"regexp_extract(filename, '(\d{20})(\.compacted)?\.json$', 1)::BIGINT"
    return (
        f"SELECT {version} AS version, row_number() OVER () AS position, * EXCLUDE (filename) "
        f"FROM {read_lines(files, columns)}"
    )


def _checkpoint(
    connection: duckdb.DuckDBPyConnection,
    files: list[str],
    fields: Mapping[str, dict[str, str]],
    version: int | None,
) -> str:
    """The SELECT of the actions in a checkpoint or in sidecars: whatever columns it has, in the form of a commit's."""
    if files[0].endswith(".json"):
        return _json_lines(files, fields, str(version))
    source = f"read_parquet([{', '.join(map(quote_text, files))}])"
    described = connection.execute(f"DESCRIBE FROM {source}").fetchall()
    present = {row[0] for row in described}
    columns = [f"{version} AS version", "0 AS position"]
    for name, wanted in fields.items():
        value = _reshaped(connection, source, name, wanted) if name in present else "NULL"
        columns.append(f"{value}::{_struct(wanted)} AS {name}")
    for name in OTHERS:
        value = f"CASE WHEN {name} IS NOT NULL THEN to_json({name}) END" if name in present else "NULL::JSON"
        columns.append(f"{value} AS {name}")
    return f"SELECT {', '.join(columns)} FROM {source}"


def _reshaped(connection: duckdb.DuckDBPyConnection, source: str, action: str, wanted: dict[str, str]) -> str:
    """An action on a file with the fields that are read of it, those that the checkpoint lacks as NULL."""
    type_: Any = connection.sql(f"SELECT {action} FROM {source} LIMIT 0").types[0]
    present = {name for name, _ in type_.children}
    fields = []
    for name in wanted:
        value = f"{action}.{quote_name(name)}" if name in present else "NULL"
        if name == "stats" and "stats_parsed" in present:
            parsed = f"CASE WHEN {action}.path IS NOT NULL THEN to_json({action}.stats_parsed)::VARCHAR END"
            value = f"coalesce({value}::VARCHAR, {parsed})"
        if name == "deletionVector" and name in present:
            inner = dict(dict(type_.children)[name].children)
            parts = ", ".join(
                f"{quote_name(each)} := {value}.{quote_name(each)}" if each in inner else f"{quote_name(each)} := NULL"
                for each in _VECTOR
            )
            value = f"CASE WHEN {value} IS NOT NULL THEN struct_pack({parts}) END"
        fields.append(f"{quote_name(name)} := {value}")
    return f"CASE WHEN {action} IS NOT NULL THEN struct_pack({', '.join(fields)}) END"

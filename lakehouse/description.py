"""What the log says of a table, as tables: its history, its files, its columns, its protocol."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from .log import FOLDER, Log
from .replay import read_lines
from .schema import physical_name, quote_name, quote_text, sql_type
from .snapshot import Snapshot
from .storage import database

if TYPE_CHECKING:
    import pyarrow as pa


def history(snapshot: Snapshot, newest: int | None = None) -> pa.Table:
    """A row for each commit that the log still has, up to the snapshot's version, the newest first."""
    import pyarrow as pa

    if newest is not None and newest < 0:
        raise ValueError(f"argument newest is {newest}; expected a number of commits, from 0 on")
    log = Log(snapshot.storage)
    versions = sorted((each for each in log.commits if each <= snapshot.version), reverse=True)[:newest]
    texts = pa.map_(pa.string(), pa.string())
    schema = pa.schema(
        {
            "version": pa.int64(),
            "timestamp": pa.timestamp("us", "UTC"),
            "operation": pa.string(),
            "parameters": texts,
            "metrics": texts,
            "engine": pa.string(),
        }
    )
    told = _infos(snapshot, [log.commits[version] for version in versions])
    rows = [_commit(log, version, told.get(version, {})) for version in versions]
    return pa.Table.from_pylist(rows, schema)


def _infos(snapshot: Snapshot, names: list[str]) -> dict[int, dict[str, Any]]:
    """What the commits say of themselves, by version."""
    if not names:
        return {}
    with snapshot.storage.nearby() as near:
        files = near([snapshot.storage.locate(f"{FOLDER}/{name}") for name in names])
        rows = database().execute(
            r"SELECT regexp_extract(filename, '(\d{20})\.json$', 1)::BIGINT, commitInfo "
            f"FROM {read_lines(files, {'commitInfo': 'JSON'})} WHERE commitInfo IS NOT NULL"
        ).fetchall()  # fmt: skip
    return {version: json.loads(text) for version, text in rows}


def _commit(log: Log, version: int, info: dict[str, Any]) -> dict[str, Any]:
    stamp = info.get("inCommitTimestamp") or info.get("timestamp")
    return {
        "version": version,
        "timestamp": log.committed(version) if stamp is None else dt.datetime.fromtimestamp(stamp / 1000, dt.UTC),
        "operation": info.get("operation"),
        "parameters": _texts(info.get("operationParameters")),
        "metrics": _texts(info.get("operationMetrics")),
        "engine": info.get("engineInfo"),
    }


def _texts(values: dict[str, Any] | None) -> list[tuple[str, str]]:
    """The entries of a JSON object as pairs of texts."""
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in (values or {}).items()]


def files(snapshot: Snapshot) -> pa.Table:
    """A row for each data file: its size, its rows, the values that it is known to lie between."""
    state = snapshot.state.files  # noqa: F841 - DuckDB finds it by its name
    columns = [field for field in snapshot.schema if field.name not in snapshot.partitions and _is_plain(field.type)]
    bounds = ", ".join(
        f"{_struct(snapshot, columns, key, type_)} AS {name}"
        for name, key, type_ in (
            ("min", "minValues", None),
            ("max", "maxValues", None),
            ("null_count", "nullCount", "BIGINT"),
        )
    )
    return (
        database()
        .sql(
            "SELECT path, size AS size_bytes, make_timestamptz(modification_time * 1000) AS modification_time, "
            "(stats->>'numRecords')::BIGINT AS num_records, coalesce(vector.cardinality, 0) AS deleted_records, "
            f"partition, {bounds}, coalesce((stats->>'tightBounds')::BOOLEAN, true) AS tight_bounds FROM state"
        )
        .to_arrow_table()
    )


def _struct(snapshot: Snapshot, columns: list[pa.Field], key: str, type_: str | None) -> str:
    """SQL of a STRUCT of one of the statistics of all columns."""
    if not columns:
        return "NULL"
    mapped = snapshot.mapping != "none"
    parts = []
    for field in columns:
        name = (physical_name(field) if mapped else field.name).replace('"', "")
        value = f"""json_extract_string(stats, {quote_text(f'$.{key}."{name}"')})"""
        parts.append(f"{quote_name(field.name)} := TRY_CAST({value} AS {type_ or sql_type(field.type)})")
    return f"struct_pack({', '.join(parts)})"


def _is_plain(type_: pa.DataType) -> bool:
    import pyarrow.types as is_

    return not (is_.is_nested(type_) or is_.is_null(type_) or is_.is_binary(type_))


def depths(snapshot: Snapshot, names: list[str]) -> pa.Table:
    """A row for each column: how many files have to be read for a value at which the bounds of one begin."""
    import pyarrow as pa

    plain = [field.name for field in snapshot.schema if _is_plain(field.type)]
    listed = files(snapshot)
    rows = []
    for name in names:
        if name not in plain:
            told = ", ".join(map(repr, plain))
            raise ValueError(f"argument columns: there is no column {name!r} with an order; expected some of {told}")
        if name in snapshot.partitions:
            low = high = np.array([value or "" for value in snapshot.partitions[name]], object)
        else:
            bounds = {"low": _bound(listed, "min", name), "high": _bound(listed, "max", name)}
            known = pa.table(bounds).drop_null()
            low, high = (known[bound].to_numpy() for bound in bounds)
        unknown = len(listed) - len(low)  # may lie anywhere
        begun = np.searchsorted(np.sort(low), low, side="right")
        depth = begun - np.searchsorted(np.sort(high), low) + unknown
        means = {"average_depth": float(depth.mean()), "largest_depth": int(depth.max())} if len(depth) else {}
        rows.append({"column_name": name, "num_files": len(listed), "files_without_bounds": unknown, **means})
    schema = {"column_name": pa.string(), "num_files": pa.int64(), "files_without_bounds": pa.int64()}
    schema |= {"average_depth": pa.float64(), "largest_depth": pa.int64()}
    return pa.Table.from_pylist(rows, pa.schema(schema))


def _bound(listed: pa.Table, kind: str, name: str) -> pa.ChunkedArray:
    """One of the bounds of a column in each file."""
    import pyarrow.compute as pc

    return pc.struct_field(listed[kind], [name])


def columns(snapshot: Snapshot) -> pa.Table:
    """A row for each column of the table."""
    import pyarrow as pa

    rows = []
    for field in snapshot.schema:
        metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        rows.append(
            {
                "name": field.name,
                "type": sql_type(field.type),
                "nullable": field.nullable,
                "partition": field.name in snapshot.partition_columns,
                "comment": metadata.pop("comment", None),
                "metadata": list(metadata.items()),
            }
        )
    texts, flag = pa.string(), pa.bool_()
    schema = {"name": texts, "type": texts, "nullable": flag, "partition": flag, "comment": texts}
    return pa.Table.from_pylist(rows, pa.schema({**schema, "metadata": pa.map_(texts, texts)}))


def detail(snapshot: Snapshot) -> pa.Table:
    """One row: what the table is called, how large it is, and what it asks of readers and writers."""
    import pyarrow as pa

    metadata, protocol = snapshot.state.metadata, snapshot.state.protocol
    created = metadata.get("createdTime")
    texts, number = pa.string(), pa.int64()
    columns = {
        "path": (snapshot.storage.root, texts),
        "id": (metadata.get("id"), texts),
        "name": (metadata.get("name"), texts),
        "description": (metadata.get("description"), texts),
        "created": (
            None if created is None else dt.datetime.fromtimestamp(int(created) / 1000, dt.UTC),
            pa.timestamp("us", "UTC"),
        ),
        "version": (snapshot.version, number),
        "partition_columns": (snapshot.partition_columns, pa.list_(texts)),
        "num_files": (len(snapshot.state.files), number),
        "num_records": (snapshot.rows, number),
        "size_bytes": (snapshot.size, number),
        "properties": (list(snapshot.configuration.items()), pa.map_(texts, texts)),
        "min_reader_version": (protocol.get("minReaderVersion"), number),
        "min_writer_version": (protocol.get("minWriterVersion"), number),
        "reader_features": (protocol.get("readerFeatures"), pa.list_(texts)),
        "writer_features": (protocol.get("writerFeatures"), pa.list_(texts)),
    }
    return pa.table({name: pa.array([value], type_) for name, (value, type_) in columns.items()})

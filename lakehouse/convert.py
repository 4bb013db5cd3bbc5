"""Make a directory of Parquet files a Delta table in place: its files stay as they are, and a log is put beside them.

What the log says of a file is taken from its footer. Bounds of floats are left out: a footer does not tell whether
there is a NaN, which is above them.

Source: Delta protocol, "Add File and Remove File", "Partition Value Serialization" and "Per-file Statistics".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .errors import telling
from .files import DataFile, log_statistics
from .schema import quote_name, sql_type, stored_schema
from .snapshot import is_table, misfit
from .storage import Entry, Storage
from .transaction import ConflictError, add_action, create_table
from .write import table_actions

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .table import Table

#: How directories name a NULL.
_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class _Found:
    """A file below the directory: its path from there, what the listing says, its partition, and its footer."""

    path: str
    entry: Entry
    partition: dict[str, str | None]
    footer: pq.FileMetaData


def convert(
    path: str | Path | Storage,
    partition_by: Mapping[str, Any] | pa.Schema | Sequence[str] | str | None = None,
    *,
    where: str = "convert: ",
) -> Table:
    """Make a directory of Parquet files a Delta table, without touching the files.

    Files and directories whose names begin with ``_`` or ``.`` are left out. Directories such as ``day=3`` say the
    values of a column by which the table is partitioned then. What another program writes into the directory later is
    not part of the table.

    Parameters
    ----------
    path : str or pathlib.Path
        The directory.
    partition_by : mapping of str to pyarrow.DataType, pyarrow.Schema, str or sequence of str, optional
        The columns that the directories name, outer ones first, with their types. Without types, and by default, they
        become DATE, TIMESTAMP, BIGINT or VARCHAR, the first of these in which all values are valid.
    where : str
        How errors begin.

    Returns
    -------
    Table
        The table, at version 0.

    Raises
    ------
    FileNotFoundError
        There is no such directory, or no file in it.
    FileExistsError
        It is a Delta table already.
    TypeError
        A column has a type that Delta cannot store.
    ValueError
        A file is not Parquet, or files differ in their columns or in what their directories name.

    Examples
    --------
    >>> ironlake.lakehouse.convert("exports/clicks").version
    0
    """
    from .table import Table

    storage = Storage.of(path, where)
    with telling(where):
        if not storage.has_folder():
            raise FileNotFoundError(f"{storage.root!r} is not there; expected a directory of Parquet files")
        if is_table(storage):
            raise FileExistsError(f"{storage.root!r} is a Delta table already")
        found = _found(storage)
        partitions = _partition_schema(found, partition_by)
        columns = _columns(found, partitions)
        schema = stored_schema(_schema_of(columns, partitions))
        files = [_data_file(each, number, partitions, columns) for number, each in enumerate(found)]
        actions = [*table_actions(schema, partitions.names), *(add_action(file) for file in files)]
        told = {"numFiles": len(files), "partitionedBy": partitions.names}
        if not create_table(storage, "CONVERT", told, actions):
            raise ConflictError("another writer created the table meanwhile; try again")
    return Table(storage)


def _found(storage: Storage) -> list[_Found]:
    """The Parquet files of a directory, in the order of their paths."""
    entries = {file.path: file for file in storage.files()}
    paths = sorted(path for path in entries if not any(_is_hidden(part) for part in path.split("/")))
    if not paths:
        raise FileNotFoundError(f"{storage.root!r} holds no files; expected Parquet files")
    with ThreadPoolExecutor() as pool:
        footers = list(pool.map(lambda path: _footer(storage, path), paths))
    found = [_Found(path, entries[path], _partition(path), footer) for path, footer in zip(paths, footers, strict=True)]
    for each in found:
        if list(each.partition) != list(found[0].partition):
            raise ValueError(
                f"the directories differ: {each.path!r} names {_listed(each.partition)}, {found[0].path!r} "
                f"{_listed(found[0].partition)}; expected the same columns in each"
            )
    return found


def _is_hidden(name: str) -> bool:
    return name[0] in "._" and "=" not in name


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names)) or "no column"


def _footer(storage: Storage, path: str) -> pq.FileMetaData:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with storage.open(storage.locate(path)) as file:
            return pyarrow.parquet.read_metadata(file)
    except pa.ArrowInvalid:
        raise ValueError(f"{path!r} is not a Parquet file; expected nothing else in the directory") from None


def _partition(path: str) -> dict[str, str | None]:
    """What the directories of a path say."""
    pairs = [part.split("=", 1) for part in path.split("/")[:-1] if "=" in part]
    return {unquote(name): None if value in (_NULL, "") else unquote(value) for name, value in pairs}


# ------------------------------------------------------------------------------------------------------------- columns


def _partition_schema(found: list[_Found], given: Any) -> pa.Schema:
    """The columns that the directories name, with their types."""
    import pyarrow as pa

    names = list(found[0].partition)
    typed = isinstance(given, Mapping | pa.Schema)
    told = [given] if isinstance(given, str) else (list(pa.schema(given).names) if typed else list(given or names))
    if told != names:
        raise ValueError(f"argument partition_by names {_listed(told)}, the directories name {_listed(names)}")
    values = {name: sorted({each.partition[name] for each in found} - {None}) for name in names}  # type: ignore[type-var]
    if not typed:
        return pa.schema([(name, _type_of(values[name])) for name in names])
    schema = stored_schema(pa.schema(given)) if names else pa.schema([])
    for field in schema:
        if (wrong := misfit(values[field.name], field.type)) is not None:
            raise ValueError(
                f"the directories name {wrong!r} as a value of the column {field.name!r}, which is no "
                f"{sql_type(field.type)}"
            )
    return schema


def _type_of(values: Sequence[str | None]) -> pa.DataType:
    """The type of a column with these values."""
    import pyarrow as pa

    for type_ in (pa.date32(), pa.timestamp("us"), pa.int64()):
        if misfit(values, type_) is None:
            return type_ if values else pa.string()
    return pa.string()


def _columns(found: list[_Found], partitions: pa.Schema) -> pa.Schema:
    """The columns of the files, as Delta has them."""
    first: pa.Schema | None = None
    for each in found:
        columns = stored_schema(_file_schema(each, partitions))
        first = first or columns
        if different := sorted({str(field) for field in columns} ^ {str(field) for field in first}):
            raise ValueError(
                f"the columns differ: those of {each.path!r} are {_told(columns)}, those of {found[0].path!r} "
                f"{_told(first)}; see {different[0]!r}"
            )
    assert first is not None
    return first


def _told(schema: pa.Schema) -> str:
    return ", ".join(f"{quote_name(field.name)} {sql_type(field.type)}" for field in schema)


def _file_schema(file: _Found, partitions: pa.Schema) -> pa.Schema:
    """The columns that a file stores; a timestamp in 96 bits, which Spark writes, is one in UTC."""
    import pyarrow as pa

    stored = {
        file.footer.schema.column(at).path: file.footer.schema.column(at) for at in range(file.footer.num_columns)
    }
    fields = []
    for field in file.footer.schema.to_arrow_schema():
        type_ = field.type
        if str(type_).startswith("timestamp[ns"):
            if stored[field.name].physical_type != "INT96":
                raise TypeError(
                    f"column {field.name!r} of {file.path!r} has nanoseconds, which Delta cannot store; write it with "
                    "microseconds (TIMESTAMP in SQL)"
                )
            type_ = pa.timestamp("us", "UTC")
        if field.name not in partitions.names:
            fields.append((field.name, type_))
    return pa.schema(fields)


def _schema_of(columns: pa.Schema, partitions: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([*columns, *partitions])


# --------------------------------------------------------------------------------------------------------------- files


def _data_file(file: _Found, number: int, partitions: pa.Schema, columns: pa.Schema) -> DataFile:
    known = log_statistics(file.footer.num_rows, _statistics(file.footer), columns)
    stats = json.dumps(known, separators=(",", ":"))
    values = {name: file.partition[name] for name in partitions.names}
    return DataFile(file.path, file.entry.size, values, int(file.entry.modified.timestamp() * 1000), stats)


def _statistics(footer: pq.FileMetaData) -> dict[str, dict[str, str]]:
    """What a footer knows of the columns that are not nested, as COPY would tell it."""
    names = set(footer.schema.to_arrow_schema().names)
    parts: dict[str, list[Any]] = {}
    for group in range(footer.num_row_groups):
        row_group = footer.row_group(group)
        for at in range(row_group.num_columns):
            column = row_group.column(at)
            if column.path_in_schema in names:
                parts.setdefault(column.path_in_schema, []).append(column.statistics)
    told = {}
    for name, groups in parts.items():
        if any(each is None for each in groups):
            continue
        known: dict[str, str] = {}
        if all(each.has_null_count for each in groups):
            known["null_count"] = str(sum(each.null_count for each in groups))
        bounded = [each for each in groups if each.has_min_max]
        # A row group of NULLs alone has no bounds.
        if bounded and all(each.has_min_max or each.num_values == 0 for each in groups):
            known["min"] = str(min(each.min for each in bounded))
            known["max"] = str(max(each.max for each in bounded))
        told[quote_name(name)] = known
    return told

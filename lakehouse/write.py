"""Write rows to a Delta table: every check comes first, then the files, then one atomic commit."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .alter import with_mapping
from .errors import telling
from .files import OWN_NAME, write_files
from .protocol import check_writable, with_features
from .pruning import check_predicate
from .row_changes import apply, find, marks_rows
from .rules import computed_columns
from .scan import BATCH_ROWS, scan_sql
from .schema import mismatches, partitionable, schema_text, sql_type, stored_schema
from .snapshot import Snapshot, is_table, open_snapshot
from .storage import Storage, scratch
from .transaction import ConflictError, Transaction, add_action, create_table

if TYPE_CHECKING:
    import pyarrow as pa

    from .files import DataFile

Mode = Literal["error", "append", "overwrite"]
#: What the history calls the modes.
_TOLD = {"error": "ErrorIfExists", "append": "Append", "overwrite": "Overwrite"}
#: What of the metadata says which rows a table takes.
_RULES = ("schemaString", "partitionColumns", "configuration")


def write(
    storage: Storage,
    data: Any,
    mode: Mode,
    partition_by: str | Sequence[str] | None,
    where: str,
    merge_schema: bool = False,
    predicate: str | None = None,
) -> int:
    """Write `data` to a table and return the version made; see `Lake.write`.

    `where` starts the error messages, such as ``"Lake.write('sales'): "``.
    """
    table = _open(storage, mode, where)
    with telling(where):
        rows = source = arrow_rows(data)
    failures: list[Exception] = []
    try:
        with telling(where):
            plan = _planned(storage, table, rows.schema, mode, partition_by, merge_schema, predicate)
            return plan.commit([plan.write(_watched(rows, failures))])
    except Exception:
        if source is not data:
            source.close()  # a connection of the caller would be busy with it
        if table is None:
            storage.tidy()
        if failures:
            raise failures[0] from None  # what went wrong in the query, without the wrapping of other libraries
        raise


@dataclass(frozen=True)
class Written:
    """Files that were written for a plan, and what their rows say of the table's expectations."""

    files: list[DataFile]
    metrics: dict[str, int]


@dataclass(frozen=True)
class Plan:
    """A write that has been checked: any process can write files for it, and one commits them all.

    Attributes
    ----------
    storage : Storage
        The table's directory.
    table : Snapshot or None
        The version that it follows from; None for a new table.
    schema : pyarrow.Schema
        The table's columns afterwards.
    partitions : list of str
        The columns whose values become directories.
    mode, predicate
        As of `Lake.write`.
    """

    storage: Storage
    table: Snapshot | None
    schema: pa.Schema
    partitions: list[str]
    mode: Mode
    predicate: str | None

    def write(self, rows: pa.RecordBatchReader) -> Written:
        """Write rows into files, and check them; no reader knows of these files before the commit.

        Raises
        ------
        ConstraintError
            Some rows break a rule of the table; their files are removed.
        """
        if self.table is None:
            return Written(write_files(self.storage, rows, self.schema, self.partitions), {})
        rules = {} if self.predicate is None else {f"the predicate {self.predicate!r}": self.predicate}
        with self._change(self.table) as change:
            return Written(change.write(rows, rules, dropping=True), change.metrics)

    def commit(self, parts: Sequence[Written]) -> int:
        """Make the files of all parts a version of the table, in this order; they are removed if that fails."""
        files = [file for part in parts for file in part.files]
        if self.table is None:
            return self._create(files, parts)
        with self._change(self.table) as change, scratch(self.storage) as connection:
            change.written += [file.path for file in files]
            if self.predicate is not None:
                find(connection, self.table, self.predicate, "delete")
                apply(change, connection, marks_rows(self.table, None), has_values=False)
            elif self.mode == "overwrite":
                for index in range(len(self.table.files)):
                    change.remove(index)
            for file in files:
                change.add(file)
            for name, count in (pair for part in parts for pair in part.metrics.items()):
                change.metrics[name] = change.metrics.get(name, 0) + count
            if any("cdc" in action for action in change.actions):
                inserted = f"SELECT *, 'insert' AS _change_type FROM ({scan_sql(change.after(files))})"
                change.feed(connection.sql(inserted).to_arrow_reader(BATCH_ROWS))
            change.metrics |= {"numFiles": len(files), "numOutputBytes": sum(file.size for file in files)}
            return change.commit()

    def _change(self, table: Snapshot) -> Transaction:
        looked_at = None if self.mode == "append" else self.predicate or "true"
        parameters = self._parameters if self.predicate is None else {**self._parameters, "predicate": self.predicate}
        change = Transaction(table, "WRITE", looked_at, parameters)
        change.protocol = with_features(change.protocol, _features(self.schema))
        change.metadata = _evolved(table, self.schema, self.partitions)
        return change

    @property
    def _parameters(self) -> dict[str, Any]:
        return {"mode": _TOLD[self.mode], "partitionBy": self.partitions}

    def _create(self, files: list[DataFile], parts: Sequence[Written]) -> int:
        """Commit the first version of a table; an append follows on that of another writer who made the same table."""
        first = table_actions(self.schema, self.partitions)
        actions = [*first, *(add_action(file) for file in files)]
        try:
            if create_table(self.storage, "CREATE TABLE AS SELECT", self._parameters, actions):
                return 0
            table = open_snapshot(self.storage, None, "")
            same = all(table.state.metadata.get(name) == first[1]["metaData"][name] for name in _RULES)
            if self.mode == "append" and same:
                return dataclasses.replace(self, table=table).commit(parts)
            raise ConflictError("another writer created the table meanwhile; try again")
        except BaseException:
            self.storage.remove([file.path for file in files])
            raise


def plan(
    storage: Storage,
    columns: pa.Schema,
    mode: Mode,
    partition_by: str | Sequence[str] | None,
    where: str,
    merge_schema: bool = False,
    predicate: str | None = None,
) -> Plan:
    """Check a write of rows with these columns, of which none is there yet; the arguments are those of `write`."""
    table = _open(storage, mode, where)
    with telling(where):
        return _planned(storage, table, columns, mode, partition_by, merge_schema, predicate)


def _open(storage: Storage, mode: Mode, where: str) -> Snapshot | None:
    """The table that is written to; None if there is none yet."""
    table = open_snapshot(storage, None, where) if _existing(storage, where) else None
    if table and mode == "error":
        raise FileExistsError(
            f"{where}the table exists, at version {table.version}; "
            'pass mode="append" or mode="overwrite" to write to it'
        )
    return table


def _planned(
    storage: Storage,
    table: Snapshot | None,
    columns: pa.Schema,
    mode: Mode,
    partition_by: str | Sequence[str] | None,
    merge_schema: bool,
    predicate: str | None,
) -> Plan:
    stays = mode == "append" or predicate is not None
    schema, partitions = _checked(columns, table, stays, partition_by, merge_schema)
    if table is None:
        return Plan(storage, None, schema, partitions, mode, None)
    check_writable(table.state.protocol, table.state.metadata, "append" if mode == "append" else "change")
    if predicate is not None:
        check_predicate(table, predicate)
    return Plan(storage, table, schema, partitions, mode, predicate)


def create_empty(storage: Storage, schema: pa.Schema, where: str) -> None:
    """Make a table without rows, unless another writer does."""
    with telling(where):
        create_table(storage, "CREATE TABLE", {}, table_actions(schema, []))


def table_actions(schema: pa.Schema, partitions: list[str]) -> list[dict[str, Any]]:
    """What the first commit of a table says of it: its protocol and its metadata."""
    protocol: dict[str, Any] = {"minReaderVersion": 1, "minWriterVersion": 2}
    metadata = {
        "id": str(uuid.uuid4()),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema_text(schema),
        "partitionColumns": partitions,
        "configuration": {},
        "createdTime": time.time_ns() // 1_000_000,
    }
    return [{"protocol": with_features(protocol, _features(schema))}, {"metaData": metadata}]


def _evolved(table: Snapshot, schema: pa.Schema, partitions: list[str]) -> dict[str, Any]:
    """The metadata of a table with another schema: columns that stay keep their rules."""
    metadata = table.state.metadata
    if table.schema.equals(schema) and partitions == table.partition_columns:
        return metadata
    before = {field["name"]: field for field in json.loads(metadata["schemaString"])["fields"]}
    text = json.loads(schema_text(schema))
    fields = [
        before[field.name] if field.name in before and table.schema.field(field.name).type == field.type else told
        for field, told in zip(schema, text["fields"], strict=True)
    ]
    text["fields"] = fields
    evolved = {**metadata, "schemaString": json.dumps(text), "partitionColumns": partitions}
    return evolved if table.mapping == "none" else with_mapping(evolved, table.mapping)


def _features(schema: pa.Schema) -> set[str]:
    """The features that a schema needs."""
    return {"timestampNtz"} if "timestamp_ntz" in schema_text(schema) else set()


def _checked(
    schema: pa.Schema,
    table: Snapshot | None,
    stays: bool,
    partition_by: str | Sequence[str] | None,
    merge_schema: bool,
) -> tuple[pa.Schema, list[str]]:
    """Check that a table can take rows of this schema; the table's schema after that, and its partition columns.

    The table keeps its own schema if it ``stays``, with other columns of the rows if schemas are merged.

    Raises
    ------
    TypeError
        A column has a type that Delta cannot store.
    ValueError
        The rows do not fit the table, or the partition columns do not fit either.
    """
    stored = stored_schema(schema)
    existing = table.partition_columns if table else []
    if partition_by is None:
        partitions = existing
    else:
        partitions = [partition_by] if isinstance(partition_by, str) else list(partition_by)
    if table:
        wanted, computed = table.schema, set(computed_columns(table.schema))
        if merge_schema:
            for field in stored:
                wanted = wanted if field.name in wanted.names else wanted.append(field)
            stored_schema(wanted)  # names that differ by case
        found = list(mismatches(stored, wanted, set(wanted.names) if merge_schema else computed))
        if stays and partitions != existing:
            raise ValueError(f"partition_by is {partitions}, but the table is partitioned by {existing}")
        if stays and found:
            raise ValueError(f"the data does not fit the table: {'; '.join(found)}")
        if stays or (computed and not found):
            return wanted, partitions
    for name in partitions:
        if name not in stored.names:
            raise ValueError(f"partition_by names {name!r}; the columns are {', '.join(map(repr, stored.names))}")
        if not partitionable(stored.field(name).type):
            raise ValueError(
                f"partition_by names {name!r} of type {sql_type(stored.field(name).type)}; expected a column of "
                "texts, integers, decimals, booleans, dates or timestamps"
            )
    if set(partitions) == set(stored.names):
        raise ValueError("partition_by names every column; at least one has to stay in the files")
    return stored, partitions


def _existing(storage: Storage, where: str) -> bool:
    """Whether there is a table; it may begin beside files that other writers have not committed, or never will."""
    if is_table(storage):
        return True
    if not storage.is_free() and not all(OWN_NAME.fullmatch(file.path) for file in storage.files()):
        raise FileExistsError(
            f"{where}{storage.root!r} exists and is not a Delta table; move it away or use another name"
        )
    return False


def arrow_rows(data: Any) -> pa.RecordBatchReader:
    """`data` as a stream of batches."""
    import pyarrow as pa

    if isinstance(data, pa.RecordBatchReader):
        return data
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    if hasattr(data, "__arrow_c_array__"):
        batch = pa.record_batch(data)
        return pa.RecordBatchReader.from_batches(batch.schema, [batch])
    raise TypeError(
        f"data is of type {type(data).__name__}; expected a table: a DuckDB relation, a PyArrow table or "
        "stream, or a pandas or Polars data frame"
    )


def _watched(rows: pa.RecordBatchReader, failures: list[Exception]) -> pa.RecordBatchReader:
    """The same stream, keeping hold of the exception if it breaks off."""
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from rows
        except Exception as error:
            failures.append(error)
            raise

    return pa.RecordBatchReader.from_batches(rows.schema, batches())

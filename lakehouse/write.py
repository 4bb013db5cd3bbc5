"""Write rows to a Delta table: every check comes first, then the files, then one atomic commit."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .files import write_files
from .schema import mismatches, partitionable, sql_type, stored_schema
from .snapshot import Snapshot, is_table, open_snapshot

if TYPE_CHECKING:
    import pyarrow as pa

Mode = Literal["error", "append", "overwrite"]

#: In a schema's JSON: a column that forbids NULL, or has metadata (an invariant, an expression that generates it).
_COLUMN_RULES = re.compile(r'"(nullable|containsNull|valueContainsNull)": ?false|"metadata": ?{[^}]')


def write(path: Path, data: Any, mode: Mode, partition_by: str | Sequence[str] | None, where: str) -> int:
    """Write `data` to the table at `path` and return the version made; see `Lake.write`.

    `where` starts the error messages, such as ``"Lake.write('sales'): "``.
    """
    table = open_snapshot(path, None, where) if _existing(path, where) else None
    if table and mode == "error":
        raise FileExistsError(
            f"{where}the table exists, at version {table.version}; "
            'pass mode="append" or mode="overwrite" to write to it'
        )
    rows = _rows(data, where)
    schema, partitions = _checked(rows.schema, table, mode, partition_by, where)
    failures: list[Exception] = []
    created = not path.exists()
    try:
        return _commit(path, table, _watched(rows, failures), schema, partitions, mode)
    except Exception:
        if created and not is_table(path):
            shutil.rmtree(path, ignore_errors=True)
        if failures:
            raise failures[0] from None  # what went wrong in the query, without the wrapping of other libraries
        raise


def _commit(
    path: Path, table: Snapshot | None, rows: pa.RecordBatchReader, schema: pa.Schema, partitions: list[str], mode: Mode
) -> int:
    """Write the files and commit them; the version made."""
    from deltalake import Schema, write_deltalake
    from deltalake.transaction import create_table_with_add_actions

    if table and not _is_plain(table):
        # The table's constraints, generated columns or change feed are deltalake's business.
        replaces: Literal["overwrite"] | None = "overwrite" if mode == "overwrite" else None
        write_deltalake(table.delta, rows, mode=mode, partition_by=partitions, schema_mode=replaces)
        return table.delta.version()
    actions = write_files(path, rows, schema, partitions)
    delta_schema = Schema.from_arrow(schema)
    if table is None:
        create_table_with_add_actions(str(path), delta_schema, actions, "error", partitions)
        return 0
    if schema.equals(table.schema) and partitions == list(table.partitions):
        table.delta.create_write_transaction([*actions], mode, delta_schema, partitions)
    else:
        create_table_with_add_actions(str(path), delta_schema, actions, mode, partitions)
    table.delta.update_incremental()
    return table.delta.version()


def _is_plain(table: Snapshot) -> bool:
    """Whether a table has no rules beyond its schema, so that files can be added to it as they are."""
    protocol = table.delta.protocol()
    features = protocol.writer_features if protocol.min_writer_version >= 7 else None
    known = set(features) <= {"timestampNtz"} if features is not None else protocol.min_writer_version <= 2
    rules = _COLUMN_RULES.search(table.delta.schema().to_json())
    return known and not rules and not table.delta.metadata().configuration


def _checked(
    schema: pa.Schema, table: Snapshot | None, mode: Mode, partition_by: str | Sequence[str] | None, where: str
) -> tuple[pa.Schema, list[str]]:
    """Check that a table can take rows of this schema; the schema to write, and the columns to partition by.

    Raises
    ------
    TypeError
        A column has a type that Delta cannot store.
    ValueError
        The rows do not fit the table, or the partition columns do not fit either.
    """
    try:
        stored = stored_schema(schema)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}{error}") from None
    if table and mode == "append" and (found := list(mismatches(stored, table.schema))):
        raise ValueError(f"{where}the data does not fit the table: {'; '.join(found)}")
    existing = list(table.partitions) if table else []
    if partition_by is None:
        partitions = existing
    else:
        partitions = [partition_by] if isinstance(partition_by, str) else list(partition_by)
    if mode == "append" and table and partitions != existing:
        raise ValueError(f"{where}partition_by is {partitions}, but the table is partitioned by {existing}")
    for name in partitions:
        if name not in stored.names:
            raise ValueError(
                f"{where}partition_by names {name!r}; the columns are {', '.join(map(repr, stored.names))}"
            )
        if not partitionable(stored.field(name).type):
            raise ValueError(
                f"{where}partition_by names {name!r} of type {sql_type(stored.field(name).type)}; expected a column of "
                "texts, integers, decimals, booleans, dates or timestamps"
            )
    if set(partitions) == set(stored.names):
        raise ValueError(f"{where}partition_by names every column; at least one has to stay in the files")
    return (table.schema if table and mode == "append" else stored), partitions


def _existing(path: Path, where: str) -> bool:
    """Whether there is a table at `path`."""
    if is_table(path):
        return True
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{where}{str(path)!r} exists and is not a Delta table; move it away or use another name")
    return False


def _rows(data: Any, where: str) -> pa.RecordBatchReader:
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
        f"{where}data is of type {type(data).__name__}; expected a table: a DuckDB relation, a PyArrow table or "
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

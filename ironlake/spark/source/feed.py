"""What became of the rows of a table, version by version: the change data feed as rows for Spark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceReader, InputPartition

from ironlake.lakehouse.changes import ADDED, changes_sql
from ironlake.lakehouse.errors import telling
from ironlake.lakehouse.schema import quote_name, sql_type
from ironlake.lakehouse.snapshot import open_snapshot

from .columns import arrow_schema
from .reading import opened
from .scan import batches, select

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

    from ironlake.lakehouse.snapshot import Snapshot
    from ironlake.lakehouse.storage import Storage

    from .options import Options


@dataclass(frozen=True)
class ChangesTask(InputPartition):
    """The changes of a version."""

    version: int


def feed_columns(snapshot: Snapshot) -> pa.Schema:
    """The columns of a version, and what is told of each row."""
    import pyarrow as pa

    types = (pa.string(), pa.int64(), pa.timestamp("us", "UTC"))
    return pa.schema([*snapshot.schema, *(pa.field(name, type_) for name, type_ in zip(ADDED, types, strict=True))])


def read_changes(
    storage: Storage, task: ChangesTask, schema: pa.Schema, condition: str | None
) -> Iterator[pa.RecordBatch]:
    """The changes of a version that meet a condition, as batches of a schema; columns added later are NULL."""
    query = changes_sql(storage, task.version, task.version, None, None)
    there = {*open_snapshot(storage, task.version, "").schema.names, *ADDED}
    later = [f"NULL::{sql_type(field.type)} AS {quote_name(field.name)}" for field in schema if field.name not in there]
    query = f"SELECT {', '.join(['*', *later])} FROM ({query})"
    return batches(storage, select(query, schema, [] if condition is None else [condition]), schema)


class ChangesReader(DataSourceReader):
    """Reads the changes of some versions, one task for each."""

    def __init__(self, options: Options, schema: StructType, version: int | None) -> None:
        self._options = options
        self._schema = arrow_schema(schema)
        first, last = options.number("from_version"), opened(options).version if version is None else version
        if first is None:
            raise ValueError(f"{options.where}change_feed is given without from_version; expected the first version")
        if first > last:
            raise ValueError(
                f"{options.where}from_version is {first}, and the last version is {last}; expected one up to that"
            )
        self._versions = range(first, last + 1)

    def partitions(self) -> list[InputPartition]:
        """A task for each version."""
        return [ChangesTask(version) for version in self._versions]

    def read(self, partition: Any) -> Iterator[Any]:
        """The changes of a version."""
        storage = self._options.storage()
        with telling(self._options.where):
            yield from read_changes(storage, partition, self._schema, self._options.text("where"))

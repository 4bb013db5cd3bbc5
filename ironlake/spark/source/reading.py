"""Read a table in Spark: the newest version when a query is planned, or the one that options name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceReader, InputPartition

from ironlake.lakehouse.errors import telling
from ironlake.lakehouse.pruning import check_predicate, kept_files
from ironlake.lakehouse.schema import sql_type, stored_schema, widens
from ironlake.lakehouse.snapshot import Snapshot, open_snapshot

from .columns import arrow_schema
from .filters import condition
from .scan import ScanTask, bare, read, tasks

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.datasource import Filter
    from pyspark.sql.types import StructType

    from .options import Options


def opened(options: Options) -> Snapshot:
    """The version of the table that options name."""
    return open_snapshot(options.storage(), options.number("version"), options.where, options.text("timestamp"))


def chosen(options: Options, schema: pa.Schema) -> pa.Schema:
    """The columns of a schema that the option ``columns`` names, in its order."""
    import pyarrow as pa

    names = options.names("columns")
    if names is None:
        return schema
    if unknown := [name for name in names if name not in schema.names]:
        raise ValueError(
            f"{options.where}the option columns names {unknown[0]!r}; the columns are "
            f"{', '.join(map(repr, schema.names))}"
        )
    return pa.schema([schema.field(name) for name in names])


def check_columns(wanted: pa.Schema, schema: pa.Schema, version: int) -> None:
    """Refuse to read columns that a version does not have, or has of another type.

    Raises
    ------
    ValueError
        The message names the column.
    """
    stored = stored_schema(schema)
    for field in stored_schema(wanted):
        if field.name not in stored.names:
            raise ValueError(
                f"version {version} has no column {field.name!r}, only {', '.join(map(repr, stored.names))}; "
                "load the table again"
            )
        found = stored.field(field.name).type
        if not widens(found, field.type):
            raise ValueError(
                f"column {field.name!r} of version {version} is {sql_type(found)}, not {sql_type(field.type)}; load "
                "the table again, without a schema of your own"
            )


class TableReader(DataSourceReader):
    """Reads one version of a table."""

    def __init__(self, options: Options, schema: StructType, version: int | None) -> None:
        self._options = options
        self._schema = arrow_schema(schema)
        snapshot = opened(options) if version is None else open_snapshot(options.storage(), version, options.where)
        where = options.text("where")
        with telling(options.where):
            check_columns(self._schema, snapshot.schema, snapshot.version)
            if where is not None:
                check_predicate(snapshot, where)
        # Spark sends the reader to every task, and asks for the tasks only after it has packed it.
        self._snapshot = bare(snapshot)
        self._conditions = [] if where is None else [where]

    def partitions(self) -> list[InputPartition]:
        """The tasks over the files that may have rows which meet the conditions."""
        import pyarrow as pa

        snapshot = open_snapshot(self._options.storage(), self._snapshot.version, self._options.where)
        files = snapshot.state.files
        if self._condition is not None:
            files = files.take(pa.array(kept_files(snapshot, self._condition), pa.int64()))
        planned: list[Any] = tasks(files, self._options.number("partition_bytes"))
        return planned or [ScanTask(files)]

    def read(self, partition: ScanTask) -> Iterator[Any]:  # type: ignore[override]
        """The rows of a task."""
        self._options.storage()
        with telling(self._options.where):
            yield from read(self._snapshot, partition, self._schema, self._condition)

    @property
    def _condition(self) -> str | None:
        return " AND ".join(f"({each})" for each in self._conditions) or None


class FilteredReader(TableReader):
    """Reads the rows that meet the filters of a query.

    Spark 4.3 keeps what a filter was planned to read for all later queries of the same data frame, and for the other
    parts of the same query, whatever these ask for. So this is for data frames that are used once, with one filter.
    """

    def pushFilters(self, filters: list[Filter]) -> Iterable[Filter]:
        """Take the filters that have exact SQL."""
        for each in filters:
            text = condition(each, self._schema)
            if text is None:
                yield each
            else:
                self._conditions.append(text)

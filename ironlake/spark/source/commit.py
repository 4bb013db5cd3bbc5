"""Write to a table in Spark: tasks write files, and one commit makes them a version of the table, or nothing does.

A file that a task wrote counts only if the message of the task reaches the commit, and Spark lets one attempt of a task
send one. What attempts leave behind that failed, were overtaken or were killed is no part of the table, and `vacuum`
removes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage

from ironlake.lakehouse import ConflictError
from ironlake.lakehouse.errors import telling
from ironlake.lakehouse.snapshot import is_table, open_snapshot
from ironlake.lakehouse.write import Mode, Plan, Written, plan

from .columns import arrow_schema
from .scan import bare

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

    from .options import Options

#: What becomes of rows for a table that exists, where `writing.write` is not to append to it.
_IF_EXISTS = ("error", "ignore")


@dataclass(frozen=True)
class TaskWritten(WriterCommitMessage):
    """What a task wrote."""

    written: Written


class TableWriter(DataSourceArrowWriter):
    """Writes rows to a table; everything is checked before the first row is."""

    def __init__(self, options: Options, schema: StructType, overwrite: bool) -> None:
        self._options = options
        self._schema = arrow_schema(schema)
        self._if_exists = options.text("if_exists")
        storage, where = options.storage(), options.where
        mode: Mode = "overwrite" if overwrite else "append"
        predicate = options.text("where")
        if predicate is not None and not overwrite:
            raise ValueError(f'{where}the option where is given with mode("append"); it says which rows to overwrite')
        if self._if_exists is not None:
            if self._if_exists not in _IF_EXISTS or overwrite:
                raise ValueError(
                    f"{where}the option if_exists is {self._if_exists!r}; expected 'error' or 'ignore', with "
                    'mode("append")'
                )
            mode = "append" if self._ignored(storage) else "error"
        made = plan(
            storage, self._schema, mode, options.names("partition_by"), where, options.flag("merge_schema"), predicate
        )
        # The files of the table are needed for the commit only, and not sent to the tasks.
        self._plan = made if made.table is None else dataclasses.replace(made, table=bare(made.table))

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Write the rows of a task into files of its own."""
        import pyarrow as pa

        self._options.storage()
        first = next(iterator, None)
        if first is None or self._is_left_out:
            return TaskWritten(Written([], {}))
        rows = pa.RecordBatchReader.from_batches(first.schema, _all(first, iterator))
        with telling(self._options.where):
            return TaskWritten(self._plan.write(rows))

    def commit(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """Make all files one version of the table."""
        if self._is_left_out:
            return
        parts = _in_order(messages)
        storage = self._options.storage()
        with telling(self._options.where):
            try:
                self._whole().commit(parts)
            except ConflictError:
                if self._if_exists != "ignore" or not self._ignored(storage):
                    raise

    def abort(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """Remove the files of the tasks that are known."""
        self._options.storage().remove([file.path for part in _in_order(messages) for file in part.files])

    def _whole(self) -> Plan:
        """The plan, with the files of the table that it follows from."""
        table = self._plan.table
        if table is None:
            return self._plan
        version = open_snapshot(self._options.storage(), table.version, "")
        return dataclasses.replace(self._plan, table=version)

    @property
    def _is_left_out(self) -> bool:
        return self._if_exists == "ignore" and self._plan.table is not None

    def _ignored(self, storage: Any) -> bool:
        return self._if_exists == "ignore" and is_table(storage)


def _all(first: pa.RecordBatch, others: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from others


def _in_order(messages: Sequence[Any]) -> list[Written]:
    """What tasks wrote, in the order of the rows; the times of files rise, by which readers put them in order."""
    parts = [message.written for message in messages if message is not None]
    latest = max((file.modification_time for part in parts for file in part.files), default=0)
    place, ordered = 0, []
    for part in parts:
        files = []
        for file in part.files:
            files.append(dataclasses.replace(file, modification_time=latest + place))
            place += 1
        ordered.append(Written(files, part.metrics))
    return ordered

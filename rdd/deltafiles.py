"""Where lineage begins: the files of a Delta table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .batches import BATCH_ROWS, Batch
from .lineage import Node
from .rows import batch_of_rows
from .streams import Batches, Stream

if TYPE_CHECKING:
    from .task import Task


class DeltaFiles(Node):
    """The rows of a version of a Delta table, a partition for each file."""

    operation = "fromDelta"

    def __init__(self, number: int, path: str, version: int, files: int, columns: list[str]) -> None:
        super().__init__(number, files)
        self.path, self.version, self.columns = path, version, columns

    def compute(self, split: int, task: Task) -> Stream:
        return Batches(self._read(split))

    def _read(self, split: int) -> Iterator[Batch]:
        from ironlake.lakehouse.scan import scan_sql
        from ironlake.lakehouse.schema import quote_name
        from ironlake.lakehouse.snapshot import open_snapshot
        from ironlake.lakehouse.storage import database

        snapshot = open_snapshot(self.path, self.version, "SparkContext.fromDelta: ")
        names = ", ".join(map(quote_name, self.columns))
        query = f"SELECT {names} FROM ({scan_sql(snapshot, [split])})"
        with database().cursor() as cursor:
            for batch in cursor.sql(query).to_arrow_reader(BATCH_ROWS):
                yield batch_of_rows(batch)

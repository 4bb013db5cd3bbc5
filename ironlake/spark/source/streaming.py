"""Read a table as a stream in Spark: first the rows that it has, then those that commits add.

An offset tells the first file that has not been read: its place among the files of a version, which are all files that
the version has (where the stream begins) or those that its commit adds. Commits that only rearrange rows add none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pyspark.sql.datasource import DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxFiles,
    SupportsTriggerAvailableNow,
)

from ironlake.lakehouse.changes import commit_actions
from ironlake.lakehouse.errors import telling
from ironlake.lakehouse.log import Log
from ironlake.lakehouse.snapshot import Snapshot, open_snapshot

from .columns import arrow_schema
from .feed import ChangesTask, read_changes
from .reading import check_columns
from .scan import ScanTask, bare, read, tasks

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from .options import Options


@dataclass(frozen=True, order=True)
class Offset:
    """The first file that has not been read: the version, the file's place, and whether all files are meant."""

    version: int
    file: int = 0
    whole: bool = False


@dataclass(frozen=True)
class StreamTask(InputPartition):
    """What a task reads, and of which version the columns are."""

    snapshot: Snapshot
    task: ScanTask


@dataclass(frozen=True)
class _Unit:
    """What is read together: a file, or of a feed of changes a version; and the offset behind it."""

    behind: Offset
    files: int
    size: int
    row: dict[str, Any] | None


class TableStream(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Reads what is added to a table, or with the option ``change_feed`` what becomes of its rows."""

    def __init__(self, options: Options, schema: StructType) -> None:
        self._options = options
        self._schema = arrow_schema(schema)
        self._storage = options.storage()
        self._feed = options.flag("change_feed")
        self._last: int | None = None
        self._limit()
        if self._feed and options.number("from_version") is None:
            raise ValueError(f"{options.where}change_feed is given without from_version; expected the first version")

    def initialOffset(self) -> dict[str, Any]:
        """All rows of the newest version, or what the version that an option names adds."""
        version = self._options.number("from_version")
        newest = self._newest()
        if version is None:
            return asdict(Offset(newest, 0, True))
        if version > newest + 1:
            raise ValueError(
                f"{self._options.where}from_version is {version}, and the newest version is {newest}; expected one up "
                "to the next"
            )
        return asdict(Offset(version))

    def getDefaultReadLimit(self) -> ReadLimit:
        """How much is read at a time, by the options."""
        return self._limit()

    def prepareForTriggerAvailableNow(self) -> None:
        """Read up to what is the newest version now."""
        self._last = self._newest()

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:
        """How far the next batch reads."""
        last = self._newest() if self._last is None else self._last
        if isinstance(limit, ReadAllAvailable):
            return asdict(max(Offset(last + 1), Offset(**start)))
        files = size = 0
        behind = Offset(**start)
        with telling(self._options.where):
            for unit in self._units(behind, last):
                files, size = files + unit.files, size + unit.size
                over = (isinstance(limit, ReadMaxFiles) and files > limit.max_files) or (
                    isinstance(limit, ReadMaxBytes) and size > limit.max_bytes
                )
                if over and behind != Offset(**start):
                    break
                behind = unit.behind
        return asdict(behind)

    def reportLatestOffset(self) -> dict[str, Any]:
        """Up to where there is something to read."""
        return asdict(Offset(self._newest() + 1))

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        """The tasks of a batch."""
        first, behind = Offset(**start), Offset(**end)
        if first >= behind:
            return []
        last = behind.version if behind.file else behind.version - 1
        with telling(self._options.where):
            if self._feed:
                return [ChangesTask(version) for version in range(first.version, last + 1)]
            snapshot = open_snapshot(self._storage, last, "")
            check_columns(self._schema, snapshot.schema, last)
            rows = [unit.row for unit in self._units(first, last) if unit.behind <= behind]
            files = snapshot.state.files.slice(0, 0).from_pylist(rows, snapshot.state.files.schema)
            return [StreamTask(bare(snapshot), task) for task in tasks(files, self._options.number("partition_bytes"))]

    def read(self, partition: Any) -> Iterator[Any]:
        """The rows of a task."""
        self._options.storage()
        with telling(self._options.where):
            if isinstance(partition, ChangesTask):
                yield from read_changes(self._storage, partition, self._schema, self._options.text("where"))
            else:
                yield from read(partition.snapshot, partition.task, self._schema, self._options.text("where"))

    def _newest(self) -> int:
        return open_snapshot(self._storage, None, self._options.where).version

    def _limit(self) -> ReadLimit:
        files, size = (self._options.number(f"max_{name}_per_trigger") for name in ("files", "bytes"))
        if files is not None and size is not None:
            raise ValueError(
                f"{self._options.where}both max_files_per_trigger and max_bytes_per_trigger are given; expected one"
            )
        if files is not None:
            return ReadMaxFiles(files)
        return ReadAllAvailable() if size is None else ReadMaxBytes(size)

    def _units(self, start: Offset, last: int) -> Iterator[_Unit]:
        """What there is to read from an offset up to a version."""
        first = start.version
        if start.whole:
            snapshot = open_snapshot(self._storage, first, "")
            files = snapshot.state.files.sort_by([("modification_time", "ascending"), ("path", "ascending")])
            yield from _each(files.to_pylist(), start)
            first += 1
        log = Log(self._storage)
        for version in range(first, last + 1):
            actions = list(commit_actions(self._storage, log, version))
            begin = start if version == start.version and not start.whole else Offset(version)
            if self._feed:
                changed = [action[kind] for action in actions for kind in ("add", "remove", "cdc") if kind in action]
                size = sum(each.get("size") or 0 for each in changed)
                yield _Unit(Offset(version + 1), len(changed), size, None)
            else:
                yield from _each(self._added(version, actions), begin)

    def _added(self, version: int, actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The files that a commit adds, as a snapshot lists them.

        Raises
        ------
        ValueError
            The commit takes rows out of the table.
        """
        changed = [action for action in actions if next(iter(action.values())).get("dataChange", True)]
        gone = {action["remove"]["path"] for action in changed if "remove" in action}
        if gone and not self._options.flag("ignore_changes"):
            info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
            raise ValueError(
                f"version {version} ({info.get('operation', 'of another writer')}) changes or removes rows, and a "
                "stream tells only of those that are added; set the option ignore_changes to 'true' to go on with "
                "what it adds, or change_feed to be told of all changes"
            )
        # A file that comes back has other rows marked as deleted, and none that are new.
        return [_row(action["add"]) for action in changed if "add" in action and action["add"]["path"] not in gone]


def _each(rows: list[dict[str, Any]], start: Offset) -> Iterator[_Unit]:
    """The files of a version from an offset on."""
    for place, row in enumerate(rows):
        if place >= start.file:
            end = place + 1 == len(rows)
            behind = Offset(start.version + 1) if end else Offset(start.version, place + 1, start.whole)
            yield _Unit(behind, 1, row["size"] or 0, row)


def _row(add: dict[str, Any]) -> dict[str, Any]:
    """What a commit says of a file, as a snapshot lists it."""
    vector = add.get("deletionVector")
    return {
        "path": unquote(add["path"]),
        "partition": list((add.get("partitionValues") or {}).items()),
        "size": add.get("size"),
        "modification_time": add.get("modificationTime"),
        "stats": add.get("stats"),
        "vector": vector and {"offset": None, **vector},
    }

"""One version of a Delta table: its schema, its data files and what the log knows of each.

Nothing here opens a data file.
"""

from __future__ import annotations

import datetime as dt
import functools
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .log import FOLDER, Log, LogError, Segment, VersionError
from .protocol import check_readable, mapping_mode
from .refresh import advance
from .replay import State, replay
from .schema import logged_schema, partition_text, physical_name, quote_text, sql_type
from .storage import Storage, database

if TYPE_CHECKING:
    import pyarrow as pa

    from .pinned import Pin

#: Snapshots that are kept for the next query.
_KEPT = 64
#: Files of all of them, beyond which the one that was used longest ago goes.
_KEPT_FILES = 500_000


@dataclass(frozen=True)
class Snapshot:
    """One version of a Delta table.

    Attributes
    ----------
    storage : Storage
        Where the table is.
    segment : Segment
        The files of the log that it was read from.
    state : State
        What they say.
    """

    storage: Storage
    segment: Segment
    state: State

    @property
    def version(self) -> int:
        """The version that this is."""
        return self.segment.version

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """The columns, in order, with the types that Delta gives them."""
        return logged_schema(self.state.metadata.get("schemaString"))

    @property
    def mapping(self) -> str:
        """How columns are found in the files: ``none``, ``name`` or ``id``."""
        return mapping_mode(self.state.protocol, self.state.metadata)

    @property
    def configuration(self) -> dict[str, str]:
        """The properties of the table."""
        return self.state.metadata.get("configuration") or {}

    @property
    def partition_columns(self) -> list[str]:
        """The columns by whose values files are separated."""
        return list(self.state.metadata.get("partitionColumns") or ())

    @functools.cached_property
    def files(self) -> list[str]:
        """The data files, as DuckDB reads them, oldest first."""
        return [self.storage.locate(path) for path in self.state.files["path"].to_pylist()]

    @functools.cached_property
    def partitions(self) -> dict[str, list[str | None]]:
        """For each partition column, its value in each of the files, as the log has it."""
        maps = [dict(entry or ()) for entry in self.state.files["partition"].to_pylist()]
        names = {name: physical_name(self.schema.field(name)) for name in self.partition_columns}
        if self.mapping == "none":
            names = {name: name for name in names}
        found = {name: [values.get(physical) or None for values in maps] for name, physical in names.items()}
        for name, values in found.items():
            if (wrong := misfit(values, self.schema.field(name).type)) is not None:
                raise ValueError(
                    f"version {self.version} of the table {self.storage.root!r} has a file with the value {wrong!r} of "
                    f"the partition column {name!r}, which is no {sql_type(self.schema.field(name).type)}"
                )
        return found

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What `pruning` has found out of the statistics so far."""
        return {}

    @functools.cached_property
    def plans(self) -> dict[str, Any]:
        """What `planner` has written so far."""
        return {}

    @functools.cached_property
    def pins(self) -> list[Pin]:
        """The deletion vectors that scans of it hold in memory."""
        return []

    @property
    def rows(self) -> int | None:
        """Rows in all files, deleted ones left out; None where a writer left the numbers out."""
        files = self.state.files  # noqa: F841 - DuckDB finds it by its name
        (total, known, count) = database().sql(
            "SELECT sum((stats->>'numRecords')::BIGINT - coalesce(vector.cardinality, 0)), "
            "count(stats->>'numRecords'), count(*) FROM files"
        ).fetchall()[0]  # fmt: skip
        return int(total or 0) if known == count else None

    @property
    def size(self) -> int:
        """Bytes in all files."""
        import pyarrow.compute as pc

        return int(pc.sum(self.state.files["size"]).as_py() or 0)


def misfit(values: Iterable[str | None], type_: pa.DataType) -> str | None:
    """The first of some partition values that is no value of a type."""
    import pyarrow.types as is_

    texts = sorted({value for value in values if value is not None})
    if not texts or is_.is_string(type_) or is_.is_binary(type_):
        return None
    # As one list: thousands of values are no more than a literal.
    listed = ", ".join(quote_text(partition_text(text, type_)) for text in texts)
    wrong = database().execute(
        f"SELECT list_position([TRY_CAST(text AS {sql_type(type_)}) IS NULL FOR text IN [{listed}]], true)"
    ).fetchall()[0][0]  # fmt: skip
    return texts[wrong - 1] if wrong else None


def is_table(storage: Storage) -> bool:
    """Whether a directory is a Delta table."""
    return storage.has_folder(FOLDER)


_cache: dict[tuple[str, int], Snapshot] = {}
_lock = threading.Lock()


def open_snapshot(
    path: str | Path | Storage, version: int | None, where: str, timestamp: dt.datetime | str | None = None
) -> Snapshot:
    """Read one version of a table from its log; the newest one when neither `version` nor `timestamp` is given.

    `where` starts the error messages, such as ``"Lake.table('sales'): "``.

    Raises
    ------
    FileNotFoundError
        There is no Delta table at `path`; the message points to the table that encloses it, or that it holds.
    ValueError
        The table has no such version, the log is damaged, or the table needs a feature that is not known.
    """
    storage = Storage.of(path, where)
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
        raise ValueError(f"{where}version is {version!r}; expected an integer from 0 on, or None for the newest")
    if version is not None and timestamp is not None:
        raise ValueError(f"{where}both version and timestamp are given; expected one of them")
    time = None if timestamp is None else instant(timestamp, where)
    try:
        try:
            snapshot = _as_it_is(storage, version, time)
        except (LogError, FileNotFoundError) as error:
            if isinstance(error, VersionError):
                raise
            # While the log was listed and read, another process may have written commits, or removed old ones.
            snapshot = _as_it_is(storage, version, time)
    except VersionError as error:
        raise ValueError(f"{where}the table {storage.root!r} {error}") from None
    except ValueError as error:
        raise ValueError(f"{where}the table {storage.root!r} cannot be read: {error}") from error
    if snapshot is None:
        raise FileNotFoundError(f"{where}{_not_a_table(storage)}")
    return snapshot


def _as_it_is(storage: Storage, version: int | None, time: dt.datetime | None) -> Snapshot | None:
    """A version, that of a time, or the newest one, as the log is now; None if there is no table."""
    log = Log(storage)
    if log.is_empty:
        if not is_table(storage):
            return None
        raise LogError("the log has no commits")
    segment = log.segment(version if time is None else log.version_at(time))
    key = storage.root, segment.version
    with _lock:
        found = _cache.pop(key, None)
        if found is not None and found.segment == segment:
            _cache[key] = found  # the last to go
            return found
    state = _state(storage, log, segment)
    check_readable(state.protocol)
    snapshot = Snapshot(storage, segment, state)
    snapshot.schema  # noqa: B018 - types that are not known are told here
    with _lock:
        _cache[key] = snapshot
        while len(_cache) > _KEPT or (len(_cache) > 1 and sum(map(_count, _cache.values())) > _KEPT_FILES):
            del _cache[next(iter(_cache))]
    return snapshot


def _state(storage: Storage, log: Log, segment: Segment) -> State:
    """What the log says of a version: what is known of an earlier one and its later commits, or all of the log."""
    with _lock:
        known = [each for (root, _), each in _cache.items() if root == storage.root]
    earlier = [each for each in known if each.version < segment.version]
    newest = max(earlier, key=lambda each: each.version, default=None)
    commits = log.since(newest.segment, segment.version) if newest else None
    if newest is None or commits is None:
        log.check_hint()
        return replay(storage, segment)
    return advance(storage, segment, commits, newest.state)


def _count(snapshot: Snapshot) -> int:
    return len(snapshot.state.files)


def instant(given: dt.datetime | str, where: str) -> dt.datetime:
    """A time with a zone, UTC where none is given.

    Raises
    ------
    ValueError
        The text is no time.
    """
    if isinstance(given, str):
        try:
            given = dt.datetime.fromisoformat(given)
        except ValueError:
            raise ValueError(f"{where}timestamp is {given!r}; expected one such as '2026-01-31 12:00:00+01'") from None
    return given if given.tzinfo else given.replace(tzinfo=dt.UTC)


def _not_a_table(storage: Storage) -> str:
    """Why a directory is not a table, with the nearest one that is."""
    if storage.is_file():
        problem = f"{storage.root!r} is a file; expected the directory of a Delta table"
    elif not storage.has_folder():
        problem = f"{storage.root!r} does not exist"
    else:
        problem = f"{storage.root!r} is not a Delta table: it has no '_delta_log' directory"
    with suppress(OSError):  # the directories above may be out of reach
        if parent := next(filter(is_table, storage.parents), None):
            return f"{problem}; the table that encloses it is {parent.root!r}"
    if tables := [name for name in storage.folders() if is_table(storage.at(name))]:
        return f"{problem}; it holds the tables {', '.join(tables)}"
    return problem

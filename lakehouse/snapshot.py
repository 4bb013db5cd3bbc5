"""One version of a Delta table: its schema, its data files and what the log knows of each.

Nothing here opens a data file.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ironlake.udf.engine import check_external_access

from .log import FOLDER, Log, LogError, Segment, State, VersionError, replay
from .protocol import check_readable, mapping_mode
from .schema import logged_schema, physical_name
from .storage import Storage, database

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

#: Characters in a path that the deltalake library mistakes for URL syntax, or DuckDB for a pattern of file names.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f%*?\[\]\\^|]")
#: Snapshots that are kept for the next query.
_KEPT = 64


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
    def path(self) -> Path:
        """The table's directory, absolute."""
        return Path(self.storage.root)

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
        return {name: [values.get(physical) or None for values in maps] for name, physical in names.items()}

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What `pruning` has found out of the statistics so far."""
        return {}

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

    @functools.cached_property
    def delta(self) -> DeltaTable:
        """The same version, as the deltalake library sees it."""
        from deltalake import DeltaTable

        return DeltaTable(self.storage.root, version=self.version)


def usable_path(path: str | Path, where: str) -> Path:
    """The absolute form of a local path, checked for what the libraries underneath cannot address.

    `where` starts the error messages, such as ``"ironlake.open: "``.

    Raises
    ------
    ValueError
        The path is a URL, or contains a character that deltalake or DuckDB would misread.
    PermissionError
        A function asks for it in a database without external access.
    """
    text = str(path)
    check_external_access(f"{where}the path {text!r}")
    if "://" in text:
        raise ValueError(f"{where}{text!r} is a URL; expected a directory on a local disk")
    absolute = Path(text).expanduser().resolve()
    if unusable := _UNUSABLE.search(absolute.as_posix()):
        raise ValueError(
            f"{where}the path {str(absolute)!r} contains {unusable.group()!r}, "
            "which a table's path cannot; rename the directory"
        )
    return absolute


def is_table(path: Path) -> bool:
    """Whether a directory is a Delta table."""
    return (path / FOLDER).is_dir()


_cache: dict[tuple[str, int], Snapshot] = {}
_lock = threading.Lock()


def open_snapshot(
    path: str | Path, version: int | None, where: str, timestamp: dt.datetime | str | None = None
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
    directory = usable_path(path, where)
    if not is_table(directory):
        raise FileNotFoundError(f"{where}{_not_a_table(directory)}")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
        raise ValueError(f"{where}version is {version!r}; expected an integer from 0 on, or None for the newest")
    if version is not None and timestamp is not None:
        raise ValueError(f"{where}both version and timestamp are given; expected one of them")
    time = None if timestamp is None else _time(timestamp, where)
    storage = Storage.of(str(directory))
    try:
        log = Log(storage)
        if log.is_empty:
            raise LogError("the log has no commits")
        if time is not None:
            version = log.version_at(time)
        segment = log.segment(version)
        key = storage.root, segment.version
        with _lock:
            found = _cache.pop(key, None)
            if found is not None and found.segment == segment:
                _cache[key] = found  # the last to go
                return found
        state = replay(storage, segment)
        check_readable(state.protocol)
        snapshot = Snapshot(storage, segment, state)
        snapshot.schema  # noqa: B018 - types that are not known are told here
    except VersionError as error:
        raise ValueError(f"{where}the table {str(directory)!r} {error}") from None
    except ValueError as error:
        raise ValueError(f"{where}the table {str(directory)!r} cannot be read: {error}") from error
    with _lock:
        _cache[key] = snapshot
        while len(_cache) > _KEPT:
            del _cache[next(iter(_cache))]
    return snapshot


def _time(given: dt.datetime | str, where: str) -> dt.datetime:
    """A time with a zone, UTC where none is given."""
    if isinstance(given, str):
        try:
            given = dt.datetime.fromisoformat(given)
        except ValueError:
            raise ValueError(f"{where}timestamp is {given!r}; expected one such as '2026-01-31 12:00:00+01'") from None
    return given if given.tzinfo else given.replace(tzinfo=dt.UTC)


def _not_a_table(directory: Path) -> str:
    """Why `directory` is not a table, with the nearest one that is."""
    if not directory.exists():
        problem = f"{str(directory)!r} does not exist"
    elif not directory.is_dir():
        problem = f"{str(directory)!r} is a file; expected the directory of a Delta table"
    else:
        problem = f"{str(directory)!r} is not a Delta table: it has no '_delta_log' directory"
    if parent := next((parent for parent in directory.parents if is_table(parent)), None):
        return f"{problem}; the table that encloses it is {str(parent)!r}"
    if directory.is_dir() and (tables := sorted(child.name for child in directory.iterdir() if is_table(child))):
        return f"{problem}; it holds the tables {', '.join(tables)}"
    return problem

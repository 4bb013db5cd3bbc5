"""One version of a Delta table: its schema, its data files and each file's partition values, read from the log.

The `deltalake` library replays the log. Nothing here opens a data file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

#: Characters in a path that the deltalake library mistakes for URL syntax, or DuckDB for a pattern of file names.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f%*?\[\]\\^|]")


@dataclass(frozen=True)
class Snapshot:
    """One version of a Delta table.

    Attributes
    ----------
    path : pathlib.Path
        The table's directory, absolute.
    version : int
        The version that this is.
    schema : pyarrow.Schema
        The columns, in order, with the types that Delta gives them.
    files : list of str
        The data files, as absolute paths, oldest first.
    partitions : dict of str to list of (str or None)
        For each partition column, its value in each of the files, as text that DuckDB casts to the column's type.
    rows : int or None
        Rows in all files, deleted ones included; None when a writer left the numbers out.
    size : int
        Bytes in all files.
    delta : deltalake.DeltaTable
        The same version, as deltalake sees it.
    """

    path: Path
    version: int
    schema: pa.Schema
    files: list[str]
    partitions: dict[str, list[str | None]]
    rows: int | None
    size: int
    delta: DeltaTable


def usable_path(path: str | Path, where: str) -> Path:
    """The absolute form of a local path, checked for what the libraries underneath cannot address.

    `where` starts the error messages, such as ``"ironlake.open: "``.

    Raises
    ------
    ValueError
        The path is a URL, or contains a character that deltalake or DuckDB would misread.
    """
    text = str(path)
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
    return (path / "_delta_log").is_dir()


def open_snapshot(path: str | Path, version: int | None, where: str) -> Snapshot:
    """Read one version of a table from its log; the newest one when `version` is None.

    `where` starts the error messages, such as ``"Lake.table('sales'): "``.

    Raises
    ------
    FileNotFoundError
        There is no Delta table at `path`; the message points to the table that encloses it, or that it holds.
    ValueError
        The table has no such version; the message gives the range that it has.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    directory = usable_path(path, where)
    if not is_table(directory):
        raise FileNotFoundError(f"{where}{_not_a_table(directory)}")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
        raise ValueError(f"{where}version is {version!r}; expected an integer from 0 on, or None for the newest")
    try:
        delta = DeltaTable(str(directory), version=version)
    except DeltaError as error:
        oldest, newest = _version_range(directory)
        if version is not None and oldest <= newest and not oldest <= version <= newest:
            raise ValueError(
                f"{where}the table {str(directory)!r} has no version {version}; available are {oldest} to {newest}"
            ) from None
        raise ValueError(f"{where}the log of the table {str(directory)!r} cannot be read: {error}") from error
    return _snapshot(directory, delta)


def _snapshot(directory: Path, delta: DeltaTable) -> Snapshot:
    import pyarrow as pa

    # Oldest file first, so that rows come back in the order in which they were written.
    adds = pa.table(delta.get_add_actions()).sort_by([("modification_time", "ascending"), ("path", "ascending")])
    partition_columns = delta.metadata().partition_columns
    rows = adds["num_records"].to_pylist() if "num_records" in adds.column_names else [None] * len(adds)
    return Snapshot(
        path=directory,
        version=delta.version(),
        schema=pa.schema(delta.schema().to_arrow()),
        files=[_local_file(directory, path) for path in adds["path"].to_pylist()],
        partitions={
            name: [_partition_text(values[name]) for values in adds["partition"].to_pylist()]
            for name in partition_columns
        },
        rows=None if None in rows else sum(rows),
        size=sum(adds["size_bytes"].to_pylist()),
        delta=delta,
    )


def _local_file(directory: Path, logged: str) -> str:
    """The file that the log means: its paths are URL-encoded, and relative to the table unless they are absolute."""
    url = urlsplit(logged)
    if url.scheme == "file":
        return url2pathname(url.path)
    if url.scheme:
        raise ValueError(f"the table {str(directory)!r} has a file at {logged!r}; expected files on a local disk")
    return str(directory / unquote(logged))


def _partition_text(value: Any) -> str | None:
    """A partition value as text that DuckDB casts back to the same value."""
    if isinstance(value, bytes):
        return "".join(rf"\x{byte:02X}" for byte in _unescape(value))
    return None if value is None else str(value)


def _unescape(logged: bytes) -> bytes:
    r"""The bytes of a binary partition value; delta-rs logs byte 0xAB as the six characters ``\u00AB``."""
    return re.sub(rb"\\u00([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), logged)


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


def _version_range(directory: Path) -> tuple[int, int]:
    """The oldest and the newest version that the log can still rebuild; (0, -1) when there is none."""
    names = [entry.name for entry in (directory / "_delta_log").iterdir()]
    commits = {int(name[:20]) for name in names if re.fullmatch(r"\d{20}\.json", name)}
    checkpoints = {int(name[:20]) for name in names if re.match(r"\d{20}\.checkpoint", name)}
    starts = checkpoints | (commits & {0})
    return (min(starts), max(commits | checkpoints)) if starts else (0, -1)

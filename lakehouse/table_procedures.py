"""Procedures that keep a Delta table in shape, make one of other files, or go back in time; see `procedures`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from ironlake.udf.engine import table
from ironlake.udf.engine.sqltypes import ANY

from .files import FILE_BYTES
from .procedures import arrow_type, named, procedure

if TYPE_CHECKING:
    import pyarrow as pa


@procedure("files_removed", "files_added")
def delta_optimize(
    path: str,
    order_by: list[str] | None = None,
    predicate: str | None = None,
    curve: Literal["hilbert", "morton"] = "hilbert",
    file_bytes: int = FILE_BYTES,
) -> dict[str, int]:
    """Rewrite files of a Delta table without changing rows: small ones become larger, and rows get an order.

    Parameters
    ----------
    path : the table's directory.
    order_by : columns that queries filter by, in the order of a curve that fills space; by
        default rows keep theirs.
    predicate : only files are rewritten in which rows may meet this SQL condition.
    curve : the curve; that of Morton is known as Z-order.
    file_bytes : the size at which a file is full.

    Returns
    -------
    TABLE
        One row: ``version`` (the one made, or that is there if nothing was to be done), ``files_removed`` and
        ``files_added`` BIGINT.

    Raises
    ------
    InvalidInputException
        If there is no such column, or another writer changed the same files.

    References
    ----------
    Armbrust and others: Delta Lake, PVLDB 13 (2020), section 4.2.

    Examples
    --------
    CALL delta_write('SELECT range AS id FROM range(9)', 'market/pears', mode := 'overwrite');
    CALL delta_write('SELECT range AS id FROM range(9)', 'market/pears', mode := 'append');
    CALL delta_optimize('market/pears', order_by := ['id']);
    """
    from .optimize import optimize
    from .storage import Storage

    return optimize(Storage.of(path), order_by, predicate, curve, file_bytes, "")


@table
def delta_vacuum(
    path: str, retain_hours: float | None = None, dry_run: bool = True, force: bool = False
) -> pa.RecordBatchReader:
    """Remove files that are no longer part of a Delta table; versions that need them cannot be read afterwards.

    Parameters
    ----------
    path : the table's directory.
    retain_hours : files stay that were part of the table, or were written, in these last hours; by default as the
        table's property ``delta.deletedFileRetentionDuration`` says, or a week.
    dry_run : only tell which files would be removed.
    force : allow for less than what the table says.

    Returns
    -------
    TABLE
        A row for each file: ``path`` VARCHAR, ``size`` BIGINT (bytes), ``modification_time`` TIMESTAMPTZ.

    Raises
    ------
    InvalidInputException
        If ``retain_hours`` is less than the table says, without ``force``.

    References
    ----------
    Delta transaction log protocol, "Vacuum Protocol Check", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    FROM delta_vacuum('ironlake-demo/digits');
    """
    import pyarrow as pa

    from .storage import Storage
    from .vacuum import columns, vacuum

    def files() -> Iterator[pa.RecordBatch]:
        yield from vacuum(Storage.of(path), retain_hours, dry_run, force, "").to_batches()

    return pa.RecordBatchReader.from_batches(columns(), files())


@procedure("files_added", "files_removed")
def delta_restore(path: str, version: int | None = None, timestamp: str | None = None) -> dict[str, int]:
    """Make an old version of a Delta table the newest one again; those in between stay.

    Parameters
    ----------
    path : the table's directory.
    version : the version.
    timestamp : or the time at which it was the newest.

    Returns
    -------
    TABLE
        One row: ``version`` (the one made), ``files_added`` and ``files_removed`` BIGINT.

    Raises
    ------
    InvalidInputException
        If there is no such version, or files of it are gone.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT 1 AS id', 'market/plums', mode := 'overwrite');
    CALL delta_restore('market/plums', version := 0);
    """
    from .storage import Storage
    from .versions import restore

    return restore(Storage.of(path), version, timestamp, "")


@procedure()
def delta_checkpoint(path: str) -> dict[str, int]:
    """Write the state of a Delta table into one file, so that readers need not replay its log.

    Parameters
    ----------
    path : the table's directory.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, that of the checkpoint.

    Raises
    ------
    InvalidInputException
        If there is no Delta table at ``path``.

    References
    ----------
    Delta transaction log protocol, "Checkpoints", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT 1 AS id', 'market/beans', mode := 'overwrite');
    CALL delta_checkpoint('market/beans');
    """
    from .checkpoint import checkpoint
    from .snapshot import open_snapshot

    return {"version": checkpoint(open_snapshot(path, None, ""))}


@procedure()
def delta_clone(path: str, destination: str, shallow: bool = False, version: int | None = None) -> dict[str, int]:
    """Start a new Delta table from a version of another.

    Parameters
    ----------
    path : the directory of the table that there is.
    destination : that of the new one, which must not exist or be empty.
    shallow : let it point to the files of the other instead of copying them; vacuum of that one would remove them.
    version : the version to start from; the newest by default.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT of the new table, 0.

    Raises
    ------
    InvalidInputException
        If there is no such version, or the destination is not empty.

    References
    ----------
    Armbrust and others: Lakehouse, CIDR (2021), section 3.2, for zero-copy cloning.

    Examples
    --------
    CALL delta_clone('ironlake-demo/digits', 'market/digits', shallow := true);
    """
    from .snapshot import open_snapshot
    from .versions import clone

    clone(open_snapshot(path, version, ""), destination, shallow, "")
    return {"version": 0}


@procedure()
def delta_convert(path: str, partition_by: ANY = None) -> dict[str, int]:
    """Make a directory of Parquet files a Delta table in place: the files stay, a log is put beside them.

    Parameters
    ----------
    path : the directory. Directories in it such as ``day=3`` say the values of a column.
    partition_by : a STRUCT or MAP of the columns that the directories name and their SQL types; by default they become
        DATE, TIMESTAMP, BIGINT or VARCHAR, the first of these in which all values are valid.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT of the new table, 0.

    Raises
    ------
    InvalidInputException
        If a file is not Parquet, files differ in their columns, a column has a type that Delta cannot store, or the
        directory is a Delta table already.

    References
    ----------
    Delta transaction log protocol, "Per-file Statistics", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    COPY (SELECT range AS id, range % 3 AS day FROM range(9)) TO 'exports' (FORMAT parquet, PARTITION_BY day);
    CALL delta_convert('exports', partition_by := {'day': 'INTEGER'});
    """
    from .convert import convert

    types = None if partition_by is None else named(partition_by, "partition_by")
    partitions = None if types is None else {name: arrow_type(text) for name, text in types.items()}
    return {"version": convert(path, partitions, where="").version}

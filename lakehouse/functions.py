"""SQL functions that read Delta tables."""

from typing import TYPE_CHECKING, Any

from ironlake.udf.engine import scalar, table

if TYPE_CHECKING:
    import pyarrow as pa


@table
def lake_scan(
    path: str, version: int | None = None, timestamp: str | None = None, partition_timezone: str = "UTC"
) -> "pa.RecordBatchReader":
    """Read a Delta table, at its newest version or at an earlier one.

    The rows are streamed: memory stays bounded whatever the size of the table. Inside a `Lake` the tables are views,
    which also skip the columns and files that a query does not need; `lake_scan` is for a table on its own.

    Parameters
    ----------
    path : the table's directory, or its URL in an object store; a relative path starts at the working directory.
    version : the version to read, from 0 on; the newest by default.
    timestamp : read the version that was the newest at this time, such as ``'2026-01-31 12:00:00+01'``; UTC without a
        zone.
    partition_timezone : the zone of timestamps that rows are partitioned by; the log leaves it out, and some writers
        meant their own.

    Returns
    -------
    TABLE
        The table's columns and rows. Without an ORDER BY their order is not defined.

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``, or one of the version's data files is gone.
    ValueError
        If the table has no such version, its log is damaged, or it needs a feature that is not known.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT count(*) FROM lake_scan('ironlake-demo/digits', version => 0);
    """
    from .scan import read
    from .snapshot import open_snapshot

    return read(open_snapshot(path, version, "", timestamp), partition_timezone)


@scalar(form="arrow", nulls=True)
def lake_scan_sql(path: str, version: int | None = None, predicate: str | None = None) -> str:
    """Write the SELECT over Parquet files that reads a Delta table; ``FROM query(lake_scan_sql('t'))`` runs it.

    DuckDB's ``query`` takes the text while it binds a statement. A view over it therefore reads the newest version each
    time, and the reading itself is DuckDB's own: parallel, and only of the columns and files that the statement needs.

    Parameters
    ----------
    path : the table's directory, or its URL in an object store; a relative path starts at the working directory.
    version : the version to read, from 0 on; NULL, the default, is the newest.
    predicate : leave out the files in which no row can meet this SQL condition, by what the log knows of them; the rows
        of the others are not filtered.

    Returns
    -------
    VARCHAR
        One SELECT statement; NULL for a NULL path.

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``, or one of the version's data files is gone.
    ValueError
        If the table has no such version, or the predicate is no SQL condition.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT lake_scan_sql('ironlake-demo/digits');
    """
    import pyarrow as pa

    from .pruning import check_predicate, kept_files
    from .scan import scan_sql
    from .snapshot import open_snapshot

    paths: Any = path  # columns: the annotations are the types of their values
    columns: list[Any] = [pa.nulls(len(paths)) if column is None else column for column in (version, predicate)]
    versions, predicates = (column.to_pylist() for column in columns)
    texts: list[str | None] = []
    for place, chosen, condition in zip(paths.to_pylist(), versions, predicates, strict=True):
        snapshot = None if place is None else open_snapshot(place, chosen, "")
        files = None
        if snapshot and condition is not None:
            check_predicate(snapshot, condition)
            files = kept_files(snapshot, condition)
        texts.append(scan_sql(snapshot, files) if snapshot else None)
    return pa.array(texts, pa.string())  # type: ignore[no-any-return]


@scalar(form="arrow", nulls=True, volatile=True)
def lake_view_sql(path: str, version: int | None = None) -> str:
    """Write the SELECT that a view of a Delta table stands for; ``FROM query(lake_view_sql('t'))`` runs it.

    It is like that of ``lake_scan_sql``, but for one statement: the filters that the statement applies to the table
    choose the files, by what the log knows of them, before any file is opened. This needs a release of DuckDB 2.0;
    with any other both functions write the same.

    Parameters
    ----------
    path : the table's directory on a local disk; a relative path starts at the working directory.
    version : the version to read, from 0 on; NULL, the default, is the newest.

    Returns
    -------
    VARCHAR
        One SELECT statement; NULL for a NULL path.

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``, or one of the version's data files is gone.
    ValueError
        If the table has no such version.

    References
    ----------
    Armbrust and others: Delta Lake, PVLDB 13 (2020), section 3.2.

    Examples
    --------
    SELECT count(*) FROM query(lake_view_sql('ironlake-demo/digits')) WHERE digit = 3;
    """
    import pyarrow as pa

    from .planner import view_sql
    from .snapshot import open_snapshot

    paths: Any = path  # columns: the annotations are the types of their values
    versions: Any = pa.nulls(len(paths)) if version is None else version
    chosen = zip(paths.to_pylist(), versions.to_pylist(), strict=True)
    texts = [None if place is None else view_sql(open_snapshot(place, number, "")) for place, number in chosen]
    return pa.array(texts, pa.string())  # type: ignore[no-any-return]


@table
def lake_explain(path: str, predicate: str, version: int | None = None) -> "pa.Table":
    """Tell which files of a Delta table a scan with a predicate reads, and why.

    Parameters
    ----------
    path : the table's directory, or its URL in an object store.
    predicate : a SQL condition on the table's columns.
    version : the version to read, from 0 on; the newest by default.

    Returns
    -------
    TABLE
        A row per file, oldest first: ``file`` VARCHAR, ``decision`` VARCHAR (``skip``: no row can meet the predicate;
        ``all``: every row does; ``scan``: some may), ``reason`` VARCHAR (what the log knows of the columns that were
        looked at), ``rows`` BIGINT and ``size`` BIGINT (bytes).

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``.
    ValueError
        If the table has no such version, or the predicate is no SQL condition.

    References
    ----------
    Armbrust and others: Delta Lake, PVLDB 13 (2020), section 3.2.

    Examples
    --------
    FROM lake_explain('ironlake-demo/digits', 'digit = 3');
    """
    from .pruning import decisions
    from .snapshot import open_snapshot

    return decisions(open_snapshot(path, version, ""), predicate)


@table
def delta_changes(
    path: str,
    from_version: int | None,
    to_version: int | None,
    from_timestamp: str | None = None,
    to_timestamp: str | None = None,
) -> "pa.RecordBatchReader":
    """Tell what became of the rows of a Delta table between two versions, both included: the change data feed.

    It is exact for updates in versions that were written while the property ``delta.enableChangeDataFeed`` was set. For
    others it follows from the files: the rows of one that was rewritten are deleted and inserted.

    Parameters
    ----------
    path : the table's directory on a local disk.
    from_version : the first version; NULL if a time is given.
    to_version : the last version; NULL for the newest, or if a time is given.
    from_timestamp : the versions that were committed at this time or later, such as ``'2026-01-31 12:00:00+01'``; UTC
        without a zone.
    to_timestamp : the versions that were committed up to this time.

    Returns
    -------
    TABLE
        The columns of the last version, ``_change_type`` VARCHAR (insert, delete, update_preimage, update_postimage),
        ``_commit_version`` BIGINT and ``_commit_timestamp`` TIMESTAMPTZ. Without an ORDER BY the order is not defined.

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``, or a file of these versions is gone.
    ValueError
        If there is no such version, or columns were dropped or became of another type in between.

    References
    ----------
    Delta transaction log protocol, "Add CDC File", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT _change_type, count(*) FROM delta_changes('ironlake-demo/digits', 0, NULL) GROUP BY ALL;
    """
    from .changes import changes
    from .scan import BATCH_ROWS

    return changes(path, from_version, to_version, from_timestamp, to_timestamp, "").to_arrow_reader(BATCH_ROWS)

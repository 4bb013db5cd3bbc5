"""The lakehouse's SQL functions."""

from typing import TYPE_CHECKING, Any

from ironlake.udf.engine import scalar, table

if TYPE_CHECKING:
    import pyarrow as pa


@table
def lake_scan(path: str, version: int | None = None) -> "pa.RecordBatchReader":
    """Read a Delta table, at its newest version or at an earlier one.

    The rows are streamed: memory stays bounded whatever the size of the table. Inside a `Lake` the tables are views,
    which also skip the columns and files that a query does not need; `lake_scan` is for a table on its own.

    Parameters
    ----------
    path : the table's directory on a local disk; a relative path starts at the working directory.
    version : the version to read, from 0 on; the newest by default.

    Returns
    -------
    TABLE
        The table's columns and rows. Without an ORDER BY their order is not defined.

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``, or one of the version's data files is gone.
    ValueError
        If the table has no such version.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT count(*) FROM lake_scan('ironlake-demo/digits', version => 0);
    """
    from .scan import read
    from .snapshot import open_snapshot

    return read(open_snapshot(path, version, ""))


@scalar(form="arrow", nulls=True)
def lake_scan_sql(path: str, version: int | None = None) -> str:
    """Write the SELECT over Parquet files that reads a Delta table; ``FROM query(lake_scan_sql('t'))`` runs it.

    DuckDB's ``query`` takes the text while it binds a statement. A view over it therefore reads the newest version each
    time, and the reading itself is DuckDB's own: parallel, and only of the columns and files that the statement needs.

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
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT lake_scan_sql('ironlake-demo/digits');
    """
    import pyarrow as pa

    from .scan import scan_sql
    from .snapshot import open_snapshot

    paths: Any = path  # columns: the annotations are the types of their values
    versions: Any = version if version is not None else pa.nulls(len(paths))
    pairs = zip(paths.to_pylist(), versions.to_pylist(), strict=True)
    texts = [None if each is None else scan_sql(open_snapshot(each, chosen, "")) for each, chosen in pairs]
    return pa.array(texts, pa.string())  # type: ignore[no-any-return]

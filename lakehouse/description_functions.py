"""SQL functions that tell what the log says of a Delta table."""

from typing import TYPE_CHECKING

from ironlake.udf.engine import table

if TYPE_CHECKING:
    import pyarrow as pa


@table
def delta_history(path: str, newest: int | None = None) -> "pa.Table":
    """Tell what was done to a Delta table, the newest commit first.

    Parameters
    ----------
    path : the table's directory, or its URL in an object store.
    newest : how many commits to tell of; all that the log still has by default.

    Returns
    -------
    TABLE
        A row per commit: ``version`` BIGINT, ``timestamp`` TIMESTAMPTZ, ``operation`` VARCHAR, ``parameters`` and
        ``metrics`` MAP(VARCHAR, VARCHAR), ``engine`` VARCHAR.

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``.
    ValueError
        If the table has no such version, or its log is damaged.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT version, operation FROM delta_history('ironlake-demo/digits', newest => 1);
    """
    from .description import history
    from .snapshot import open_snapshot

    return history(open_snapshot(path, None, ""), newest)


@table
def delta_files(path: str, version: int | None = None) -> "pa.Table":
    """List the data files of a Delta table with what the log knows of each.

    Parameters
    ----------
    path : the table's directory, or its URL in an object store.
    version : the version to tell of, from 0 on; the newest by default.

    Returns
    -------
    TABLE
        A row per file, oldest first: ``path`` VARCHAR, ``size_bytes`` BIGINT, ``modification_time`` TIMESTAMPTZ,
        ``num_records`` BIGINT (deleted ones included; NULL where a writer left it out), ``deleted_records`` BIGINT,
        ``partition`` MAP(VARCHAR, VARCHAR), ``min``, ``max`` and ``null_count`` STRUCT (a field per column that is
        not nested; NULL where it is not known), ``tight_bounds`` BOOLEAN (whether the bounds are values of rows).

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``.
    ValueError
        If the table has no such version, or its log is damaged.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT path, num_records, max.digit FROM delta_files('ironlake-demo/digits');
    """
    from .description import files
    from .snapshot import open_snapshot

    return files(open_snapshot(path, version, ""))


@table
def delta_schema(path: str, version: int | None = None) -> "pa.Table":
    """List the columns of a Delta table.

    Parameters
    ----------
    path : the table's directory, or its URL in an object store.
    version : the version to tell of, from 0 on; the newest by default.

    Returns
    -------
    TABLE
        A row per column: ``name`` VARCHAR, ``type`` VARCHAR (DuckDB's name), ``nullable`` BOOLEAN, ``partition``
        BOOLEAN (whether files are separated by it), ``comment`` VARCHAR, ``metadata`` MAP(VARCHAR, VARCHAR).

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``.
    ValueError
        If the table has no such version, or its log is damaged.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT name, type FROM delta_schema('ironlake-demo/digits');
    """
    from .description import columns
    from .snapshot import open_snapshot

    return columns(open_snapshot(path, version, ""))


@table
def delta_detail(path: str, version: int | None = None) -> "pa.Table":
    """Describe a Delta table in one row: its size, its properties, what it asks of readers and writers.

    Parameters
    ----------
    path : the table's directory, or its URL in an object store.
    version : the version to tell of, from 0 on; the newest by default.

    Returns
    -------
    TABLE
        One row: ``path``, ``id``, ``name``, ``description`` VARCHAR, ``created`` TIMESTAMPTZ, ``version`` BIGINT,
        ``partition_columns`` VARCHAR[], ``num_files``, ``num_records``, ``size_bytes`` BIGINT, ``properties``
        MAP(VARCHAR, VARCHAR), ``min_reader_version``, ``min_writer_version`` BIGINT, ``reader_features`` and
        ``writer_features`` VARCHAR[] (NULL where the versions stand for them).

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``.
    ValueError
        If the table has no such version, or its log is damaged.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT num_files, size_bytes FROM delta_detail('ironlake-demo/digits');
    """
    from .description import detail
    from .snapshot import open_snapshot

    return detail(open_snapshot(path, version, ""))


@table
def delta_clustering_depth(path: str, columns: list[str], version: int | None = None) -> "pa.Table":
    """Measure how well the files of a Delta table are separated by columns: how many hold a value on average.

    A depth of 1 means that one file is read for a value; of the number of files, that none can be skipped. The depth is
    taken where the bounds of a file begin, as the log has them.

    Parameters
    ----------
    path : the table's directory, or its URL in an object store.
    columns : the columns to tell of.
    version : the version to tell of, from 0 on; the newest by default.

    Returns
    -------
    TABLE
        A row per column: ``column_name`` VARCHAR, ``num_files`` BIGINT, ``files_without_bounds`` BIGINT (counted as if
        they held every value), ``average_depth`` DOUBLE and ``largest_depth`` BIGINT (NULL if no file has bounds).

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``.
    ValueError
        If there is no such column, or it has no order.

    References
    ----------
    Dageville and others: The Snowflake Elastic Data Warehouse, SIGMOD (2016), section 3.3.3, for pruning by bounds.

    Examples
    --------
    FROM delta_clustering_depth('ironlake-demo/digits', ['digit']);
    """
    from .description import depths
    from .snapshot import open_snapshot

    return depths(open_snapshot(path, version, ""), columns)

"""Procedures: what changes the rows of a Delta table, for ``CALL`` in SQL.

Each is a table function that does its work when it is executed, once, and gives a row that tells the version made; to
bind it, as EXPLAIN and DESCRIBE do, changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from ironlake.udf.engine import Database, check_external_access, table
from ironlake.udf.engine.options import as_mapping
from ironlake.udf.engine.sqltypes import ANY

if TYPE_CHECKING:
    import pyarrow as pa

#: What tells how rows and files changed.
_CHANGED = ("rows_updated", "rows_deleted", "rows_inserted", "files_marked", "files_removed", "files_added")


def procedure(*metrics: str) -> Callable[[Callable[..., dict[str, int]]], Any]:
    """Declare a function that changes a table and tells in numbers what it did: the version, and these metrics."""

    def declare(change: Callable[..., dict[str, int]]) -> Any:
        @functools.wraps(change)
        def body(**arguments: Any) -> pa.RecordBatchReader:
            import pyarrow as pa

            check_external_access(f"the path {arguments['path']!r}")
            schema = pa.schema([(name, pa.int64()) for name in ("version", *metrics)])

            def row() -> Iterator[pa.RecordBatch]:
                yield pa.RecordBatch.from_pylist([change(**arguments)], schema)

            return pa.RecordBatchReader.from_batches(schema, row())

        return table(body)

    return declare


def named(value: Any, argument: str) -> dict[str, Any]:
    """What a STRUCT or MAP says, by its names.

    Raises
    ------
    ValueError
        The value is neither.
    """
    try:
        return as_mapping(value)
    except ValueError:
        raise ValueError(f"argument {argument} is {value!r}; expected a STRUCT or a MAP") from None


def arrow_type(text: str) -> pa.DataType:
    """The type that a text names in SQL.

    Raises
    ------
    ValueError
        It names none.
    """
    import duckdb

    from .storage import database

    try:
        type_ = database().sqltype(text)
        return database().sql(f"SELECT CAST(NULL AS {type_}) AS value").to_arrow_reader().schema.field("value").type
    except duckdb.Error as error:
        raise ValueError(f"{text!r} is no SQL type: {str(error).splitlines()[0]}") from None


@procedure("rows_written")
def delta_write(
    database: Database,
    query: str,
    path: str,
    mode: Literal["error", "append", "overwrite"] = "error",
    partition_by: list[str] | None = None,
    predicate: str | None = None,
    merge_schema: bool = False,
) -> dict[str, int]:
    """Write the rows of a query to a Delta table in one atomic commit, creating the table if need be.

    Parameters
    ----------
    query : the rows, or the name of a table; it sees what is committed.
    path : the table's directory.
    mode : what to do if the table exists: refuse with an ``'error'``, ``'append'`` rows, or ``'overwrite'`` rows,
        columns and partitions.
    partition_by : columns whose values become directories.
    predicate : overwriting, replace only the rows that meet this SQL condition, which the new ones must meet too.
    merge_schema : appending, add columns to the table that only the query has, and fill up with NULL those it lacks.

    Returns
    -------
    TABLE
        One row: ``version`` (the one made) and ``rows_written`` BIGINT.

    Raises
    ------
    InvalidInputException
        If the query fails, the rows do not fit the table or break a rule of it, the table exists and ``mode`` is
        ``'error'``, or another writer changed what was to be replaced.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT 3 AS id, ''fig'' AS item', 'market/fruit', mode := 'overwrite');
    """
    import pyarrow as pa

    from .storage import Storage
    from .write import write

    if predicate is not None and mode != "overwrite":
        raise ValueError(f"argument predicate says which rows mode 'overwrite' replaces; the mode is {mode!r}")
    storage = Storage.of(path)
    rows, count = database.rows(query), 0

    def counted() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for batch in rows:
            count += len(batch)
            yield batch

    data = pa.RecordBatchReader.from_batches(rows.schema, counted())
    version = write(storage, data, mode, partition_by, "", merge_schema, predicate)
    return {"version": version, "rows_written": count}


@procedure(*_CHANGED)
def delta_delete(path: str, predicate: str | None, deletion_vectors: bool | None = None) -> dict[str, int]:
    """Delete rows of a Delta table in one atomic commit; earlier versions still have them.

    Parameters
    ----------
    path : the table's directory.
    predicate : a SQL condition: the rows for which it is true are deleted; NULL deletes all.
    deletion_vectors : true marks rows as deleted beside the files, false rewrites the files; by default the table's
        property ``delta.enableDeletionVectors`` decides.

    Returns
    -------
    TABLE
        One row: ``version`` (the one made, or that is there if no row was found), ``rows_updated``, ``rows_deleted``,
        ``rows_inserted``, ``files_marked``, ``files_removed`` and ``files_added`` BIGINT.

    Raises
    ------
    InvalidInputException
        If the predicate is no SQL condition, the table is append-only, or another writer changed the same rows.

    References
    ----------
    Delta transaction log protocol, "Deletion Vectors", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT range AS id FROM range(9)', 'market/crates', mode := 'overwrite');
    CALL delta_delete('market/crates', 'id < 5', deletion_vectors := true);
    """
    from .delete import delete
    from .storage import Storage

    return delete(Storage.of(path), predicate, deletion_vectors, "")


@procedure(*_CHANGED)
def delta_update(path: str, values: ANY, predicate: str | None, deletion_vectors: bool | None = None) -> dict[str, int]:
    """Change values of rows of a Delta table in one atomic commit; earlier versions still have the old ones.

    Parameters
    ----------
    path : the table's directory.
    values : a STRUCT or MAP: for each column to change, its new value as SQL over the columns of the row.
    predicate : a SQL condition: the rows for which it is true are changed; NULL changes all.
    deletion_vectors : true marks the rows as deleted and adds the changed ones, false rewrites the files; by default
        the table's property ``delta.enableDeletionVectors`` decides.

    Returns
    -------
    TABLE
        One row, as of ``delta_delete``.

    Raises
    ------
    InvalidInputException
        If there is no such column, a value or the predicate is not valid, a changed row breaks a rule of the table, or
        another writer changed the same rows.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT range AS id, ''small'' AS size FROM range(9)', 'market/jars', mode := 'overwrite');
    CALL delta_update('market/jars', {'size': 'upper(size)'}, 'id % 2 = 0');
    """
    from .delete import update
    from .storage import Storage

    return update(Storage.of(path), named(values, "values"), predicate, deletion_vectors, "")


@procedure(*_CHANGED)
def delta_merge(
    database: Database, query: str, path: str, on: str, clauses: str, deletion_vectors: bool | None = None
) -> dict[str, int]:
    """Merge the rows of a query into a Delta table in one atomic commit.

    Parameters
    ----------
    query : the rows, or the name of a table; it sees what is committed. The clauses call them ``source``.
    path : the table's directory. The clauses call its rows ``target``.
    on : when a row of the table matches one of the query: the name of a column that must be equal, or a SQL condition.
    clauses : what becomes of rows, as SQL's MERGE says it; of the clauses that fit a row the first counts. ``UPDATE``
        and ``INSERT`` without values take the columns of the query.
    deletion_vectors : true marks the rows as deleted and adds the changed ones, false rewrites the files; by default
        the table's property ``delta.enableDeletionVectors`` decides.

    Returns
    -------
    TABLE
        One row, as of ``delta_delete``.

    Raises
    ------
    InvalidInputException
        If a clause is not valid, a row of the table is matched by several rows of the query, a row breaks a rule of
        the table, or another writer changed the same rows.

    References
    ----------
    ISO/IEC 9075-2, 14.12 <merge statement>; "BY SOURCE" as in Delta Lake.

    Examples
    --------
    CALL delta_write('SELECT range AS id, 1 AS pieces FROM range(3)', 'market/shelf', mode := 'overwrite');
    CALL delta_merge('SELECT 2 AS id, 7 AS pieces', 'market/shelf', 'id',
                     'WHEN MATCHED THEN UPDATE SET pieces = source.pieces WHEN NOT MATCHED THEN INSERT');
    """
    from .merge import Merge
    from .merge_clauses import add_clauses
    from .storage import Storage

    storage = Storage.of(path)
    merge = Merge(storage, database.rows(query), on, "")
    return add_clauses(merge, clauses).execute(deletion_vectors=deletion_vectors)

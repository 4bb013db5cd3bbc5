"""The SQL functions of governance: what sessions read with, and what owners say."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from ironlake.udf.engine import Source, table

from .expectations import OnViolation

if TYPE_CHECKING:
    import pyarrow as pa

    from ..table import Table


@table
def lake_session_scan(session: str, name: str, version: int | None = None, predicate: str | None = None) -> Source:
    """Read a table of a lake as the principal of a session sees it; the views of a `Session` call this.

    Parameters
    ----------
    session : the pass of the session, signed by this process.
    name : the table.
    version : the version to read, from 0 on; the newest by default.
    predicate : leave out files in which no row can meet this SQL condition; the rows of the others are not filtered.

    Returns
    -------
    TABLE
        The table's columns, with their masks, and the rows that the row filter leaves.

    Raises
    ------
    PermissionError
        If the pass was not issued by this process, or the principal has no privilege SELECT on such a table.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT view_name FROM duckdb_views() WHERE contains(sql, 'lake_session_scan(');
    """
    from .session_scan import SessionScan, redeem

    scan = SessionScan.plan(*redeem(session), name, version, predicate)
    return Source(scan.schema(), scan.read)


@table
def delta_set_row_filter(path: str, predicate: str, applies_to: list[str] | None = None) -> Source:
    """Let principals see only the rows of a table for which a condition is true.

    Parameters
    ----------
    path : the table's directory, in that of its lake.
    predicate : a SQL condition on its columns; ``current_principal()`` and ``is_member('group')`` tell of the
        principal.
    applies_to : principals and groups; all principals by default.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, that of the lake's table of row filters.

    Raises
    ------
    ValueError
        If the predicate is no SQL condition on the columns.

    References
    ----------
    Armbrust and others: Lakehouse: A New Generation of Open Platforms, CIDR (2021), section 3.1, for the design.

    Examples
    --------
    CALL delta_set_row_filter('ironlake-demo/digits', 'digit < 5 OR is_member(''staff'')');
    """
    return _done(path, lambda table: table.set_row_filter(predicate, applies_to=applies_to))


@table
def delta_drop_row_filter(path: str) -> Source:
    """Let principals see all rows of a table again.

    Parameters
    ----------
    path : the table's directory, in that of its lake.

    Returns
    -------
    TABLE
        One row: ``dropped`` BOOLEAN, whether there was a row filter.

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``.

    References
    ----------
    Armbrust and others: Lakehouse: A New Generation of Open Platforms, CIDR (2021), section 3.1, for the design.

    Examples
    --------
    CALL delta_drop_row_filter('ironlake-demo/digits');
    """
    return _done(path, lambda table: table.drop_row_filter(), "dropped")


@table
def delta_set_column_mask(path: str, column: str, expression: str, applies_to: list[str] | None = None) -> Source:
    """Let principals see the value of an expression in a column of a table.

    Parameters
    ----------
    path : the table's directory, in that of its lake.
    column : the column.
    expression : SQL of the column's type over the columns; ``current_principal()`` and ``is_member('group')`` tell of
        the principal.
    applies_to : principals and groups; all principals by default.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, that of the lake's table of column masks.

    Raises
    ------
    ValueError
        If there is no such column, or the expression is not valid or of another type.

    References
    ----------
    Armbrust and others: Lakehouse: A New Generation of Open Platforms, CIDR (2021), section 3.1, for the design.

    Examples
    --------
    CALL delta_set_column_mask('ironlake-demo/digits', 'digit', 'digit % 2');
    """
    return _done(path, lambda table: table.set_column_mask(column, expression, applies_to=applies_to))


@table
def delta_drop_column_mask(path: str, column: str) -> Source:
    """Let principals see the values of a column of a table again.

    Parameters
    ----------
    path : the table's directory, in that of its lake.
    column : the column.

    Returns
    -------
    TABLE
        One row: ``dropped`` BOOLEAN, whether there was a mask.

    Raises
    ------
    FileNotFoundError
        If there is no Delta table at ``path``.

    References
    ----------
    Armbrust and others: Lakehouse: A New Generation of Open Platforms, CIDR (2021), section 3.1, for the design.

    Examples
    --------
    CALL delta_drop_column_mask('ironlake-demo/digits', 'digit');
    """
    return _done(path, lambda table: table.drop_column_mask(column), "dropped")


@table
def delta_expectation(path: str, name: str, predicate: str, on_violation: str = "warn") -> Source:
    """Expect a condition of the rows that are written to a Delta table from now on.

    Parameters
    ----------
    path : the table's directory.
    name : what the expectation is called; one of this name is replaced.
    predicate : a SQL condition on the columns; rows for which it is false or NULL break it.
    on_violation : what becomes of these: ``warn`` writes and counts them, ``drop`` leaves them out, ``fail`` refuses
        all.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, the one made.

    Raises
    ------
    ValueError
        If an argument is not valid.

    References
    ----------
    Schelter and others: Automating Large-Scale Data Quality Verification, PVLDB 11 (2018), for the idea.

    Examples
    --------
    CALL delta_expectation('ironlake-demo/digits', 'a_digit', 'digit BETWEEN 0 AND 9', on_violation := 'fail');
    """
    return _done(path, lambda table: table.expect(name, predicate, cast(OnViolation, on_violation)))


def _done(path: str, change: "Callable[[Table], int | bool]", column: str = "version") -> Source:
    """What `change` gives, in one row; it is called when the statement runs, not when it is bound."""
    import pyarrow as pa

    from ..table import Table

    opened = Table(path)
    schema = pa.schema({column: pa.bool_() if column == "dropped" else pa.int64()})

    def read(_: list[str]) -> "Iterator[pa.RecordBatch]":
        yield pa.record_batch([pa.array([change(opened)], schema.field(0).type)], schema=schema)

    return Source(schema, read)

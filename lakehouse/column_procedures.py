"""Procedures that change what a Delta table is rather than its rows: its columns, its rules; see `procedures`."""

from __future__ import annotations

from typing import Any

from ironlake.udf.engine.sqltypes import ANY

from .procedures import arrow_type, named, procedure


@procedure()
def delta_add_column(path: str, name: str, sql_type: str) -> dict[str, int]:
    """Add a column to a Delta table, which is NULL in the rows that there are.

    Parameters
    ----------
    path : the table's directory.
    name : the column.
    sql_type : its type.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, the one made.

    Raises
    ------
    InvalidInputException
        If there is such a column, or Delta has no such type.

    References
    ----------
    Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT 1 AS id', 'market/corn', mode := 'overwrite');
    CALL delta_add_column('market/corn', 'price', 'DECIMAL(9, 2)');
    """
    import pyarrow as pa

    from .alter import add_columns

    return _altered(path, "ADD COLUMNS", add_columns(pa.schema({name: arrow_type(sql_type)})))


@procedure()
def delta_rename_column(path: str, old: str, new: str) -> dict[str, int]:
    """Rename a column of a Delta table without touching a file: the table maps its columns from then on.

    Parameters
    ----------
    path : the table's directory.
    old : the name that the column has.
    new : the name that it gets.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, the one made.

    Raises
    ------
    InvalidInputException
        If there is no such column, there is one of the new name, or a rule of the table needs the column.

    References
    ----------
    Delta transaction log protocol, "Column Mapping", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT 1 AS id', 'market/peas', mode := 'overwrite');
    CALL delta_rename_column('market/peas', 'id', 'number');
    """
    from .alter import rename_column

    return _altered(path, "RENAME COLUMN", rename_column(old, new))


@procedure()
def delta_drop_columns(path: str, names: list[str]) -> dict[str, int]:
    """Drop columns of a Delta table without touching a file: the table maps its columns from then on.

    Parameters
    ----------
    path : the table's directory.
    names : the columns.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, the one made.

    Raises
    ------
    InvalidInputException
        If there is no such column, no other would be left, or a rule of the table needs one.

    References
    ----------
    Delta transaction log protocol, "Column Mapping", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT 1 AS id, 2 AS size', 'market/nuts', mode := 'overwrite');
    CALL delta_drop_columns('market/nuts', ['size']);
    """
    from .alter import drop_columns

    return _altered(path, "DROP COLUMNS", drop_columns(*names))


@procedure()
def delta_add_constraint(path: str, name: str, condition: str) -> dict[str, int]:
    """Let a SQL condition hold for all rows of a Delta table, those that there are included.

    Parameters
    ----------
    path : the table's directory.
    name : what the constraint is called.
    condition : the condition.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, the one made.

    Raises
    ------
    InvalidInputException
        If rows of the table break it, or there is a constraint of this name.

    References
    ----------
    Delta transaction log protocol, "CHECK Constraints", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT 1 AS id', 'market/figs', mode := 'overwrite');
    CALL delta_add_constraint('market/figs', 'id_is_positive', 'id > 0');
    """
    from .alter import add_constraint

    return _altered(path, "ADD CONSTRAINT", add_constraint(name, condition))


@procedure()
def delta_drop_constraint(path: str, name: str) -> dict[str, int]:
    """Take a constraint of a Delta table away.

    Parameters
    ----------
    path : the table's directory.
    name : what the constraint is called.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, the one made.

    Raises
    ------
    InvalidInputException
        If there is no such constraint.

    References
    ----------
    Delta transaction log protocol, "CHECK Constraints", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT 1 AS id', 'market/kale', mode := 'overwrite');
    CALL delta_add_constraint('market/kale', 'positive', 'id > 0');
    CALL delta_drop_constraint('market/kale', 'positive');
    """
    from .alter import drop_constraint

    return _altered(path, "DROP CONSTRAINT", drop_constraint(name))


@procedure()
def delta_set_properties(path: str, properties: ANY) -> dict[str, int]:
    """Set properties of a Delta table.

    Parameters
    ----------
    path : the table's directory.
    properties : a STRUCT or MAP of names and values; NULL takes a property away.

    Returns
    -------
    TABLE
        One row: ``version`` BIGINT, the one made.

    Raises
    ------
    InvalidInputException
        If a property needs a feature that is not known, or is a constraint.

    References
    ----------
    Delta transaction log protocol, "Table Properties", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    CALL delta_write('SELECT 1 AS id', 'market/oats', mode := 'overwrite');
    CALL delta_set_properties('market/oats', {'delta.enableChangeDataFeed': true, 'season': 'autumn'});
    """
    from .alter import set_properties

    return _altered(path, "SET TBLPROPERTIES", set_properties(named(properties, "properties")))


def _altered(path: str, operation: str, edit: Any) -> dict[str, int]:
    """Change what a table is."""
    from .alter import alter
    from .storage import Storage

    return {"version": alter(Storage.of(path), operation, "", edit)}

"""Delete and update the rows that meet a condition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .errors import telling
from .protocol import check_writable
from .pruning import check_predicate
from .row_changes import apply, find, marks_rows
from .rules import computed_columns
from .schema import quote_name, sql_type
from .snapshot import Snapshot, open_snapshot
from .storage import Storage, scratch
from .transaction import Transaction

if TYPE_CHECKING:
    import duckdb


def delete(storage: Storage, predicate: str | None, marking: bool | None, where: str) -> dict[str, int]:
    """Delete rows of a table; see `Table.delete`.

    `where` starts the error messages, such as ``"Table.delete('sales'): "``.
    """
    condition = "true" if predicate is None else predicate
    with telling(where), scratch(storage) as connection:
        snapshot = open_snapshot(storage, None, "")
        check_writable(snapshot.state.protocol, snapshot.state.metadata, "delete")
        check_predicate(snapshot, condition)
        find(connection, snapshot, condition, "delete")
        with Transaction(snapshot, "DELETE", condition, {"predicate": [condition]}) as change:
            told = apply(change, connection, marks_rows(snapshot, marking), has_values=False)
            return {"version": change.commit(), **told}


def update(
    storage: Storage, values: Mapping[str, str], predicate: str | None, marking: bool | None, where: str
) -> dict[str, int]:
    """Change values in rows of a table; see `Table.update`."""
    condition = "true" if predicate is None else predicate
    with telling(where), scratch(storage) as connection:
        snapshot = open_snapshot(storage, None, "")
        check_writable(snapshot.state.protocol, snapshot.state.metadata, "change")
        check_predicate(snapshot, condition)
        find(connection, snapshot, condition, "update", new_values(snapshot, values))
        complete(connection, snapshot, set(values))
        with Transaction(snapshot, "UPDATE", condition, {"predicate": [condition]}) as change:
            told = apply(change, connection, marks_rows(snapshot, marking))
            return {"version": change.commit(), **told}


def new_values(snapshot: Snapshot, values: Mapping[str, str], others: str = "") -> str:
    """The values of a changed row, in SQL: what is said of a column, cast to its type, or else ``others`` and its name.

    Raises
    ------
    ValueError
        There is no such column.
    """
    if unknown := [name for name in values if name not in snapshot.schema.names]:
        names = ", ".join(map(repr, snapshot.schema.names))
        raise ValueError(f"there is no column {unknown[0]!r}; the columns are {names}")
    return ", ".join(
        f"CAST(({values.get(field.name, others + quote_name(field.name))}) AS {sql_type(field.type)}) "
        f"AS {quote_name(field.name)}"
        for field in snapshot.schema
    )


def complete(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, given: set[str]) -> None:
    """Compute the generated columns of changed rows anew, unless their values are given."""
    for name, expression in computed_columns(snapshot.schema).items():
        if name not in given:
            connection.execute(f"UPDATE changed SET {quote_name(name)} = {expression} WHERE kind <> 'delete'")

"""What owners of a lake say: to whom tables are granted, what of them is filtered and masked, what is expected."""

from __future__ import annotations

import datetime as dt
import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..alter import alter
from ..errors import telling
from ..pruning import check_predicate
from ..scan import scan_sql
from ..snapshot import Snapshot, open_snapshot
from .expectations import OnViolation, drop_expectation, expect, expectations
from .policy import ALL_TABLES, PRIVILEGES, Principal, bound, check_mask
from .tables import AUDIT_LOG, COLUMN_MASKS, GRANTS, NAMES, ROW_FILTERS, Governance, lake_of

if TYPE_CHECKING:
    import duckdb

    from ..lake import Lake
    from ..storage import Storage
    from .session import Session

Privilege = Literal["SELECT", "INSERT", "MODIFY"]
#: For whom rules are tried out when they are made.
_ANYBODY = Principal("anybody")


class GovernedLake:
    """What a `Lake` offers to govern it; these are calls of its owners, as all calls are without a principal."""

    storage: Storage

    def as_principal(self, principal: str, groups: Sequence[str] = ()) -> Session:
        """The lake as one principal sees it: the tables that were granted, filtered and masked.

        Parameters
        ----------
        principal : str
            Its name. Whoever opens the lake says it; nothing here proves it.
        groups : sequence of str
            The groups that it is a member of.

        Returns
        -------
        Session
        """
        from .session import Session

        if not isinstance(principal, str) or not principal:
            raise ValueError(f"Lake.as_principal: principal is {principal!r}; expected a name")
        if isinstance(groups, str) or not all(isinstance(group, str) and group for group in groups):
            raise ValueError(f"Lake.as_principal: groups is {groups!r}; expected a sequence of names")
        self._check_open("Lake.as_principal: ")
        lake: Lake = self  # type: ignore[assignment]
        return Session(lake, Principal(principal, tuple(groups)))

    def grant(self, privilege: Privilege, *, on: str, to: str) -> int:
        """Give a privilege on a table.

        Parameters
        ----------
        privilege : {"SELECT", "INSERT", "MODIFY"}
            To read its rows, to add rows, or to change and delete rows.
        on : str
            The table; ``"*"`` is all tables, with those made later.
        to : str
            The principal or group.

        Returns
        -------
        int
            The version of the table of grants.

        Examples
        --------
        >>> lake.grant("SELECT", on="sales", to="analysts")
        1
        """
        where = self._granting("grant", privilege, on, to)
        row: dict[str, Any] = {"principal": to, "object": on, "privilege": privilege}
        row |= {"granted_by": getpass.getuser(), "granted_at": dt.datetime.now(dt.UTC)}
        return Governance(self.storage).put(GRANTS, ["principal", "object", "privilege"], row, where)

    def revoke(self, privilege: Privilege, *, on: str, to: str) -> bool:
        """Take a privilege away, with which queries that begin afterwards are refused; whether it was there."""
        where = self._granting("revoke", privilege, on, to)
        keys = {"principal": to, "object": on, "privilege": privilege}
        with telling(where):
            return Governance(self.storage).remove(GRANTS, keys)

    def set_audit(self, on: bool) -> int:
        """Keep the audit log, as a lake does from the first grant or rule on, or stop; the version of the grants."""
        self._check_open("Lake.set_audit: ")
        return Governance(self.storage).set_audit(on, "Lake.set_audit: ")

    def audit(self) -> duckdb.DuckDBPyRelation:
        """The audit log: a row for each read of a session, each commit, and each refusal.

        Returns
        -------
        duckdb.DuckDBPyRelation
            event_time TIMESTAMPTZ, principal (NULL for an owner), session_id, action, table VARCHAR, version BIGINT,
            columns VARCHAR[], predicate VARCHAR, rows_read BIGINT and files_read INTEGER (what the files hold that are
            read), files_skipped INTEGER, bytes_read BIGINT, status (``ok``, ``denied`` or ``error``), error VARCHAR.
        """
        return self.governance(AUDIT_LOG)

    def governance(self, name: str, version: int | None = None) -> duckdb.DuckDBPyRelation:
        """One of the tables ``grants``, ``row_filters``, ``column_masks`` and ``audit_log``, at any of its versions.

        Raises
        ------
        FileNotFoundError
            Nothing was granted and no rule was made so far.
        """
        where = f"Lake.governance({name!r}): "
        if name not in NAMES:
            raise ValueError(f"{where}there is no such table; expected one of {', '.join(map(repr, NAMES))}")
        snapshot = open_snapshot(Governance(self.storage).path(name), version, where)
        return self._refreshed().sql(scan_sql(snapshot))  # type: ignore[attr-defined,no-any-return]

    def _granting(self, method: str, privilege: str, on: str, to: str) -> str:
        """Check the arguments of a grant; how messages begin."""
        where = f"Lake.{method}: "
        self._check_open(where)
        if privilege not in PRIVILEGES:
            raise ValueError(f"{where}privilege is {privilege!r}; expected one of {', '.join(map(repr, PRIVILEGES))}")
        if not isinstance(to, str) or not to:
            raise ValueError(f"{where}to is {to!r}; expected the name of a principal or group")
        if on != ALL_TABLES:
            self._table(f"Lake.{method}", on)  # type: ignore[attr-defined]
        return where

    def _check_open(self, told: str) -> None:
        raise NotImplementedError


class GovernedTable:
    """What a `Table` offers to say who sees what of it, and what is expected of its rows."""

    storage: Storage
    name: str

    def set_row_filter(self, predicate: str, *, applies_to: Sequence[str] | None = None) -> int:
        """Let principals see only the rows for which a condition is true, instead of a filter set before.

        Parameters
        ----------
        predicate : str
            SQL over the columns of the table; ``current_principal()`` is the principal's name, and
            ``is_member('group')`` whether it is in a group.
        applies_to : sequence of str, optional
            Principals and groups; all principals by default.

        Returns
        -------
        int
            The version of the table of row filters.

        Raises
        ------
        ValueError
            `predicate` is no condition on the columns.

        Examples
        --------
        >>> lake["sales"].set_row_filter("item <> 'fig' OR is_member('growers')")
        1
        """
        where = self._where("set_row_filter")
        with telling(where):
            snapshot = open_snapshot(self.storage, None, "")
            check_predicate(snapshot, bound(predicate, _ANYBODY))
            governance, table = lake_of(self.storage)
            row = {"table": table, "predicate_sql": predicate, "applies_to": _names(applies_to)}
            return governance.put(ROW_FILTERS, ["table"], row, "")

    def set_column_mask(self, column: str, expression: str, *, applies_to: Sequence[str] | None = None) -> int:
        """Let principals see the value of an expression in a column, instead of a mask set before.

        Parameters
        ----------
        column : str
            The column.
        expression : str
            SQL of the same type over the columns of the table; see `set_row_filter`.
        applies_to : sequence of str, optional
            Principals and groups; all principals by default.

        Returns
        -------
        int
            The version of the table of column masks.

        Raises
        ------
        ValueError
            There is no such column, or `expression` is not valid or of another type.
        """
        with telling(self._where("set_column_mask")):
            snapshot = open_snapshot(self.storage, None, "")
            check_mask(snapshot, column, bound(expression, _ANYBODY))
            governance, table = lake_of(self.storage)
            row = {"table": table, "column": column, "expression_sql": expression, "applies_to": _names(applies_to)}
            return governance.put(COLUMN_MASKS, ["table", "column"], row, "")

    def drop_row_filter(self) -> bool:
        """Let principals see all rows; whether there was a filter."""
        governance, table = lake_of(self.storage)
        with telling(self._where("drop_row_filter")):
            return governance.remove(ROW_FILTERS, {"table": table})

    def drop_column_mask(self, column: str) -> bool:
        """Let principals see the values of a column; whether there was a mask."""
        governance, table = lake_of(self.storage)
        with telling(self._where("drop_column_mask")):
            return governance.remove(COLUMN_MASKS, {"table": table, "column": column})

    def expect(self, name: str, predicate: str, on_violation: OnViolation = "warn") -> int:
        """Expect a condition of the rows that are written from now on, instead of one of this name set before.

        How many rows broke it is in the metrics of each commit's history, as ``expectation.<name>``.

        Parameters
        ----------
        name : str
            What it is called: letters, digits and underscores.
        predicate : str
            SQL over the columns of the table; rows for which it is false or NULL break it.
        on_violation : {"warn", "drop", "fail"}
            Write such rows with an `ExpectationWarning`, leave them out with one, or refuse all with a
            `ConstraintError`. Updates and merges refuse them, too, instead of leaving them out.

        Returns
        -------
        int
            The version made.

        Raises
        ------
        ValueError
            An argument is not valid.

        Examples
        --------
        >>> lake["sales"].expect("some_pieces", "pieces > 0", on_violation="drop")
        2
        """
        return alter(self.storage, "SET EXPECTATION", self._where("expect"), expect(name, predicate, on_violation))

    def drop_expectation(self, name: str) -> int:
        """Expect it no longer; the version made."""
        where = self._where("drop_expectation")
        return alter(self.storage, "DROP EXPECTATION", where, drop_expectation(name))

    def expectations(self) -> dict[str, tuple[str, OnViolation]]:
        """For each expectation its condition and what becomes of rows that break it."""
        return expectations(self._snapshot("expectations"))

    def _where(self, method: str) -> str:
        raise NotImplementedError

    def _snapshot(self, method: str) -> Snapshot:
        raise NotImplementedError


def _names(applies_to: Sequence[str] | None) -> list[str] | None:
    if applies_to is None:
        return None
    if isinstance(applies_to, str) or not applies_to:
        raise ValueError(f"applies_to is {applies_to!r}; expected a sequence of principals and groups, or None for all")
    return list(applies_to)

"""A lake as one principal sees it."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..schema import quote_name, quote_text
from ..snapshot import open_snapshot
from .audit import Actor, acting, failures
from .policy import ALL_TABLES, Principal, check_own_columns, policy_of
from .session_scan import check_privilege, issue, table_path
from .tables import Governance

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from ..lake import Lake
    from ..merge import Merge


#: How DuckDB says that a query names no table that there is.
_MISSING = re.compile(r"^Catalog Error: Table with name (.+?) does not exist!")


class Session:
    """A lake as one principal sees it; made by ``ironlake.open(root, principal=...)`` or `Lake.as_principal`.

    There are only the tables on which it has the privilege SELECT, with their row filters and column masks applied. Its
    databases cannot reach files, nor change their settings; whatever else a `Lake` offers is for owners.

    Attributes
    ----------
    principal : Principal
        Whoever the session acts for.
    id : str
        What the audit log calls the session.
    """

    def __init__(self, lake: Lake, principal: Principal) -> None:
        self._lake = lake
        self.principal, self.id = principal, str(uuid.uuid4())
        self._actor = Actor(principal, self.id)
        self._governance = Governance(lake.storage)
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._views: set[str] = set()

    def tables(self) -> list[str]:
        """The names of the tables that the principal may read, sorted."""
        granted = self.principal.granted("SELECT", self._governance)
        return [name for name in self._lake.tables() if {name, ALL_TABLES} & granted]

    def table(
        self,
        name: str,
        version: int | None = None,
        *,
        timestamp: dt.datetime | str | None = None,
        where: str | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """A table as a lazy relation, fixed to one version; see `Lake.table`.

        Each time that it is run is an entry of the audit log. Files are left out by `where` only if it speaks of
        columns without masks.

        Raises
        ------
        PermissionError
            The principal has no privilege SELECT on such a table, or its rules do not fit that version.
        """
        with failures(self._governance, self._actor, "SELECT", name):
            check_privilege(self._governance, self.principal, "SELECT", name)
            path = table_path(self._lake.storage, name)
            fixed = open_snapshot(path, version, f"Session.table({name!r}): ", timestamp).version
        condition = "" if where is None else f", predicate := {quote_text(where)}"
        call = f"{self._scan(name)}, version := {fixed}{condition})"
        rows = self._refreshed().sql(f"FROM {call}")
        return rows if where is None else rows.filter(where)

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Run SQL in which every table that the principal may read is a view, always at its newest version.

        Variables of the caller are not visible, since that is external access: ``connect().register(name, frame)``.
        """
        import duckdb

        connection = self._refreshed()
        try:
            return connection.sql(query)
        except duckdb.CatalogException as error:
            if not (missing := _MISSING.search(str(error))):
                raise
            name = missing.group(1)
        with failures(self._governance, self._actor, "SELECT", name):
            told = f"{self.principal.name!r} has no privilege SELECT on a table {name!r}"
            raise PermissionError(f"{told}; it may read {', '.join(self.tables()) or 'none'}")

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A new in-memory database with these views; it cannot reach files, nor change its settings."""
        import duckdb

        connection = duckdb.connect(
            config={
                "enable_external_access": "false",
                "lock_configuration": "true",
                "temp_directory": f"{tempfile.gettempdir()}/ironlake-{uuid.uuid4()}",
            }
        )
        for name in self.tables():
            self._create_view(connection, name)
        return connection

    def write(
        self,
        name: str,
        data: Any,
        mode: Literal["error", "append", "overwrite"] = "error",
        partition_by: str | Sequence[str] | None = None,
        *,
        where: str | None = None,
        merge_schema: bool = False,
    ) -> int:
        """Write rows to a table; see `Lake.write`.

        To append takes the privilege INSERT, to create a table INSERT on all tables, and to overwrite rows or merge the
        schema what `SessionTable.update` takes.

        Raises
        ------
        PermissionError
            The principal has no such privilege.
        """
        with self._doing("WRITE", name):
            if mode == "overwrite" or merge_schema:
                self._check_change(name)
            else:
                self._check("INSERT", name if mode == "append" else ALL_TABLES)
            if where is not None:
                check_own_columns(where)
            return self._lake.write(name, data, mode, partition_by, where=where, merge_schema=merge_schema)

    def __getitem__(self, name: str) -> SessionTable:
        """A table as a thing to change.

        Raises
        ------
        PermissionError
            The principal has no privilege SELECT on such a table.
        """
        with failures(self._governance, self._actor, "SELECT", name):
            check_privilege(self._governance, self.principal, "SELECT", name)
        return SessionTable(self, name)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a session of {self.principal.name!r} has no {name!r}; owners open the lake without one")

    def __repr__(self) -> str:
        return f"Session({self._lake.storage.root!r}, principal={self.principal.name!r}, tables={self.tables()})"

    def _scan(self, name: str) -> str:
        """A call of the function that reads a table, without its last parenthesis."""
        return f"lake_session_scan({quote_text(issue(self._lake.storage, self._actor))}, {quote_text(name)}"

    def _create_view(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        schema, _, _ = name.rpartition(".")
        if schema:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_name(schema)}")
        connection.execute(f"CREATE OR REPLACE VIEW {_quoted(name)} AS FROM {self._scan(name)})")

    def _refreshed(self) -> duckdb.DuckDBPyConnection:
        """The session's own connection, with a view for each table that the principal may read now."""
        if self._connection is None:
            self._connection = self.connect()
        tables = set(self.tables())
        for name in self._views - tables:
            self._connection.execute(f"DROP VIEW IF EXISTS {_quoted(name)}")
        for name in tables - self._views:
            self._create_view(self._connection, name)
        self._views = tables
        return self._connection

    def _check(self, privilege: str, name: str) -> None:
        if not self.principal.may(privilege, self._governance, name):
            what = "all tables, which creating one takes" if name == ALL_TABLES else f"a table {name!r}"
            raise PermissionError(f"{self.principal.name!r} has no privilege {privilege} on {what}")

    def _check_change(self, name: str) -> None:
        """Refuse to change rows to whoever may not read all of them as they are."""
        for privilege in ("SELECT", "MODIFY"):
            check_privilege(self._governance, self.principal, privilege, name)
        self._check_unrestricted(name, "change its rows")

    def _check_unrestricted(self, name: str, what: str) -> None:
        snapshot = open_snapshot(table_path(self._lake.storage, name), None, "")
        if policy_of(self.principal, self._governance, name, snapshot).restricts:
            raise PermissionError(
                f"{self.principal.name!r} sees the table {name!r} filtered or masked, and so cannot {what}"
            )

    @contextlib.contextmanager
    def _doing(self, action: str, name: str) -> Iterator[None]:
        """Let commits be this session's, and write down what fails."""
        with failures(self._governance, self._actor, action, name), acting(self._actor):
            yield


def _quoted(name: str) -> str:
    """The name of a table, with its schema if it is in one."""
    return ".".join(map(quote_name, name.split(".")))


class SessionTable:
    """A table that a principal may change; ``session["sales"]``."""

    def __init__(self, session: Session, name: str) -> None:
        self._session, self.name = session, name
        self._table = session._lake[name]

    @property
    def version(self) -> int:
        """The newest version."""
        return self._table.version

    def history(self, newest: int | None = None) -> pa.Table:
        """What was done to the table, newest commit first; see `Table.history`.

        Raises
        ------
        PermissionError
            The principal sees the table filtered or masked: conditions and numbers of rows are in its history.
        """
        with self._session._doing("HISTORY", self.name):
            self._session._check_unrestricted(self.name, "read its history")
            return self._table.history(newest)

    def delete(self, where: str | None = None, *, deletion_vectors: bool | None = None) -> dict[str, int]:
        """Delete rows; see `Table.delete` and, for what it takes, `update`."""
        with self._changing("DELETE", where):
            return self._table.delete(where, deletion_vectors=deletion_vectors)

    def update(
        self, values: Mapping[str, str], where: str | None = None, *, deletion_vectors: bool | None = None
    ) -> dict[str, int]:
        """Change values; see `Table.update`.

        Raises
        ------
        PermissionError
            The principal has not both privileges SELECT and MODIFY, sees the table filtered or masked, or an expression
            looks further than the row.
        """
        with self._changing("UPDATE", where, *values.values()):
            return self._table.update(values, where, deletion_vectors=deletion_vectors)

    def merge(self, source: Any, on: str | Sequence[str]) -> Merge:
        """Merge rows into the table; see `Table.merge` and, for what it takes, `update`."""
        from ..merge import Merge

        changing = self._changing

        class SessionMerge(Merge):
            def execute(self, *, deletion_vectors: bool | None = None) -> dict[str, int]:
                with changing("MERGE", *self.expressions()):
                    return super().execute(deletion_vectors=deletion_vectors)

        return SessionMerge(self._table.storage, source, on, f"SessionTable.merge({self.name!r}): ")

    @contextlib.contextmanager
    def _changing(self, action: str, *expressions: str | None) -> Iterator[None]:
        with self._session._doing(action, self.name):
            self._session._check_change(self.name)
            for expression in expressions:
                if expression is not None:
                    check_own_columns(expression)
            yield

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a table of a session of {self._session.principal.name!r} has no {name!r}; "
            "owners open the lake without a principal"
        )

    def __repr__(self) -> str:
        return f"SessionTable({self.name!r}, principal={self._session.principal.name!r})"

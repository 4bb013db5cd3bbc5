"""A lake: a directory whose subdirectories are Delta tables, used as one database."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from .governance.owner import GovernedLake
from .schema import quote_name, quote_text
from .snapshot import Snapshot, is_table, open_snapshot, usable_path

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb
    from rich.table import Table as RichTable

    from .governance.session import Session
    from .table import Table
    from .traces import LoadedTrace

_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODES = ("error", "append", "overwrite")


@overload
def open(root: str | Path) -> Lake: ...
@overload
def open(root: str | Path, principal: str, groups: Sequence[str] = ()) -> Session: ...
def open(root: str | Path, principal: str | None = None, groups: Sequence[str] = ()) -> Lake | Session:
    """Open a lake: a local directory that holds one Delta table in each subdirectory.

    Nothing is created until the first write, so the directory need not exist.

    Parameters
    ----------
    root : str or pathlib.Path
        The directory.
    principal : str, optional
        Whoever opens it, for whom it then shows only what was granted; see `Lake.as_principal`. By default an owner.
    groups : sequence of str
        The groups that the principal is a member of.

    Returns
    -------
    Lake or Session
        A session if there is a principal.

    Raises
    ------
    NotADirectoryError
        `root` is a file.
    ValueError
        `root` is itself a Delta table, a URL, or a path that the libraries underneath cannot address.

    Examples
    --------
    >>> lake = ironlake.open("shop")
    >>> lake.write("sales", duckdb.sql("SELECT 'pear' AS item, 3 AS pieces"))
    0
    >>> lake.sql("SELECT sum(pieces) FROM sales").fetchall()
    [(3,)]
    """
    path = usable_path(root, "ironlake.open: ")
    if path.is_file():
        raise NotADirectoryError(f"ironlake.open: {str(path)!r} is a file; expected a directory of Delta tables")
    if is_table(path):
        raise ValueError(
            f"ironlake.open: {str(path)!r} is a Delta table; open the directory that holds it, {str(path.parent)!r}, "
            "or read the table with lake_scan"
        )
    if principal is None and groups:
        raise ValueError(f"ironlake.open: groups is {groups!r}, but there is no principal to be a member of them")
    return Lake(path) if principal is None else Lake(path).as_principal(principal, groups)


class Lake(GovernedLake):
    """The Delta tables in one directory; made by `ironlake.open`.

    In SQL every table is a view of its own name, and a statement always sees the newest version. A relation from
    `table` keeps the version that it was made with.

    A lake holds one DuckDB connection, which like any DuckDB connection serves one thread at a time: other threads take
    their own with `connect`.

    Attributes
    ----------
    root : pathlib.Path
        The directory, absolute; a table is the subdirectory of its name.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._views: set[str] = set()

    def tables(self) -> list[str]:
        """The names of the tables, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(child.name for child in self.root.iterdir() if is_table(child))

    def __getitem__(self, name: str) -> Table:
        """A table as a thing to change, to maintain and to describe; `table` is the way to its rows.

        Raises
        ------
        FileNotFoundError
            The lake has no such table.

        Examples
        --------
        >>> lake["sales"].version
        0
        """
        from .table import Table

        self._check_table("Lake", name)
        return Table(self.root / name, name)

    def table(
        self,
        name: str,
        version: int | None = None,
        *,
        timestamp: dt.datetime | str | None = None,
        where: str | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """A table as a lazy DuckDB relation, fixed to one version.

        Parameters
        ----------
        name : str
            The table.
        version : int, optional
            The version, from 0 on; by default the one that is newest now.
        timestamp : datetime or str, optional
            Instead of a version: the one that was the newest at this time, in UTC if it has no zone.
        where : str, optional
            A SQL condition for the rows. Files in which none can meet it, by the statistics in the log, are left out.

        Returns
        -------
        duckdb.DuckDBPyRelation

        Raises
        ------
        FileNotFoundError
            The lake has no such table, or a data file of that version is gone.
        ValueError
            The table has no such version, or `where` is no SQL condition.

        Examples
        --------
        >>> lake.table("sales", version=0, where="pieces > 1").fetchall()
        [('pear', 3)]
        """
        from .pruning import kept_files
        from .scan import scan_sql

        snapshot = self._snapshot("Lake.table", name, version, timestamp)
        if where is None:
            return self._refreshed().sql(scan_sql(snapshot))
        return self._refreshed().sql(scan_sql(snapshot, kept_files(snapshot, where))).filter(where)

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
        """Write rows to a table in one atomic commit, creating the table if need be.

        Parameters
        ----------
        name : str
            The table: a letter or underscore, then letters, digits and underscores.
        data : object with ``__arrow_c_stream__`` or ``__arrow_c_array__``
            A DuckDB relation, a PyArrow table, batch or stream of batches, a pandas or Polars data frame. Streams are
            written as they come, in bounded memory. Fixed-size lists are stored as lists, timestamps in microseconds.
        mode : {'error', 'append', 'overwrite'}
            What to do if the table exists. Appended rows must have the table's columns, in any order, with types that
            fit into the table's without loss. Overwriting replaces rows, columns and partitions; earlier versions
            stay readable.
        partition_by : str or sequence of str, optional
            Columns whose values become directories, so that a filter on them skips files. Delta cannot tell an empty
            string from NULL in such a column.
        where : str, optional
            With `mode` 'overwrite': replace only the rows for which this SQL condition is true. It must be true for
            all rows of `data`, and the table keeps its columns.
        merge_schema : bool
            Appending, add columns to the table that only `data` has, and fill up with NULL those that it lacks.

        Returns
        -------
        int
            The version that this commit made.

        Raises
        ------
        FileExistsError
            The table exists and `mode` is 'error'.
        TypeError
            `data` is not a table, or a column has a type that Delta cannot store.
        ValueError
            `name`, `mode`, `partition_by` or `where` is not valid, or the data does not fit the table.
        ironlake.lakehouse.ConstraintError
            A row breaks a rule of the table.
        ironlake.lakehouse.ConflictError
            Another writer changed the rules of the table meanwhile, or rows that were to be replaced.

        Examples
        --------
        >>> lake.write("sales", duckdb.sql("SELECT 'fig' AS item, 7 AS pieces"), mode="append")
        1
        """
        from .write import write

        if mode not in _MODES:
            raise ValueError(f"Lake.write: mode is {mode!r}; expected one of {', '.join(map(repr, _MODES))}")
        told = f"Lake.write({name!r}): "
        if not isinstance(name, str) or not _TABLE_NAME.fullmatch(name):
            raise ValueError(f"{told}the name is not valid; expected a letter or _, then letters, digits and _")
        if where is not None and mode != "overwrite":
            raise ValueError(f'{told}where is given with mode={mode!r}; it says which rows mode="overwrite" replaces')
        if twins := [other for other in self.tables() if other.lower() == name.lower() and other != name]:
            raise ValueError(f"{told}the lake has a table {twins[0]!r}, and SQL does not tell the two names apart")
        return write(self.root / name, data, mode, partition_by, told, merge_schema, where)

    def create_traces(self, names: Iterable[str] | None = None) -> list[str]:
        """Create trace tables, empty, with the comments of their columns; those that exist are left as they are.

        Parameters
        ----------
        names : iterable of str, optional
            Some of the names that `trace_tables` lists; by default all.

        Returns
        -------
        list of str
            The tables that were created.

        Raises
        ------
        ValueError
            There is no trace table of a name; none is created then.

        Examples
        --------
        >>> lake.create_traces(["step_trace", "training_runs"])
        ['step_trace', 'training_runs']
        """
        from .traces import create_traces

        return create_traces(self, names)

    def load_trace(
        self,
        trace: str,
        path: str | Path,
        loader: str | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        on_malformed: Literal["error", "skip"] = "error",
    ) -> LoadedTrace:
        """Append what logs say to a trace table, in one commit and in bounded memory, creating the table if need be.

        Parameters
        ----------
        trace, path, loader, columns, on_malformed
            As in `ironlake.read_trace`.

        Returns
        -------
        ironlake.lakehouse.traces.LoadedTrace
            The version that this commit made, and how many rows were added and skipped.

        Raises
        ------
        FileNotFoundError
            There is no file at `path`.
        ValueError
            There is no such trace table, loader or column, or a row of the log is malformed; nothing is added then.

        Examples
        --------
        >>> lake.load_trace("step_trace", "trace.json.gz").rows
        48212
        """
        from .traces import load_trace

        return load_trace(self, trace, str(path), loader, columns, on_malformed)

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Run SQL in which every table of the lake is a view, always at its newest version.

        Data frames and Arrow tables in the caller's variables are visible too, as in `duckdb.sql`.

        Parameters
        ----------
        query : str
            One statement, or several of which the last gives the result.

        Returns
        -------
        duckdb.DuckDBPyRelation
            The lazy result of a query; None for other statements, as in `duckdb.sql`.
        """
        return self._refreshed().sql(query)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A new in-memory database in which every table of the lake is a view, always at its newest version.

        Returns
        -------
        duckdb.DuckDBPyConnection
            Tables created later appear after ``lake.attach(con)``.
        """
        import duckdb

        connection = duckdb.connect()
        self.attach(connection)
        return connection

    def attach(self, connection: duckdb.DuckDBPyConnection, pinned: Sequence[str] = ()) -> dict[str, int]:
        """Create the views of `connect` in any connection; call it again to see tables created since.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            A connection to a database that knows Ironlake's functions.
        pinned : sequence of str
            Tables whose views stay at the version that is newest now.

        Returns
        -------
        dict of str to int
            The versions of those.

        Raises
        ------
        duckdb.CatalogException
            The database has a table of the same name.
        FileNotFoundError
            The lake has no table that is to be pinned.
        """
        from .scan import scan_sql

        for name in self.tables():
            _create_view(connection, name, self.root / name)
        snapshots = {name: self._snapshot("Lake.attach", name) for name in pinned}
        for name, snapshot in snapshots.items():
            connection.execute(f"CREATE OR REPLACE VIEW {quote_name(name)} AS {scan_sql(snapshot)}")
        return {name: snapshot.version for name, snapshot in snapshots.items()}

    def _refreshed(self) -> duckdb.DuckDBPyConnection:
        """The lake's own connection, with a view for each table that exists now."""
        if self._connection is None:
            import duckdb

            self._connection = duckdb.connect()
            # `duckdb.sql` finds the caller's data frames; through our methods the caller is some frames further up.
            self._connection.execute("SET python_scan_all_frames = true")
        tables = set(self.tables())
        for name in self._views - tables:
            self._connection.execute(f"DROP VIEW IF EXISTS {quote_name(name)}")
        self._views &= tables
        for name in tables - self._views:
            if _create_view(self._connection, name, self.root / name):
                self._views.add(name)
        return self._connection

    def _snapshot(
        self, method: str, name: str, version: int | None = None, timestamp: dt.datetime | str | None = None
    ) -> Snapshot:
        """A version of a table of this lake; `method` is for the error message."""
        self._check_table(method, name)
        return open_snapshot(self.root / name, version, f"{method}({name!r}): ", timestamp)

    def _check_table(self, method: str, name: str) -> None:
        """Refuse a name that is no table."""
        tables = self.tables()
        if name not in tables:
            close = difflib.get_close_matches(str(name), tables, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"its tables are {', '.join(tables) or '(none yet)'}"
            raise FileNotFoundError(f"{method}({name!r}): the lake {str(self.root)!r} has no such table; {hint}")

    def _summary(self) -> list[tuple[str, str, str, str]]:
        """Name, rows, version and size of each table, for people to read."""
        return [_summary_row(self, name) for name in self.tables()]

    def __repr__(self) -> str:
        return f"Lake({str(self.root)!r}, tables={self.tables()})"

    def __rich__(self) -> RichTable:
        from rich.table import Table

        table = Table("table", title=str(self.root), title_justify="left")
        for heading in ("rows", "version", "size"):
            table.add_column(heading, justify="right")
        for row in self._summary():
            table.add_row(*row)
        return table

    def _repr_html_(self) -> str:
        from html import escape

        heading = "".join(f"<th>{text}</th>" for text in ("table", "rows", "version", "size"))
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self._summary())
        return f"<table><caption>{escape(str(self.root))}</caption><tr>{heading}</tr>{rows}</table>"


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> bool:
    """Create the view that reads a table's newest version whenever it is used; False if the table is unreadable.

    One damaged table must not keep the others out of reach: its view then raises the reason when it is queried.
    """
    import duckdb

    view = f"CREATE OR REPLACE VIEW {quote_name(name)} AS"
    try:
        connection.execute(f"{view} FROM query(lake_scan_sql({quote_text(str(path))}, NULL))")
    except duckdb.CatalogException:
        raise
    except duckdb.Error as error:
        connection.execute(f"{view} SELECT error({quote_text(str(error))}) AS unreadable")
        return False
    return True


def _summary_row(lake: Lake, name: str) -> tuple[str, str, str, str]:
    try:
        snapshot = lake._snapshot("Lake", name)
    except (OSError, ValueError) as error:
        return name, "unreadable", "", str(error)
    rows = "unknown" if snapshot.rows is None else f"{snapshot.rows:,}"
    return name, rows, str(snapshot.version), _size(snapshot.size)


def _size(count: float) -> str:
    """A number of bytes for people to read."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

"""A lake: a directory whose subdirectories are Delta tables, used as one database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from . import overview
from .attach import attach, check_view, show
from .catalog import Catalog, checked
from .governance.owner import GovernedLake
from .snapshot import Snapshot, open_snapshot

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb
    from rich.table import Table as RichTable

    from .attach import Queries
    from .frame import Frame
    from .storage import Storage
    from .table import Table
    from .traces import LoadedTrace

_MODES = ("error", "append", "overwrite")


class Lake(GovernedLake):
    """The Delta tables in one directory; made by `ironlake.open`.

    In SQL every table is a view of its own name, and a statement always sees the newest version. A relation from
    `table` keeps the version that it was made with.

    A lake holds one DuckDB connection, which like any DuckDB connection serves one thread at a time: other threads take
    their own with `connect`.

    Tables may be in schemas: ``finance.sales`` is the subdirectory ``sales`` of the subdirectory ``finance``.

    Attributes
    ----------
    storage : Storage
        Where the lake is.
    """

    def __init__(self, storage: Storage, versions: Mapping[str, int] | None = None) -> None:
        self.storage = storage
        self._catalog = Catalog(storage)
        self._versions = versions
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._shown: Queries = {}

    @property
    def root(self) -> Path | str:
        """The directory, absolute; a text if it is a URL."""
        return self.storage.path

    def tables(self) -> list[str]:
        """The names of the tables, sorted; those in a schema are like ``finance.sales``."""
        return [name for name in self._catalog.tables() if self._versions is None or name in self._versions]

    def views(self) -> list[str]:
        """The names of the views, sorted."""
        return list(self._catalog.views())

    def versions(self) -> dict[str, int]:
        """The version of each table: the newest, unless the lake is fixed by `at`."""
        return self._catalog.versions(None, "Lake.versions: ") if self._versions is None else dict(self._versions)

    def at(self, when: dt.datetime | str | Mapping[str, int] | None = None) -> Lake:
        """The same lake, to be read only, in which every table stays at one version.

        Parameters
        ----------
        when : datetime.datetime, str or mapping of str to int, optional
            A time, in UTC if it has no zone: tables are as they were then, and those that came later are left out. Or
            the versions of some tables by their names. By default, and for the other tables, what is newest now.

        Returns
        -------
        Lake
            Views have the SQL that they have now.

        Raises
        ------
        FileNotFoundError
            The lake has no table that is to be fixed.
        ValueError
            A table has no such version, or `when` is no time.

        Examples
        --------
        >>> before = lake.at({"sales": 0})
        >>> before.sql("SELECT count(*) FROM sales").fetchall()
        [(1,)]
        """
        if self._versions is not None and when is None:
            return self
        return Lake(self.storage, self._catalog.versions(when, "Lake.at: "))

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

        storage = self._table("Lake", name)
        return Table(storage, name, None if self._versions is None else self._versions[self._catalog.name(storage)])

    def table(
        self,
        name: str,
        version: int | None = None,
        *,
        timestamp: dt.datetime | str | None = None,
        where: str | None = None,
    ) -> Frame:
        """A table as a lazy DuckDB relation, fixed to one version, which also gives its rows in batches for training.

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
        Frame
            A ``duckdb.DuckDBPyRelation`` with `batches`.

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
        from .errors import telling
        from .frame import open_frame

        snapshot = self._snapshot("Lake.table", name, version, timestamp)
        with telling(f"Lake.table({name!r}): "):
            return open_frame(self._refreshed(), snapshot, name, where)

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
            The table: a letter or underscore, then letters, digits and underscores. A schema of the same form may be
            in front, as in ``finance.sales``.
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
        self._check_open(told)
        if where is not None and mode != "overwrite":
            raise ValueError(f'{told}where is given with mode={mode!r}; it says which rows mode="overwrite" replaces')
        return write(self._catalog.place(name, told), data, mode, partition_by, told, merge_schema, where)

    def create_view(self, name: str, query: str, *, replace: bool = False) -> None:
        """Keep a query with the lake under a name, for everyone who opens it.

        Parameters
        ----------
        name : str
            The view, with a schema in front if need be, as of `write`.
        query : str
            One SELECT over the lake's tables and views. Those of another schema than the view's
            have it in front; it is ``main`` for those in none.
        replace : bool
            Change a view that there is.

        Raises
        ------
        FileExistsError
            The view exists, and `replace` is False.
        ValueError
            The name is not valid or that of a table, or the query is not valid.

        Examples
        --------
        >>> lake.create_view("many", "SELECT item FROM sales WHERE pieces > 5")
        >>> lake.sql("FROM many").fetchall()
        [('fig',)]
        """
        told = f"Lake.create_view({name!r}): "
        self._check_open(told)
        check_view(self._refreshed(), checked(name, told), query, [*self.tables(), *self.views()], told)
        self._catalog.create_view(name, query, replace, told)

    def drop_view(self, name: str) -> None:
        """Forget a view.

        Raises
        ------
        FileNotFoundError
            The lake has no such view.
        """
        told = f"Lake.drop_view({name!r}): "
        self._check_open(told)
        self._catalog.drop_view(name, told)

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

    def convert(self, name: str, partition_by: Any = None) -> Table:
        """Make a subdirectory of Parquet files a table of the lake, in place; see `ironlake.lakehouse.convert`."""
        from .convert import convert

        told = f"Lake.convert({name!r}): "
        self._check_open(told)
        return convert(self._catalog.place(name, told), partition_by, where=told)

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
        """A new in-memory database in which every table and view of the lake is a view, always at its newest version.

        Returns
        -------
        duckdb.DuckDBPyConnection
            Tables created later appear after ``lake.attach(con, None)``.
        """
        import duckdb

        connection = duckdb.connect()
        self.attach(connection, None)
        return connection

    def attach(self, connection: duckdb.DuckDBPyConnection, name: str | None = "lake") -> None:
        """Let a connection see the lake as a database: ``FROM lake.sales``, ``FROM lake.finance.sales``.

        Tables are at their newest versions whenever they are read. Call it again to see those created since, and no
        longer those that are gone.

        Parameters
        ----------
        connection : duckdb.DuckDBPyConnection
            A connection to a database that knows Ironlake's functions.
        name : str, optional
            What the database is called; one of that name that there is gets the views. None is the connection's current
            database, so that tables need no name in front.

        Raises
        ------
        duckdb.CatalogException
            The database has a table of the same name as the lake.
        """
        self.storage.reach(connection)
        attach(connection, name, self._queries(), self.storage.root)

    def _queries(self) -> Queries:
        """What SQL sees."""
        return self._catalog.queries(self._versions)

    def _refreshed(self) -> duckdb.DuckDBPyConnection:
        """The lake's own connection, with a view for each table and view that exists now."""
        if self._connection is None:
            import duckdb

            self._connection = duckdb.connect()
            # `duckdb.sql` finds the caller's data frames; through our methods the caller is some frames further up.
            self._connection.execute("SET python_scan_all_frames = true")
            self.storage.reach(self._connection)
        self._shown = show(self._connection, "memory", self._queries(), self._shown)
        return self._connection

    def _snapshot(
        self, method: str, name: str, version: int | None = None, timestamp: dt.datetime | str | None = None
    ) -> Snapshot:
        """A version of a table of this lake; `method` is for the error message."""
        table = self._table(method, name)
        if self._versions is not None and version is None and timestamp is None:
            version = self._versions[self._catalog.name(table)]
        return open_snapshot(table, version, f"{method}({name!r}): ", timestamp)

    def _table(self, method: str, name: str) -> Storage:
        """Where a table is; refuse a name that is none."""
        told = f"{method}({name!r}): "
        table = self._catalog.table(name, told)
        if self._versions is not None and self._catalog.name(table) not in self._versions:
            raise FileNotFoundError(f"{told}there was no such table yet at the time at which the lake is fixed")
        return table

    def _check_open(self, told: str) -> None:
        """Refuse to change a lake that is fixed."""
        if self._versions is not None:
            raise PermissionError(f"{told}the lake is fixed by Lake.at; write to the one that it was made from")

    def __repr__(self) -> str:
        return f"Lake({self.storage.root!r}, tables={self.tables()})"

    def __rich__(self) -> RichTable:
        return overview.rich_table(self)

    def _repr_html_(self) -> str:
        return overview.html(self)

"""One Delta table: what changes it, what keeps it in shape, and what the log says of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import FILE_BYTES
from .governance.owner import GovernedTable
from .snapshot import Snapshot, open_snapshot
from .storage import Storage

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from .merge import Merge
    from .optimize import Curve


class Table(GovernedTable):
    """A Delta table, always at its newest version; ``lake["sales"]``, or `Table` of a path.

    Parameters
    ----------
    path : str or pathlib.Path
        The table's directory, or its URL in an object store.
    name : str, optional
        What error messages call it; the path by default.
    version : int, optional
        A version at which the table stays, to be read only.

    Attributes
    ----------
    name : str
        The name.
    storage : Storage
        Where it is.

    Raises
    ------
    FileNotFoundError
        There is no Delta table.

    Examples
    --------
    >>> lake["sales"].delete("pieces < 5")["rows_deleted"]
    1
    """

    def __init__(self, path: str | Path | Storage, name: str | None = None, version: int | None = None) -> None:
        self._version = version
        self.name = name or (path.root if isinstance(path, Storage) else str(path))
        self.storage = Storage.of(path, f"Table({self.name!r}): ")
        self._snapshot("version")

    @property
    def path(self) -> Path | str:
        """The directory, absolute; a text if it is a URL."""
        return self.storage.path

    @property
    def version(self) -> int:
        """The newest version, or the one at which the table stays; the first one is 0."""
        return self._snapshot("version").version

    def history(self, newest: int | None = None) -> pa.Table:
        """What was done to the table, newest commit first.

        Parameters
        ----------
        newest : int, optional
            How many commits to tell of; all that the log still has by default.

        Returns
        -------
        pyarrow.Table
            One row a commit: version BIGINT, timestamp TIMESTAMPTZ, operation VARCHAR, parameters and metrics
            MAP(VARCHAR, VARCHAR), engine VARCHAR.
        """
        from .description import history

        return history(self._snapshot("history"), newest)

    def changes(
        self,
        from_version: int | None = None,
        to_version: int | None = None,
        *,
        from_timestamp: dt.datetime | str | None = None,
        to_timestamp: dt.datetime | str | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """What became of rows between two versions, both included: the change data feed.

        In versions that were written without ``delta.enableChangeDataFeed``, the rows of a file that was rewritten are
        deleted and inserted.

        Parameters
        ----------
        from_version, to_version : int, optional
            The first version and the last, by default the newest.
        from_timestamp, to_timestamp : datetime.datetime or str, optional
            Or the times from which on, and up to which, versions were committed.

        Returns
        -------
        duckdb.DuckDBPyRelation
            Lazily, the columns of the last version, ``_change_type`` (insert, delete, update_preimage or
            update_postimage), ``_commit_version`` and ``_commit_timestamp``.

        Raises
        ------
        ValueError
            There is no such version, or columns were dropped or became of another type in between.
        """
        from .changes import changes

        return changes(self.storage, from_version, to_version, from_timestamp, to_timestamp, self._told("changes"))

    def delete(self, where: str | None = None, *, deletion_vectors: bool | None = None) -> dict[str, int]:
        """Delete rows in one atomic commit; earlier versions still have them.

        Parameters
        ----------
        where : str, optional
            A SQL condition: the rows for which it is true are deleted. By default all are.
        deletion_vectors : bool, optional
            True marks rows as deleted beside the data files, which costs bytes where rewriting costs the files, and
            makes the table one with deletion vectors, which older readers refuse. False rewrites the files. By default
            the table's property ``delta.enableDeletionVectors`` decides.

        Returns
        -------
        dict of str to int
            ``version`` (the one made, or that is there if no row was found), the numbers ``rows_updated``,
            ``rows_deleted`` and ``rows_inserted``, and how many files were marked (``files_marked``),
            ``files_removed`` and ``files_added``.

        Raises
        ------
        ValueError
            `where` is no SQL condition, or the table does not let rows be deleted.
        ironlake.lakehouse.ConflictError
            Another writer changed the same rows meanwhile. Commits that have nothing to do with them are no conflict.
        """
        from .delete import delete

        return delete(self.storage, where, deletion_vectors, self._where("delete"))

    def update(
        self, values: Mapping[str, str], where: str | None = None, *, deletion_vectors: bool | None = None
    ) -> dict[str, int]:
        """Change values in one atomic commit; earlier versions still have the old ones.

        Parameters
        ----------
        values : mapping of str to str
            For each column to change, its new value: SQL over the columns of the row.
        where : str, optional
            A SQL condition: the rows for which it is true are changed. By default all are.
        deletion_vectors : bool, optional
            True marks the rows as deleted and adds the changed ones; False rewrites the files. By default as in
            `delete`.

        Returns
        -------
        dict of str to int
            As of `delete`.

        Raises
        ------
        ValueError
            There is no such column, `where` or a value is not valid, or a changed row breaks a rule of the table.
        ironlake.lakehouse.ConflictError
            Another writer changed the same rows meanwhile.

        Examples
        --------
        >>> lake["sales"].update({"pieces": "pieces + 1"}, where="item = 'fig'")["rows_updated"]
        1
        """
        from .delete import update

        return update(self.storage, values, where, deletion_vectors, self._where("update"))

    def merge(self, source: Any, on: str | Sequence[str]) -> Merge:
        """Merge rows into the table: clauses say what becomes of rows that match and that do not, `execute` does it.

        Parameters
        ----------
        source : object with ``__arrow_c_stream__`` or ``__arrow_c_array__``
            The rows, as `Lake.write` takes them.
        on : str or sequence of str
            When a row of the table matches one of the source: columns that must be equal, or a SQL condition over
            ``target`` and ``source``.

        Returns
        -------
        Merge

        Examples
        --------
        >>> news = duckdb.sql("SELECT 'fig' AS item, 9 AS pieces")
        >>> lake["sales"].merge(news, on="item").when_matched_update().when_not_matched_insert().execute()
        """
        from .merge import Merge

        return Merge(self.storage, source, on, self._where("merge"))

    def add_columns(self, schema: Any) -> int:
        """Add columns, which are NULL in the rows that there are.

        Parameters
        ----------
        schema : pyarrow.Schema, or what makes one, such as ``{"price": pyarrow.float64()}``
            The names and types.

        Returns
        -------
        int
            The version made.
        """
        import pyarrow as pa

        from .alter import add_columns, alter

        columns = schema if isinstance(schema, pa.Schema) else pa.schema(schema)
        return alter(self.storage, "ADD COLUMNS", self._where("add_columns"), add_columns(columns))

    def rename_column(self, old: str, new: str) -> int:
        """Rename a column without touching a file: the table maps its columns from then on; the version made."""
        from .alter import alter, rename_column

        return alter(self.storage, "RENAME COLUMN", self._where("rename_column"), rename_column(old, new))

    def drop_columns(self, *names: str) -> int:
        """Drop columns without touching a file: the table maps its columns from then on; the version made."""
        from .alter import alter, drop_columns

        return alter(self.storage, "DROP COLUMNS", self._where("drop_columns"), drop_columns(*names))

    def add_constraint(self, name: str, condition: str) -> int:
        """Let a SQL condition hold for all rows, those that there are included; the version made.

        Raises
        ------
        ironlake.lakehouse.ConstraintError
            Rows of the table break it.
        """
        from .alter import add_constraint, alter

        return alter(self.storage, "ADD CONSTRAINT", self._where("add_constraint"), add_constraint(name, condition))

    def drop_constraint(self, name: str) -> int:
        """Take a constraint away; the version made."""
        from .alter import alter, drop_constraint

        return alter(self.storage, "DROP CONSTRAINT", self._where("drop_constraint"), drop_constraint(name))

    def set_properties(self, properties: Mapping[str, Any]) -> int:
        """Set properties of the table, such as ``{"delta.enableChangeDataFeed": True}``; None takes one away.

        Returns
        -------
        int
            The version made.
        """
        from .alter import alter, set_properties

        return alter(self.storage, "SET TBLPROPERTIES", self._where("set_properties"), set_properties(properties))

    def optimize(
        self,
        order_by: str | Sequence[str] | None = None,
        where: str | None = None,
        *,
        curve: Curve = "hilbert",
        file_bytes: int = FILE_BYTES,
    ) -> dict[str, int]:
        """Rewrite files without changing rows: small ones become larger ones, marked rows go, rows get an order.

        Parameters
        ----------
        order_by : str or sequence of str, optional
            Columns that queries filter by. One column sorts; along several, rows are put in the order of a curve that
            fills space, so that each file has narrow bounds in all of them. By default rows keep their order, and only
            files are rewritten that are small or have a deletion vector.
        where : str, optional
            A SQL condition: only files are rewritten in which rows may meet it. By default all.
        curve : {"hilbert", "morton"}
            The curve; that of Morton is known as Z-order.
        file_bytes : int
            The size at which a file is full.

        Returns
        -------
        dict of str to int
            ``version`` (the one made, or that is there if nothing was to be done), ``files_removed`` and
            ``files_added``.

        Raises
        ------
        ValueError
            There is no such column, or an argument is not valid.
        ironlake.lakehouse.ConflictError
            Another writer changed the same files meanwhile.

        Examples
        --------
        >>> lake["sales"].optimize(order_by=["item", "pieces"])["files_added"]
        1
        """
        from .optimize import optimize

        return optimize(self.storage, order_by, where, curve, file_bytes, self._where("optimize"))

    def index(self, *columns: str, false_positive_rate: float = 0.01) -> dict[str, int]:
        """Let queries leave out more files: note the bounds and a Bloom filter of columns for each data file.

        The log has the bounds of a column only if its writer put them there, which many do for the first 32 columns,
        and bounds do not help with values such as identifiers that lie in all files between them. Files that are
        indexed already are not read again; after writing, index what is new. Nothing is committed: an index stands in
        ``_ironlake`` below the table, and is not used where it is gone or damaged.

        Parameters
        ----------
        *columns : str
            The columns. Filters are made of whole numbers, texts, dates and timestamps, and asked about ``=`` and
            ``IN``; other types have bounds only.
        false_positive_rate : float
            Portion of the files without a value that are read for it; 0.01 takes about 11 bits for each distinct value
            of a file.

        Returns
        -------
        dict of str to int
            How many ``files_indexed``, and the ``bytes`` of the index made.

        Raises
        ------
        ValueError
            There is no such column, it is of a type that has no order, or the rate is not between 0 and 1.

        Examples
        --------
        >>> lake["sales"].index("item")["files_indexed"]
        2
        """
        from .index import build

        return build(self.storage, columns, false_positive_rate, self._where("index"))

    def vacuum(self, retain_hours: float | None = None, *, dry_run: bool = True, force: bool = False) -> pa.Table:
        """Remove files that are no longer part of the table; versions that need them cannot be read afterwards.

        Parameters
        ----------
        retain_hours : float, optional
            Files stay that were part of the table, or were written, in these last hours; by default as the table's
            property ``delta.deletedFileRetentionDuration`` says, or a week.
        dry_run : bool
            Only tell which files would be removed.
        force : bool
            Allow for less than what the table says.

        Returns
        -------
        pyarrow.Table
            A row for each file: path VARCHAR, size BIGINT (bytes), modification_time TIMESTAMPTZ.

        Raises
        ------
        ValueError
            `retain_hours` is less than the table says, without `force`.
        """
        from .vacuum import vacuum

        return vacuum(self.storage, retain_hours, dry_run, force, self._where("vacuum"))

    def restore(self, version: int | None = None, *, timestamp: dt.datetime | str | None = None) -> dict[str, int]:
        """Make an old version the newest one again; those in between stay.

        Parameters
        ----------
        version : int, optional
            The version.
        timestamp : datetime.datetime or str, optional
            Or the time at which it was the newest.

        Returns
        -------
        dict of str to int
            ``version`` (the one made), ``files_added`` and ``files_removed``.

        Raises
        ------
        FileNotFoundError
            Files of the version are gone.
        ValueError
            There is no such version.
        ironlake.lakehouse.ConflictError
            Another writer changed the table meanwhile.
        """
        from .versions import restore

        return restore(self.storage, version, timestamp, self._where("restore"))

    def clone(self, destination: str | Path, *, shallow: bool = False, version: int | None = None) -> Table:
        """Start a new table from a version of this one.

        Parameters
        ----------
        destination : str or pathlib.Path
            Its directory, which must not exist or be empty.
        shallow : bool
            Let it point to the files of this table instead of copying them. It is made in no time, and what is then
            written to either does not touch the other; vacuum of this table would remove files that it needs.
        version : int, optional
            The version to start from; the newest by default.

        Returns
        -------
        Table
            The new table.
        """
        from .versions import clone

        told = self._told("clone")
        snapshot = self._snapshot("clone") if version is None else open_snapshot(self.storage, version, told)
        return Table(clone(snapshot, destination, shallow, told))

    def checkpoint(self) -> int:
        """Write the state of the newest version into one file, so that readers need not replay the log; the version.

        Every hundredth commit does so, or as the table's property ``delta.checkpointInterval`` says.
        """
        from .checkpoint import checkpoint

        self._where("checkpoint")
        return checkpoint(self._snapshot("checkpoint"))

    def _where(self, method: str) -> str:
        """How an error message of a method begins that changes the table; refuse that for one that stays."""
        if self._version is not None:
            raise PermissionError(
                f"{self._told(method)}the lake is fixed by Lake.at; write to the one that it was made from"
            )
        return self._told(method)

    def _told(self, method: str) -> str:
        """How an error message of a method begins."""
        return f"Table.{method}({self.name!r}): "

    def _snapshot(self, method: str) -> Snapshot:
        """The newest version, or that at which the table stays."""
        return open_snapshot(self.storage, self._version, self._told(method))

    def __repr__(self) -> str:
        return f"Table({self.name!r}, version={self.version})"

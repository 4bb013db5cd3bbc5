"""One Delta table: what changes it, what keeps it in shape, and what the log says of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .snapshot import Snapshot, open_snapshot, usable_path

if TYPE_CHECKING:
    import pyarrow as pa


class Table:
    """A Delta table, always at its newest version; ``lake["sales"]``, or `Table` of a path.

    Parameters
    ----------
    path : str or pathlib.Path
        The table's directory.
    name : str, optional
        What error messages call it; the path by default.

    Attributes
    ----------
    path : pathlib.Path
        The directory, absolute.
    name : str
        The name.

    Raises
    ------
    FileNotFoundError
        There is no Delta table.

    Examples
    --------
    >>> lake["sales"].delete("pieces < 5")["rows"]
    1
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self.name = str(path) if name is None else name
        self.path = usable_path(path, f"Table({self.name!r}): ")
        self._snapshot("version")

    @property
    def version(self) -> int:
        """The newest version; the first one is 0."""
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
            ``version`` (the one made, or that is there if no row was found), ``rows`` deleted, and how many files were
            marked (``files_marked``), ``files_removed`` and ``files_added``.

        Raises
        ------
        ValueError
            `where` is no SQL condition, or the table does not let rows be deleted.
        ironlake.lakehouse.ConflictError
            Another writer changed the same rows meanwhile. Commits that have nothing to do with them are no conflict.
        """
        from .delete import delete

        return delete(self.path, where, deletion_vectors, self._where("delete"))

    def _where(self, method: str) -> str:
        """How an error message of a method begins."""
        return f"Table.{method}({self.name!r}): "

    def _snapshot(self, method: str) -> Snapshot:
        """The newest version."""
        return open_snapshot(self.path, None, self._where(method))

    def __repr__(self) -> str:
        return f"Table({self.name!r}, version={self.version})"

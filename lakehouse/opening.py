"""Where a lake begins: its directory, and how that is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from .errors import telling
from .lake import Lake
from .snapshot import is_table
from .storage import Storage

if TYPE_CHECKING:
    from .governance.session import Session


@overload
def open(root: str | Path, storage_options: Mapping[str, Any] | None = None) -> Lake: ...
@overload
def open(
    root: str | Path,
    storage_options: Mapping[str, Any] | None = None,
    *,
    principal: str,
    groups: Sequence[str] = (),
) -> Session: ...
def open(
    root: str | Path,
    storage_options: Mapping[str, Any] | None = None,
    *,
    principal: str | None = None,
    groups: Sequence[str] = (),
) -> Lake | Session:
    """Open a lake: a directory that holds one Delta table in each subdirectory.

    Nothing is created until the first write, so the directory need not exist.

    Parameters
    ----------
    root : str or pathlib.Path
        The directory: a path on a local disk, or a URL in an object store: ``s3://bucket/folder``,
        ``gs://bucket/folder`` or ``abfss://container@account.dfs.core.windows.net/folder``.
    storage_options : mapping of str to str, optional
        How an object store is reached, in the names that deltalake and Polars take, such as ``AWS_REGION`` and
        ``AWS_ENDPOINT_URL``; what is not given comes from variables of the environment of these names. This process
        then uses them for all that is below `root`, in SQL functions that take a path too.

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
    ImportError
        `root` is a URL, and the packages of ``ironlake[objects]`` are not installed.
    NotADirectoryError
        `root` is a file.
    OSError
        The object store cannot be reached.
    ValueError
        `root` is itself a Delta table, a URL of an unknown kind, or a path that the libraries underneath cannot
        address; or there is no such storage option.

    Examples
    --------
    >>> lake = ironlake.open("shop")
    >>> lake.write("sales", duckdb.sql("SELECT 'pear' AS item, 3 AS pieces"))
    0
    >>> lake.sql("SELECT sum(pieces) FROM sales").fetchall()
    [(3,)]
    """
    storage = Storage.of(root, "ironlake.open: ", storage_options)
    with telling("ironlake.open: "):
        if storage.is_file():
            raise NotADirectoryError(f"{storage.root!r} is a file; expected a directory of Delta tables")
        if is_table(storage):
            raise ValueError(
                f"{storage.root!r} is a Delta table; open the directory that holds it, {storage.parents[0].root!r}, "
                "or read the table with lake_scan"
            )
    if principal is None and groups:
        raise ValueError(f"ironlake.open: groups is {groups!r}, but there is no principal to be a member of them")
    return Lake(storage) if principal is None else Lake(storage).as_principal(principal, groups)

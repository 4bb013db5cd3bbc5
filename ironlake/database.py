"""Databases that know Ironlake's functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb


def connect(path: str | Path = ":memory:", read_only: bool = False, **config: Any) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB database; any database opened after ``import ironlake`` knows the functions, however it is opened.

    Parameters
    ----------
    path : str or pathlib.Path
        The database file, created if it does not exist; by default a new database in memory.
    read_only : bool
        Open the file without the right to change it.
    **config
        DuckDB's settings, such as ``threads=4`` or ``memory_limit="2GB"``.

    Returns
    -------
    duckdb.DuckDBPyConnection

    Raises
    ------
    duckdb.Error
        DuckDB cannot open the file, or does not know a setting.

    Examples
    --------
    >>> con = ironlake.connect(threads=2)
    >>> con.sql("SELECT name FROM ironlake_functions() WHERE kind = 'aggregate'")
    """
    return duckdb.connect(str(path), read_only, config)


def load(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Check that a connection knows Ironlake's functions, and say what to do if it does not.

    DuckDB takes in extensions of the process only while it opens a database.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        Any connection.

    Returns
    -------
    duckdb.DuckDBPyConnection
        The same connection.

    Raises
    ------
    RuntimeError
        The database was opened before ``import ironlake``.

    Examples
    --------
    >>> con = ironlake.load(duckdb.connect())
    """
    known = con.execute("SELECT count(*) FROM duckdb_functions() WHERE function_name = 'ironlake_version'").fetchone()
    if not known or not known[0]:
        raise RuntimeError(
            "ironlake.load: this database was opened before `import ironlake`, so DuckDB cannot add functions to it; "
            "close all of its connections and open it again, or import ironlake first"
        )
    return con

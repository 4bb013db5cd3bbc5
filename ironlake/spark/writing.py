"""Write a data frame of Spark to a Delta table, in all modes: Spark gives a Python data source only two of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ironlake.lakehouse.merge_clauses import add_clauses
from ironlake.lakehouse.scan import read
from ironlake.lakehouse.snapshot import is_table, open_snapshot
from ironlake.lakehouse.storage import Storage
from ironlake.lakehouse.table import Table

from .source.options import STORAGE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_MODES = ("error", "ignore", "append", "overwrite", "merge")
_MERGE = "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"


def write(
    df: DataFrame,
    path: str | Path,
    mode: Literal["error", "ignore", "append", "overwrite", "merge"] = "error",
    *,
    partition_by: str | Sequence[str] | None = None,
    where: str | None = None,
    merge_schema: bool = False,
    on: str | Sequence[str] | None = None,
    clauses: str | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> dict[str, int] | None:
    """Write the rows of a Spark data frame to a Delta table in one atomic commit, creating the table if need be.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
        The rows; its session knows the data source (`ironlake.spark.source.register`).
    path : str or pathlib.Path
        The table's directory, or its URL in an object store; all machines of the cluster reach it.
    mode : {'error', 'ignore', 'append', 'overwrite', 'merge'}
        What to do if the table exists: fail, leave it as it is, add rows, replace all rows, or merge rows into it.
    partition_by : str or sequence of str, optional
        Columns whose values become directories.
    where : str, optional
        With `mode` 'overwrite': replace only the rows for which this SQL condition is true, as all of `df` are.
    merge_schema : bool
        Appending, add columns to the table that only `df` has, and fill up with NULL those that it lacks.
    on : str or sequence of str, optional
        With `mode` 'merge': columns that must be equal in a row of the table and one of `df`, or a SQL condition over
        ``target`` and ``source``.
    clauses : str, optional
        With `mode` 'merge': what becomes of rows, in SQL. By default ``WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED
        THEN INSERT *``. The cluster computes the rows of `df`; the driver merges them, in bounded memory.
    storage_options : mapping of str to str, optional
        How an object store is reached, as of `ironlake.open`.

    Returns
    -------
    dict of str to int or None
        What a merge did: ``version``, ``rows_updated``, ``rows_deleted``, ``rows_inserted`` and the numbers of files.

    Raises
    ------
    FileExistsError
        The table exists and `mode` is 'error'.
    FileNotFoundError
        There is no table to merge into.
    ValueError
        An argument is not valid, or does not go with `mode`.
    pyspark.errors.PySparkException
        The rows do not fit the table, break a rule of it, or another writer was first; the message has the reason.

    Examples
    --------
    >>> ironlake.spark.writing.write(spark.range(3), "shop/numbers", "overwrite")
    """
    told = f"ironlake.spark.write({str(path)!r}): "
    if mode not in _MODES:
        raise ValueError(f"{told}mode is {mode!r}; expected one of {', '.join(map(repr, _MODES))}")
    for name, value, only in (("where", where, "overwrite"), ("on", on, "merge"), ("clauses", clauses, "merge")):
        if value is not None and mode != only:
            raise ValueError(f"{told}{name} is given with mode={mode!r}; expected mode={only!r}")
    storage = Storage.of(path, told, storage_options)
    if mode == "merge":
        if on is None:
            raise ValueError(f"{told}on is not given; expected the columns by which rows match")
        return _merge(df, storage, on, clauses or _MERGE, storage_options)
    if is_table(storage) and mode in ("error", "ignore"):
        if mode == "ignore":
            return None
        raise FileExistsError(f"{told}the table exists; pass mode='append' or mode='overwrite' to write to it")
    options: dict[str, Any] = {"merge_schema": merge_schema}
    if partition_by is not None:
        options["partition_by"] = json.dumps([partition_by] if isinstance(partition_by, str) else list(partition_by))
    if where is not None:
        options["where"] = where
    if mode in ("error", "ignore"):
        options["if_exists"] = mode
    _save(df, storage, "overwrite" if mode == "overwrite" else "append", options, storage_options)
    return None


def _save(
    df: DataFrame, storage: Storage, mode: str, options: Mapping[str, Any], storage_options: Mapping[str, str] | None
) -> None:
    session = df.sparkSession
    # In a thread that has not made the session its own, Spark does not know the sources that were registered.
    session._get_j_spark_session_class(session._jvm).setActiveSession(session._jsparkSession)
    reach = {f"{STORAGE}{name}": text for name, text in (storage_options or {}).items()}
    df.write.format("ironlake").mode(mode).options(**options, **reach).save(storage.root)


def _merge(
    df: DataFrame,
    storage: Storage,
    on: str | Sequence[str],
    clauses: str,
    storage_options: Mapping[str, str] | None,
) -> dict[str, int]:
    """Let tasks write the rows into a table of its own inside the other, and merge that."""
    table = Table(storage, storage.root)
    staged = storage.at(f"_ironlake_staging-{uuid.uuid4()}")
    try:
        _save(df, staged, "append", {}, storage_options)
        return add_clauses(table.merge(read(open_snapshot(staged, None, "")), on), clauses).execute()
    finally:
        staged.remove([file.path for file in staged.files()])
        staged.tidy()

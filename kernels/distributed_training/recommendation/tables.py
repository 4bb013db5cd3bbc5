"""Embedding tables as the functions on recommendation models read them: by relation, a row per table."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ironlake.udf.engine import Database, table

from ..checks import above_zero, at_least

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = Path(__file__).with_name("dlrm_tables.csv")
_COLUMNS = ("name", "rows", "dim", "pooling", "bytes")
_MOST_TABLES = 100_000


@dataclass(frozen=True)
class EmbeddingTables:
    """Embedding tables, an array per column.

    Attributes
    ----------
    names : list of str
    rows, dims : rows of each table, and numbers in a row.
    pooling : rows that a sample looks up, on average.
    number_bytes : of a number.
    """

    names: list[str]
    rows: Any
    dims: Any
    pooling: Any
    number_bytes: Any

    def __len__(self) -> int:
        return len(self.names)

    @property
    def bytes(self) -> Any:
        """Bytes of each table."""
        return self.rows * self.dims * self.number_bytes


def read_tables(relation: str, database: Database) -> EmbeddingTables:
    """The embedding tables of a relation, or of a query.

    Raises
    ------
    ValueError
        If it cannot be read, has no rows, lacks a column, or a value is NULL or too small.
    """
    import pyarrow as pa

    try:
        found = database.rows(relation).read_all()
    except RuntimeError as error:
        raise ValueError(f"argument tables is {relation!r}, which cannot be read: {error}") from None
    missing = [name for name in _COLUMNS if name not in found.column_names]
    if missing:
        raise ValueError(
            f"argument tables is {relation!r}, which has no column {missing[0]!r}; expected {', '.join(_COLUMNS)}"
        )
    if not 1 <= len(found) <= _MOST_TABLES:
        raise ValueError(f"argument tables has {len(found)} rows; expected 1 to {_MOST_TABLES} embedding tables")
    for name in _COLUMNS:
        if found[name].null_count:
            raise ValueError(f"argument tables has a NULL in column {name!r}; expected a value for each table")
    try:
        columns = {name: found[name].cast(pa.float64()).to_numpy() for name in _COLUMNS[1:]}
    except pa.ArrowInvalid as error:
        raise ValueError(f"argument tables: {error}; expected numbers in rows, dim, pooling and bytes") from None
    at_least(1, rows=columns["rows"], dim=columns["dim"], bytes=columns["bytes"])
    above_zero(pooling=columns["pooling"])
    names = found["name"].cast(pa.string()).to_pylist()
    rows, dims = (columns[name].astype(np.int64) for name in ("rows", "dim"))
    return EmbeddingTables(names, rows, dims, columns["pooling"], columns["bytes"])


@table
def dlrm_tables(config: Literal["mlperf"] = "mlperf") -> pa.Table:
    """Tell the embedding tables of a published recommendation model.

    Parameters
    ----------
    config : ``mlperf``: the model of the MLPerf benchmark on the Criteo Terabyte data, with at most 40 million rows a
        table.

    Returns
    -------
    TABLE
        As the trace table ``embedding_tables``: ``name`` VARCHAR, ``rows`` BIGINT, ``dim`` INTEGER, ``pooling`` DOUBLE
        (rows looked up per sample), ``bytes`` BIGINT (of a number).

    References
    ----------
    Naumov and others: Deep Learning Recommendation Model, arXiv 1906.00091 (2019); the script run_and_time.sh of its
    repository (MIT).

    Examples
    --------
    SELECT sum(rows * dim * bytes) / 1024**3 AS gib FROM dlrm_tables();
    """
    import pyarrow as pa

    rows = [row for row in _published() if row["config"] == config]
    types = (pa.string(), pa.int64(), pa.int32(), pa.float64(), pa.int64())
    columns = {
        name: pa.array([row[name] for row in rows], pa.string()).cast(type_)
        for name, type_ in zip(_COLUMNS, types, strict=True)
    }
    return pa.table(columns)


@functools.cache
def _published() -> list[dict[str, str]]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))

"""Files of a good size, and rows that are asked for together in the same ones.

Rows are put in the order of a curve that fills space: each column is cut into 256 ranges with about as many rows, and
the ranges of a row are the coordinates of its place on the curve.

Source: Armbrust and others: Delta Lake, PVLDB 13 (2020), section 4.2; Skilling: Programming the Hilbert curve (2004).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from .errors import telling
from .protocol import check_writable
from .pruning import check_predicate, kept_files
from .scan import BATCH_ROWS, scan_sql
from .schema import quote_name, quote_text, sql_type
from .snapshot import Snapshot, open_snapshot
from .storage import Storage, scratch
from .transaction import Transaction

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Curve = Literal["hilbert", "morton"]
#: The ranges of a column are numbers of this many bits.
_BITS = 8
#: Rows that are looked at to find the ranges.
_SAMPLE = 100_000


def optimize(
    storage: Storage,
    order_by: str | Sequence[str] | None,
    predicate: str | None,
    curve: str,
    file_bytes: int,
    where: str,
) -> dict[str, int]:
    """Rewrite files of a table without changing its rows; see `Table.optimize`."""
    with telling(where), scratch(storage) as connection:
        snapshot = open_snapshot(storage, None, "")
        check_writable(snapshot.state.protocol, snapshot.state.metadata, "append")
        columns = [order_by] if isinstance(order_by, str) else list(order_by or ())
        _check(snapshot, columns, curve, file_bytes)
        if predicate is not None:
            check_predicate(snapshot, predicate)
        chosen = list(range(len(snapshot.files))) if predicate is None else kept_files(snapshot, predicate)
        bins = _bins(snapshot, chosen, None if columns else file_bytes)
        scan = scan_sql(snapshot, chosen, lasting=False) if bins and columns else ""
        order = _order(connection, scan, snapshot, columns, curve) if scan else ""
        parameters: dict[str, Any] = {"predicate": [] if predicate is None else [predicate], "zOrderBy": columns}
        with Transaction(snapshot, "OPTIMIZE", None, parameters) as change:
            # A writer is one thread, so that rows keep their order: each takes some of the bins.
            def write(part: list[int]) -> int:
                query = f"FROM ({_rows(snapshot, part)}) {order}"
                with connection.cursor() as cursor:
                    return len(change.rearrange(cursor.sql(query).to_arrow_reader(BATCH_ROWS), file_bytes))

            with ThreadPoolExecutor(max(1, min(len(bins), os.cpu_count() or 1))) as pool:
                added = sum(pool.map(write, bins))
            removed = [index for part in bins for index in part]
            for index in removed:
                change.remove(index, data_change=False)
            change.metrics |= {"numRemovedFiles": len(removed), "numAddedFiles": added}
            return {"version": change.commit(), "files_removed": len(removed), "files_added": added}


def _check(snapshot: Snapshot, columns: list[str], curve: str, file_bytes: int) -> None:
    """Refuse arguments that make no order."""
    import pyarrow.types as is_

    if curve not in ("hilbert", "morton"):
        raise ValueError(f"argument curve is {curve!r}; expected 'hilbert' or 'morton'")
    if isinstance(file_bytes, bool) or not isinstance(file_bytes, int) or file_bytes < 1:
        raise ValueError(f"argument file_bytes is {file_bytes!r}; expected a number of bytes, from 1 on")
    if len(columns) > 63 // _BITS:
        raise ValueError(f"argument order_by has {len(columns)} columns; expected {63 // _BITS} at most")
    for name in columns:
        if name not in snapshot.schema.names:
            names = ", ".join(map(repr, snapshot.schema.names))
            raise ValueError(f"argument order_by: there is no column {name!r}; the columns are {names}")
        if name in snapshot.partition_columns:
            raise ValueError(f"argument order_by: the table is partitioned by {name!r}, which has one value in a file")
        if is_.is_nested(type_ := snapshot.schema.field(name).type):
            raise ValueError(f"argument order_by: the column {name!r} is a {sql_type(type_)}, which has no order")


def _bins(snapshot: Snapshot, chosen: list[int], file_bytes: int | None) -> list[list[int]]:
    """The files that are to become new ones together, each group of one partition.

    With a size these are files that do not fill it or have lost rows, in their order; without one, all.
    """
    files = snapshot.state.files
    sizes, vectors = files["size"].to_pylist(), files["vector"]
    partitions: dict[Any, list[list[int]]] = {}
    room: dict[Any, float] = {}
    for index in chosen:
        if file_bytes is not None and sizes[index] >= file_bytes and not vectors[index].is_valid:
            continue
        key = tuple(values[index] for values in snapshot.partitions.values())
        bins = partitions.setdefault(key, [[]])
        if bins[-1] and sizes[index] > room[key]:
            bins.append([])
        if not bins[-1]:
            room[key] = float("inf") if file_bytes is None else file_bytes
        bins[-1].append(index)
        room[key] -= sizes[index]
    found = [part for bins in partitions.values() for part in bins]
    return [part for part in found if file_bytes is None or len(part) > 1 or vectors[part[0]].is_valid]


def _rows(snapshot: Snapshot, part: list[int]) -> str:
    """The SELECT of the rows of files, in their order; a scan by itself reads files with deletion vectors apart."""
    vectors = snapshot.state.files["vector"]
    runs = itertools.groupby(part, key=lambda index: vectors[index].is_valid)
    return " UNION ALL ".join(f"FROM ({scan_sql(snapshot, list(run), lasting=False)})" for _, run in runs)


def _order(connection: duckdb.DuckDBPyConnection, scan: str, snapshot: Snapshot, columns: list[str], curve: str) -> str:
    """The ORDER BY of a curve through columns; that of one column is the column's own."""
    if len(columns) == 1:
        return f"ORDER BY {quote_name(columns[0])}"
    steps = [step / (1 << _BITS) for step in range(1, 1 << _BITS)]
    names = ", ".join(map(quote_name, columns))
    connection.execute(
        f"CREATE TABLE sample AS SELECT {names} FROM ({scan}) USING SAMPLE {_SAMPLE} ROWS (reservoir, 1)"
    )
    ranges = []
    for name in columns:
        quantiles = f"SELECT quantile_disc({quote_name(name)}, {steps})::VARCHAR[] FROM sample"
        ((bounds,),) = connection.execute(quantiles).fetchall()
        ranges.append(_range(name, snapshot.schema.field(name), bounds) if bounds else "0")
    connection.execute("DROP TABLE sample")
    return f"ORDER BY {curve}_index([{', '.join(ranges)}]::BIGINT[], {_BITS}), {names}"


def _range(name: str, field: pa.Field, bounds: list[str]) -> str:
    """SQL of the number of a value's range: a binary search among the bounds. NULLs are in the first range."""
    column, type_ = quote_name(name), sql_type(field.type)

    def search(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high) // 2
        bound = f"CAST({quote_text(bounds[middle])} AS {type_})"
        return f"CASE WHEN {column} > {bound} THEN {search(middle + 1, high)} ELSE {search(low, middle)} END"

    return search(0, len(bounds))

"""What papers published beside what Ironlake computes.

``docs/published/<family>.csv`` holds a published figure a row: ``paper``, ``place`` (table or figure), ``row`` (what
it is), ``published`` (the figure), ``unit``, ``tolerance`` (the relative error that is allowed; without one the row
is shown, never asserted), ``ours`` (the SQL expression that computes it) and ``reason`` (why it is not reproduced, or
what one has to know of it).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ironlake.udf.engine import table

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from rich.table import Table

_PACKAGE = Path(__file__).parent
#: In a checkout they stand in the documentation; an installation holds them inside.
_FOLDER = next(
    folder for folder in (_PACKAGE / "docs" / "published", _PACKAGE.parent / "docs" / "published") if folder.is_dir()
)


def families() -> list[str]:
    """The families of functions that have published figures."""
    return sorted(path.stem for path in _FOLDER.glob("*.csv"))


def rows(family: str) -> list[dict[str, str]]:
    """The published figures of a family, as the file has them.

    Raises
    ------
    ValueError
        There is no such family.
    """
    family = family.replace("-", "_")
    if family not in families():
        raise ValueError(f"no published figures of {family!r}; expected one of {', '.join(families())}")
    with (_FOLDER / f"{family}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@table
def published_results(family: str) -> pa.RecordBatchReader:
    """Hold what a family of functions computes against what its papers published.

    Parameters
    ----------
    family : such as ``distributed_training``.

    Returns
    -------
    TABLE
        A row per published figure: ``paper``, ``place`` (its table or figure), ``row``, ``unit`` VARCHAR,
        ``published``, ``ours``, ``error`` (relative to the published one), ``tolerance`` DOUBLE (what the tests allow;
        NULL if the row is only shown), ``reason`` VARCHAR (why it is not reproduced, or what to know of it).

    Raises
    ------
    ValueError
        If there is no such family.

    References
    ----------
    The papers that each row names.

    Examples
    --------
    SELECT place, row, published, ours, error FROM published_results('rdd');
    """
    import pyarrow as pa

    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("paper", "place", "row", "unit")),
            *((name, pa.float64()) for name in ("published", "ours", "error", "tolerance")),
            ("reason", pa.string()),
        ]
    )
    found = rows(family)
    return pa.RecordBatchReader.from_batches(schema, _computed(found, schema))


def table_of(results: duckdb.DuckDBPyRelation) -> Table:
    """The rows of `published_results` for a terminal; errors beyond the tolerance are red."""
    from rich.table import Table

    table = Table("published in", "what", "published", "ours", "error", "note")
    columns = "paper, place, row, unit, published, ours, error, tolerance, reason"
    for paper, place, row, unit, published, ours, error, tolerance, reason in results.project(columns).fetchall():
        wrong = error is not None and tolerance is not None and abs(error) > tolerance
        told = "" if error is None else f"[red]{error:+.1%}[/red]" if wrong else f"{error:+.1%}"
        computed = "" if ours is None else f"{ours:.6g}"
        table.add_row(f"{paper}, {place}", row, f"{published:.6g} {unit}", computed, told, reason or "")
    return table


def _computed(found: list[dict[str, str]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    from .database import connect

    with connect() as connection:
        for row in found:
            published, ours = float(row["published"]), None
            if row["ours"]:
                [(ours,)] = connection.sql(f"SELECT ({row['ours']})::DOUBLE").fetchall()
            values = {
                **{name: row[name] for name in ("paper", "place", "row", "unit")},
                "published": published,
                "ours": ours,
                "error": None if ours is None or not published else ours / published - 1,
                "tolerance": float(row["tolerance"]) if row["tolerance"] else None,
                "reason": row["reason"] or None,
            }
            yield pa.RecordBatch.from_pylist([values], schema)

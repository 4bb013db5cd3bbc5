"""Print the result of a query as a table, as CSV or as JSON."""

from __future__ import annotations

import csv
import enum
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

#: Rows fetched at a time.
_ROWS = 10_000


class Format(enum.StrEnum):
    """The ways to print a result."""

    table = "table"
    csv = "csv"
    json = "json"


def show(result: DuckDBPyRelation | None, format: Format) -> None:
    """Print a result to standard output; a statement without one prints nothing.

    `table` is DuckDB's own box, cut to the terminal; `csv` and `json` (an array with one object a row) are complete and
    streamed.
    """
    if result is None:
        return
    if format is Format.table:
        result.show(max_width=shutil.get_terminal_size((120, 24)).columns)
    elif format is Format.csv:
        _show_csv(result)
    else:
        _show_json(result)


def _show_csv(result: DuckDBPyRelation) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    texts = result.project("CAST(COLUMNS(*) AS VARCHAR)")
    while rows := texts.fetchmany(_ROWS):
        writer.writerows(rows)


def _show_json(result: DuckDBPyRelation) -> None:
    objects = result.query("result", "SELECT to_json(result) FROM result")
    separator = "[\n  "
    while rows := objects.fetchmany(_ROWS):
        for (text,) in rows:
            sys.stdout.write(f"{separator}{text}")
            separator = ",\n  "
    sys.stdout.write("[]\n" if separator.startswith("[") else "\n]\n")

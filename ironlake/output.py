"""Print the result of a query as a table, as CSV or as JSON."""

from __future__ import annotations

import csv
import enum
import json
import re
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_NUMBERS_THAT_JSON_LACKS = re.compile(r"\b(NaN|Infinity)\b")

#: Rows fetched at a time.
_ROWS = 10_000


class Format(enum.StrEnum):
    """The ways to print a result."""

    table = "table"
    csv = "csv"
    json = "json"


def show(result: DuckDBPyRelation, form: Format) -> None:
    """Print a result to standard output.

    `table` is DuckDB's own box, cut to the terminal; `csv` and `json` (an array with one object a row) are complete and
    streamed. NaN and infinities become null in JSON.
    """
    if form is Format.table and result.columns == ["explain_key", "explain_value"]:
        print(*(plan for _, plan in result.fetchall()), sep="\n")
    elif form is Format.table:
        result.show(max_width=shutil.get_terminal_size((120, 24)).columns)
    elif form is Format.csv:
        _show_csv(result)
    else:
        _show_json(result)


def _show_csv(result: DuckDBPyRelation) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    for batch in result.project("CAST(COLUMNS(*) AS VARCHAR)").to_arrow_reader(_ROWS):
        writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _show_json(result: DuckDBPyRelation) -> None:
    separator = "[\n  "
    for batch in result.set_alias("ironlake_row").project("to_json(ironlake_row)").to_arrow_reader(_ROWS):
        for text in batch.column(0).to_pylist():
            if _NUMBERS_THAT_JSON_LACKS.search(text):
                text = json.dumps(json.loads(text, parse_constant=lambda _: None), ensure_ascii=False)
            sys.stdout.write(f"{separator}{text}")
            separator = ",\n  "
    sys.stdout.write("[]\n" if separator.startswith("[") else "\n]\n")

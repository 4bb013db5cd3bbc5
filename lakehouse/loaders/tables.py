"""CSV files and JSON: tables already, whose columns only have to be told apart."""

from __future__ import annotations

import json

from ..schema import quote_text
from .loader import LINE, NO_JSON, PLACE, PROBLEM, Loader, Reading


def csv_rows(reading: Reading, trace: str) -> str:
    """A row per row of the files, with the columns that DuckDB finds in them."""
    options = ", ignore_errors := true, store_rejects := true" if reading.skips else ""
    parts = [
        f"SELECT *, {quote_text(file)} AS log_file, row_number() OVER () AS log_row "
        f"FROM read_csv({quote_text(file)}{options})"
        for file in reading.files
    ]
    if reading.skips:
        reading.rejected = (
            "SELECT count(DISTINCT (file_path, line)), "
            "arg_min(file_path || ', line ' || line || ': ' || split_part(error_message, chr(10), 1), line) "
            "FROM reject_errors JOIN reject_scans USING (scan_id, file_id)"
        )
    found = " UNION ALL BY NAME ".join(parts)
    return f"SELECT *, log_file || ', row ' || log_row AS {PLACE}, NULL AS {PROBLEM} FROM ({found})"


def json_rows(reading: Reading, trace: str) -> str:
    """A row per line, or per element of an array, with the fields that any of them has."""
    connection = reading.connection
    texts = reading.elements("rows") if _are_arrays(reading) else reading.lines()
    connection.execute(f"""
        CREATE TEMP TABLE texts AS
        SELECT file, number, text, TRY(CASE WHEN json_type(text) = 'OBJECT' THEN text::JSON END) AS object
        FROM {texts} WHERE trim(text, E' \\t\\r') != ''""")
    [(structure,)] = connection.execute("SELECT json_group_structure(object)::VARCHAR FROM texts").fetchall()
    fields = json.loads(structure or "{}")
    if not isinstance(fields, dict) or not fields:
        return f"SELECT file AS log_file, {LINE}, {NO_JSON} AS {PROBLEM} FROM texts"
    # Differences of numbers may be negative.
    typed = json.dumps(fields).replace('"UBIGINT"', '"BIGINT"')
    return f"""
        SELECT file AS log_file, {LINE}, CASE WHEN object IS NULL THEN {NO_JSON} END AS {PROBLEM},
            unnest(from_json(object, {quote_text(typed)}))
        FROM texts"""


def _are_arrays(reading: Reading) -> bool:
    """Whether the first thing in the logs is a bracket."""
    [(first,)] = reading.connection.execute(
        f"SELECT ltrim(text, E' \\t\\r') FROM {reading.lines()} WHERE trim(text, E' \\t\\r') != '' LIMIT 1"
    ).fetchall() or [("",)]
    return str(first).startswith("[")


CSV = Loader("csv", csv_rows)
JSON = Loader("json", json_rows)

"""The log of a Delta table: an action a line, in a file a commit.

Source: the Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md.
"""

from __future__ import annotations

from ..log import FOLDER, Log
from ..schema import quote_text
from ..snapshot import open_snapshot
from .loader import PLACE, PROBLEM, Loader, Reading


def commits(path: str) -> list[str]:
    """The commits that the log of a table still has."""
    storage = open_snapshot(path, None, "").storage
    return [storage.locate(f"{FOLDER}/{name}") for _, name in sorted(Log(storage).commits.items())]


def rows(reading: Reading, trace: str) -> str:
    """A row per action, in the order of the log."""
    connection = reading.connection
    listed = ", ".join(map(quote_text, reading.files))
    sizes = connection.execute(f"SELECT size FROM read_blob([{listed}])").fetchall()
    longest = max(1_048_576, *(size for (size,) in sizes))
    connection.execute(f"""
        CREATE TEMP TABLE actions AS
        SELECT regexp_extract(filename, '(\\d{{20}})\\.json$', 1)::BIGINT AS version, row_number() OVER () AS position,
            json_keys(json)[1] AS action, url_decode(body->>'path') AS path, (body->>'size')::BIGINT AS size,
            TRY((body->>'stats')::JSON->>'numRecords')::BIGINT AS rows, (body->>'dataChange')::BOOLEAN AS data_change,
            CASE WHEN action = 'commitInfo' THEN body END AS info, filename
        FROM (
            SELECT json, filename, json_extract(json, json_keys(json)[1]) AS body
            FROM read_json_objects([{listed}], format := 'newline_delimited', filename := true,
                maximum_object_size := {longest})
        )""")
    return f"""
        WITH infos AS (
            SELECT version, any_value(info->>'operation') AS operation, any_value(make_timestamptz(
                1000 * coalesce(info->>'inCommitTimestamp', info->>'timestamp')::BIGINT)) AS told
            FROM actions WHERE info IS NOT NULL GROUP BY version
        ),
        written AS (SELECT filename, last_modified FROM read_blob([{listed}]))
        SELECT version, action, coalesce(told, last_modified) AS timestamp, operation, path, size, rows, data_change,
            (info->'operationMetrics')::VARCHAR AS metrics, filename AS {PLACE}, NULL AS {PROBLEM}
        FROM actions LEFT JOIN infos USING (version) LEFT JOIN written USING (filename)
        ORDER BY version, position"""


LOADER = Loader("delta_log", rows, {"delta_log_actions": {}}, commits)

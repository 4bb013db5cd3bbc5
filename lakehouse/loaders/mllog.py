r"""MLPerf logs: the lines with ``:::MLLOG`` and a JSON object, among whatever else a program prints.

Source: mlperf_logging, https://github.com/mlcommons/logging; the keys of a run are those of MLPerf Training.
"""

from __future__ import annotations

from .loader import LINE, PLACE, PROBLEM, RUN, Loader, Reading

#: What a launcher may put before a line: ``[3] ``, ``3: ``, ``[1,3]<stdout>:``.
_RANK = r"""coalesce(
    TRY_CAST(regexp_extract(prefix, '\[\d+,(\d+)\]<\w+>:\s*$', 1) AS INTEGER),
    TRY_CAST(regexp_extract(prefix, '^\s*\[?(\d+)(?:\]|:|\]:)\s*$', 1) AS INTEGER)
)"""


def rows(reading: Reading, trace: str) -> str:
    """A row per line; for ``run_log`` a row per file."""
    found = f"""
        SELECT file, number AS line_no, {RUN} AS run, {_RANK} AS rank, log->>'namespace' AS namespace,
            (log->>'time_ms')::DOUBLE AS time_ms, log->>'event_type' AS event_type, log->>'key' AS key,
            (log->'value')::VARCHAR AS value, (log->'metadata')::VARCHAR AS metadata,
            TRY_CAST(log->'metadata'->>'epoch_num' AS DOUBLE) AS epoch_num,
            TRY_CAST(log->'metadata'->>'samples_count' AS BIGINT) AS samples_count,
            log->'metadata'->>'status' AS status, {LINE},
            CASE WHEN log IS NULL THEN 'there is no JSON object behind :::MLLOG: ' || left(body, 60)
                WHEN log->>'key' IS NULL THEN 'the JSON object behind :::MLLOG has no key' END AS {PROBLEM}
        FROM (
            SELECT *, CASE WHEN json_valid(body) AND json_type(body) = 'OBJECT' THEN body::JSON END AS log
            FROM (
                SELECT *, left(text, place - 1) AS prefix, trim(substr(text, place + 8), E' \\t\\r') AS body
                FROM (SELECT *, strpos(text, ':::MLLOG') AS place FROM {reading.lines()}) WHERE place > 0
            )
        )"""
    if trace != "run_log":
        return found
    reading.connection.execute(f"CREATE TEMP TABLE ironlake_mllog AS {found}")
    return _RUNS


def _text(key: str) -> str:
    """SQL of what a run says under a key."""
    return f"max(value->>'$') FILTER (key = '{key}')"


def _time(key: str, which: str) -> str:
    return f"{which}(time_ms) FILTER (key = '{key}')"


_RUNS = f"""
    SELECT file, any_value(run) AS run, {_text("submission_org")} AS org, {_text("submission_platform")} AS system,
        {_text("submission_benchmark")} AS benchmark, {_text("submission_division")} AS division,
        TRY_CAST({_text("seed")} AS BIGINT) AS seed,
        TRY_CAST({_text("global_batch_size")} AS BIGINT) AS global_batch_size,
        ({_time("run_stop", "max")} - {_time("run_start", "min")}) / 60000 AS minutes,
        coalesce(bool_or(status = 'success') FILTER (key = 'run_stop'), false) AS converged,
        CASE WHEN converged THEN arg_max(coalesce(epoch_num, samples_count), time_ms)
            FILTER (key IN ('eval_accuracy', 'eval_error')) END AS epochs_to_converge,
        ({_time("init_stop", "max")} - {_time("init_start", "min")}) / 60000 AS init_minutes,
        file AS {PLACE}, NULL AS {PROBLEM}
    FROM ironlake_mllog WHERE {PROBLEM} IS NULL GROUP BY file
    UNION ALL BY NAME SELECT {PLACE}, {PROBLEM} FROM ironlake_mllog WHERE {PROBLEM} IS NOT NULL"""

LOADER = Loader("mllog", rows, {"mllog": {}, "run_log": {}})

"""Trace Event JSON: what chrome://tracing, Perfetto, torch.profiler (Kineto), TensorFlow's timeline and JAX write.

Events with a duration are read: complete ones (``X``), and pairs of a begin (``B``) and an end (``E``), which nest on
each thread. Processes and threads have the names that metadata events (``M``) give them. Instants, counters, flows and
asynchronous events have no place in a step and are left alone.

Source: Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
"""

from __future__ import annotations

import json

from ..schema import quote_text
from .loader import PLACE, PROBLEM, RUN, Loader, Reading

_FIELDS = dict.fromkeys(("ph", "name", "cat", "pid", "tid", "ts", "dur"), "VARCHAR") | {"args": "JSON"}


def _time(name: str) -> str:
    """SQL of a time in nanoseconds: JSON readers keep 53 bits of a number, and times since 1970 have more."""
    written = f'TRY_CAST(regexp_extract(text, \'"{name}"\\s*:\\s*"?([-+0-9.eE]+)\', 1) AS DECIMAL(30, 3))'
    kept = f"TRY_CAST(event.{name} AS DOUBLE)"
    right = f"CASE WHEN abs({written} - {kept}) <= 1 + abs({kept}) * 1e-15 THEN {written} END"
    return f"(coalesce({right}, TRY_CAST({kept} AS DECIMAL(30, 3))) * 1000)::BIGINT"


def rows(reading: Reading, trace: str) -> str:
    """A row per event with a duration, in the order of their beginnings."""
    connection, fields = reading.connection, quote_text(json.dumps(_FIELDS))
    connection.execute(f"""
        CREATE TEMP TABLE events AS
        SELECT file, number, {_time("ts")} AS start_ns, {_time("dur")} AS duration_ns, unnest(event),
            CASE WHEN event.ph IS NULL THEN 'this is no event: ' || left(text, 60) END AS no_event
        FROM (SELECT *, TRY(from_json(text, {fields})) AS event FROM {reading.elements("traceEvents")})
        WHERE coalesce(event.ph, 'M') IN ('X', 'B', 'E', 'M')""")
    connection.execute(f"""
        CREATE TEMP VIEW durations AS
        SELECT file, number, name, cat, pid, tid, args, start_ns, duration_ns, no_event, CASE
            WHEN no_event IS NOT NULL THEN NULL
            WHEN start_ns IS NULL THEN 'has no time ts'
            WHEN duration_ns IS NULL THEN 'has no duration dur'
            WHEN duration_ns < 0 THEN 'has a negative duration' END AS fault
        FROM events WHERE ph = 'X' OR no_event IS NOT NULL
        UNION ALL BY NAME ({_PAIRS})""")
    return _ROWS


#: A begin belongs to the next event on its thread that is as deep, if that is an end.
_PAIRS = """
    SELECT file, number, name, cat, pid, tid, args, start_ns, end_ns - start_ns AS duration_ns, CASE
        WHEN start_ns IS NULL THEN 'has no time ts'
        WHEN ph = 'B' AND next IS DISTINCT FROM 'E' THEN 'begins and has no end'
        WHEN ph = 'E' THEN 'ends and has no beginning' END AS fault
    FROM (
        SELECT *, lead(ph) OVER deep AS next, lag(ph) OVER deep AS before, lead(start_ns) OVER deep AS end_ns
        FROM (
            SELECT *, (ph = 'E')::INTEGER + sum(CASE ph WHEN 'B' THEN 1 ELSE -1 END) OVER (
                PARTITION BY file, pid, tid ORDER BY start_ns, number ROWS UNBOUNDED PRECEDING) AS depth
            FROM events WHERE ph IN ('B', 'E')
        )
        WINDOW deep AS (PARTITION BY file, pid, tid, depth ORDER BY start_ns, number)
    )
    WHERE ph = 'B' OR before IS DISTINCT FROM 'B'"""

#: Steps are what profilers call so: ``ProfilerStep#3`` of PyTorch, ``step_num`` of TensorFlow and JAX.
_ROWS = rf"""
    WITH processes AS (
        SELECT file, pid, any_value(args->>'name') FILTER (name = 'process_name') AS name,
            any_value(args->>'labels') FILTER (name = 'process_labels') AS labels
        FROM events WHERE ph = 'M' GROUP BY ALL
    ),
    threads AS (
        SELECT file, pid, tid, any_value(args->>'name') AS name
        FROM events WHERE ph = 'M' AND name = 'thread_name' GROUP BY ALL
    ),
    steps AS (
        SELECT file, pid, start_ns, start_ns + duration_ns AS end_ns, TRY_CAST(
            coalesce(nullif(regexp_extract(name, '^ProfilerStep#(\d+)', 1), ''), args->>'step_num') AS BIGINT) AS step
        FROM durations WHERE step IS NOT NULL AND fault IS NULL
    )
    SELECT d.file, {RUN.replace("file", "d.file", 1)} AS run, d.number, d.name, d.cat, d.args, d.pid, d.tid, d.start_ns,
        d.duration_ns, CASE WHEN d.start_ns < steps.end_ns THEN steps.step END AS step,
        coalesce(nullif(concat_ws(' ', processes.name, processes.labels), ''), d.pid) AS process,
        coalesce(threads.name, d.tid) AS thread, d.file || ', event ' || d.number AS {PLACE},
        coalesce(d.no_event, coalesce(d.name, 'it') || ' ' || d.fault) AS {PROBLEM}
    FROM durations d
    ASOF LEFT JOIN steps ON d.file = steps.file AND d.pid = steps.pid AND d.start_ns >= steps.start_ns
    LEFT JOIN processes ON d.file = processes.file AND d.pid = processes.pid
    LEFT JOIN threads ON d.file = threads.file AND d.pid = threads.pid AND d.tid = threads.tid
    ORDER BY {PROBLEM} IS NULL, d.start_ns, d.file, d.number"""

_BYTES = "TRY_CAST(coalesce(args->>'bytes', args->>'Bytes', args->>'num_bytes') AS BIGINT)"
#: Passes of pipelines, as Ironlake writes them (``kind``) and as programs name their functions.
_PASS = """coalesce(args->>'kind', nullif(regexp_extract(name, '^([FBIW])\\b', 1), ''), CASE
    WHEN name ILIKE '%weight%' THEN 'W' WHEN name ILIKE '%backward%' THEN 'B' WHEN name ILIKE '%forward%' THEN 'F'
    END, name)"""

LOADER = Loader(
    "chrome",
    rows,
    {
        "step_trace": {
            "device": "concat_ws(' / ', process, thread)",
            "op": "coalesce(args->>'op', cat)",
            "bytes": _BYTES,
        },
        "pipeline_op_trace": {
            "worker": "TRY_CAST(tid AS INTEGER)",
            **{name: f"TRY_CAST(args->>'{name}' AS INTEGER)" for name in ("stage", "chunk", "micro_batch")},
            "op": _PASS,
            "start_us": "start_ns // 1000",
            "dur_us": "duration_ns // 1000",
            "bytes": _BYTES,
        },
    },
)

"""Event logs of Spark: a JSON object a line, each an event of the scheduler; rolled and compressed logs, too.

Source: Apache Spark, ``core/src/main/scala/org/apache/spark/util/JsonProtocol.scala``.
"""

from __future__ import annotations

from .loader import LINE, NO_JSON, PROBLEM, Loader, Reading

_EVENTS = ("ApplicationStart", "JobStart", "StageCompleted", "TaskEnd")
#: What lines of one application have in common: the file, or the folder in which its log is rolled.
_LOG = r"CASE WHEN parse_filename(file) LIKE 'events\_%' ESCAPE '\' THEN parse_dirpath(file) ELSE file END"


def rows(reading: Reading, trace: str) -> str:
    """A row per attempt of a task; for ``rdd_lineage_trace`` per RDD, for ``training_runs`` per stage."""
    names = ", ".join(f"'SparkListener{name}'" for name in _EVENTS)
    reading.connection.execute(f"""
        CREATE TEMP TABLE events AS SELECT * EXCLUDE (text), CASE WHEN event IS NULL THEN {NO_JSON} END AS no_json
        FROM (
            SELECT file, number, text, {_LOG} AS log, TRY(text::JSON) AS event, event->>'Event' AS kind
            FROM {reading.lines()} WHERE trim(text, E' \\t\\r') != ''
        ) WHERE event IS NULL OR kind IN ({names})""")
    found = {"rdd_lineage_trace": _LINEAGE, "training_runs": _STAGES}.get(trace, _TASKS)
    return f"""
        WITH applications AS (
            SELECT log, any_value(event->>'App ID') AS app_id FROM events
            WHERE kind = 'SparkListenerApplicationStart' GROUP BY log
        )
        SELECT app_id, found.* EXCLUDE (log) FROM ({found}) found LEFT JOIN applications USING (log)
        UNION ALL BY NAME SELECT {LINE}, no_json AS {PROBLEM} FROM events WHERE no_json IS NOT NULL"""


def _numbers(source: str, fields: dict[str, str]) -> str:
    return ", ".join(f"({source}->>'{path}')::BIGINT AS {name}" for name, path in fields.items())


_INFO = {"launch_ms": "Launch Time", "finish_ms": "Finish Time"}
_METRICS = {
    "run_ms": "Executor Run Time",
    "cpu_ns": "Executor CPU Time",
    "gc_ms": "JVM GC Time",
    "deserialize_ms": "Executor Deserialize Time",
    "result_serialize_ms": "Result Serialization Time",
    "input_bytes": '$."Input Metrics"."Bytes Read"',
    "input_rows": '$."Input Metrics"."Records Read"',
    "shuffle_read_local_bytes": '$."Shuffle Read Metrics"."Local Bytes Read"',
    "shuffle_read_remote_bytes": '$."Shuffle Read Metrics"."Remote Bytes Read"',
    "shuffle_write_bytes": '$."Shuffle Write Metrics"."Shuffle Bytes Written"',
    "spill_mem_bytes": "Memory Bytes Spilled",
    "spill_disk_bytes": "Disk Bytes Spilled",
    "peak_mem_bytes": "Peak Execution Memory",
}

_TASKS = f"""
    WITH jobs AS (
        SELECT log, stage_id, min(job_id) AS job_id FROM (
            SELECT log, (event->>'Job ID')::INTEGER AS job_id, unnest((event->'Stage IDs')::INTEGER[]) AS stage_id
            FROM events WHERE kind = 'SparkListenerJobStart'
        ) GROUP BY ALL
    ),
    tasks AS (
        SELECT *, event->'Task Info' AS info, event->'Task Metrics' AS metrics, event->'Task End Reason' AS ending,
            (event->>'Stage ID')::INTEGER AS stage_id
        FROM events WHERE kind = 'SparkListenerTaskEnd'
    )
    SELECT log, file, job_id, stage_id, (event->>'Stage Attempt ID')::INTEGER AS stage_attempt,
        coalesce(info->>'Partition ID', info->>'Index')::INTEGER AS partition, (info->>'Attempt')::INTEGER AS attempt,
        concat_ws(' ', info->>'Executor ID', info->>'Host') AS worker, {_numbers("info", _INFO)},
        {_numbers("metrics", _METRICS)}, info->>'Locality' AS locality, (info->>'Speculative')::BOOLEAN AS speculative,
        CASE ending->>'Reason' WHEN 'Success' THEN 'SUCCESS' WHEN 'FetchFailed' THEN 'FETCH_FAILED'
            WHEN 'TaskKilled' THEN 'KILLED' WHEN 'ExecutorLostFailure' THEN 'WORKER_LOST' ELSE 'FAILED' END AS status,
        CASE WHEN status != 'SUCCESS' THEN coalesce(
            ending->>'Kill Reason', ending->>'Loss Reason', ending->>'Message',
            nullif(concat_ws(': ', ending->>'Class Name', ending->>'Description'), ''), ending->>'Reason')
            END AS reason,
        'jvm' AS tier, {LINE},
        CASE WHEN stage_id IS NULL OR info IS NULL THEN 'the end of a task lacks its stage or its Task Info' END
            AS {PROBLEM}
    FROM tasks LEFT JOIN jobs USING (log, stage_id)"""

#: An RDD of a stage comes with those that it depends on narrowly; other parents are on the far side of a shuffle.
_LINEAGE = f"""
    WITH told AS (
        SELECT log, file, number, event->'Stage Info'->>'Stage ID' AS stage_id,
            unnest((event->'Stage Info'->'RDD Info')::JSON[]) AS rdd
        FROM events WHERE kind = 'SparkListenerStageCompleted'
    ),
    rdds AS (
        SELECT log, file, number, stage_id, (rdd->>'RDD ID')::INTEGER AS rdd_id,
            (rdd->'Parent IDs')::INTEGER[] AS parents, rdd, list((rdd->>'RDD ID')::INTEGER) OVER (
                PARTITION BY log, number) AS beside
        FROM told
    ),
    last AS (
        SELECT log, rdd_id, arg_max(file, number) AS file, max(number) AS number, arg_max(rdd, number) AS rdd,
            any_value(parents) AS parents, bool_or(list_has_any(parents, beside)) AS narrow,
            bool_or(list_has_all(beside, parents)) AS all_narrow
        FROM rdds GROUP BY ALL
    )
    SELECT log, file, rdd_id, rdd->>'Name' AS name, TRY((rdd->>'Scope')::JSON->>'name') AS scope, parents,
        CASE WHEN len(parents) = 0 THEN NULL WHEN all_narrow THEN 'narrow' WHEN narrow THEN 'both' ELSE 'shuffle' END
            AS dep,
        (rdd->>'Number of Partitions')::INTEGER AS partitions, coalesce(nullif(concat_ws(' ',
            CASE WHEN rdd->'Storage Level'->>'Use Memory' = 'true' THEN 'MEMORY' END,
            CASE WHEN rdd->'Storage Level'->>'Use Disk' = 'true' THEN 'DISK' END,
            CASE WHEN rdd->'Storage Level'->>'Use Off Heap' = 'true' THEN 'OFF_HEAP' END,
            CASE WHEN rdd->'Storage Level'->>'Deserialized' = 'true' THEN 'DESERIALIZED' END,
            CASE WHEN (rdd->'Storage Level'->>'Replication')::INTEGER > 1
                THEN 'x' || (rdd->'Storage Level'->>'Replication') END), ''), 'NONE') AS storage_level,
        (rdd->>'Number of Cached Partitions')::INTEGER AS cached_partitions, (rdd->>'Memory Size')::BIGINT AS mem_bytes,
        (rdd->>'Disk Size')::BIGINT AS disk_bytes, {LINE}, NULL AS {PROBLEM}
    FROM last"""

_STAGES = f"""
    SELECT log, file, row_number() OVER (PARTITION BY log ORDER BY number) AS epoch, stage->>'Stage Name' AS task,
        make_timestamptz((stage->>'Completion Time')::BIGINT * 1000) AS time,
        ((stage->>'Completion Time')::BIGINT - (stage->>'Submission Time')::BIGINT) / 1000 AS seconds,
        (stage->>'Stage ID')::INTEGER AS stage_id, (stage->>'Number of Tasks')::INTEGER AS num_tasks,
        list_sum(list_transform(list_filter((stage->'Accumulables')::JSON[], lambda each: each->>'Name' IN (
            'internal.metrics.input.recordsRead', 'internal.metrics.shuffle.read.recordsRead')),
            lambda each: (each->>'Value')::BIGINT)) AS rows,
        stage->>'Failure Reason' AS stop_reason, {LINE}, NULL AS {PROBLEM}
    FROM (SELECT *, event->'Stage Info' AS stage FROM events WHERE kind = 'SparkListenerStageCompleted')"""

LOADER = Loader(
    "spark",
    rows,
    {"rdd_task_trace": {}, "rdd_lineage_trace": {}, "training_runs": {"run_id": "app_id"}},
)

"""What tools of distributed training print: nccl-tests, Megatron-LM, and lookups of recommendation models (DLRM).

Sources: nccl-tests, ``src/common.cu``; the tables of all-reduces of vTrain (comma-separated, in nanoseconds);
Megatron-LM, ``megatron/training/training.py`` and ``arguments.py``; the arrays ``indices`` and ``offsets`` of
`torch.nn.EmbeddingBag`.
"""

from __future__ import annotations

from ..schema import quote_text
from .loader import LINE, NO_JSON, PROBLEM, RUN, Loader, Reading

_OPS = {
    "all_reduce": "all_?reduce|(^|[^a-z])ar_gpu", "all_gather": "all_?gather", "reduce_scatter": "reduce_?scatter",
    "all_to_all": "all_?to_?all", "broadcast": "broadcast", "p2p": "sendrecv",
}  # fmt: skip
#: Size, count, type, then words and numbers; the times and bandwidths of both measurements stand last.
_NCCL_LINE = r"^\s*(\d+)[\s,]+(\d+)[\s,]+([a-z]\w*)[\s,]+(\S.*)$"


def nccl_rows(reading: Reading, trace: str) -> str:
    """A row per size; ``in_place_time_ns`` and ``in_place_bus_gbps`` are the other measurement of the line."""
    op = " ".join(
        f"WHEN regexp_matches(lower(said), {quote_text(pattern)}) THEN '{name}'" for name, pattern in _OPS.items()
    )
    names = "['bytes', 'count', 'type', 'rest']"
    return f"""
        WITH lines AS (
            SELECT *, regexp_extract(text, {quote_text(_NCCL_LINE)}, {names}) AS found
            FROM {reading.lines()}
        ),
        said AS (
            SELECT file, regexp_extract(file, '[^/\\\\]+$') || ' ' || coalesce(string_agg(text, ' ')
                    FILTER (regexp_matches(text, '(?i)collective|_perf')), '') AS said,
                coalesce(nullif(count(*) FILTER (regexp_matches(text, '^#\\s+Rank\\s+\\d+')), 0),
                    TRY_CAST(regexp_extract(file, '(?i)gpus?_?(\\d+)', 1) AS INTEGER)) AS gpus,
                max(regexp_extract(text, '^#\\s+Rank\\s+\\d+.*device\\s+\\S+\\s+\\[\\w+[^\\]]*\\]\\s+(.+?)\\s*$', 1))
                    AS device
            FROM lines GROUP BY file
        ),
        numbers AS (
            SELECT file, number, text, found, string_split_regex(trim(found.rest, E' \\t\\r,'), '[\\s,]+') AS words
            FROM lines WHERE found.bytes != ''
        ),
        -- with algorithm bandwidths and errors there are four numbers for each measurement, in microseconds
        measured AS (
            SELECT *, len(words) >= 8 AS is_nccl FROM numbers
        )
        SELECT file, {RUN} AS run, nullif(device, '') AS device, gpus, CASE {op} END AS op, found.type AS type,
            found.bytes::BIGINT AS bytes, found.count::BIGINT AS count,
            CASE WHEN is_nccl THEN 1000 * TRY_CAST(words[-8] AS DOUBLE) ELSE TRY_CAST(words[-4] AS DOUBLE) END
                AS time_ns,
            CASE WHEN is_nccl THEN TRY_CAST(words[-6] AS DOUBLE) ELSE TRY_CAST(words[-3] AS DOUBLE) END AS bus_gbps,
            CASE WHEN is_nccl THEN 1000 * TRY_CAST(words[-4] AS DOUBLE) ELSE TRY_CAST(words[-2] AS DOUBLE) END
                AS in_place_time_ns,
            TRY_CAST(words[CASE WHEN is_nccl THEN -2 ELSE -1 END] AS DOUBLE) AS in_place_bus_gbps,
            {LINE},
            CASE WHEN time_ns IS NULL OR bus_gbps IS NULL THEN 'this is no whole line of measurements: ' || trim(text)
                END AS {PROBLEM}
        FROM measured JOIN said USING (file) ORDER BY file, number"""


def megatron_rows(reading: Reading, trace: str) -> str:
    """A row per logged iteration; what the run was told (``hidden_size ..... 2304``) is in all of them."""

    def argument(name: str) -> str:
        pattern = rf"^\s*(?:\[[^\]]*\]:\s*)?{name} \.{{2,}} (\d+)\s*$"
        return f"max(TRY_CAST(nullif(regexp_extract(text, {quote_text(pattern)}, 1), '') AS INTEGER))"

    def value(name: str) -> str:
        pattern = rf"{name}: *([-+0-9.eE]+|nan|inf)"
        return f"TRY_CAST(nullif(regexp_extract(text, {quote_text(pattern)}, 1), '') AS DOUBLE)"

    return f"""
        WITH lines AS (SELECT * FROM {reading.lines()}),
        told AS (
            SELECT file, {argument("world_size")} AS gpus, {argument("micro_batch_size")} AS micro_batch,
                {argument("hidden_size")} AS hidden, {argument("num_attention_heads")} AS heads,
                {argument("num_layers")} AS layers, {argument("seq_length")} AS seq,
                {argument("tensor_model_parallel_size")} AS tp, {argument("data_parallel_size")} AS dp,
                {argument("pipeline_model_parallel_size")} AS pp, {argument("global_batch_size")} AS said_batch
            FROM lines GROUP BY file
        )
        SELECT file, {RUN} AS run, told.* EXCLUDE (file, said_batch),
            TRY_CAST(regexp_extract(text, 'iteration +(\\d+)', 1) AS BIGINT) AS iteration,
            coalesce({value("global batch size")}::INTEGER, said_batch) AS global_batch,
            {value(r"elapsed time per iteration [(]ms[)]")} AS iteration_ms,
            {value(r"[(]TFLOP/s/GPU[)]")} AS tflops_per_gpu, {value("lm loss")} AS loss, {LINE},
            CASE WHEN iteration_ms IS NULL THEN 'there is no time of an iteration: ' || trim(text) END AS {PROBLEM}
        FROM lines JOIN told USING (file)
        WHERE contains(text, 'elapsed time per iteration (ms)') ORDER BY file, number"""


def dlrm_rows(reading: Reading, trace: str) -> str:
    """A row per lookup, from a JSON object per table and batch: ``table``, ``indices``, ``offsets``, ``sample``.

    The indices of sample i of the batch are those from ``offsets[i]`` to the next offset; ``sample`` is the number of
    its first one, 0 if it is not there.
    """
    members = '{"table": "BIGINT", "indices": ["BIGINT"], "offsets": ["BIGINT"], "sample": "BIGINT"}'
    wrong = "'there are no table, indices and offsets that fit each other: ' || left(trim(text), 60)"
    return f"""
        WITH batches AS (
            SELECT *, CASE WHEN batch IS NULL THEN {NO_JSON}
                    WHEN batch.table IS NULL OR batch.indices IS NULL OR batch.offsets IS NULL
                        OR len(batch.offsets) = 0 OR batch.offsets[1] != 0
                        OR batch.offsets != list_sort(batch.offsets) OR batch.offsets[-1] > len(batch.indices)
                    THEN {wrong} END AS {PROBLEM}
            FROM (
                SELECT *, TRY(CASE WHEN json_type(text) = 'OBJECT' THEN from_json(text, {quote_text(members)}) END)
                    AS batch
                FROM {reading.lines()} WHERE trim(text, E' \\t\\r') != ''
            )
        ),
        samples AS (
            SELECT file, number, {PROBLEM}, batch.table AS table_id, batch.indices AS indices,
                batch.offsets AS offsets, coalesce(batch.sample, 0) AS first,
                unnest(CASE WHEN {PROBLEM} IS NULL THEN range(len(batch.offsets)) ELSE [0] END) AS place
            FROM batches
        )
        SELECT file, {RUN} AS run, table_id, first + place AS sample, {LINE}, {PROBLEM},
            unnest(CASE WHEN {PROBLEM} IS NULL
                THEN indices[offsets[place + 1] + 1 : coalesce(offsets[place + 2], len(indices))] ELSE [NULL] END)
                AS row_id
        FROM samples ORDER BY file, number, place"""


NCCL = Loader("nccl", nccl_rows, {"collective_trace": {}})
MEGATRON = Loader("megatron", megatron_rows, {"training_run_log": {}})
DLRM = Loader("dlrm", dlrm_rows, {"embedding_trace": {}})

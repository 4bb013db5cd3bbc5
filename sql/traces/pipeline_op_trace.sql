-- Operations of pipeline-parallel training: one row per operation of a worker.
CREATE TABLE pipeline_op_trace (
    run VARCHAR,            -- the same in all rows of a run
    step INTEGER,           -- training step
    worker INTEGER,         -- rank in the pipeline, from 0 on
    stage INTEGER,          -- of the model, from 0 on
    chunk INTEGER,          -- which of a worker's stages, from 0 on, where it has several
    micro_batch INTEGER,    -- from 0 on
    op VARCHAR,             -- F forward, B backward, W gradient of the weights, or the name of another operation
    start_us BIGINT,        -- [us] when it began, by the clock of the trace
    dur_us BIGINT,          -- [us] that it took
    bytes BIGINT            -- [bytes] sent; NULL if none are
);

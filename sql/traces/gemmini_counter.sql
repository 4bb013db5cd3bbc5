-- Performance counters of an accelerator: one row per reading.
CREATE TABLE gemmini_counter (
    run_id VARCHAR,     -- the same in all rows of a run
    core INTEGER,       -- from 0 on
    cycle BIGINT,       -- [cycles] when it was read
    event VARCHAR,      -- what is counted, such as DMA_TLB_MISS_CYCLE
    value BIGINT        -- the count
);

-- Lines of MLPerf logs: one row per `:::MLLOG` line.
CREATE TABLE mllog (
    file VARCHAR,           -- the log
    line_no BIGINT,         -- the line, from 1 on
    rank INTEGER,           -- the process that a prefix such as `3: ` names; NULL without one
    namespace VARCHAR,      -- of the key
    time_ms DOUBLE,         -- [ms] since 1970 (UTC); of LoadGen since its start
    event_type VARCHAR,     -- INTERVAL_START, INTERVAL_END or POINT_IN_TIME
    key VARCHAR,            -- such as eval_accuracy
    value VARCHAR,          -- JSON: what is logged
    epoch_num DOUBLE,       -- [epochs] trained by then, where the line says so
    samples_count BIGINT,   -- [samples] trained on by then, where the line says so
    status VARCHAR,         -- of run_stop: success or aborted
    metadata VARCHAR        -- JSON: all that the line says besides, such as its place in the program
);

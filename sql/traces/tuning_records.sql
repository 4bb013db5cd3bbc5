-- Trials of a kernel tuner: one row per trial, also of those that failed.
CREATE TABLE tuning_records (
    task VARCHAR,                   -- the computation and its shapes
    target VARCHAR,                 -- what it was compiled for
    cpu VARCHAR,                    -- that ran it
    threads INTEGER,                -- [threads] that ran it
    trial INTEGER,                  -- from 0 on
    knobs MAP(VARCHAR, BIGINT),     -- the choices, by name
    trace VARCHAR,                  -- the schedule, as the tuner writes it
    seconds DOUBLE[],               -- [s] of each run
    compile_seconds DOUBLE,         -- [s] to compile it
    error_code INTEGER,             -- 0 if it ran
    error VARCHAR,                  -- why it did not
    flops DOUBLE,                   -- [FLOP] of the computation
    tuner VARCHAR,                  -- that chose the trial
    recorded_at TIMESTAMPTZ,        -- when
    version VARCHAR                 -- of the tuner
);

-- Runs of MLPerf Training: one row per run.
CREATE TABLE run_log (
    org VARCHAR,                 -- who submitted it
    system VARCHAR,              -- the machine
    benchmark VARCHAR,           -- such as resnet
    division VARCHAR,            -- closed or open
    file VARCHAR,                -- the log
    seed BIGINT,                 -- of the random numbers
    global_batch_size BIGINT,    -- [samples] per step
    minutes DOUBLE,              -- [min] from run_start to run_stop: the time to train
    converged BOOLEAN,           -- whether the run reached its target
    epochs_to_converge DOUBLE,   -- [epochs] until then; samples, where a benchmark counts those
    init_minutes DOUBLE          -- [min] from init_start to init_stop
);

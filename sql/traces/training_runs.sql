-- What training runs came to: one row per epoch.
CREATE TABLE training_runs (
    run_id VARCHAR,          -- the same in all rows of a run
    epoch INTEGER,           -- from 1 on; the number of the report, in logs that report more or less often
    step BIGINT,             -- [steps] gradient steps taken in all, those of a model that training started from included
    time TIMESTAMPTZ,        -- the end of the epoch
    loss DOUBLE,             -- mean per row, each row's before the step on it
    val_loss DOUBLE,         -- mean per row held out, after the epoch; NULL if none are
    step_size DOUBLE,        -- of the last step
    gradient_norm DOUBLE,    -- of the objective, after the epoch; NULL unless it was asked for
    rows BIGINT,             -- [rows] gradient steps of the epoch
    seconds DOUBLE,          -- [s] that the epoch took
    "order" VARCHAR,         -- in which rows were visited: stored, shuffle_once, shuffle_always, block_shuffle, mrs
    parallel VARCHAR,        -- how threads share the work: average, nolock, aig, lock
    threads INTEGER,         -- [threads] that trained
    task VARCHAR,            -- such as logistic
    stop_reason VARCHAR,     -- why training ended with this epoch; NULL where it went on
    model_table VARCHAR,     -- Delta table with the model; NULL if it was not saved
    model_version BIGINT,    -- the version of that table that has it
    data_table VARCHAR,      -- Delta tables that the rows came from
    data_version BIGINT      -- the version trained on, if it was one table
);

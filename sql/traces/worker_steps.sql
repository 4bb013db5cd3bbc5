-- Steps of the workers of data-parallel training: one row per worker and step.
CREATE TABLE worker_steps (
    run VARCHAR,                -- the same in all rows of a run
    step BIGINT,                -- training step
    worker INTEGER,             -- from 0 on
    read_seconds DOUBLE,        -- [s] to fetch the parameters
    compute_seconds DOUBLE,     -- [s] to compute the gradient
    write_seconds DOUBLE,       -- [s] to send it
    dropped BOOLEAN             -- whether the gradient came too late to count
);

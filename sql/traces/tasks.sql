-- Tasks to run in clouds, and what they need: one row per task.
CREATE TABLE tasks (
    task VARCHAR,               -- the task
    nodes INTEGER,              -- [machines] that it runs on
    seconds DOUBLE,             -- [s] that it takes; NULL if `task_offer_seconds` says it by machine
    cpus DOUBLE,                -- virtual CPUs that each machine needs
    memory_gib DOUBLE,          -- [GiB] of main memory that each machine needs
    accelerator VARCHAR,        -- that each machine needs; NULL for none
    accelerator_count DOUBLE,   -- accelerators that each machine needs
    clouds VARCHAR[],           -- that it may run in; NULL for all
    use_spot BOOLEAN,           -- whether it may run on machines that can be taken away
    input_cloud VARCHAR,        -- where its input is
    input_gb DOUBLE,            -- [GB] of input from there
    output_gb DOUBLE            -- [GB] that it hands on
);

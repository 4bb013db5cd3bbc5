-- Attempts of the tasks of RDD and Spark jobs: one row per attempt.
CREATE TABLE rdd_task_trace (
    app_id VARCHAR,                    -- the application
    job_id INTEGER,                    -- the job that ran the stage first
    stage_id INTEGER,                  -- the stage
    stage_attempt INTEGER,             -- from 0 on; a stage runs again when shuffle files are lost
    partition INTEGER,                 -- that the task computes, from 0 on
    attempt INTEGER,                   -- of the task, from 0 on
    worker VARCHAR,                    -- executor and host
    launch_ms BIGINT,                  -- [ms] when it was launched, since 1970 (UTC)
    finish_ms BIGINT,                  -- [ms] when its end was known, since 1970 (UTC)
    run_ms BIGINT,                     -- [ms] that the worker ran the task
    cpu_ns BIGINT,                     -- [ns] of CPU that it took
    gc_ms BIGINT,                      -- [ms] of garbage collection in it
    deserialize_ms BIGINT,             -- [ms] to read the task itself
    result_serialize_ms BIGINT,        -- [ms] to write its result
    input_bytes BIGINT,                -- [bytes] read from files or the cache
    input_rows BIGINT,                 -- [rows] read from files or the cache
    shuffle_read_local_bytes BIGINT,   -- [bytes] of shuffles read on the same machine
    shuffle_read_remote_bytes BIGINT,  -- [bytes] of shuffles read from other machines
    shuffle_write_bytes BIGINT,        -- [bytes] written for later stages
    spill_mem_bytes BIGINT,            -- [bytes] in memory of what was spilled
    spill_disk_bytes BIGINT,           -- [bytes] on disk of what was spilled
    peak_mem_bytes BIGINT,             -- [bytes] of execution memory at most
    locality VARCHAR,                  -- PROCESS_LOCAL, NODE_LOCAL, NO_PREF, RACK_LOCAL or ANY
    speculative BOOLEAN,               -- whether it ran beside another attempt that was slow
    status VARCHAR,                    -- SUCCESS, FAILED, KILLED, FETCH_FAILED or WORKER_LOST
    reason VARCHAR,                    -- why it did not succeed
    tier VARCHAR                       -- what ran the function: T0, T1, T2, or jvm for Spark
);

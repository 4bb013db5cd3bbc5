-- How fast large models trained: one row per configuration measured.
CREATE TABLE training_run_log (
    run VARCHAR,            -- the same in all rows of a run
    params DOUBLE,          -- parameters of the model
    gpus INTEGER,           -- [devices] in all
    global_batch INTEGER,   -- [sequences] per step
    micro_batch INTEGER,    -- [sequences] per forward pass of a device
    hidden INTEGER,         -- width of the model
    heads INTEGER,          -- attention heads
    layers INTEGER,         -- of the model
    seq INTEGER,            -- [tokens] of a sequence
    tp INTEGER,             -- tensor-parallel degree
    dp INTEGER,             -- data-parallel degree
    pp INTEGER,             -- pipeline-parallel degree
    iteration_ms DOUBLE     -- [ms] of a step
);

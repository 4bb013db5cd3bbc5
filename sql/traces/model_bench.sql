-- Networks on devices: one row per model, device and batch size.
CREATE TABLE model_bench (
    model VARCHAR,          -- such as resnet50
    device VARCHAR,         -- such as Jetson TX1
    batch_size INTEGER,     -- [images] per call
    top1 DOUBLE,            -- [%] of images whose label is the first guess
    top5 DOUBLE,            -- [%] of images whose label is among the first five guesses
    params BIGINT,          -- parameters that are learnt
    macs BIGINT,            -- multiply-adds per image
    memory_mb DOUBLE,       -- [MB] of the device in use, weights and activations
    latency_ms DOUBLE,      -- [ms] per image, mean over the runs
    n_runs INTEGER          -- [runs] measured
);

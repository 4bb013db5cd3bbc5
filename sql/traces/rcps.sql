-- Reference convergence points of MLPerf Training: one row per benchmark and batch size.
CREATE TABLE rcps (
    benchmark VARCHAR,      -- such as resnet
    ruleset VARCHAR,        -- such as 4.0.0
    batch_size BIGINT,      -- [samples] per step
    epochs DOUBLE[],        -- [epochs] to converge, of each reference run; samples, where a benchmark counts those
    hyperparams VARCHAR,    -- JSON: the hyperparameters of the runs
    creator VARCHAR         -- who ran them
);

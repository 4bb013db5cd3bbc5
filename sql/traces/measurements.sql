-- What trials measured while they trained: one row per step, split and metric.
CREATE TABLE measurements (
    study_id VARCHAR,   -- the study
    trial_id BIGINT,    -- the trial, in its study
    step BIGINT,        -- [steps] taken before it
    split VARCHAR,      -- train, val or test
    metric VARCHAR,     -- such as classification_error
    value DOUBLE        -- in the unit of the metric
);

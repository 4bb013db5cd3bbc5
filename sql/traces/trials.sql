-- Trials of a study: one row per choice of hyperparameters.
CREATE TABLE trials (
    study_id VARCHAR,               -- the study
    trial_id BIGINT,                -- the trial, in its study
    status VARCHAR,                 -- COMPLETE, or INFEASIBLE where training diverged
    steps BIGINT,                   -- [steps] that were taken
    params MAP(VARCHAR, DOUBLE)     -- the hyperparameters, by name
);

-- Studies of the batch size: one row per data set, model, optimiser and batch size.
CREATE TABLE studies (
    study_id VARCHAR,       -- the study
    dataset VARCHAR,        -- such as mnist
    model VARCHAR,          -- such as simple_cnn
    optimizer VARCHAR,      -- such as momentum
    batch_size BIGINT,      -- [rows] per step
    train_steps BIGINT,     -- [steps] of each trial
    param_space VARCHAR     -- JSON: the ranges that hyperparameters were drawn from
);

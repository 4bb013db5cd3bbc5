-- Training runs of language models, for scaling laws: one row per measurement.
CREATE TABLE runs (
    run_id VARCHAR,         -- the run
    params DOUBLE,          -- parameters of the model
    params_kind VARCHAR,    -- non_embedding or total
    tokens DOUBLE,          -- [tokens] trained on
    unique_tokens DOUBLE,   -- [tokens] among them that are different; fewer where data are repeated
    steps BIGINT,           -- [steps] taken
    batch_tokens DOUBLE,    -- [tokens] per step
    flops DOUBLE,           -- [FLOP] of training so far
    loss DOUBLE,            -- [nats/token] mean
    split VARCHAR,          -- train, val or test
    final BOOLEAN           -- whether the learning rate was at its end
);

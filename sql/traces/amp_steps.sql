-- Steps of mixed-precision training: one row per step.
CREATE TABLE amp_steps (
    run_id VARCHAR,         -- the same in all rows of a run
    step BIGINT,            -- training step
    loss DOUBLE,            -- before the step, not scaled
    loss_scale DOUBLE,      -- factor on the loss
    found_inf BOOLEAN,      -- whether a gradient was infinite or NaN, so that the step was left out
    grad_norm DOUBLE,       -- of the gradient, not scaled
    lr DOUBLE,              -- learning rate
    n_zero BIGINT,          -- gradients that are zero
    n_subnormal BIGINT      -- gradients that are subnormal in half precision
);

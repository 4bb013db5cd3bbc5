-- How the search for a placement went: one row per iteration.
CREATE TABLE placement_train_log (
    iteration INTEGER,      -- from 1 on
    mean_reward DOUBLE,     -- of the placements that were tried
    baseline DOUBLE,        -- that rewards are compared with
    best_us DOUBLE,         -- [us] per step of the best placement so far
    entropy DOUBLE          -- [nats] of the policy
);

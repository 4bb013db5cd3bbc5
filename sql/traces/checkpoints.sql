-- Weights of networks at steps of their training: one row per layer and kind.
CREATE TABLE checkpoints (
    run_id VARCHAR,     -- the same in all rows of a run
    step BIGINT,        -- [steps] taken before it
    layer INTEGER,      -- from 0 on
    kind VARCHAR,       -- weight, bias or mask
    shape INTEGER[],    -- extents, the last one varies fastest
    "values" FLOAT[]    -- in the order of the shape; of a mask 0 or 1
);

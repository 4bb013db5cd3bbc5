-- Passes of a compiler: one row per pass.
CREATE TABLE pass_trace (
    module VARCHAR,             -- that was compiled
    pass VARCHAR,               -- such as fuse
    functions INTEGER,          -- in the module after it
    kernels INTEGER,            -- that are called after it
    flops DOUBLE,               -- [FLOP] of a run after it
    bytes_moved DOUBLE,         -- [bytes] read and written in a run after it
    workspace_bytes BIGINT,     -- [bytes] of intermediate values at most, after it
    seconds DOUBLE              -- [s] that the pass took
);

-- Operations that an accelerator runs: one row per operation, with the loop bounds of a convolution.
CREATE TABLE op_trace (
    run_id VARCHAR,     -- the same in all rows of a run
    op_id BIGINT,       -- place in the run, from 0 on
    network VARCHAR,    -- such as alexnet
    layer VARCHAR,      -- such as conv3
    kind VARCHAR,       -- conv, gemm, pool ...
    n BIGINT,           -- images in the batch
    m BIGINT,           -- output channels; columns of a GEMM's result
    c BIGINT,           -- input channels; the inner extent of a GEMM
    r BIGINT,           -- height of the filter
    s BIGINT,           -- width of the filter
    e BIGINT,           -- height of the output
    f BIGINT,           -- width of the output
    stride_h BIGINT,    -- step of the filter in height
    stride_w BIGINT,    -- step of the filter in width
    groups BIGINT,      -- groups that the channels fall into
    bytes_in BIGINT,    -- [bytes] of the input
    bytes_w BIGINT,     -- [bytes] of the weights
    bytes_out BIGINT,   -- [bytes] of the output
    core INTEGER        -- that runs it, from 0 on
);

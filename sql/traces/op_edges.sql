-- Edges of a computation graph that is placed on devices: one row per output and operation that uses it.
CREATE TABLE op_edges (
    graph VARCHAR,          -- the graph
    src BIGINT,             -- the operation that computes it
    out_index INTEGER,      -- which of its outputs, from 0 on; it is sent once to each device
    dst BIGINT,             -- the operation that uses it
    bytes BIGINT,           -- [bytes] of the output
    transfer_us DOUBLE      -- [us] between devices, where that is known instead of the bytes
);

-- What programs did when: one row per operation that has a duration, of profilers and of executors of dataflow graphs.
CREATE TABLE step_trace (
    run VARCHAR,            -- the same in all rows of a run
    step BIGINT,            -- training step that it began in; NULL outside of steps
    worker INTEGER,         -- rank of the process
    device VARCHAR,         -- where it ran: process and thread, or device and stream
    node_id INTEGER,        -- the node in `graph_nodes`
    name VARCHAR,           -- of the operation
    op VARCHAR,             -- its kind, such as MatMul or kernel
    start_ns BIGINT,        -- [ns] when it began, by the clock of the trace
    duration_ns BIGINT,     -- [ns] that it took
    bytes BIGINT,           -- [bytes] moved or allocated
    frame VARCHAR,          -- of the loop that it ran in
    iteration INTEGER       -- of that loop, from 0 on
);

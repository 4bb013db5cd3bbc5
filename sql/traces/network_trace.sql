-- Throughput of a network over time: one row per change.
CREATE TABLE network_trace (
    trace VARCHAR,      -- the trace
    t_s DOUBLE,         -- [s] since the start
    mbps DOUBLE         -- [Mbit/s] from the row before until then
);

-- Collective operations between devices: one row per measurement.
CREATE TABLE collective_trace (
    device VARCHAR,     -- such as A100
    gpus INTEGER,       -- [devices] that take part
    op VARCHAR,         -- all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, p2p
    bytes BIGINT,       -- [bytes] of the buffer on each device
    count BIGINT,       -- elements in it
    time_ns BIGINT,     -- [ns] that it took
    bus_gbps DOUBLE     -- [GB/s] bus bandwidth: what each link carried, as nccl-tests defines it
);

-- Devices that operations are placed on: one row per device.
CREATE TABLE devices (
    device INTEGER,                     -- from 0 on
    type VARCHAR,                       -- such as gpu
    memory_bytes BIGINT,                -- [bytes] that it has
    bandwidth_bytes_per_us DOUBLE,      -- [bytes/us] to other devices
    latency_us DOUBLE                   -- [us] of a transfer, besides its bytes
);

-- Machines that could be had at the spot price: one row per zone and tick.
CREATE TABLE spot_availability (
    zone VARCHAR,               -- such as us-west-2a
    instance_type VARCHAR,      -- such as p3.2xlarge
    tick BIGINT,                -- from 0 on, without holes
    available INTEGER,          -- [machines] that could be had; 0 where they were taken away
    wanted INTEGER,             -- [machines] that were asked for
    gap_seconds DOUBLE,         -- [s] between ticks
    spot_price DOUBLE           -- [USD/h] during the tick; NULL if it is not known
);

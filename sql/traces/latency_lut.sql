-- How long operators take on devices: one row per operator and device.
CREATE TABLE latency_lut (
    device VARCHAR,                     -- such as samsung_s8
    op_type VARCHAR,                    -- such as conv2d
    op_args MAP(VARCHAR, VARCHAR),      -- arguments of the operator, by name
    input_shapes INTEGER[][],           -- extents of each input
    dtypes VARCHAR[],                   -- type of each input
    batch INTEGER,                      -- rows per call
    runtime_us_p0 DOUBLE,               -- [us] of the fastest run
    runtime_us_p10 DOUBLE,              -- [us] that a tenth of the runs stay below
    runtime_us_p50 DOUBLE,              -- [us] that half of the runs stay below
    runtime_us_p90 DOUBLE,              -- [us] that nine tenths of the runs stay below
    runtime_us_p100 DOUBLE,             -- [us] of the slowest run
    n INTEGER,                          -- [runs] measured
    cpu VARCHAR,                        -- that ran it
    threads INTEGER,                    -- [threads] that ran it
    measured_at TIMESTAMPTZ             -- when
);

-- Sessions of adaptive video streaming: one row per chunk that was fetched.
CREATE TABLE abr_session (
    trace VARCHAR,          -- the network
    policy VARCHAR,         -- that chose the level
    chunk INTEGER,          -- from 0 on
    level INTEGER,          -- of quality, from 0 on
    kbps DOUBLE,            -- [kbit/s] of the level
    wall_s DOUBLE,          -- [s] since the start, when the chunk was there
    buffer_s DOUBLE,        -- [s] of video in the buffer then
    rebuffer_s DOUBLE,      -- [s] that the picture stood still for it
    sleep_s DOUBLE,         -- [s] waited as the buffer was full
    bytes BIGINT,           -- [bytes] of the chunk
    delay_ms DOUBLE,        -- [ms] to fetch it
    qoe DOUBLE              -- its part of the quality of experience
);

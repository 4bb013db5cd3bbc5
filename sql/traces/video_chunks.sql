-- Chunks of videos: one row per chunk and quality.
CREATE TABLE video_chunks (
    video VARCHAR,      -- the video
    level INTEGER,      -- of quality, from 0 on
    kbps DOUBLE,        -- [kbit/s] of the level
    chunk INTEGER,      -- from 0 on
    bytes BIGINT        -- [bytes] of the chunk
);

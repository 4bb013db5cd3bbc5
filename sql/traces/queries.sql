-- Queries of a load generator: one row per query.
CREATE TABLE queries (
    query_id BIGINT,        -- from 0 on
    sample_index BIGINT,    -- the sample asked about, from 0 on
    scheduled_ns BIGINT,    -- [ns] when it was due, since the start
    issued_ns BIGINT,       -- [ns] when it was issued, since the start
    completed_ns BIGINT,    -- [ns] when its answer came, since the start; NULL if none did
    ok BOOLEAN,             -- whether it was answered without an error
    response BLOB           -- the answer
);

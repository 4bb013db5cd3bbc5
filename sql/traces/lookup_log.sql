-- Lookups in an index: one row per lookup.
CREATE TABLE lookup_log (
    ts TIMESTAMPTZ,         -- when
    key BIGINT,             -- that was looked up
    hit BOOLEAN,            -- whether it was found
    latency_ns DOUBLE       -- [ns] that it took
);

-- Rows of embedding tables that training looked up: one row per lookup.
CREATE TABLE embedding_trace (
    table_id INTEGER,   -- the embedding table, from 0 on
    sample BIGINT,      -- the training sample, from 0 on
    row_id BIGINT       -- the row looked up, from 0 on
);

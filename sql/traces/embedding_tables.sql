-- Embedding tables of a recommendation model: one row per table.
CREATE TABLE embedding_tables (
    name VARCHAR,       -- the table
    rows BIGINT,        -- [rows] in it
    dim INTEGER,        -- numbers in a row
    pooling DOUBLE,     -- [rows] looked up per sample, on average
    bytes BIGINT        -- [bytes] of a number
);

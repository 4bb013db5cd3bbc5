-- The lineage of RDDs: one row per RDD.
CREATE TABLE rdd_lineage_trace (
    app_id VARCHAR,            -- the application
    rdd_id INTEGER,            -- the RDD, unique in its application
    name VARCHAR,              -- such as MapPartitionsRDD
    scope VARCHAR,             -- the operation of the program that made it, such as textFile
    parents INTEGER[],         -- the RDDs that it is computed from
    dep VARCHAR,               -- how it depends on them: narrow, shuffle, both; NULL without parents
    partitions INTEGER,        -- [partitions] that it has
    storage_level VARCHAR,     -- where it is kept: NONE, or some of MEMORY, DISK, OFF_HEAP, DESERIALIZED and the copies
    cached_partitions INTEGER, -- [partitions] that are kept
    mem_bytes BIGINT,          -- [bytes] kept in memory
    disk_bytes BIGINT          -- [bytes] kept on disk
);

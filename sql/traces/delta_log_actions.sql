-- The log of a Delta table as data: one row per action of a commit.
CREATE TABLE delta_log_actions (
    version BIGINT,          -- the version that the commit made
    action VARCHAR,          -- add, remove, cdc, metaData, protocol, txn, domainMetadata, commitInfo ...
    timestamp TIMESTAMPTZ,   -- of the commit
    operation VARCHAR,       -- what the commit calls itself, such as WRITE or MERGE; NULL if it does not say
    path VARCHAR,            -- the file that the action is on, not URL-encoded; NULL for other actions
    size BIGINT,             -- [bytes] of that file
    rows BIGINT,             -- [rows] in that file, those included that a deletion vector marks
    data_change BOOLEAN,     -- false where rows were only arranged anew
    metrics VARCHAR          -- JSON: what the commit counted, such as numOutputRows; in the row of commitInfo
);

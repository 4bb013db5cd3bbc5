-- Which task needs the output of which: one row per pair.
CREATE TABLE edges (
    parent VARCHAR,     -- the task that comes first
    child VARCHAR       -- the task that needs its output
);

-- How long tasks take on machines: one row per task and kind of machine.
CREATE TABLE task_offer_seconds (
    task VARCHAR,               -- the task
    instance_type VARCHAR,      -- such as p4d.24xlarge
    seconds DOUBLE              -- [s] that it takes there
);

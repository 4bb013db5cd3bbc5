-- Machines that clouds offer: one row per kind of machine, place and observation.
CREATE TABLE offers (
    cloud VARCHAR,                  -- such as aws
    region VARCHAR,                 -- such as us-east-1
    zone VARCHAR,                   -- in the region; NULL if the offer holds in all
    instance_type VARCHAR,          -- such as p4d.24xlarge
    accelerator VARCHAR,            -- such as A100; NULL without one
    accelerator_count DOUBLE,       -- accelerators; a part of one for machines that share it
    vcpus DOUBLE,                   -- virtual CPUs
    memory_gib DOUBLE,              -- [GiB] of main memory
    price_per_hour DOUBLE,          -- [USD/h] on demand
    spot_price_per_hour DOUBLE,     -- [USD/h] that may be taken away; NULL if it is not offered so
    observed_at TIMESTAMPTZ         -- when the price was seen
);

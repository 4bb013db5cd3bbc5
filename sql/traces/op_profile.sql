-- What a layer costs on a device: one row per model, device and batch size.
CREATE TABLE op_profile (
    model VARCHAR,              -- such as bert-large
    device VARCHAR,             -- such as V100
    batch INTEGER,              -- rows in the micro-batch
    time_f_ms DOUBLE,           -- [ms] of the forward pass
    time_b_ms DOUBLE,           -- [ms] of the backward pass
    mem_param_mib DOUBLE,       -- [MiB] of the parameters
    mem_act_mib DOUBLE          -- [MiB] of the activations
);

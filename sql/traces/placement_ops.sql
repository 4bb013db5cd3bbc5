-- Operations of a computation graph that is placed on devices: one row per operation.
CREATE TABLE placement_ops (
    graph VARCHAR,                  -- the graph
    op_id BIGINT,                   -- the operation, in its graph
    name VARCHAR,                   -- of the operation
    op_type VARCHAR,                -- such as MatMul
    group_id BIGINT,                -- operations of a group are placed together; NULL if it is alone
    is_backward BOOLEAN,            -- whether it belongs to the backward pass
    time_us MAP(VARCHAR, DOUBLE),   -- [us] that it takes, by type of device
    memory_bytes BIGINT,            -- [bytes] of weights and activations
    colocate BIGINT                 -- the operation that it has to be with; NULL if it is free
);

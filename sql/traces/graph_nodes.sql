-- Nodes of dataflow graphs: one row per node.
CREATE TABLE graph_nodes (
    graph VARCHAR,                      -- the graph
    node_id INTEGER,                    -- the node, in its graph
    name VARCHAR,                       -- of the node
    op VARCHAR,                         -- such as MatMul
    device VARCHAR,                     -- that it is placed on; NULL if it is free
    attributes MAP(VARCHAR, VARCHAR),   -- of the operation, by name
    flops DOUBLE,                       -- [FLOP] that it takes
    output_bytes BIGINT[]               -- [bytes] of each output
);

-- Edges of dataflow graphs: one row per input of a node.
CREATE TABLE graph_edges (
    graph VARCHAR,      -- the graph
    src INTEGER,        -- the node that the value comes from
    src_slot INTEGER,   -- which of its outputs, from 0 on
    dst INTEGER,        -- the node that it goes to
    dst_slot INTEGER,   -- which of its inputs, from 0 on
    control BOOLEAN     -- whether it only orders the two, without a value
);

-- Throughput between regions of clouds, of one pair of machines: one row per link and measurement.
CREATE TABLE link_throughput (
    src_region VARCHAR,             -- cloud:region that sends
    src_tier VARCHAR,               -- of its network: PREMIUM or STANDARD
    dst_region VARCHAR,             -- cloud:region that receives
    dst_tier VARCHAR,               -- of its network: PREMIUM or STANDARD
    throughput_sent DOUBLE          -- [bit/s] with 64 connections
);

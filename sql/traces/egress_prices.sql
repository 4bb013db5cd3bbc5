-- Prices of moving data between clouds and regions: one row per pair and tier.
CREATE TABLE egress_prices (
    src VARCHAR,            -- cloud, or cloud:region, that data leave
    dst VARCHAR,            -- cloud, or cloud:region, that they go to
    gb_from DOUBLE,         -- [GB] moved in the month from which on the price holds
    price_per_gb DOUBLE     -- [USD/GB] price
);

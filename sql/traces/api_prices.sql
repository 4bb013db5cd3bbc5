-- Prices of prediction services: one row per service, task and change.
CREATE TABLE api_prices (
    api VARCHAR,            -- the service
    task VARCHAR,           -- that it is asked to do
    valid_from DATE,        -- the first day of the price
    unit VARCHAR,           -- what the price is for, such as per_10k calls
    price DOUBLE,           -- [currency/unit] price
    currency VARCHAR        -- such as USD
);

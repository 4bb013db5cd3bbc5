-- Answers of prediction services: one row per example and service.
CREATE TABLE api_predictions (
    task VARCHAR,                   -- such as facial emotion
    dataset VARCHAR,                -- such as RAFDB
    example_id VARCHAR,             -- the example, in its data set
    api VARCHAR,                    -- the service
    called_at DATE,                 -- when
    predicted_label VARCHAR,        -- its answer
    score DOUBLE,                   -- how sure it says it is, 0 to 1
    true_label VARCHAR,             -- the right answer; NULL if it is not known
    reward DOUBLE,                  -- what the answer is worth, such as 1 if it is right; NULL if it is not known
    cost DOUBLE,                    -- [currency/call] of the call
    latency_seconds DOUBLE          -- [s] until the answer came; NULL if it was not measured
);

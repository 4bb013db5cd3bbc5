-- A model for each group, kept as values in a table, used by a join.
--
--     ironlake run examples/models_per_group.sql

-- Sensor readings of four machines; each machine fails at its own limit.
CREATE TABLE readings AS
SELECT i % 4 AS machine,
       [sin(i), cos(i * i), sin(3 * i)]::FLOAT[3] AS features,
       sin(i) + 0.3 * cos(7 * i) > 0.2 * (i % 4) AS failed
FROM range(40000) t(i);

-- Train on the first part: one pass over the table, one model for each machine.
CREATE TABLE models AS
SELECT machine, logistic_fit(failed, features, {'epochs': 10, 'l2': 1e-4}) AS model
FROM (FROM readings LIMIT 30000)
GROUP BY machine;

SELECT machine, model.n, model.loss, model.coefficients FROM models ORDER BY machine;

-- Evaluate on the rest.
SELECT machine, unnest(binary_metrics(failed, predict_proba(model, features)))
FROM (FROM readings OFFSET 30000) JOIN models USING (machine)
GROUP BY machine
ORDER BY machine;

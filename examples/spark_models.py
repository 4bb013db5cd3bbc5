"""Train a model for each customer in Spark, without and with partial states, and use them in DuckDB.

spark-submit examples/spark_models.py
python examples/spark_models.py
"""

import duckdb

import ironlake.spark as ils

spark = ils.session(cores=2)
visits = spark.sql("""
    SELECT id % 4 AS customer, array(sin(id), cos(id), id / 4000) AS features, sin(id) > 0.3 * (id % 4) AS bought
    FROM range(4000)
""")
visits.createOrReplaceTempView("visits")

ils.sql("""
    SELECT customer, count(*) AS visits, round(logistic_fit(bought, features, {'epochs': 5}).loss, 3) AS loss
    FROM visits GROUP BY customer ORDER BY customer
""").show()

models = ils.aggregate(visits, "logistic_fit", "bought", "features", by="customer", epochs=5).toArrow()
print(duckdb.sql("SELECT customer, predict_proba(logistic_fit, [0.5, 0.5, 0]) AS probability FROM models ORDER BY ALL"))

together = ils.fit_parallel(visits, "logistic", "bought", "features", rounds=5)
print(f"one model for all: loss {together['loss']:.3f} after {together['epochs']} rounds")

"""Train on a Delta table, keep the models as rows of another one, and go back to an earlier model.

python examples/models_in_a_lakehouse.py
"""

import tempfile

import numpy as np
import pyarrow as pa

import ironlake

lake = ironlake.open(tempfile.mkdtemp())
random = np.random.default_rng(1)


def visits(count: int) -> pa.Table:
    """Visits to a shop: what is known of each, and whether something was bought."""
    features = random.standard_normal((count, 3)).astype(np.float32)
    bought = random.random(count) < 1 / (1 + np.exp(-features @ [1.0, -2.0, 0.5]))
    return pa.table({"features": pa.FixedSizeListArray.from_arrays(features.reshape(-1), 3), "bought": bought})


for day in (1, 2):
    lake.write("visits", visits(20_000), mode="append")
    model = lake.sql(f"SELECT {day} AS day, logistic_fit(bought, features) AS model FROM visits")
    version = lake.write("models", model, mode="overwrite")
    print(f"day {day}: models at version {version}")

print(lake)
for version in (0, 1):
    lake.sql(
        f"""
        SELECT day, model.n AS trained_on, binary_metrics(bought, predict_proba(model, features)).roc_auc AS roc_auc
        FROM visits, lake_scan('{lake.root}/models', version => {version})
        GROUP BY ALL
        """
    ).show()

"""Metrics of MLflow as CSV: a row per run, metric and step, as its plots and its database export them.

Source: MLflow, ``mlflow/server/js/src/experiment-tracking/utils/MetricsUtils``; ``mlflow/store/tracking/dbmodels``.
"""

from __future__ import annotations

from .loader import PLACE, PROBLEM, Loader, Reading
from .tables import csv_rows

#: Names that a column has in one or the other export.
_NAMES = {"run_id": ("run_id", "run_uuid", "run"), "key": ("key", "metric"), "time": ("timestamp", "time")}


def rows(reading: Reading, trace: str) -> str:
    """A row per run and step, with all of its metrics in a MAP."""
    table = csv_rows(reading, trace)
    there = {name.lower() for name in reading.connection.sql(table).columns}
    found = {role: next((name for name in names if name in there), None) for role, names in _NAMES.items()}
    missing = [role for role in ("run_id", "key") if found[role] is None] + sorted({"value", "step"} - there)
    if missing:
        raise ValueError(
            f"{reading.files[0]} has no column {missing[0]!r}; expected run_id, key, value, step, timestamp"
        )
    time = f"TRY_CAST({found['time']} AS BIGINT)" if found["time"] else "NULL::BIGINT"
    reading.connection.execute(f"""
        CREATE TEMP TABLE metrics AS
        SELECT {found["run_id"]}::VARCHAR AS run_id, step, {found["key"]}::VARCHAR AS key, {time} AS milliseconds,
            TRY_CAST(value AS DOUBLE) AS number, {PLACE},
            CASE WHEN number IS NULL THEN 'value is ' || coalesce(value::VARCHAR, 'missing') || ', which is no number'
                END AS {PROBLEM}
        FROM ({table})""")
    return f"""
        SELECT run_id, step, make_timestamptz(max(milliseconds) * 1000) AS time,
            map_from_entries(list((key, number) ORDER BY milliseconds, key)) AS metrics,
            any_value({PLACE}) AS {PLACE}, NULL AS {PROBLEM}
        FROM (
            SELECT * FROM metrics WHERE {PROBLEM} IS NULL
            QUALIFY row_number() OVER (PARTITION BY run_id, step, key ORDER BY milliseconds DESC) = 1
        ) GROUP BY ALL
        UNION ALL BY NAME SELECT {PLACE}, {PROBLEM} FROM metrics WHERE {PROBLEM} IS NOT NULL
        ORDER BY run_id, step"""


def _first(*names: str) -> str:
    parts = ", ".join(f"metrics['{name}']" for name in names)
    return f"coalesce({parts})"


LOADER = Loader(
    "mlflow",
    rows,
    {
        "training_runs": {
            "epoch": _first("epoch"),
            "loss": _first("loss", "train_loss", "training_loss", "train/loss"),
            "val_loss": _first("val_loss", "validation_loss", "eval_loss", "val/loss", "eval/loss"),
            "step_size": _first("learning_rate", "lr", "train/learning_rate"),
            "gradient_norm": _first("grad_norm", "gradient_norm", "train/grad_norm"),
        }
    },
)

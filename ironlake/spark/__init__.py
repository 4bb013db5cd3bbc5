"""Ironlake inside PySpark: the same functions, under the same names, and the same tables.

>>> import ironlake.spark as ils
>>> spark = ils.session()
>>> spark.sql("SELECT customer, logistic_fit(bought, features) AS model FROM visits GROUP BY customer")

The way of a call: `worker` is what runs in Spark's Python processes, a database of DuckDB in each; `scalars`,
`aggregates` and `tables` make Spark's functions from declarations; `registration` puts them into a session, `columns`
makes them functions of columns; `rewriting` is `sql`, `parallel` is `fit_parallel`.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["session", "register", "functions", "sql", "aggregate", "fit_parallel", "write"]

_MODULES = {
    "session": "local",
    "register": "registration",
    "functions": "columns",
    "sql": "rewriting",
    "aggregate": "aggregates",
    "fit_parallel": "parallel",
    "write": "writing",
}


def __getattr__(name: str) -> Any:
    """Load what is used, as a worker needs little of it, and nobody without pyspark can use any."""
    if name not in _MODULES:
        raise AttributeError(f"module 'ironlake.spark' has no attribute {name!r}; it has {', '.join(__all__)}")
    try:
        import pyspark  # noqa: F401
    except ImportError:
        raise ImportError("ironlake.spark needs pyspark 4.3 or later: pip install 'ironlake[spark]'") from None
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

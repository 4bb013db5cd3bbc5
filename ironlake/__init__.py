"""Ironlake: machine-learning systems as functions over tables, in DuckDB SQL, PySpark and Python.

Importing this package is enough: every DuckDB database opened afterwards knows the functions.

>>> import duckdb, ironlake
>>> duckdb.sql("FROM ironlake_functions()")
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# In a checkout the subpackages are folders beside this one (lakehouse/, udf/, ...); an installation holds them inside.
if not (Path(__file__).parent / "udf").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

from ironlake import kernels  # noqa: F401 - declares its functions
from ironlake.lakehouse import Lake, open
from ironlake.rdd import functions as rdd_functions  # noqa: F401 - declares its functions
from ironlake.udf import engine, tasks  # noqa: F401 - declares its functions
from ironlake.udf.engine import aggregate, functions, relation, scalar, table
from ironlake.udf.tasks import task
from ironlake.udf.training import TrainingRun, train

from . import catalog, published  # noqa: F401 - declare their functions
from .bigquery import bqml
from .database import connect, load

__all__ = [
    "connect", "load", "open", "Lake", "functions", "aggregate", "scalar", "relation", "table", "task", "train",
    "TrainingRun", "bqml",
]  # fmt: skip

engine.install()


def __getattr__(name: str) -> Callable[..., Any]:
    """Every declared function is an attribute: ``ironlake.logistic_fit(label, features)``."""
    if name in functions:
        return functions[name]
    raise AttributeError(f"module 'ironlake' has no attribute or function {name!r}; ironlake.functions lists them all")


def __dir__() -> list[str]:
    return sorted({*globals(), *functions})

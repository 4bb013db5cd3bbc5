"""Ironlake: machine-learning systems as functions over tables, in DuckDB SQL, PySpark and Python.

Importing this package is enough: every DuckDB database opened afterwards knows the functions.

>>> import duckdb, ironlake
>>> duckdb.sql("FROM ironlake_functions()")
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# In a checkout the subpackages are folders beside this one (lakehouse/, udf/, ...); an installation holds them inside.
if not (Path(__file__).parent / "udf").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

from ironlake.udf.engine.entry import complete, install

if TYPE_CHECKING:
    from ironlake.lakehouse import Lake, open
    from ironlake.udf.engine import aggregate, functions, relation, scalar, table
    from ironlake.udf.tasks import task
    from ironlake.udf.training import TrainingRun
    from ironlake.udf.training.train import train

    from .bigquery import bqml
    from .database import connect, load

__all__ = [
    "connect", "load", "open", "Lake", "functions", "aggregate", "scalar", "relation", "table", "task", "train",
    "TrainingRun", "bqml",
]  # fmt: skip

#: The modules of the names; they are imported with all that declares functions, when one is used.
_MODULES = {
    "connect": "database", "load": "database", "open": "lakehouse", "Lake": "lakehouse", "functions": "udf.engine",
    "aggregate": "udf.engine", "scalar": "udf.engine", "relation": "udf.engine", "table": "udf.engine",
    "task": "udf.tasks", "train": "udf.training", "TrainingRun": "udf.training", "bqml": "bigquery",
}  # fmt: skip
#: What declares functions when it is imported.
_DECLARING = (
    "lakehouse", "udf.tasks", "udf.training", "rdd.functions", "kernels", "catalog", "published", "bigquery",
    "database",
)  # fmt: skip


def _declare() -> None:
    for module in _DECLARING:
        import_module(f".{module}", __name__)


install(_declare)


def __getattr__(name: str) -> Any:
    """Every declared function is an attribute: ``ironlake.logistic_fit(label, features)``."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    complete()
    if name in _MODULES:
        value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        return value
    if name in globals():  # a subpackage, imported just now
        return globals()[name]
    functions = import_module(".udf.engine", __name__).functions
    if name in functions:
        return functions[name]
    raise AttributeError(f"module 'ironlake' has no attribute or function {name!r}; ironlake.functions lists them all")


def __dir__() -> list[str]:
    complete()
    return sorted({*globals(), *__all__, *import_module(".udf.engine", __name__).functions})

"""How a Python function becomes a SQL function: one declaration, four kinds, every face derived from it.

The way of a call: `decorators` read a declaration, `entry` is what DuckDB finds when it opens a database, `extension`
registers the declarations with it, `overload` stands behind each list of argument types, `machine` compiles or loads
its code, and the file of its kind (`scalars`, `aggregates`, `relations`, `tables`) holds its callbacks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .access import check_external_access, running
    from .database import Database
    from .decorators import aggregate, relation, scalar, table
    from .entry import complete, install
    from .extension import declarations, functions
    from .machine import live_arrays
    from .tables import Source

__all__ = [
    "Database",
    "Source",
    "aggregate",
    "check_external_access",
    "complete",
    "declarations",
    "functions",
    "install",
    "live_arrays",
    "relation",
    "running",
    "scalar",
    "table",
]

#: The modules of the names, imported when one is used: `import ironlake` needs `entry` alone.
_MODULES = {
    "Database": "database", "Source": "tables", "aggregate": "decorators", "check_external_access": "access",
    "complete": "entry", "declarations": "extension", "functions": "extension", "install": "entry",
    "live_arrays": "machine", "relation": "decorators", "running": "access", "scalar": "decorators",
    "table": "decorators",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value

"""How a Python function becomes a SQL function: one declaration, four kinds, every face derived from it.

The way of a call: `decorators` read a declaration, `extension` registers it with every database, `overload` stands
behind each list of argument types, `machine` compiles or loads its code, and the file of its kind (`scalars`,
`aggregates`, `relations`, `tables`) holds its callbacks.
"""

from .access import check_external_access, running
from .database import Database
from .decorators import aggregate, relation, scalar, table
from .extension import declarations, functions, install
from .machine import live_arrays
from .tables import Source

__all__ = [
    "Database",
    "Source",
    "aggregate",
    "check_external_access",
    "declarations",
    "functions",
    "install",
    "live_arrays",
    "relation",
    "running",
    "scalar",
    "table",
]

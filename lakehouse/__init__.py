"""Delta tables: a directory of them as one database (`Lake`), each by itself (`Table`), and their scan in SQL."""

from . import curves, functions, kept_rows, traces
from .governance import functions as governance_functions
from .governance.expectations import ExpectationWarning
from .lake import Lake, open
from .rules import ConstraintError
from .table import Table
from .transaction import ConflictError

__all__ = [
    "open",
    "Lake",
    "Table",
    "ConflictError",
    "ConstraintError",
    "ExpectationWarning",
    "curves",
    "functions",
    "governance_functions",
    "kept_rows",
    "traces",
]

"""Delta tables: a directory of them as one database (`Lake`), each by itself (`Table`), and their scan in SQL."""

from . import (
    column_procedures,
    curves,
    description_functions,
    functions,
    kept_rows,
    procedures,
    table_procedures,
    traces,
)
from .convert import convert
from .governance import functions as governance_functions
from .governance.expectations import ExpectationWarning
from .lake import Lake
from .opening import open
from .rules import ConstraintError
from .table import Table
from .transaction import ConflictError

__all__ = [
    "open",
    "Lake",
    "Table",
    "convert",
    "ConflictError",
    "ConstraintError",
    "ExpectationWarning",
    "column_procedures",
    "curves",
    "description_functions",
    "functions",
    "governance_functions",
    "kept_rows",
    "procedures",
    "table_procedures",
    "traces",
]

"""Delta tables: a directory of them as one database (`Lake`), each by itself (`Table`), and their scan in SQL."""

from . import column_procedures, curves, functions, kept_rows, procedures, table_procedures, traces
from .convert import convert
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
    "column_procedures",
    "curves",
    "functions",
    "kept_rows",
    "procedures",
    "table_procedures",
    "traces",
]

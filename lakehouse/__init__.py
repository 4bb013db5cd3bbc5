"""Delta tables: a directory of them as one database (`Lake`), each by itself (`Table`), and their scan in SQL."""

from . import functions, kept_rows
from .lake import Lake, open
from .rules import ConstraintError
from .table import Table
from .transaction import ConflictError

__all__ = ["open", "Lake", "Table", "ConflictError", "ConstraintError", "functions", "kept_rows"]

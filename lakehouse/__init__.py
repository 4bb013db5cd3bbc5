"""Delta tables: a directory of them as one database (`Lake`), each by itself (`Table`), and their scan in SQL."""

from . import curves, functions, kept_rows, traces
from .lake import Lake
from .opening import open
from .rules import ConstraintError
from .table import Table
from .transaction import ConflictError

__all__ = ["open", "Lake", "Table", "ConflictError", "ConstraintError", "curves", "functions", "kept_rows", "traces"]

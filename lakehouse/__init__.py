"""Tables on disk: a directory of Delta tables as one database (`Lake`), and the scan that reads any Delta table."""

from . import functions, kept_rows
from .lake import Lake, open
from .transaction import ConflictError

__all__ = ["open", "Lake", "ConflictError", "functions", "kept_rows"]

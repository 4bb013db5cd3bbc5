"""How a Python function becomes a SQL function: one declaration, four kinds, every face derived from it."""

from .decorators import aggregate
from .extension import declarations, functions, install
from .machine import live_arrays

__all__ = ["aggregate", "declarations", "functions", "install", "live_arrays"]

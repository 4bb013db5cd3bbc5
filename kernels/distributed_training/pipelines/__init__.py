"""Pipeline parallelism: the order in which workers compute, and what it costs in time and memory."""

from . import functions

__all__ = ["functions"]

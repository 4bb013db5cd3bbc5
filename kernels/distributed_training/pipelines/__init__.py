"""Pipeline parallelism: the order in which workers compute, and what it costs in time and memory."""

from . import exchange, functions, gantt, validation
from .gantt import draw_schedule

__all__ = ["draw_schedule", "exchange", "functions", "gantt", "validation"]

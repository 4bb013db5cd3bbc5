"""Training on many devices: pipeline schedules, sharded and offloaded states, embedding tables, and a planner."""

from . import clusters, collectives, pipelines, recommendation, zero

__all__ = ["clusters", "collectives", "pipelines", "recommendation", "zero"]

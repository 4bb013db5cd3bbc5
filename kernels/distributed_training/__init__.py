"""Training on many devices: pipeline schedules, sharded and offloaded states, embedding tables, and a planner."""

from . import clusters, pipelines

__all__ = ["clusters", "pipelines"]

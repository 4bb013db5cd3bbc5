"""Training on many devices: pipeline schedules, sharded and offloaded states, embedding tables, and a planner."""

from . import (
    calibration,
    clusters,
    collectives,
    constants,
    memory,
    pipelines,
    planner,
    recommendation,
    runs,
    step_time,
    transformer,
    zero,
)

__all__ = [
    "calibration",
    "clusters",
    "collectives",
    "constants",
    "memory",
    "pipelines",
    "planner",
    "recommendation",
    "runs",
    "step_time",
    "transformer",
    "zero",
]

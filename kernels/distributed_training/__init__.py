"""Training on many devices: pipeline schedules, sharded and offloaded states, embedding tables, and a planner."""

from . import calibration, clusters, collectives, constants, pipelines, planner, runs, step_time, transformer

__all__ = [
    "calibration",
    "clusters",
    "collectives",
    "constants",
    "pipelines",
    "planner",
    "runs",
    "step_time",
    "transformer",
]

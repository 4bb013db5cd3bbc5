"""Recommendation models: what their operators cost, where embedding tables go, what traces tell of them, training."""

from . import shard_plan, tables

__all__ = ["shard_plan", "tables"]

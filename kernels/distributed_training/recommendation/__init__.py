"""Recommendation models: what their operators cost, where embedding tables go, what traces tell of them, training."""

from . import operators, shard_plan, tables, trace_stats, training

__all__ = ["operators", "shard_plan", "tables", "trace_stats", "training"]

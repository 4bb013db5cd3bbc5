"""SQL functions about jobs of RDDs: their stages, what failures and small caches cost, and what event logs tell."""

from . import cache_sweep, critical_path, pagerank, recovery, stage_plan, stragglers

__all__ = ["cache_sweep", "critical_path", "pagerank", "recovery", "stage_plan", "stragglers"]

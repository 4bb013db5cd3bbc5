"""The loop of the planner: what each plan takes and holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .memory_kernels import COMPONENTS as HELD
from .memory_kernels import NODE_CPU, NODE_NVME, device_bytes
from .step_time_kernels import COMPONENTS, step_seconds


@njit(cache=True, nogil=True, error_model="numpy")
def evaluate(runs: Any, machine: Any, k: Any, gradients: float, limit: float) -> tuple[Any, Any, Any]:
    """Bytes, seconds and, beyond the limits, missing bytes of each run; seconds are NaN for what does not fit."""
    size, seconds, missing = np.empty(len(runs)), np.empty(len(runs)), np.empty(len(runs))
    parts, overlapped, held = np.zeros(len(COMPONENTS)), np.zeros(len(COMPONENTS)), np.zeros(len(HELD))
    for row in range(len(runs)):
        size[row] = device_bytes(runs[row], 12.0, gradients, held)
        missing[row] = max(size[row] - limit, 0.0)
        if held[NODE_CPU] > 0:
            missing[row] += max(held[NODE_CPU] - machine.cpu_bytes / machine.gpus_per_node, 0.0)
        if held[NODE_NVME] > 0:
            missing[row] += max(held[NODE_NVME] - machine.nvme_bytes / machine.gpus_per_node, 0.0)
        seconds[row] = np.nan
        if missing[row] == 0:
            seconds[row] = step_seconds(runs[row], machine, k, parts, overlapped)
    return size, seconds, missing

"""The loop of the planner: what each plan takes and holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .memory_kernels import AWAY, bytes_away, device_bytes
from .memory_kernels import COMPONENTS as HELD
from .step_time_kernels import COMPONENTS, step_seconds

#: Bytes of a parameter's gradient and of its optimizer's states.
_GRADIENT, _STATES = 4.0, 12.0


@njit(cache=True, nogil=True, error_model="numpy")
def evaluate(runs: Any, machine: Any, k: Any, limit: float) -> tuple[Any, Any, Any, Any]:
    """What each run takes and holds.

    Parameters
    ----------
    runs : of `runs.RUN`.
    machine, k : the cluster and the constants.
    limit : bytes that a device may hold.

    Returns
    -------
    size : (runs,) bytes of a device.
    seconds : (runs,) of a step; NaN for what does not fit.
    away : (runs, 2) bytes that a device keeps in its node's memory, and on its drives.
    missing : (runs, 3) bytes by which a device, its part of the memory and of the drives are too small.
    """
    size, seconds = np.empty(len(runs)), np.empty(len(runs))
    away, missing = np.zeros((len(runs), 2)), np.zeros((len(runs), 3))
    room = np.array([machine.cpu_bytes, machine.nvme_bytes]) / machine.gpus_per_node
    parts, overlapped = np.zeros(len(COMPONENTS)), np.zeros(len(COMPONENTS))
    held = np.zeros(len(HELD) + len(AWAY))
    for row in range(len(runs)):
        size[row] = device_bytes(runs[row], _STATES, _GRADIENT, held)
        missing[row, 0] = max(size[row] - limit, 0.0)
        for place in range(2):
            away[row, place] = bytes_away(runs[row], held, place + 1)
            if away[row, place] > 0:
                missing[row, place + 1] = max(away[row, place] - room[place], 0.0)
        seconds[row] = np.nan
        if missing[row].sum() == 0:
            seconds[row] = step_seconds(runs[row], machine, k, parts, overlapped)
    return size, seconds, away, missing

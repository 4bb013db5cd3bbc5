"""The loops of the memory model: what the fullest device of a run holds."""

from __future__ import annotations

from typing import Any

from numba import njit

from .step_time_kernels import stage_parameters

#: Bytes of a parameter and its gradient in half precision.
_HALF = 2

WEIGHTS, GRADIENTS, STATES, ACTIVATIONS, RECOMPUTATION, LOGITS, NODE_CPU, NODE_NVME = range(8)
COMPONENTS = ("weights", "gradients", "optimizer", "activations", "recomputation", "logits", "cpu", "nvme")


@njit(cache=True, nogil=True, error_model="numpy")
def layer_activations(run: Any, recompute: float) -> Any:
    """Bytes that a layer keeps of a micro-batch for the backward pass (arXiv 2205.05198, table 2)."""
    tokens = run.seq * run.micro_batch * run.hidden
    scores = 5 * run.heads * run.seq / run.hidden
    t = run.tp
    if recompute == 2:
        return 2 * tokens / (t if run.seq_parallel > 0 else 1.0)
    kept = 34 / t if run.seq_parallel > 0 else 10 + 24 / t
    return tokens * (kept + (scores / t if recompute == 0 else 0.0))


@njit(cache=True, nogil=True, error_model="numpy")
def layers_in_flight(run: Any) -> Any:
    """Layers times micro-batches whose activations the first stage holds at once."""
    m = run.global_batch / (run.dp * run.micro_batch)
    layers = run.layers / run.pp
    if run.schedule == 2:
        return m * layers
    if run.schedule == 1 and run.pp > 1:
        return min(m * layers, run.layers * (1 + (run.pp - 1) / (run.pp * run.chunks)))
    return min(m, run.pp) * layers


@njit(cache=True, nogil=True, error_model="numpy")
def device_bytes(run: Any, states: float, gradients: float, held: Any) -> Any:
    """Bytes on the fullest device; ``held`` is filled with what it and its node hold.

    ``gradients`` and ``states`` are bytes of a parameter's gradient and its optimizer's states.
    """
    copies = 2.0 if run.schedule == 3 else 1.0
    parameters = stage_parameters(run) * copies
    shard = parameters / run.dp
    stage = run.zero_stage
    held[WEIGHTS] = _HALF * (shard if stage == 3 else parameters)
    held[GRADIENTS] = gradients * (shard if stage >= 2 else parameters)
    held[STATES] = states * (shard if stage >= 1 else parameters)
    held[ACTIVATIONS] = layers_in_flight(run) * layer_activations(run, run.recompute)
    held[RECOMPUTATION] = layer_activations(run, 0.0) if run.recompute == 2 else 0.0
    if run.recompute == 1:
        held[RECOMPUTATION] = layer_activations(run, 0.0) - layer_activations(run, 1.0)
    held[LOGITS] = 4 * run.micro_batch * run.seq * run.vocab / run.tp if run.pp == 1 else 0.0
    held[NODE_CPU] = 0.0
    held[NODE_NVME] = 0.0
    if run.offload > 0:
        away = held[STATES] + (held[WEIGHTS] if stage == 3 else 0.0)
        held[NODE_CPU if run.offload == 1 else NODE_NVME] = away
        held[STATES] = 0.0
        if stage == 3:
            held[WEIGHTS] = 0.0
    if stage == 3:  # the layer that computes and the next one are there as a whole
        layer = (12 * run.hidden * run.hidden + 13 * run.hidden) / run.tp
        held[WEIGHTS] += 2 * _HALF * max(layer, run.vocab / run.tp * run.hidden)
    first = 0.0
    for place in range(NODE_CPU):
        first += held[place]
    return first if run.pp == 1 else max(first, _last_stage(run, held))


@njit(cache=True, nogil=True, error_model="numpy")
def _last_stage(run: Any, held: Any) -> Any:
    """Bytes on the last stage: one micro-batch in flight, and the logits with their loss."""
    if run.schedule > 1:
        return 0.0
    one = layer_activations(run, run.recompute) * run.layers / run.pp
    logits = 4 * run.micro_batch * run.seq * (run.hidden + run.vocab / run.tp)
    states = held[WEIGHTS] + held[GRADIENTS] + held[STATES]
    return states + held[RECOMPUTATION] + one + logits

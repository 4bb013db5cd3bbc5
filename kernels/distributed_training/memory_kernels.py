"""The loops of the memory model: what the fullest device of a run holds."""

from __future__ import annotations

from typing import Any

from numba import njit

from .size_kernels import layer_activations, layer_parameters, stage_parameters

#: Bytes of a parameter and its gradient in half precision.
_HALF = 2
#: Layers whose weights, gradients or activations are there although they are kept elsewhere: one computes, one moves.
_AT_WORK = 2

(
    WEIGHTS, GRADIENTS, STATES, ACTIVATIONS, RECOMPUTATION, LOGITS, AWAY_STATES, AWAY_GRADIENTS, AWAY_WEIGHTS,
    AWAY_ACTIVATIONS,
) = range(10)  # fmt: skip
#: What is on the device, and what of it is kept elsewhere, in places that these fields of a run tell.
COMPONENTS = ("weights", "gradients", "optimizer", "activations", "recomputation", "logits")
AWAY = ("optimizer", "gradients", "weights", "activations")
AWAY_PLACES = ("offload", "offload", "offload_params", "offload_activations")


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
    """Bytes on the fullest device; ``held`` is filled with what it has and what it keeps elsewhere.

    ``gradients`` and ``states`` are bytes of a parameter's gradient and its optimizer's states.
    """
    copies = 2.0 if run.schedule == 3 else 1.0
    shared, experts = stage_parameters(run)
    parameters = (shared + experts) * copies
    shard = (shared + experts * run.ep) * copies / run.dp  # fewer replicas have the same experts
    stage = run.zero_stage
    held[WEIGHTS] = _HALF * (shard if stage == 3 else parameters)
    held[GRADIENTS] = gradients * (shard if stage >= 2 else parameters)
    held[STATES] = states * (shard if stage >= 1 else parameters)
    held[ACTIVATIONS] = layers_in_flight(run) * layer_activations(run, run.recompute)
    held[RECOMPUTATION] = layer_activations(run, 0.0) if run.recompute == 2 else 0.0
    if run.recompute == 1:
        held[RECOMPUTATION] = layer_activations(run, 0.0) - layer_activations(run, 1.0)
    held[LOGITS] = 4 * run.micro_batch * run.seq * run.vocab / run.tp if run.pp == 1 else 0.0
    held[AWAY_STATES:] = 0.0
    if run.offload > 0:
        held[AWAY_STATES], held[STATES] = held[STATES], 0.0
        if stage >= 2:
            layer, layer_experts = layer_parameters(run)
            held[AWAY_GRADIENTS] = held[GRADIENTS]
            held[GRADIENTS] = min(held[GRADIENTS], _AT_WORK * gradients * (layer + layer_experts))
    if run.offload_params > 0:
        held[AWAY_WEIGHTS], held[WEIGHTS] = held[WEIGHTS], 0.0
    if run.offload_activations > 0:
        held[AWAY_ACTIVATIONS] = held[ACTIVATIONS]
        held[ACTIVATIONS] = min(held[ACTIVATIONS], _AT_WORK * layer_activations(run, run.recompute))
    if stage == 3:
        layer, layer_experts = layer_parameters(run)
        held[WEIGHTS] += _AT_WORK * _HALF * max(layer + layer_experts, run.vocab / run.tp * run.hidden)
    first = 0.0
    for place in range(AWAY_STATES):
        first += held[place]
    return first if run.pp == 1 else max(first, _last_stage(run, held))


@njit(cache=True, nogil=True, error_model="numpy")
def bytes_away(run: Any, held: Any, place: int) -> Any:
    """Bytes that a device keeps in a place of `runs.OFFLOAD`."""
    away = held[AWAY_STATES] + held[AWAY_GRADIENTS] if run.offload == place else 0.0
    away += held[AWAY_WEIGHTS] if run.offload_params == place else 0.0
    return away + (held[AWAY_ACTIVATIONS] if run.offload_activations == place else 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _last_stage(run: Any, held: Any) -> Any:
    """Bytes on the last stage: one micro-batch in flight, and the logits with their loss."""
    if run.schedule > 1:
        return 0.0
    one = layer_activations(run, run.recompute) * run.layers / run.pp
    if run.offload_activations > 0:
        one = min(one, held[ACTIVATIONS])
    logits = 4 * run.micro_batch * run.seq * (run.hidden + run.vocab / run.tp)
    states = held[WEIGHTS] + held[GRADIENTS] + held[STATES]
    return states + held[RECOMPUTATION] + one + logits

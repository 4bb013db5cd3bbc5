"""The loops of the step-time model: what a layer, a stage and a step take, for many runs at once.

Arguments are records: ``run`` (`runs.RUN`), ``machine`` (`runs.MACHINE`) and ``k`` (`constants.CONSTANTS`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .collectives import hierarchical_all_to_all, message, ring_all_gather, ring_all_reduce
from .size_kernels import layer_activations, stage_parameters

#: Kernels of the forward pass of a layer: matrix products, transposes, softmax, dropout, norms, biases; and those that
#: experts add: product, softmax and choice of the router, four permutations of tokens, and the weighted sum.
_KERNELS, _EXPERT_KERNELS = 25, 8
#: Bytes of a number in half precision, of a gradient as it is exchanged, and of an optimizer's states of a parameter.
_HALF, _GRADIENT, _STATES = 2, 4, 12
#: Bytes that element-wise kernels of a layer move per number of a hidden state: what tensor parallelism repeats (two
#: norms, two residual additions with dropout), what it splits (transposes of Q and the context, and of K and V), per
#: number inside a feed-forward network (its function reads or writes one), per copy of a token for an expert (four
#: permutations), and per attention score (softmax, dropout).
_REPEATED, _QUERIES, _KEYS, _INSIDE, _COPIES, _SCORES = 22, 8, 8, 2, 16, 9

(
    COMPUTE, RECOMPUTED, TENSOR_PARALLEL, EXPERT_PARALLEL, LOSS, BUBBLE, MESSAGES, DATA_PARALLEL, PARAMETER_GATHER,
    OPTIMIZER, OFFLOADED, HOST,
) = range(12)  # fmt: skip
COMPONENTS = (
    "compute", "recompute", "tensor_parallel", "expert_parallel", "loss", "pipeline_bubble", "pipeline_messages",
    "data_parallel", "parameter_gather", "optimizer", "offload", "host",
)  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _matrix_product(m: float, n: float, depth: float, machine: Any, k: Any) -> Any:
    """[s] of a product (m, depth) x (depth, n): by arithmetic or by memory, whichever takes longer."""
    rate = machine.peak_flops * k.gemm_efficiency
    if machine.achievable_flops == machine.achievable_flops:
        rate = min(rate, machine.achievable_flops)
    saturation = 1 / (1 + k.gemm_half_size / min(m, n, depth))
    moved = _HALF * (m * depth + depth * n + m * n)
    return max(2 * m * n * depth / (rate * saturation), moved / (machine.hbm_bytes_s * k.hbm_efficiency))


@njit(cache=True, nogil=True, error_model="numpy")
def _attention(run: Any, machine: Any, k: Any) -> Any:
    """[s] of scores, softmax, dropout and the weighted sum of values of a layer, forward."""
    pairs = run.micro_batch * run.heads / run.tp
    depth = run.hidden / run.heads
    flops = 2 * run.seq * run.seq * depth * pairs
    moved = _HALF * (2 * run.seq * depth + run.seq * run.seq) * pairs
    bandwidth = machine.hbm_bytes_s * k.hbm_efficiency
    product = max(flops / (machine.peak_flops * k.gemm_efficiency), moved / bandwidth)
    return 2 * product + _SCORES * pairs * run.seq * run.seq / bandwidth


@njit(cache=True, nogil=True, error_model="numpy")
def _dense(run: Any, machine: Any, k: Any) -> Any:
    """[s] of the other kernels of a layer, forward."""
    tokens, h, t, keys = run.micro_batch * run.seq, run.hidden, run.tp, run.kv_heads / run.heads
    products = (
        _matrix_product(tokens, (1 + 2 * keys) * h / t, h, machine, k)
        + _matrix_product(tokens, h, h / t, machine, k)
        + _networks(run, tokens, machine, k)
    )
    repeated = float(_REPEATED) if run.experts == 1 else _REPEATED + _COPIES * run.experts_per_token
    inside = (2 + run.gated) * run.experts_per_token * run.ffn / h
    split = _QUERIES + _KEYS * keys + _INSIDE * inside
    repeated = repeated / t if run.seq_parallel > 0 else repeated
    return products + (repeated + split / t) * tokens * h / (machine.hbm_bytes_s * k.hbm_efficiency)


@njit(cache=True, nogil=True, error_model="numpy")
def _networks(run: Any, tokens: float, machine: Any, k: Any) -> Any:
    """[s] of the products of the feed-forward network, or of the router and a device's experts with their tokens."""
    h, width, t = run.hidden, (1 + run.gated) * run.ffn, run.tp
    here = run.experts / run.ep
    rows = tokens * run.experts_per_token / here
    seconds = here * (
        _matrix_product(rows, width / t, h, machine, k) + _matrix_product(rows, h, run.ffn / t, machine, k)
    )
    return seconds if run.experts == 1 else seconds + _matrix_product(tokens, run.experts, h, machine, k)


@njit(cache=True, nogil=True, error_model="numpy")
def group_bandwidth(width: float, stride: float, machine: Any, k: Any) -> Any:
    """[bytes/s] of a device in a ring of devices that stand so far apart: tensor-parallel ones are neighbours.

    The rings of a node share its ways out, so that one with several devices there has several of them.
    """
    intra = machine.intra_bytes_s * k.intra_efficiency
    if width * stride <= machine.gpus_per_node:
        return intra
    local = min(max(1.0, machine.gpus_per_node // stride), width)
    return min(intra, machine.inter_bytes_s * k.inter_efficiency * local)


@njit(cache=True, nogil=True, error_model="numpy")
def layer_seconds(run: Any, machine: Any, k: Any) -> tuple[float, float, float, float, float]:
    """[s] of a layer for a micro-batch: forward, backward, again; and all-reduces and all-to-alls of one pass."""
    attention = _attention(run, machine, k)
    kernels = _KERNELS if run.experts == 1 else _KERNELS + _EXPERT_KERNELS
    work = attention + _dense(run, machine, k) + kernels * k.kernel_s
    forward = max(work, kernels * k.launch_s)
    again = 0.0
    if run.recompute == 2:
        again = forward
    elif run.recompute == 1:
        again = attention
    size = _HALF * run.micro_batch * run.seq * run.hidden
    bandwidth = group_bandwidth(run.tp, 1.0, machine, k)
    latency = machine.latency_s * k.latency_factor
    reduced = ring_all_reduce(size, run.tp, bandwidth, latency)  # of the attention, and of each copy of a token
    reduced += ring_all_reduce(size * run.experts_per_token, run.tp, bandwidth, latency)
    return forward, 2 * forward, again, reduced, _expert_exchange(run, machine, k)


@njit(cache=True, nogil=True, error_model="numpy")
def _expert_exchange(run: Any, machine: Any, k: Any) -> Any:
    """[s] in which a layer sends tokens to their experts and gets them back: a share by each tensor-parallel device.

    Devices of an exchange stand ``tp`` apart; those of a node reach each other by its links.
    """
    size = _HALF * run.micro_batch * run.seq * run.hidden * run.experts_per_token / run.tp
    local = min(max(1.0, machine.gpus_per_node // run.tp), run.ep)
    intra, inter = machine.intra_bytes_s * k.intra_efficiency, machine.inter_bytes_s * k.inter_efficiency
    latency = machine.latency_s * k.latency_factor
    return 2 * hierarchical_all_to_all(size, run.ep, intra, latency, local, inter)


@njit(cache=True, nogil=True, error_model="numpy")
def _loss(run: Any, machine: Any, k: Any) -> Any:
    """[s] of the logits and the loss for a micro-batch, forward and backward."""
    tokens, words = run.micro_batch * run.seq, run.vocab / run.tp
    traffic = k.loss_bytes * tokens * words / (machine.hbm_bytes_s * k.hbm_efficiency)
    return 3 * _matrix_product(tokens, words, run.hidden, machine, k) + traffic


@njit(cache=True, nogil=True, error_model="numpy")
def _messages(run: Any, machine: Any, k: Any) -> Any:
    """[s] in which a stage passes a micro-batch on, forward and backward, a share by each tensor-parallel device."""
    if run.pp == 1:
        return 0.0
    bandwidth = machine.inter_bytes_s * k.inter_efficiency
    if run.tp * run.dp < machine.gpus_per_node:
        bandwidth = machine.intra_bytes_s * k.intra_efficiency
    size = _HALF * run.micro_batch * run.seq * run.hidden / run.tp
    return 2 * run.chunks * message(size, 2, bandwidth, machine.latency_s * k.latency_factor)


@njit(cache=True, nogil=True, error_model="numpy")
def bubble_seconds(schedule: float, run: Any, m: float, forward: float, backward: float, again: float) -> Any:
    """[s] in which a device waits for others, by the closed form of a schedule."""
    stage = forward + backward + again
    if schedule == 1:
        return (run.pp - 1) / run.chunks * stage
    if schedule == 3:  # two pipelines in opposite directions, N a multiple of D
        units = m / run.pp
        total = (run.pp + 2 * (units - 1)) * forward + units * (2 * run.pp - 2) * (backward + again)
        return total - m * stage
    if schedule == 4:  # the gradients of the weights fill a part of it
        return (run.pp - 1) * (stage - backward)
    return (run.pp - 1) * stage


@njit(cache=True, nogil=True, error_model="numpy")
def _gradients(run: Any, machine: Any, k: Any) -> Any:
    """[s] in which the replicas exchange their gradients after a step, and with ZeRO their parameters."""
    copies = 2.0 if run.schedule == 3 else 1.0
    shared, experts = stage_parameters(run)
    seconds = _replicas(shared * copies, run.dp * copies, run.tp, run, machine, k)
    if experts > 0:
        seconds += _replicas(experts * copies, run.dp / run.ep * copies, run.tp * run.ep, run, machine, k)
    return seconds


@njit(cache=True, nogil=True, error_model="numpy")
def _replicas(parameters: float, width: float, stride: float, run: Any, machine: Any, k: Any) -> Any:
    """[s] in which devices that have the same parameters exchange their gradients."""
    bandwidth = group_bandwidth(width, stride, machine, k)
    latency = machine.latency_s * k.latency_factor
    if run.zero_stage == 0:
        return ring_all_reduce(_GRADIENT * parameters, width, bandwidth, latency)
    if run.zero_stage == 3:
        return 0.0
    scattered = ring_all_gather(_GRADIENT * parameters, width, bandwidth, latency)
    if run.zero_stage == 2:
        scattered *= run.global_batch / (run.dp * run.micro_batch)
    return scattered + ring_all_gather(_HALF * parameters, width, bandwidth, latency)


@njit(cache=True, nogil=True, error_model="numpy")
def _gathers(run: Any, machine: Any, k: Any) -> Any:
    """[s] in which ZeRO-3 moves the parameters of a stage for a micro-batch: a ring per layer, a link per device.

    They move forward, backward, and if layers are computed again; and their gradients the other way.
    """
    if run.zero_stage != 3 or (run.dp == 1 and run.offload_params == 0):
        return 0.0
    passes = 3 if run.recompute == 2 else 2
    if run.dp == 1:
        shared, experts = stage_parameters(run)
        return passes * _HALF * (shared + experts) / _bandwidth_to(run.offload_params, machine)
    bandwidth = machine.intra_bytes_s * k.intra_efficiency
    if run.tp * run.dp > machine.gpus_per_node:
        bandwidth = machine.inter_bytes_s * k.inter_efficiency
    if run.offload_params > 0:  # each device brings its share from its node first
        bandwidth = min(bandwidth, run.dp * _bandwidth_to(run.offload_params, machine))
    shared, experts = stage_parameters(run)
    layers = run.layers / run.pp
    latency = machine.latency_s * k.latency_factor
    gather = ring_all_gather(_HALF * shared / layers, run.dp, bandwidth, latency)
    gather += ring_all_gather(_HALF * experts / layers, run.dp / run.ep, bandwidth, latency) if experts > 0 else 0.0
    return (passes + 1) * layers * gather


@njit(cache=True, nogil=True, error_model="numpy")
def _bandwidth_to(place: float, machine: Any) -> Any:
    """[bytes/s] between a device and a place of `runs.OFFLOAD`."""
    link = machine.cpu_link_bytes_s
    return min(link, machine.nvme_bytes_s) if place == 2 else link


@njit(cache=True, nogil=True, error_model="numpy")
def _offload(run: Any, own: float, machine: Any) -> Any:
    """[s] in which gradients leave the device and new parameters come back; states on drives are read and written.

    Gradients that are kept with the states are there already, and are read from drives with them.
    """
    if run.offload == 0:
        return 0.0
    is_there = run.zero_stage >= 2
    seconds = (_HALF if is_there else _GRADIENT + _HALF) * own / machine.cpu_link_bytes_s
    if run.offload == 2:
        seconds += (2 * _STATES + (_GRADIENT if is_there else 0)) * own / machine.nvme_bytes_s
    return seconds


@njit(cache=True, nogil=True, error_model="numpy")
def _moved(run: Any, own: float, machine: Any) -> Any:
    """[s] in which a micro-batch's activations leave a stage and come back, and its gradients leave."""
    seconds = 0.0
    if run.offload_activations > 0:
        activations = run.layers / run.pp * layer_activations(run, run.recompute)
        seconds += 2 * activations / _bandwidth_to(run.offload_activations, machine)
    if run.offload > 0 and run.zero_stage >= 2:
        seconds += _GRADIENT * own / _bandwidth_to(run.offload, machine)
    return seconds


@njit(cache=True, nogil=True, error_model="numpy")
def step_seconds(run: Any, machine: Any, k: Any, seconds: Any, overlapped: Any) -> Any:
    """[s] of a step; ``seconds`` is filled with what its components add, ``overlapped`` with what they hide."""
    m = run.global_batch / (run.dp * run.micro_batch)
    layers = run.layers / run.pp
    forward, backward, again, reduced, exchanged = layer_seconds(run, machine, k)
    passes = 3 if run.recompute == 2 else 2
    messages = _messages(run, machine, k)
    seconds[COMPUTE] = m * layers * (forward + backward)
    seconds[RECOMPUTED] = m * layers * again
    seconds[TENSOR_PARALLEL] = m * layers * passes * reduced
    seconds[EXPERT_PARALLEL] = m * layers * passes * exchanged
    seconds[LOSS] = m * _loss(run, machine, k)
    sent = reduced + exchanged
    share = layers + messages / (forward + backward + again + passes * sent)  # messages lengthen a stage
    seconds[BUBBLE] = bubble_seconds(
        run.schedule, run, m, share * (forward + sent), share * (backward + sent), share * (again + (passes - 2) * sent)
    )
    seconds[MESSAGES] = m * messages
    exchange = _gradients(run, machine, k)
    overlapped[DATA_PARALLEL] = k.gradient_overlap * exchange
    seconds[DATA_PARALLEL] = exchange - overlapped[DATA_PARALLEL]
    gathers, work = m * _gathers(run, machine, k), seconds[COMPUTE] + seconds[RECOMPUTED]
    overlapped[PARAMETER_GATHER] = min(gathers, work)  # the next layer's parameters come while one computes
    seconds[PARAMETER_GATHER] = gathers - overlapped[PARAMETER_GATHER]
    shared, experts = stage_parameters(run)
    own = (shared + experts * run.ep) / run.dp if run.zero_stage > 0 else shared + experts
    seconds[OPTIMIZER] = own * k.optimizer_bytes / (machine.hbm_bytes_s * k.hbm_efficiency)
    moved = m * _moved(run, own, machine)
    if run.offload_params > 0:  # over the same link
        work -= overlapped[PARAMETER_GATHER]
    overlapped[OFFLOADED] = min(moved, work)
    seconds[OFFLOADED] = _offload(run, own, machine) + moved - overlapped[OFFLOADED]
    seconds[HOST] = k.step_s
    total = 0.0
    for each in seconds:
        total += each
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def pipeline_parts(run: Any, machine: Any, k: Any, seconds: Any) -> tuple[float, float, float, float, float]:
    """[s] of a step outside its pipeline; of a micro-batch forward and backward on a stage, its loss, a message."""
    m = run.global_batch / (run.dp * run.micro_batch)
    layers = run.layers / run.pp
    forward, backward, again, reduced, exchanged = layer_seconds(run, machine, k)
    passes, sent = 2 if run.recompute == 2 else 1, reduced + exchanged
    rest = seconds[DATA_PARALLEL] + seconds[PARAMETER_GATHER] + seconds[OPTIMIZER] + seconds[OFFLOADED] + seconds[HOST]
    return (
        rest, layers * (forward + sent), layers * (backward + again + passes * sent), seconds[LOSS] / m,
        seconds[MESSAGES] / m / (2 * run.chunks),
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def predict(runs: Any, machines: Any, constants: Any) -> Any:
    """[s] of a step of each run, on a cluster and with constants of its own."""
    found = np.empty(len(runs))
    seconds, overlapped = np.zeros(len(COMPONENTS)), np.zeros(len(COMPONENTS))
    for row in range(len(runs)):
        found[row] = step_seconds(runs[row], machines[row], constants[row], seconds, overlapped)
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def components(runs: Any, machines: Any, constants: Any) -> tuple[Any, Any]:
    """[s] that the components of each run's step add, and those that they hide: two arrays, a row per run."""
    seconds, overlapped = np.zeros((len(runs), len(COMPONENTS))), np.zeros((len(runs), len(COMPONENTS)))
    for row in range(len(runs)):
        step_seconds(runs[row], machines[row], constants[row], seconds[row], overlapped[row])
    return seconds, overlapped

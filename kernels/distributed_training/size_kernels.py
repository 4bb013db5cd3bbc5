"""The loops of the size model: parameters of a stage, and what its layers keep of a micro-batch.

``run`` is a record of `runs.RUN`. With experts a layer has several feed-forward networks, of which
``experts_per_token`` work for a token; a device has those of its share in ``ep``, and gets as many tokens as it sends.
"""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def network_parameters(run: Any) -> Any:
    """Parameters of a feed-forward network, of an expert if there are several."""
    h, f = run.hidden, run.ffn
    return (2 + run.gated) * h * f + (1 + run.gated) * f + h


@njit(cache=True, nogil=True, error_model="numpy")
def layer_parameters(run: Any) -> tuple[float, float]:
    """Parameters of a layer on a device: those that all replicas have, and those of its experts."""
    h, keys = run.hidden, run.kv_heads / run.heads
    shared = 2 * h * h * (1 + keys) + 2 * h * (1 + keys) + 4 * h
    network = network_parameters(run)
    if run.experts == 1:
        return (shared + network) / run.tp, 0.0
    return (shared + h * run.experts) / run.tp, run.experts * network / (run.tp * run.ep)


@njit(cache=True, nogil=True, error_model="numpy")
def stage_parameters(run: Any) -> tuple[float, float]:
    """Parameters of a device of the first stage, which has the embedding: as `layer_parameters`."""
    shared, experts = layer_parameters(run)
    layers = run.layers / run.pp
    return layers * shared + (run.vocab / run.tp + run.seq) * run.hidden, layers * experts


@njit(cache=True, nogil=True, error_model="numpy")
def layer_activations(run: Any, recompute: float) -> Any:
    """Bytes that a layer keeps of a micro-batch for the backward pass (arXiv 2205.05198, table 2).

    Per number of a hidden state: 10 of norms, dropout and inputs that tensor parallelism repeats, 4 of queries and the
    context, 4 of keys and values, 4 per width of the feed-forward network; 34 in all for ``4 * hidden`` and as many
    keys as queries. Experts keep what they were sent and what they give back, too.
    """
    tokens = run.seq * run.micro_batch * run.hidden
    t, copies = run.tp, run.experts_per_token
    if recompute == 2:
        return 2 * tokens / (t if run.seq_parallel > 0 else 1.0)
    repeated = 10.0 if run.experts == 1 else 10 + 4 * copies
    split = 4 + 4 * run.kv_heads / run.heads + copies * (4 + 2 * run.gated) * run.ffn / run.hidden
    kept = (repeated + split) / t if run.seq_parallel > 0 else repeated + split / t
    scores = 5 * run.heads * run.seq / run.hidden
    return tokens * (kept + (scores / t if recompute == 0 else 0.0))

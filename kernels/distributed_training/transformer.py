"""The size of a transformer: its parameters, the FLOPs of a step, and the days of a training.

    parameters = 12 l h^2 (1 + 13 / (12 h) + (V + s) / (12 l h))
    FLOPs      = 96 B s l h^2 (1 + s / (6 h) + V / (16 l h))      with full recomputation of activations
    days       = 8 T P / (n X) / 86400                            T tokens, n devices that reach X FLOP/s each

``l`` layers, ``h`` hidden, ``V`` vocabulary, ``s`` sequence, ``B`` sequences of a step. These hold for a feed-forward
network of width ``4 h`` without a gate, and as many heads of keys as of queries; the functions also know others, and
several networks of which a router chooses some for each token (experts).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ironlake.udf.engine import scalar

from .checks import above_zero, at_least
from .runs import RECOMPUTE

_DAY = 86400


class TransformerSize(NamedTuple):
    """The result of `transformer_size`."""

    params: float
    params_active: float
    params_embedding: float


class TransformerFlops(NamedTuple):
    """The result of `transformer_flops`."""

    hardware_flops: float
    model_flops: float


@scalar(form="arrow", nulls=True)
def transformer_size(
    layers: int,
    hidden: int,
    vocab: int | None = 51200,
    seq: int | None = 2048,
    ffn: int | None = None,
    kv_heads: int | None = None,
    gated: bool | None = False,
    experts: int | None = 1,
    heads: int | None = None,
    experts_per_token: int | None = 1,
    bias: bool | None = True,
    tied: bool | None = True,
) -> TransformerSize:
    """Count the parameters of a GPT-like transformer.

    Parameters
    ----------
    layers, hidden : how many, and the width between them.
    vocab, seq : words and positions, each of which has an embedding; 0 for positions without one (rotary).
    ffn : width inside the feed-forward network; ``4 * hidden`` if NULL.
    kv_heads : heads of keys and values, if they are fewer than ``heads``, which is needed then.
    gated : whether the feed-forward network has a gate (a third matrix), as in SwiGLU.
    experts : feed-forward networks of a layer; above 1 they have a router.
    heads : attention heads.
    experts_per_token : experts that work for a token.
    bias : whether matrices and norms have one.
    tied : whether the output layer shares the words' embedding.

    Returns
    -------
    STRUCT
        ``params``, ``params_active`` (that work for a token) and ``params_embedding`` (of them) DOUBLE; NULL if layers
        or hidden are NULL.

    Raises
    ------
    InvalidInputException
        If a size is below 1 (``seq`` below 0), ``kv_heads`` come without ``heads`` or are more, or more experts work
        for a token than there are.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    equation 2.

    Examples
    --------
    SELECT transformer_size(96, 12288).params / 1e9 AS billions;
    SELECT transformer_size(32, 4096, 32000, 0, 14336, 8, true, 8, 32, 2, false, false) AS mixtral_8x7b;
    """
    rows = len(layers)  # type: ignore[arg-type]
    depth, h = (_floats(each, np.nan, rows) for each in (layers, hidden))
    words, positions, networks, working = (
        _floats(*each, rows) for each in ((vocab, 51200), (seq, 2048), (experts, 1), (experts_per_token, 1))
    )
    gate, biases, shares = (_floats(*each, rows) for each in ((gated, 0), (bias, 1), (tied, 1)))
    width = _floats(ffn, np.nan, rows)
    width = np.where(np.isnan(width), 4 * h, width)
    told = ~np.isnan(depth + h)
    at_least(1, layers=depth[told], hidden=h[told], vocab=words, ffn=width[told])
    at_least(0, seq=positions)
    _check_experts(networks, working)
    share = _kv_share(kv_heads, heads, rows)
    attention = 2 * h * h * (1 + share) + biases * 2 * h * (1 + share)
    norms = 2 * h * (1 + biases)
    network = (2 + gate) * h * width + biases * ((1 + gate) * width + h)
    router = np.where(networks > 1, networks * h, 0)
    embedding = (words * np.where(shares > 0, 1, 2) + positions) * h
    sizes = {
        "params": depth * (attention + norms + networks * network + router) + embedding,
        "params_active": depth * (attention + norms + working * network + router) + embedding,
        "params_embedding": embedding,
    }
    return _struct(sizes)  # type: ignore[no-any-return]


def _check_experts(experts: Any, per_token: Any) -> None:
    at_least(1, experts=experts, experts_per_token=per_token)
    wrong = per_token > experts
    if wrong.any():
        raise ValueError(
            f"argument experts_per_token is {per_token[wrong][0]:g}; expected at most the {experts[wrong][0]:g} experts"
        )


def _kv_share(kv_heads: Any, heads: Any, rows: int) -> np.ndarray[Any, Any]:
    """The width of keys relative to that of queries."""
    kv, all_heads = _floats(kv_heads, np.nan, rows), _floats(heads, np.nan, rows)
    wrong = ~np.isnan(kv) & ~((kv >= 1) & (kv <= all_heads))
    if wrong.any():
        raise ValueError(
            f"argument kv_heads must be between 1 and heads, which is needed with it; got {kv[wrong][0]:g} and "
            f"{all_heads[wrong][0]:g}"
        )
    return np.where(np.isnan(kv), 1.0, kv / all_heads)


@scalar(form="arrow", nulls=True)
def transformer_flops(
    batch: int,
    seq: int,
    layers: int,
    hidden: int,
    vocab: int,
    recompute: str = "full",
    ffn: int | None = None,
    kv_heads: int | None = None,
    gated: bool | None = False,
    experts: int | None = 1,
    heads: int | None = None,
    experts_per_token: int | None = 1,
) -> TransformerFlops:
    """Count the floating-point operations of a training step of a GPT-like transformer.

    Parameters
    ----------
    batch, seq : sequences of a step, and tokens of each.
    layers, hidden, vocab : of the model.
    recompute : what the backward pass computes again: ``none``, ``selective`` (attention) or ``full``.
    ffn, kv_heads, gated, experts, heads, experts_per_token : as for `transformer_size`; only experts that work for a
        token count, and the router.

    Returns
    -------
    STRUCT
        ``hardware_flops`` (that devices do, with what is computed again) and ``model_flops`` (that the model needs:
        MFU counts these) DOUBLE; NULL if one of the first six arguments is NULL.

    Raises
    ------
    InvalidInputException
        If a size is below 1, there is no such way to recompute, or as `transformer_size`.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    equation 3; Korthikanti and others, arXiv 2205.05198 (2022), appendix A.

    Examples
    --------
    SELECT transformer_flops(1536, 2048, 96, 12288, 51200).hardware_flops / (384 * 153e12) AS step_s;
    SELECT transformer_flops(1024, 4096, 32, 4096, 32000, 'none', 14336, 8, true, 8, 32, 2).model_flops AS mixtral_8x7b;
    """
    rows = len(batch)  # type: ignore[arg-type]
    names = ("global_batch", "seq", "layers", "hidden", "vocab")
    given = (batch, seq, layers, hidden, vocab)
    sizes = {name: _floats(each, np.nan, rows) for name, each in zip(names, given, strict=True)}
    width = _floats(ffn, np.nan, rows)
    networks, working = (_floats(each, 1, rows) for each in (experts, experts_per_token))
    at_least(1, **{name: each[~np.isnan(each)] for name, each in {**sizes, "ffn": width}.items()})
    _check_experts(networks, working)
    ways = [recompute] if isinstance(recompute, str) else recompute.to_pylist()
    for way in ways:
        if way is not None and way not in RECOMPUTE:
            raise ValueError(f"argument recompute is {way!r}; expected one of {', '.join(RECOMPUTE)}")
    run = _dense(sizes) | {
        "ffn": np.where(np.isnan(width), 4 * sizes["hidden"], width), "gated": _floats(gated, 0, rows),
        "kv_heads": _kv_share(kv_heads, heads, rows), "experts": networks, "experts_per_token": working,
    }  # fmt: skip
    again = np.array([np.nan if way is None else RECOMPUTE.index(way) for way in ways])
    model = np.where(np.isnan(again), np.nan, model_flops(run))
    again = recomputed_flops({**run, "recompute": again})
    return _struct({"hardware_flops": model + again, "model_flops": model})  # type: ignore[no-any-return]


def _dense(sizes: dict[str, Any]) -> dict[str, Any]:
    """The sizes of a model of its own, in which a layer has one feed-forward network of the usual width."""
    usual = {"ffn": 4 * sizes["hidden"], "gated": 0, "kv_heads": 1, "heads": 1, "experts": 1, "experts_per_token": 1}
    return {**usual, **sizes}


def model_flops(run: Any) -> Any:
    """What a run's model needs in a step, forward and backward; a run, or columns of them by name."""
    tokens = run["global_batch"] * run["seq"]
    return 3 * tokens * (run["layers"] * _layer_flops(run) + 2 * run["hidden"] * run["vocab"])


def recomputed_flops(run: Any) -> Any:
    """What a run computes again in a step: nothing, the attention, or the forward pass of all layers."""
    tokens = run["global_batch"] * run["seq"] * run["layers"]
    forward, attention = _layer_flops(run), 4 * run["seq"] * run["hidden"]
    return tokens * np.where(run["recompute"] == 2, forward, np.where(run["recompute"] == 1, attention, 0.0))


def _layer_flops(run: Any) -> Any:
    """Of a layer for a token, forward: ``24 h^2 + 4 s h`` by default."""
    h = run["hidden"]
    attention = 4 * h * h * (1 + run["kv_heads"] / run["heads"]) + 4 * run["seq"] * h
    network = 2 * (2 + run["gated"]) * h * run["ffn"] * run["experts_per_token"]
    return attention + network + np.where(run["experts"] > 1, 2 * h * run["experts"], 0.0)


@scalar(form="arrow")
def training_days(
    params: float,
    tokens: float,
    gpus: float,
    flops_per_gpu: float,
    exact: bool = False,
    layers: int | None = None,
    hidden: int | None = None,
    vocab: int = 51200,
    seq: int = 2048,
) -> float:
    """Tell how many days a training takes on devices that reach so many FLOP/s.

    Parameters
    ----------
    params, tokens : of the model, and to train on.
    gpus, flops_per_gpu : devices, and FLOP/s that each reaches.
    exact : false: ``8 T P / (n X)``, a common estimate with full recomputation. True: by the FLOPs of the model's
        layers and logits, for which ``layers`` and ``hidden`` are needed.
    layers, hidden, vocab, seq : of the model, for ``exact``.

    Returns
    -------
    DOUBLE
        Days; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If a number is not above 0, or ``exact`` lacks the model.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    equation 4 and table 2.

    Examples
    --------
    SELECT training_days(175e9, 300e9, 1024, 140e12) AS days;
    SELECT training_days(174.6e9, 300e9, 384, 144e12, true, 96, 12288) AS days;
    """
    import pyarrow as pa

    rows = len(params)  # type: ignore[arg-type]
    p, t, n, x = (_floats(each, np.nan, rows) for each in (params, tokens, gpus, flops_per_gpu))
    above_zero(params=p, tokens=t, gpus=n, flops_per_gpu=x)
    per_token = 8 * p
    precise = _floats(exact, 0, rows) > 0
    if precise.any():
        if layers is None or hidden is None:
            raise ValueError("argument exact is true, but layers or hidden are missing; expected those of the model")
        names = {"layers": layers, "hidden": hidden, "vocab": vocab, "seq": seq}
        sizes = {name: _floats(each, np.nan, rows) for name, each in names.items()}
        at_least(1, **sizes)
        step = _dense({**sizes, "global_batch": 1 / sizes["seq"], "recompute": 2})
        per_token = np.where(precise, model_flops(step) + recomputed_flops(step), per_token)
    return pa.array(per_token * t / (n * x) / _DAY)  # type: ignore[no-any-return]


def _floats(values: Any, default: float, rows: int) -> np.ndarray[Any, Any]:
    """An argument as numbers; one that was left out or is NULL has its default."""
    if values is None or isinstance(values, bool | int | float):
        return np.full(rows, default if values is None else values, np.float64)
    found = values.cast("double").to_numpy(zero_copy_only=False)
    return np.where(np.isnan(found), default, found)


def _struct(columns: dict[str, np.ndarray[Any, Any]]) -> Any:
    """Columns as STRUCTs; NULL where the first one is NaN."""
    import pyarrow as pa

    first = next(iter(columns.values()))
    arrays = [pa.array(values, pa.float64()) for values in columns.values()]
    return pa.StructArray.from_arrays(arrays, list(columns), mask=pa.array(np.isnan(first)))

"""The size of a transformer: its parameters, the FLOPs of a step, the days of a training, and the bytes of a device.

    parameters = 12 l h^2 (1 + 13 / (12 h) + (V + s) / (12 l h))
    FLOPs      = 96 B s l h^2 (1 + s / (6 h) + V / (16 l h))      with full recomputation of activations
    days       = 8 T P / (n X) / 86400                            T tokens, n devices that reach X FLOP/s each

``l`` layers, ``h`` hidden, ``V`` vocabulary, ``s`` sequence, ``B`` sequences of a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ironlake.udf.engine import Database, scalar, table
from ironlake.udf.engine.sqltypes import ANY

from .checks import above_zero, at_least
from .clusters import find_cluster
from .runs import RECOMPUTE, machine_of, model_of, run_of

if TYPE_CHECKING:
    import pyarrow as pa

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
) -> TransformerSize:
    """Count the parameters of a GPT-like transformer.

    Parameters
    ----------
    layers, hidden : how many, and the width between them.
    vocab, seq : words and positions, each of which has an embedding; the output layer shares that of the words.
    ffn : width inside the feed-forward network; ``4 * hidden`` if NULL.
    kv_heads : heads of keys and values, if they are fewer than ``heads``, which is needed then.
    gated : whether the feed-forward network has a gate (a third matrix), as in SwiGLU.
    experts : feed-forward networks of a layer, one of which works for a token; above 1 they have a router.
    heads : attention heads.

    Returns
    -------
    STRUCT
        ``params``, ``params_active`` (that work for a token) and ``params_embedding`` (of them) DOUBLE; NULL if layers
        or hidden are NULL.

    Raises
    ------
    InvalidInputException
        If a size is below 1, or ``kv_heads`` come without ``heads`` or are more.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    equation 2.

    Examples
    --------
    SELECT transformer_size(96, 12288).params / 1e9 AS billions;
    SELECT transformer_size(32, 4096, 32000, 4096, 14336, 8, true, 8, 32) AS size;
    """
    rows = len(layers)  # type: ignore[arg-type]
    depth, h = (_floats(each, np.nan, rows) for each in (layers, hidden))
    words, positions, networks = (_floats(*each, rows) for each in ((vocab, 51200), (seq, 2048), (experts, 1)))
    width = _floats(ffn, np.nan, rows)
    width = np.where(np.isnan(width), 4 * h, width)
    told = ~np.isnan(depth + h)
    at_least(1, layers=depth[told], hidden=h[told], vocab=words, seq=positions, ffn=width[told], experts=networks)
    share = _kv_share(kv_heads, heads, rows)
    attention = 2 * h * h * (1 + share) + 2 * h * (1 + share)
    norms = 4 * h
    matrices = 2 + _floats(gated, 0, rows)
    network = matrices * h * width + (matrices - 1) * width + h
    router = np.where(networks > 1, networks * h, 0)
    embedding = (words + positions) * h
    sizes = {
        "params": depth * (attention + norms + networks * network + router) + embedding,
        "params_active": depth * (attention + norms + network + router) + embedding,
        "params_embedding": embedding,
    }
    return _struct(sizes)  # type: ignore[no-any-return]


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


@scalar(form="arrow")
def transformer_flops(
    batch: int, seq: int, layers: int, hidden: int, vocab: int, recompute: str = "full"
) -> TransformerFlops:
    """Count the floating-point operations of a training step of a GPT-like transformer.

    Parameters
    ----------
    batch, seq : sequences of a step, and tokens of each.
    layers, hidden, vocab : of the model.
    recompute : what the backward pass computes again: ``none``, ``selective`` (attention) or ``full``.

    Returns
    -------
    STRUCT
        ``hardware_flops`` (that devices do, with what is computed again) and ``model_flops`` (that the model needs:
        MFU counts these) DOUBLE; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If a size is below 1, or there is no such way to recompute.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    equation 3; Korthikanti and others, arXiv 2205.05198 (2022), appendix A.

    Examples
    --------
    SELECT transformer_flops(1536, 2048, 96, 12288, 51200).hardware_flops / (384 * 153e12) AS step_s;
    """
    rows = len(batch)  # type: ignore[arg-type]
    names = ("global_batch", "seq", "layers", "hidden", "vocab")
    given = (batch, seq, layers, hidden, vocab)
    sizes = {name: _floats(each, np.nan, rows) for name, each in zip(names, given, strict=True)}
    at_least(1, **sizes)
    ways = [recompute] if isinstance(recompute, str) else recompute.to_pylist()
    for way in ways:
        if way not in RECOMPUTE:
            raise ValueError(f"argument recompute is {way!r}; expected one of {', '.join(RECOMPUTE)}")
    model = model_flops(sizes)
    again = recomputed_flops({**sizes, "recompute": np.array([RECOMPUTE.index(way) for way in ways])})
    return _struct({"hardware_flops": model + again, "model_flops": model})  # type: ignore[no-any-return]


def model_flops(run: Any) -> Any:
    """What a run's model needs in a step, forward and backward; a run, or columns of them by name."""
    tokens, layers, h = run["global_batch"] * run["seq"], run["layers"], run["hidden"]
    return 72 * tokens * layers * h**2 * (1 + run["seq"] / (6 * h) + run["vocab"] / (12 * layers * h))


def recomputed_flops(run: Any) -> Any:
    """What a run computes again in a step: nothing, the attention, or the forward pass of all layers."""
    tokens, h = run["global_batch"] * run["seq"] * run["layers"], run["hidden"]
    attention, forward = 4 * tokens * run["seq"] * h, 24 * tokens * h**2 * (1 + run["seq"] / (6 * h))
    return np.where(run["recompute"] == 2, forward, np.where(run["recompute"] == 1, attention, 0.0))


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
        step = {**sizes, "global_batch": 1 / sizes["seq"], "recompute": 2}
        per_token = np.where(precise, model_flops(step) + recomputed_flops(step), per_token)
    return pa.array(per_token * t / (n * x) / _DAY)  # type: ignore[no-any-return]


@table
def training_memory(
    model: ANY,
    database: Database,
    cluster: str = "selene_a100",
    global_batch: int = 1,
    micro_batch: int = 1,
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    chunks: int = 1,
    schedule: str | None = None,
    recompute: str = "full",
    seq_parallel: bool = False,
    zero_stage: int = 0,
    offload: str = "none",
    bytes_per_param: float = 18.0,
) -> pa.Table:
    """Tell what the fullest device of a training run holds, and what of it is kept outside.

    Parameters
    ----------
    model, cluster, global_batch, micro_batch, tp, pp, dp, chunks, schedule, recompute, seq_parallel, zero_stage,
        offload : as for `training_step_time`.
    bytes_per_param : of weights (2), optimizer states (12) and gradients (the rest: 18 counts 4 for them, 16 counts 2).

    Returns
    -------
    TABLE
        ``component`` VARCHAR (``weights``, ``gradients``, ``optimizer``, ``activations`` that wait for the backward
        pass, ``recomputation`` (of one layer), ``logits``, and ``total``, which for a pipeline is the larger one of
        the first and the last stage), ``bytes`` DOUBLE, ``place`` VARCHAR (``gpu``, ``cpu``, ``nvme``), ``fits``
        BOOLEAN (what is in this place, all devices of a node together if it is outside).

    Raises
    ------
    ValueError
        As `training_step_time`, or if there are fewer than 14 bytes per parameter.

    References
    ----------
    Korthikanti and others: Reducing Activation Recomputation in Large Transformer Models, arXiv 2205.05198 (2022),
    table 2; Rajbhandari and others: ZeRO, SC (2020), figure 1.

    Examples
    --------
    FROM training_memory('gpt_22b', global_batch := 4, micro_batch := 4, tp := 8);
    """
    import pyarrow as pa

    from .memory_kernels import COMPONENTS, NODE_CPU, device_bytes

    if not bytes_per_param >= 14:
        raise ValueError(
            f"argument bytes_per_param must be at least 14 (2 of weights, 12 of states), got {bytes_per_param}"
        )
    run = run_of(
        {
            **model_of(model), "global_batch": global_batch, "micro_batch": micro_batch, "tp": tp, "pp": pp, "dp": dp,
            "chunks": chunks, "schedule": schedule, "recompute": recompute, "seq_parallel": seq_parallel,
            "zero_stage": zero_stage, "offload": offload,
        }
    )  # fmt: skip
    machine = machine_of(find_cluster(cluster, database), offload)[0]
    held = np.zeros(len(COMPONENTS))
    total = device_bytes(run[0], 12.0, bytes_per_param - 14, held)
    rows = [
        (name, held[place], "gpu", bool(total <= machine["hbm_bytes"]))
        for place, name in enumerate(COMPONENTS[:NODE_CPU])
        if held[place] > 0
    ]
    rows.append(("total", total, "gpu", bool(total <= machine["hbm_bytes"])))
    for place, name in enumerate(COMPONENTS[NODE_CPU:], NODE_CPU):
        if held[place] > 0:
            rows.append(("optimizer", held[place], name, _fits_node(held[place], machine, name)))
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(("component", "bytes", "place", "fits"), map(list, columns), strict=True)))


def _fits_node(size: float, machine: Any, place: str) -> bool:
    """Whether all devices of a node can keep so many bytes in its memory or on its drives."""
    return bool(size * machine["gpus_per_node"] <= machine[f"{place}_bytes"])


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

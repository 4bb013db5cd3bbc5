"""All ways to split a training run over devices, and what rules leave of them.

First the devices are split (``tp * pp * dp``), then each split gets its micro-batch, the replicas that share experts,
and a schedule, and at last each of these all ways to save memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .runs import SCHEDULES, ZERO_STAGES, divisors

_F1B, _INTERLEAVED, _CHIMERA = (SCHEDULES.index(name) for name in ("1f1b", "interleaved_1f1b", "chimera"))


@dataclass(frozen=True)
class Space:
    """What a search may try; schedules and so on are numbers, places in the lists of `runs`.

    Attributes
    ----------
    gpus : devices.
    widest : the most tensor-parallel ones.
    schedules, stages, recomputes : pipeline schedules, stages of ZeRO, ways to recompute.
    places : where the optimizer's states, the parameters and the activations may be.
    """

    gpus: int
    widest: int
    schedules: Sequence[int]
    stages: Sequence[int]
    recomputes: Sequence[int]
    places: Sequence[int]


class Rule(NamedTuple):
    """What a rule of the search rejected: so many of the ``counted`` (splits, pipelines or plans), and what it left."""

    rule: str
    counted: str
    rejected: int
    remaining: int


class Split(NamedTuple):
    """A split with its pipeline, in the order of the fields of a run."""

    tp: int
    pp: int
    dp: int
    micro_batch: int = 1
    ep: int = 1
    chunks: int = 1
    schedule: int = 0


def candidates(base: Any, space: Space) -> tuple[Any, list[Rule]]:
    """All runs of a model, as an array of `runs.RUN`, and the rules that left them.

    Parameters
    ----------
    base : a run with the model and the batch.
    space : what to try.
    """
    splits, rules = _splits(base, space)
    pipelines, more = _pipelines(base, splits, space.schedules)
    table = np.array(pipelines, np.float64).reshape(-1, len(Split._fields))
    ways = np.array(list(_ways(space)), np.float64)
    runs = np.repeat(base[None], len(table) * len(ways))
    for names, values in (
        (Split._fields, np.repeat(table, len(ways), axis=0)),
        (
            ("recompute", "seq_parallel", "zero_stage", "offload", "offload_params", "offload_activations"),
            np.tile(ways, (len(table), 1)),
        ),
    ):
        for name, column in zip(names, values.T, strict=True):
            runs[name] = column
    pieces = 128 * runs["tp"]
    runs["vocab"] = np.ceil(runs["vocab"] / pieces) * pieces
    pointless = (runs["tp"] == 1) & (runs["seq_parallel"] > 0)
    return runs[~pointless & ~_is_other_stage(runs, min(space.stages))], rules + more


def _is_other_stage(runs: Any, least: int) -> Any:
    """Which runs have no replicas to shard anything over, so that a lower stage of ZeRO is the same.

    Stage 2 keeps gradients with the states, and stage 3 parameters where they are told to be.
    """
    stage = runs["zero_stage"]
    counts = ((stage == 2) & (runs["offload"] > 0)) | ((stage == ZERO_STAGES[-1]) & (runs["offload_params"] > 0))
    return (runs["dp"] == 1) & (stage > least) & ~counts


def _splits(base: Any, space: Space) -> tuple[list[Split], list[Rule]]:
    """The ways to split the devices that the model, the batch and the nodes allow."""
    layers, batch = int(base["layers"]), int(base["global_batch"])
    heads = math.gcd(int(base["heads"]), int(base["kv_heads"]))
    left = [
        Split(tp, pp, space.gpus // tp // pp)
        for tp in divisors(space.gpus)
        for pp in divisors(space.gpus // tp)
    ]  # fmt: skip
    rules = []
    fits: dict[str, Callable[[Split], bool]] = {
        "tp stays inside a node": lambda split: split.tp <= space.widest,
        "tp divides heads and kv_heads": lambda split: heads % split.tp == 0,
        "pp divides layers": lambda split: layers % split.pp == 0,
        "dp divides global_batch": lambda split: batch % split.dp == 0,
    }
    for rule, fit in fits.items():
        left, rejected = _kept(left, fit)
        rules.append(Rule(rule, "splits", rejected, len(left)))
    return left, rules


def _pipelines(base: Any, splits: list[Split], schedules: Sequence[int]) -> tuple[list[Split], list[Rule]]:
    """The splits with each micro-batch, share of experts and schedule that they can have."""
    layers, batch, experts = (int(base[name]) for name in ("layers", "global_batch", "experts"))
    left = [
        split._replace(micro_batch=micro_batch, ep=ep, chunks=chunks, schedule=schedule)
        for split in splits
        for micro_batch in divisors(batch // split.dp)
        for ep in divisors(math.gcd(split.dp, experts))
        for schedule in schedules
        for chunks in _chunks(schedule, split.pp, layers)
    ]

    def is_even(split: Split) -> bool:
        return batch // split.dp // split.micro_batch % split.pp == 0

    rules = []
    fits: dict[str, Callable[[Split], bool]] = {
        "pp divides the micro-batches of interleaved_1f1b": lambda split: (
            split.schedule != _INTERLEAVED or is_even(split)
        ),
        "pp is even and divides the micro-batches of chimera": lambda split: (
            split.schedule != _CHIMERA or (split.pp % 2 == 0 and is_even(split))
        ),
    }
    for rule, fit in fits.items():
        left, rejected = _kept(left, fit)
        rules.append(Rule(rule, "pipelines", rejected, len(left)))
    return left, rules


def _kept(splits: list[Split], fits: Callable[[Split], bool]) -> tuple[list[Split], int]:
    kept = [split for split in splits if fits(split)]
    return kept, len(splits) - len(kept)


def _chunks(schedule: int, pp: int, layers: int) -> list[int]:
    """Chunks that a stage can have by a schedule; a single stage is scheduled by 1f1b."""
    if pp == 1:
        return [1] if schedule == _F1B else []
    return divisors(layers // pp)[1:] if schedule == _INTERLEAVED else [1]


def _ways(space: Space) -> Iterator[tuple[int, ...]]:
    """Ways to save memory: recomputation, sequence parallelism, ZeRO, and where states, parameters, activations are.

    Parameters are moved for each micro-batch, states once a step, so parameters are no farther away than these.
    """
    for recompute, sequence, stage, states, parameters, activations in itertools.product(
        space.recomputes, (0, 1), space.stages, space.places, sorted({0, *space.places}), space.places
    ):
        if parameters <= states and (parameters == 0 or stage == ZERO_STAGES[-1]):
            yield recompute, sequence, stage, states, parameters, activations

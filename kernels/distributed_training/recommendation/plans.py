"""How to train a recommendation model on a cluster: ways to place its embedding tables, ranked.

The networks are copied to all devices, each of which takes as many samples; the tables are placed in any way, or in one
way only, in the devices' memory, or in the CPU's, too. The step is that of `operators`, with the lookups, updates and
exchanges of the slowest device of the placement; half of what it sends belongs to the forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ironlake.udf.engine import Database
from ironlake.udf.engine.declaration import closest

from ..checks import above_zero
from ..clusters import Cluster
from ..runs import OFFLOAD, PLACES, RECOMPUTE, SCHEDULES
from ..search import LIMITING, cost_per_mtoken, pareto
from .operators import (
    Component,
    Speed,
    check_networks,
    check_nodes,
    components,
    network_bytes,
    step_seconds,
)
from .placement import KINDS
from .shard_plan import Problem
from .tables import read_tables

if TYPE_CHECKING:
    import pyarrow as pa

_GIB = 1 << 30
#: Seconds of computing in which each placement is improved.
_TIME_LIMIT_S = 0.2
_NUMBER_BYTES = 4


class Networks(NamedTuple):
    """The networks of a recommendation model."""

    bottom: list[int]
    top: list[int]
    interaction: str


class RecommenderPlan(NamedTuple):
    """A way to place the tables, and what it comes to.

    Attributes
    ----------
    placement : ``any``, or one of `placement.KINDS`.
    is_offloaded : whether tables are in the CPU's memory, too.
    seconds : of a step.
    embedding_seconds : of the slowest device's lookups, updates and exchanges.
    size, embedding_size, cpu_size : [bytes] of the fullest device in all and of tables, and of the CPU's memory of a
        node.
    flops : of a step, of all devices.
    waits : [s] of what a step waits for beside the networks, by name.
    """

    placement: str
    is_offloaded: bool
    seconds: float
    embedding_seconds: float
    size: float
    embedding_size: float
    cpu_size: float
    flops: float
    waits: dict[str, float]

    @property
    def limiting(self) -> str:
        """What the step waits for most, if it is much."""
        name, seconds = max(self.waits.items(), key=lambda each: each[1])
        return name if seconds >= LIMITING * self.seconds else "compute"


def networks_of(model: Any) -> Networks:
    """The networks of a model that is given as a STRUCT.

    Raises
    ------
    ValueError
        If it is none, or a field is missing or unknown.
    """
    names = ("bottom_mlp", "top_mlp", "interaction")
    if not isinstance(model, Mapping):
        raise ValueError(
            f"argument model must be a STRUCT of bottom_mlp and top_mlp with embedding_tables, got {model!r}"
        )
    for name in model:
        if name not in names:
            raise ValueError(f"argument model has {name!r}{closest(name, names)}")
    for name in names[:2]:
        if not isinstance(model.get(name), list):
            raise ValueError(f"argument model has no list {name!r}, such as [13, 512, 128]; embedding_tables need one")
    interaction = model.get("interaction") or "dot"
    if interaction not in ("dot", "cat"):
        raise ValueError(f"argument model.interaction is {interaction!r}; expected one of dot, cat")
    return Networks(model["bottom_mlp"], model["top_mlp"], interaction)


def recommender_plans(
    model: Any, cluster: Cluster, gpus: int, batch: int, limit_gib: float | None, places: Sequence[str], relation: str,
    database: Database,
) -> list[RecommenderPlan]:  # fmt: skip
    """All plans that fit.

    Parameters
    ----------
    model : a STRUCT; see `networks_of`.
    cluster, gpus, batch : devices of a cluster, and samples of a step.
    limit_gib : [GiB] of a device, if not that of the cluster.
    places : of ``none`` and ``cpu``: where tables may be beside the devices.
    relation : of the embedding tables.

    Raises
    ------
    ValueError
        If something is wrong with the arguments, or there is no plan.
    """
    networks = networks_of(model)
    check_nodes("gpus", gpus, cluster)
    if batch % gpus:
        raise ValueError(
            f"argument global_batch is {batch}, no multiple of gpus {gpus}; expected as many samples for each"
        )
    if limit_gib is not None:
        above_zero(memory_limit_gib=limit_gib)
    tables = read_tables(relation, database)
    check_networks(networks.bottom, networks.top, tables)
    rows = components(networks.bottom, networks.top, tables, batch, gpus, networks.interaction, Speed.of(cluster, gpus))
    size = _network_size(networks, len(tables), batch / gpus)
    room = (cluster.need("hbm_gib") if limit_gib is None else limit_gib) - size / _GIB
    if room <= 0:
        raise ValueError(f"the networks take {size / _GIB:.1f} GiB of a device, which leaves no room for tables")
    plans, errors = [], []
    for placement, kinds, place in _ways(places):
        ddr_gib = cluster.need("cpu_gib") / cluster.gpus_per_node if place == "cpu" else 0.0
        try:
            problem = Problem.of(
                relation, gpus, batch, cluster.gpus_per_node, room, ddr_gib, kinds, "auto", _TIME_LIMIT_S,
                cluster.name, database,
            )  # fmt: skip
            found = problem.solve()
        except ValueError as error:
            errors.append(error)
            continue
        if place == "none" or problem.far.any():
            plans.append(_plan(placement, place, problem, found, rows, size))
    if not plans:
        raise ValueError(f"no placement of the embedding tables fits: {errors[0]}")
    return plans


def _ways(places: Sequence[str]) -> Iterator[tuple[str, list[str] | None, str]]:
    """Names of the ways to place tables, the kinds of shards that they allow, and the place beside the devices."""
    for place in places:
        yield "any", None, place
        for kind in KINDS:
            yield kind, [kind], place


def _network_size(networks: Networks, features: int, samples: float) -> float:
    """[bytes] of a device: weights and gradients of both networks, and what their layers give."""
    weights = network_bytes(networks.bottom, networks.top, features, networks.interaction)
    widths = sum(networks.bottom) + sum(networks.top) + (features + 1) * networks.bottom[-1]
    return 2 * weights + _NUMBER_BYTES * samples * widths


def _plan(
    placement: str, place: str, problem: Problem, found: Any, rows: list[Component], size: float
) -> RecommenderPlan:
    near, away = problem.held(found)
    parts = problem.parts(found) / 1e3
    forward, backward, sent = parts[parts.sum(1).argmax()].tolist()
    s = {row.component: row.seconds for row in rows}
    seconds = step_seconds(s, forward + sent / 2, backward + sent / 2)
    hidden = step_seconds({**s, "all_reduce": 0.0}, forward + sent / 2, backward + sent / 2)
    local = min(problem.devices, problem.per_node)
    networks = ("bottom_mlp", "interaction", "top_mlp")
    return RecommenderPlan(
        placement,
        place == "cpu",
        seconds,
        forward + backward + sent,
        float(near.max()) + size,
        float(near.max()),
        float(away.reshape(-1, local).sum(1).max()),
        problem.devices * sum(row.flops for row in rows if row.component in networks),
        {"lookups": forward + backward, "all_to_all": sent, "dp_comm": seconds - hidden},
    )


def recommender_table(
    plans: list[RecommenderPlan], cluster: Cluster, gpus: int, batch: int, seq: int, top_k: int, objective: str,
    mfu_floor: float,
) -> pa.Table:  # fmt: skip
    """The best plans, in the columns of `training_plan`.

    Raises
    ------
    ValueError
        If none has an mfu that is high enough.
    """
    import pyarrow as pa

    size, seconds, flops = (np.array([getattr(plan, name) for plan in plans]) for name in ("size", "seconds", "flops"))
    mfu = flops / seconds / gpus / (cluster.need("peak_tflops_fp16") * 1e12)
    if not (mfu >= mfu_floor).any():
        raise ValueError(f"argument mfu_floor is {mfu_floor}, but the best plan has an mfu of {mfu.max():.3f}")
    order = np.lexsort((size, seconds) if objective != "memory" else (seconds, size))
    rows = order[mfu[order] >= mfu_floor][:top_k]
    chosen = [plans[row] for row in rows]
    ones, zeros = np.ones(len(rows), np.int64), np.zeros(len(rows))
    return pa.table(
        {
            "rank": np.arange(1, len(rows) + 1),
            "tp": ones,
            "pp": ones,
            "dp": gpus * ones,
            "ep": ones,
            "micro_batch": batch // gpus * ones,
            "chunks": ones,
            "schedule": [SCHEDULES[0]] * len(rows),
            "zero_stage": 0 * ones,
            **{name: [OFFLOAD[plan.is_offloaded] for plan in chosen] for name in PLACES[:2]},
            PLACES[2]: [OFFLOAD[0]] * len(rows),
            "recompute": [RECOMPUTE[0]] * len(rows),
            "seq_parallel": zeros > 0,
            "step_time_s": seconds[rows],
            "tokens_per_s": batch * seq / seconds[rows],
            "tflops_per_gpu": flops[rows] / seconds[rows] / gpus / 1e12,
            "mfu": mfu[rows],
            "memory_gib": size[rows] / _GIB,
            "cpu_gib": [plan.cpu_size / _GIB for plan in chosen],
            "nvme_gib": zeros,
            "bubble_ratio": zeros,
            "limiting": [plan.limiting for plan in chosen],
            "pareto": pareto(size, seconds)[rows],
            "cost_per_mtoken": pa.array(cost_per_mtoken(cluster, gpus, seconds[rows] / batch / seq), pa.float64()),
            "placement": [plan.placement for plan in chosen],
            "embedding_gib": [plan.embedding_size / _GIB for plan in chosen],
            "embedding_s": [plan.embedding_seconds for plan in chosen],
        }
    )

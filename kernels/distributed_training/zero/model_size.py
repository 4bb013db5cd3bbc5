"""The largest model that fits a number of nodes: figure 6a of the ZeRO-Infinity paper.

Models grow as published ones did: from 48 layers at width 1,600 (1.5 billion parameters) to 128 at 25,600 (a trillion),
which is ``layers = 48 (hidden / 1600)^0.36``, with heads of 128 numbers. Each strategy takes the widest model whose
states, checkpoints and working memory fit every tier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ironlake.udf.engine import Database, table
from ironlake.udf.engine.declaration import closest

from ..checks import at_least
from ..clusters import Cluster, find_cluster
from .memory import Need, States, capacities

if TYPE_CHECKING:
    import pyarrow as pa

_HEAD = 128
_WIDEST = 1 << 20
_TILINGS = (1, 2, 4, 8, 16)


class Shape(NamedTuple):
    """A transformer of the family that models are taken from."""

    layers: int
    hidden: int

    @classmethod
    def of(cls, heads: int) -> Shape:
        """The model with a number of heads."""
        hidden = heads * _HEAD
        return cls(max(1, round(48 * (hidden / 1600) ** 0.36)), hidden)

    @property
    def params(self) -> float:
        """Parameters of the blocks, nearly all that there are."""
        return 12.0 * self.layers * self.hidden**2


@table
def max_model_size(
    cluster: str,
    nodes: int,
    database: Database,
    strategies: list[str] | None = None,
    batch_per_gpu: int = 1,
    seq: int = 1024,
) -> pa.Table:
    """Tell the largest transformer that fits some nodes, by what is sharded and where states are kept.

    Parameters
    ----------
    cluster : whose nodes; see `training_clusters`.
    nodes : how many.
    strategies : some of ``data_parallel``, ``zero_2``, ``zero_offload`` (stage 2, optimizer states and gradients in CPU
        memory), ``3d_parallel`` (tensor and pipeline parallel over all devices), ``zero_3``, ``infinity_cpu``,
        ``infinity_nvme`` (stage 3, states in CPU memory or on drives, checkpoints in CPU memory); by default all that
        the cluster's row has the facts for.
    batch_per_gpu, seq : sequences per device, and their tokens.

    Returns
    -------
    TABLE
        A row per strategy: ``strategy`` VARCHAR, ``max_params`` DOUBLE, ``limited_by`` VARCHAR (the tier that the next
        larger model does not fit, and the component that takes most of it), ``layers``, ``hidden`` INTEGER.

    Raises
    ------
    ValueError
        If the cluster is unknown or its row lacks a memory that a strategy needs, a strategy is unknown, a number is
        below 1, or no model fits.

    References
    ----------
    Rajbhandari and others: ZeRO-Infinity, SC (2021), figure 6a and section 8.

    Examples
    --------
    SELECT strategy, max_params / 1e9 AS billions, limited_by FROM max_model_size('dgx2_v100', 1);
    """
    import pyarrow as pa

    at_least(1, nodes=nodes, batch_per_gpu=batch_per_gpu, seq=seq)
    machine = find_cluster(cluster, database)
    for name in strategies or []:
        if name not in _STRATEGIES:
            raise ValueError(f"argument strategies has {name!r}{closest(str(name), _STRATEGIES)}")
    chosen = [name for name in _STRATEGIES if _has_facts(machine, name)] if strategies is None else strategies
    cluster_of = _Cluster(machine, nodes, batch_per_gpu, seq)
    found = [cluster_of.largest(name) for name in chosen]
    columns = {
        "strategy": pa.array(chosen, pa.string()),
        "max_params": pa.array([shape.params for shape, _ in found], pa.float64()),
        "limited_by": pa.array([limit for _, limit in found], pa.string()),
        "layers": pa.array([shape.layers for shape, _ in found], pa.int32()),
        "hidden": pa.array([shape.hidden for shape, _ in found], pa.int32()),
    }
    return pa.table(columns)


def _has_facts(cluster: Cluster, strategy: str) -> bool:
    columns = {"zero_offload": ["cpu_gib"], "infinity_cpu": ["cpu_gib"], "infinity_nvme": ["cpu_gib", "nvme_gib"]}
    return all(getattr(cluster, column) is not None for column in columns.get(strategy, []))


@dataclass(frozen=True)
class _Cluster:
    """What models are tried on."""

    machine: Cluster
    nodes: int
    batch_per_gpu: int
    seq: int

    def largest(self, strategy: str) -> tuple[Shape, str]:
        """The largest model that fits, and what the next one exceeds."""
        low, high = 0, _WIDEST // _HEAD
        while high - low > 1:  # the model of `low` heads fits, that of `high` heads does not
            middle = (low + high) // 2
            low, high = (low, middle) if self.excess(strategy, Shape.of(middle)) else (middle, high)
        limit = self.excess(strategy, Shape.of(high)) or "the widest model tried"
        if not low:
            raise ValueError(
                f"argument strategies has {strategy!r}, with which no model fits {self.nodes} nodes of "
                f"{self.machine.name!r}: {limit} is too large; expected fewer sequences, or larger memories"
            )
        return Shape.of(low), limit

    def excess(self, strategy: str, shape: Shape) -> str | None:
        """What does not fit, by the arrangement that comes closest to fitting; None if one fits."""
        closest_one: tuple[float, str] | None = None
        for needs in _STRATEGIES[strategy](self, shape):
            over = self._over(needs)
            if over is None:
                return None
            closest_one = over if closest_one is None else min(closest_one, over)
        return "no arrangement" if closest_one is None else closest_one[1]

    def _over(self, needs: list[Need]) -> tuple[float, str] | None:
        """The tier that is exceeded most, as a ratio and in words."""
        room = capacities(self.machine, {need.tier for need in needs})
        worst: tuple[float, str] | None = None
        for tier, capacity in room.items():
            components = [need for need in needs if need.tier == tier]
            ratio = sum(need.bytes for need in components) / capacity
            if ratio > 1 and (worst is None or ratio > worst[0]):
                largest = max(components, key=lambda need: need.bytes)
                worst = ratio, f"{largest.component} on {tier}"
        return worst

    def states(self, shape: Shape) -> States:
        """The model on all devices, not sharded yet."""
        gpus = self.nodes * self.machine.gpus_per_node
        return States(
            shape.params, shape.layers, shape.hidden, shape.hidden // _HEAD, gpus, self.machine.gpus_per_node,
            0, batch_per_gpu=self.batch_per_gpu, seq=self.seq, bytes_per_param=16.0,
        )  # fmt: skip


_Arrangements = Iterator[list[Need]]


def _data_parallel(cluster: _Cluster, shape: Shape) -> _Arrangements:
    yield cluster.states(shape).needs()


def _zero_2(cluster: _Cluster, shape: Shape) -> _Arrangements:
    yield replace(cluster.states(shape), zero_stage=2).needs()


def _zero_offload(cluster: _Cluster, shape: Shape) -> _Arrangements:
    yield replace(cluster.states(shape), zero_stage=2, optimizer="cpu").needs()


def _zero_3(cluster: _Cluster, shape: Shape) -> _Arrangements:
    for tiling in _TILINGS:
        yield replace(cluster.states(shape), zero_stage=3, tiling=tiling).needs()


def _infinity_cpu(cluster: _Cluster, shape: Shape) -> _Arrangements:
    for tiling in _TILINGS:
        states = replace(cluster.states(shape), zero_stage=3, tiling=tiling, bytes_per_param=20.0)
        yield replace(states, optimizer="cpu", parameters="cpu", activations="cpu").needs()


def _infinity_nvme(cluster: _Cluster, shape: Shape) -> _Arrangements:
    for tiling in _TILINGS:
        states = replace(cluster.states(shape), zero_stage=3, tiling=tiling, bytes_per_param=20.0)
        yield replace(states, optimizer="nvme", parameters="nvme", activations="cpu").needs()


def _three_d_parallel(cluster: _Cluster, shape: Shape) -> _Arrangements:
    """Tensor-parallel inside nodes, pipelines across; the first stage holds as many micro-batches as there are stages.

    A micro-batch has ``batch_per_gpu`` sequences for each device of its tensor-parallel group, which all keep its
    checkpoints. Layers that do not divide evenly leave the first stage one more.
    """
    whole = cluster.states(shape)
    for tensor in range(1, min(whole.gpus, whole.gpus_per_node) + 1):
        stages = whole.gpus // tensor
        if whole.gpus % tensor or shape.hidden % tensor or shape.layers < stages:
            continue
        first = Shape(-(-shape.layers // stages), shape.hidden)
        held, micro_batch = first.layers * stages, whole.batch_per_gpu * tensor
        one = replace(whole, params=first.params / tensor, layers=held, batch_per_gpu=micro_batch)
        sequences = one.batch_per_gpu * one.seq
        working = 2.0 * sequences * (10 * one.hidden + (6 * one.hidden + 2 * one.heads * one.seq) / tensor)
        needs = [need for need in one.needs() if need.component != "activation_working_memory"]
        yield [*needs, Need("gpu", "activation_working_memory", working)]


_STRATEGIES: dict[str, Callable[[_Cluster, Shape], _Arrangements]] = {
    "data_parallel": _data_parallel,
    "zero_2": _zero_2,
    "zero_offload": _zero_offload,
    "3d_parallel": _three_d_parallel,
    "zero_3": _zero_3,
    "infinity_cpu": _infinity_cpu,
    "infinity_nvme": _infinity_nvme,
}

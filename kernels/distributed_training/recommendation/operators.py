"""What the operators of a recommendation model cost: the deep learning recommendation model (DLRM), section by section.

F features are looked up in embedding tables of dimension d, dense ones go through the bottom network, whose output is
one more vector of d numbers. The products of all pairs of these F + 1 vectors, behind the bottom network's output, are
what the top network sees. Networks are copied to all devices, so their gradients are summed (all-reduce); tables are
spread, so their sums go to the devices of the samples and gradients come back (all-to-all).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ironlake.udf.engine import Database, table

from ..checks import at_least
from ..clusters import find_cluster
from ..collectives import (
    hierarchical_all_reduce,
    hierarchical_all_to_all,
    ring_all_reduce,
    ring_all_to_all,
)
from .tables import EmbeddingTables, read_tables

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBER_BYTES, _INDEX_BYTES, _STATE_BYTES = 4, 8, 4


def interaction_size(features: int, dim: int, interaction: str) -> int:
    """Numbers that the top network sees: of F looked-up features and the dense one, of a dimension."""
    vectors = features + 1
    return vectors * dim if interaction == "cat" else vectors * (vectors - 1) // 2 + dim


def network_params(sizes: Sequence[int]) -> int:
    """Weights and biases of a network with layers of these sizes."""
    return sum((before + 1) * after for before, after in pairwise(sizes))


def network_flops(sizes: Sequence[int]) -> int:
    """Operations per sample, forward and backward."""
    return 6 * sum(before * after for before, after in pairwise(sizes))


@table
def dlrm_cost(
    bottom_mlp: list[int],
    top_mlp: list[int],
    tables: str,
    batch: int,
    devices: int,
    database: Database,
    cluster: str = "selene_a100",
    interaction: Literal["dot", "cat"] = "dot",
    topology: Literal["switch", "ring"] = "switch",
) -> pa.Table:
    """Tell what a training step of a recommendation model costs each device, operator by operator.

    Parameters
    ----------
    bottom_mlp : sizes of the bottom network from the dense features to the embeddings' dimension.
    top_mlp : sizes of the top network behind its input, which is what the interaction gives, to 1.
    tables : a relation of the embedding tables, or a query; see `embedding_shard_plan`.
    batch : samples of a step, on all devices together.
    devices : full nodes of them, or part of one.
    cluster : whose devices and links; see `training_clusters`.
    interaction : ``dot`` (products of all pairs) or ``cat`` (vectors side by side).
    topology : of the links: ``switch``, inside nodes and between them, or one ``ring`` of all devices, at the bandwidth
        inside nodes.

    Returns
    -------
    TABLE
        A row per component: ``component`` VARCHAR, ``flops``, ``bytes`` (in a device's memory, or sent by it),
        ``seconds`` DOUBLE. Tables are taken to be spread evenly. ``step`` is the whole: the bottom network runs beside
        the lookups and their exchange, the all-reduce beside the backward pass.

    Raises
    ------
    ValueError
        If a size is below 1, tables differ in dimension from each other or the bottom network, the cluster is unknown
        or its row lacks a fact.

    References
    ----------
    Naumov and others: Deep Learning Recommendation Model, arXiv 1906.00091 (2019); Deep Learning Training in Facebook
    Data Centers, arXiv 2003.09518 (2020).

    Examples
    --------
    SELECT component, flops, bytes, seconds
    FROM dlrm_cost([13, 512, 256, 128], [1024, 1024, 512, 256, 1], 'FROM dlrm_tables()', 65536, 16);
    """
    import pyarrow as pa

    at_least(1, bottom_mlp=bottom_mlp, top_mlp=top_mlp, batch=batch, devices=devices)
    machine = find_cluster(cluster, database)
    if devices > machine.gpus_per_node and devices % machine.gpus_per_node:
        raise ValueError(f"argument devices is {devices}; expected full nodes of {machine.gpus_per_node}")
    if len(bottom_mlp) < 2 or not top_mlp:
        raise ValueError(
            f"arguments bottom_mlp and top_mlp have {len(bottom_mlp)} and {len(top_mlp)} sizes; expected at least 2 "
            "and 1"
        )
    found = read_tables(tables, database)
    if len({*found.dims.tolist(), bottom_mlp[-1]}) > 1:
        raise ValueError(
            f"argument bottom_mlp ends with {bottom_mlp[-1]}, the tables have dimensions "
            f"{sorted({*found.dims.tolist()})}; expected one dimension of all"
        )
    between = machine.need("inter_gbps_per_gpu") if devices > machine.gpus_per_node else 1.0
    speed = _Speed(
        machine.need("achievable_tflops" if machine.achievable_tflops else "peak_tflops_fp16") * 1e12,
        machine.need("hbm_gbps") * 1e9,
        machine.need("intra_gbps") * 1e9,
        between * 1e9,
        machine.latency_s,
        machine.gpus_per_node,
        topology == "ring",
    )
    rows = _components(bottom_mlp, top_mlp, found, batch, devices, interaction, speed)
    columns = {"component": pa.array([row.component for row in rows], pa.string())}
    for name in ("flops", "bytes", "seconds"):
        columns[name] = pa.array([getattr(row, name) for row in rows], pa.float64())
    return pa.table(columns)


@dataclass(frozen=True)
class _Speed:
    """What a device does in a second: operations, and bytes of its memory and of its links."""

    flops: float
    memory: float
    intra: float
    inter: float
    latency: float
    per_node: int
    is_ring: bool

    def compute(self, flops: float, size: float) -> float:
        """[s] of an operator that is as slow as the slower of its arithmetic and its memory."""
        return max(flops / self.flops, size / self.memory)

    def all_reduce(self, size: float, devices: int) -> float:
        if self.is_ring:
            return float(ring_all_reduce(size, devices, self.intra, self.latency))
        return float(hierarchical_all_reduce(size, devices, self.intra, self.latency, self.per_node, self.inter))

    def all_to_all(self, size: float, devices: int) -> float:
        if self.is_ring:
            return float(ring_all_to_all(size, devices, self.intra, self.latency))
        return float(hierarchical_all_to_all(size, devices, self.intra, self.latency, self.per_node, self.inter))


@dataclass(frozen=True)
class _Component:
    component: str
    flops: float
    bytes: float
    seconds: float


def _components(
    bottom: list[int],
    top: list[int],
    tables: EmbeddingTables,
    batch: int,
    devices: int,
    interaction: str,
    speed: _Speed,
) -> list[_Component]:
    samples, features, dim = batch / devices, len(tables), bottom[-1]
    seen = interaction_size(features, dim, interaction)
    whole_top = [seen, *top]
    products = 3 * 2 * (features + 1) ** 2 * dim if interaction == "dot" else 0

    def network(name: str, sizes: list[int]) -> _Component:
        moved = 3 * _NUMBER_BYTES * (network_params(sizes) + samples * sum(sizes))
        flops = samples * network_flops(sizes)
        return _Component(name, flops, moved, speed.compute(flops, moved))

    def memory(name: str, flops: float, moved: float) -> _Component:
        return _Component(name, flops, moved, speed.compute(flops, moved))

    def exchange(name: str, size: float) -> _Component:
        return _Component(name, 0.0, size * (devices - 1) / devices, speed.all_to_all(size, devices))

    vectors = 3 * _NUMBER_BYTES * samples * ((features + 1) * dim + seen)
    numbers = float((tables.pooling * tables.dims).sum()) * samples
    read = float((tables.pooling * tables.dims * tables.number_bytes).sum()) * samples
    pooled = float((tables.dims * tables.number_bytes).sum()) * samples
    states = 2 * _STATE_BYTES * float(tables.pooling.sum()) * samples
    gradients = float(_NUMBER_BYTES * (network_params(bottom) + network_params(whole_top)))
    rows = [
        network("bottom_mlp", bottom),
        exchange("index_all_to_all", _INDEX_BYTES * float(tables.pooling.sum()) * samples),
        memory("embedding_lookup", numbers, read + pooled),
        exchange("forward_all_to_all", pooled),
        memory("interaction", samples * products, vectors),
        network("top_mlp", whole_top),
        exchange("backward_all_to_all", pooled),
        memory("embedding_update", 2 * numbers, 2 * read + states + pooled),
        _Component(
            "all_reduce", 0.0, 2 * gradients * (devices - 1) / devices, speed.all_reduce(gradients, devices)
        ),
    ]  # fmt: skip
    return [*rows, _step(rows)]


def _step(rows: list[_Component]) -> _Component:
    """The whole step; a third of the networks' and the interaction's work is the forward pass."""
    s = {row.component: row.seconds for row in rows}
    lookups = s["index_all_to_all"] + s["embedding_lookup"] + s["forward_all_to_all"]
    forward = max(s["bottom_mlp"] / 3, lookups) + (s["interaction"] + s["top_mlp"]) / 3
    back = s["backward_all_to_all"] + s["embedding_update"]
    backward = (s["interaction"] + s["top_mlp"]) * 2 / 3 + max(s["bottom_mlp"] * 2 / 3, back)
    seconds = forward + max(backward, s["all_reduce"])
    return _Component("step", sum(row.flops for row in rows), sum(row.bytes for row in rows), seconds)

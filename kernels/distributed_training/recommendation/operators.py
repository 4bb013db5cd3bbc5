"""What the operators of a recommendation model cost: the deep learning recommendation model (DLRM), section by section.

F features are looked up in embedding tables of dimension d, dense ones go through the bottom network, whose output is
one more vector of d numbers. The products of all pairs of these F + 1 vectors, behind the bottom network's output, are
what the top network sees. Networks are copied to all devices, so their gradients are summed (all-reduce); tables are
spread, so their sums go to the devices of the samples and gradients come back (all-to-all).

Devices can also train on their own, each on its part of the batch, with tables and networks on parameter servers:

    throughput = min(trainers * rate of one, bandwidth of the servers / bytes of a trainer's step)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ironlake.udf.engine import Database, table

from ..checks import above_zero, at_least
from ..clusters import Cluster, find_cluster
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


def network_bytes(bottom: Sequence[int], top: Sequence[int], features: int, interaction: str) -> float:
    """[bytes] of both networks."""
    seen = interaction_size(features, bottom[-1], interaction)
    return float(_NUMBER_BYTES * (network_params(bottom) + network_params([seen, *top])))


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
    mode: Literal["synchronous", "parameter_server", "easgd"] = "synchronous",
    servers: int = 1,
    server_gbps: float | None = None,
    period: int = 16,
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
    mode : ``synchronous``; or each device is a trainer that waits for no other: ``parameter_server`` (gradients of the
        networks go to the servers in each step, and parameters come back), ``easgd`` (elastic averaging: each trainer
        has networks of its own, which it and the servers' pull towards each other now and then). Tables are on the
        servers in both.
    servers, server_gbps : parameter servers, and [GB/s] that each receives; by default as much as a device between
        nodes.
    period : steps of a trainer from one exchange of ``easgd`` to the next.

    Returns
    -------
    TABLE
        A row per component: ``component`` VARCHAR, ``flops``, ``bytes`` (in a device's memory, or sent by it),
        ``seconds``, ``staleness`` DOUBLE. Tables are taken to be spread evenly. ``step`` is the whole: the bottom
        network runs beside the lookups and their exchange, the all-reduce beside the backward pass. Of the other modes
        the components are those of a trainer, and ``servers``, whose bytes and seconds are those of all trainers'
        steps: the slower of both is the step. ``staleness``, of ``step`` only, tells how many gradients of other
        trainers the networks can lack that a gradient is computed with.

    Raises
    ------
    ValueError
        If a size or a number is too small, tables differ in dimension from each other or the bottom network, the
        cluster is unknown or its row lacks a fact.

    References
    ----------
    Naumov and others: Deep Learning Recommendation Model, arXiv 1906.00091 (2019); Deep Learning Training in Facebook
    Data Centers, arXiv 2003.09518 (2020). Zhang and others: Deep Learning with Elastic Averaging SGD, NeurIPS (2015).

    Examples
    --------
    SELECT component, flops, bytes, seconds
    FROM dlrm_cost([13, 512, 256, 128], [1024, 1024, 512, 256, 1], 'FROM dlrm_tables()', 65536, 16);
    SELECT 65536 / seconds AS samples_per_s, staleness
    FROM dlrm_cost([13, 512, 256, 128], [1024, 1024, 512, 256, 1], 'FROM dlrm_tables()', 65536, 16,
        mode := 'easgd', servers := 8) WHERE component = 'step';
    """
    import pyarrow as pa

    at_least(1, batch=batch, devices=devices, servers=servers, period=period)
    machine = find_cluster(cluster, database)
    check_nodes("devices", devices, machine)
    found = read_tables(tables, database)
    check_networks(bottom_mlp, top_mlp, found)
    speed = Speed.of(machine, devices, topology == "ring")
    rows = components(bottom_mlp, top_mlp, found, batch, devices, interaction, speed)
    whole, staleness = step(rows), 0.0
    if mode != "synchronous":
        link = machine.need("inter_gbps_per_gpu")
        above_zero(server_gbps=link if server_gbps is None else server_gbps)
        every = period if mode == "easgd" else 1
        exchanged = network_bytes(bottom_mlp, top_mlp, len(found), interaction) / every
        rows = _asynchronous(rows, found, batch, devices, exchanged, servers * (server_gbps or link) * 1e9, link * 1e9)
        whole, staleness = _slower(rows), (devices - 1.0) * every
    columns = {"component": pa.array([row.component for row in (*rows, whole)], pa.string())}
    for name in ("flops", "bytes", "seconds"):
        columns[name] = pa.array([getattr(row, name) for row in (*rows, whole)], pa.float64())
    columns["staleness"] = pa.array([None] * len(rows) + [staleness], pa.float64())
    return pa.table(columns)


def check_nodes(name: str, devices: int, cluster: Cluster) -> None:
    """Refuse devices that are neither full nodes nor part of one.

    Raises
    ------
    ValueError
        With the argument's name.
    """
    if devices > cluster.gpus_per_node and devices % cluster.gpus_per_node:
        raise ValueError(f"argument {name} is {devices}; expected full nodes of {cluster.gpus_per_node}")


def check_networks(bottom_mlp: Sequence[int], top_mlp: Sequence[int], tables: EmbeddingTables) -> None:
    """Refuse networks that do not fit each other or the tables.

    Raises
    ------
    ValueError
        With the argument's name.
    """
    at_least(1, bottom_mlp=bottom_mlp, top_mlp=top_mlp)
    if len(bottom_mlp) < 2 or not top_mlp:
        raise ValueError(
            f"arguments bottom_mlp and top_mlp have {len(bottom_mlp)} and {len(top_mlp)} sizes; expected at least 2 "
            "and 1"
        )
    if len({*tables.dims.tolist(), bottom_mlp[-1]}) > 1:
        raise ValueError(
            f"argument bottom_mlp ends with {bottom_mlp[-1]}, the tables have dimensions "
            f"{sorted({*tables.dims.tolist()})}; expected one dimension of all"
        )


@dataclass(frozen=True)
class Speed:
    """What a device does in a second: operations, and bytes of its memory and of its links."""

    flops: float
    memory: float
    intra: float
    inter: float
    latency: float
    per_node: int
    is_ring: bool

    @classmethod
    def of(cls, cluster: Cluster, devices: int, is_ring: bool = False) -> Speed:
        """That of so many devices of a cluster.

        Raises
        ------
        ValueError
            If its row lacks a fact.
        """
        return cls(
            cluster.need("achievable_tflops" if cluster.achievable_tflops else "peak_tflops_fp16") * 1e12,
            cluster.need("hbm_gbps") * 1e9,
            cluster.need("intra_gbps") * 1e9,
            cluster.need("inter_gbps_per_gpu") * 1e9 if devices > cluster.gpus_per_node else 1e9,
            cluster.latency_s,
            cluster.gpus_per_node,
            is_ring,
        )

    def compute(self, flops: float, size: float) -> float:
        """[s] of an operator that is as slow as the slower of its arithmetic and its memory."""
        return max(flops / self.flops, size / self.memory)

    def all_reduce(self, size: float, devices: int) -> float:
        """[s] in which devices add up a buffer."""
        if self.is_ring:
            return float(ring_all_reduce(size, devices, self.intra, self.latency))
        return float(hierarchical_all_reduce(size, devices, self.intra, self.latency, self.per_node, self.inter))

    def all_to_all(self, size: float, devices: int) -> float:
        """[s] in which each device sends a share of a buffer to each other."""
        if self.is_ring:
            return float(ring_all_to_all(size, devices, self.intra, self.latency))
        return float(hierarchical_all_to_all(size, devices, self.intra, self.latency, self.per_node, self.inter))


@dataclass(frozen=True)
class Component:
    """What an operator costs a device in a step."""

    component: str
    flops: float
    bytes: float
    seconds: float


def components(
    bottom: list[int],
    top: list[int],
    tables: EmbeddingTables,
    batch: int,
    devices: int,
    interaction: str,
    speed: Speed,
) -> list[Component]:
    """The operators of a synchronous step, without the whole."""
    samples, features, dim = batch / devices, len(tables), bottom[-1]
    seen = interaction_size(features, dim, interaction)
    whole_top = [seen, *top]
    products = 3 * 2 * (features + 1) ** 2 * dim if interaction == "dot" else 0

    def network(name: str, sizes: list[int]) -> Component:
        moved = 3 * _NUMBER_BYTES * (network_params(sizes) + samples * sum(sizes))
        flops = samples * network_flops(sizes)
        return Component(name, flops, moved, speed.compute(flops, moved))

    def memory(name: str, flops: float, moved: float) -> Component:
        return Component(name, flops, moved, speed.compute(flops, moved))

    def exchange(name: str, size: float) -> Component:
        return Component(name, 0.0, size * (devices - 1) / devices, speed.all_to_all(size, devices))

    vectors = 3 * _NUMBER_BYTES * samples * ((features + 1) * dim + seen)
    numbers = float((tables.pooling * tables.dims).sum()) * samples
    read = float((tables.pooling * tables.dims * tables.number_bytes).sum()) * samples
    pooled = float((tables.dims * tables.number_bytes).sum()) * samples
    states = 2 * _STATE_BYTES * float(tables.pooling.sum()) * samples
    gradients = network_bytes(bottom, top, features, interaction)
    return [
        network("bottom_mlp", bottom),
        exchange("index_all_to_all", _INDEX_BYTES * float(tables.pooling.sum()) * samples),
        memory("embedding_lookup", numbers, read + pooled),
        exchange("forward_all_to_all", pooled),
        memory("interaction", samples * products, vectors),
        network("top_mlp", whole_top),
        exchange("backward_all_to_all", pooled),
        memory("embedding_update", 2 * numbers, 2 * read + states + pooled),
        Component(
            "all_reduce", 0.0, 2 * gradients * (devices - 1) / devices, speed.all_reduce(gradients, devices)
        ),
    ]  # fmt: skip


def step(rows: list[Component]) -> Component:
    """The whole step; a third of the networks' and the interaction's work is the forward pass."""
    s = {row.component: row.seconds for row in rows}
    lookups = s["index_all_to_all"] + s["embedding_lookup"] + s["forward_all_to_all"]
    seconds = step_seconds(s, lookups, s["backward_all_to_all"] + s["embedding_update"])
    return Component("step", sum(row.flops for row in rows), sum(row.bytes for row in rows), seconds)


def step_seconds(s: dict[str, float], lookups: float, updates: float) -> float:
    """[s] of a step, of those of its operators, and of embeddings forward and backward."""
    forward = max(s["bottom_mlp"] / 3, lookups) + (s["interaction"] + s["top_mlp"]) / 3
    backward = (s["interaction"] + s["top_mlp"]) * 2 / 3 + max(s["bottom_mlp"] * 2 / 3, updates)
    return forward + max(backward, s["all_reduce"])


def _asynchronous(
    rows: list[Component], tables: EmbeddingTables, batch: int, devices: int, exchanged: float, servers: float,
    link: float,
) -> list[Component]:  # fmt: skip
    """What a trainer does and moves in a step of its own, and what the servers receive in the steps of all.

    Parameters
    ----------
    rows : the operators of a synchronous step; the networks are as there.
    exchanged : [bytes] of the networks that go to the servers in a step, and come back.
    servers, link : [bytes/s] of all servers, and of a trainer.
    """
    samples = batch / devices
    pooled = float((tables.dims * tables.number_bytes).sum()) * samples
    asked = _INDEX_BYTES * float(tables.pooling.sum()) * samples
    sent = asked + pooled + exchanged  # indices, gradients of the embeddings' sums and of the networks
    received = pooled + exchanged
    return [
        *(row for row in rows if row.component in ("bottom_mlp", "interaction", "top_mlp")),
        Component("pull", 0.0, received, received / link),
        Component("push", 0.0, sent, sent / link),
        Component("servers", 0.0, devices * sent, devices * sent / servers),
    ]


def _slower(rows: list[Component]) -> Component:
    """The steps of all trainers: as slow as a trainer, or as the servers."""
    *trainer, servers = rows
    seconds = max(sum(row.seconds for row in trainer), servers.seconds)
    return Component("step", sum(row.flops for row in trainer), sum(row.bytes for row in trainer), seconds)

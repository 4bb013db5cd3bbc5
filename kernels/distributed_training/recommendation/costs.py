"""What a shard of an embedding table costs in a step: ours, and that of TorchRec's planner.

A shard holds a share of a table's rows and ``dim`` of its columns. It looks up ``lookups = share * batch * pooling``
rows for all samples of the step and gives a sum of ``dim`` numbers for each sample. Its cost is linear in each:

    block * (c0 share max(dim, least) + c1 share + c2 dim) + c3 dim + c4 share

with c0 for the rows that are read and changed, c1 for the indices, c2 for the sums, c3 for sending the sums to the
devices of the samples and their gradients back, c4 for receiving the indices. ``block`` and ``least`` are 1 and 0 but
for TorchRec's model, which charges narrow rows more. All costs are in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..clusters import Cluster
from ..collectives import hierarchical_all_reduce
from .tables import EmbeddingTables

_INDEX_BYTES = 8
#: Row-wise Adagrad keeps one number of 4 bytes for each row, which a step reads and writes.
_STATE_BYTES = 4
PARTS = ("fwd", "bwd", "comm")
_GIB = 1 << 30


@dataclass(frozen=True)
class Topology:
    """Devices and their links.

    Attributes
    ----------
    devices, per_node : in all, and of a node.
    memory, far_memory : [bytes/ms] of a device's own memory and of the way to that of the CPU.
    intra, inter : [bytes/ms] of a device to those of its node and to others.
    latency : [s] of a message.
    """

    devices: int
    per_node: int
    memory: float
    far_memory: float
    intra: float
    inter: float
    latency: float

    @classmethod
    def of(cls, cluster: Cluster, devices: int, per_node: int, has_far: bool) -> Topology:
        """That of a cluster.

        Raises
        ------
        ValueError
            If its row lacks a fact.
        """

        def rate(column: str, is_used: bool) -> float:
            return cluster.need(column) * 1e6 if is_used else 1.0

        return cls(
            devices, per_node, rate("hbm_gbps", True), rate("cpu_link_gbps", has_far), rate("intra_gbps", devices > 1),
            rate("inter_gbps_per_gpu", devices > per_node), cluster.latency_s,
        )  # fmt: skip

    @property
    def local(self) -> int:
        """Devices that share a node with a device, itself included."""
        return min(self.devices, self.per_node)

    @property
    def nodes(self) -> int:
        """Nodes that the devices fill."""
        return self.devices // self.local

    @property
    def exchange(self) -> float:
        """[ms/byte] of a device that sends to all others alike."""
        inside, outside = self.local - 1, self.devices - self.local
        return (inside / self.intra + outside / self.inter) / self.devices

    @property
    def node_reduction(self) -> float:
        """[ms/byte] of a reduce-scatter inside nodes and an exchange of the shares between them."""
        inside, outside = (self.local - 1) / self.local, (self.nodes - 1) / self.nodes
        return inside / self.intra + outside / self.local / self.inter


class Costs(NamedTuple):
    """The coefficients of all tables.

    Attributes
    ----------
    whole, split, grouped : (tables, 3, 5)
        c0 ... c4 of the forward pass, the backward pass and communication: of shards with all rows; of those with some;
        and of shards that divide the rows evenly over the devices of a node.
    replicated : (tables, 3)
        [ms] of a table on each device if every device has all of it.
    block : (2,)
        The factors of shards with all rows and few columns: from 64 on, and below; 1 from 128 on.
    least : float
        Columns that are charged at least for a shard with all rows.
    """

    whole: Any
    split: Any
    grouped: Any
    replicated: Any
    block: Any
    least: float

    def of_whole(self, dims: Any) -> Any:
        """[ms] of the parts of shards with all rows and so many columns; (tables, 3)."""
        factor = np.where(dims >= 128, 1.0, np.where(dims >= 64, *self.block))
        c = np.moveaxis(self.whole, 2, 0)
        width = dims[:, None]
        block = c[0] * np.maximum(width, self.least) + c[1] + c[2] * width
        return factor[:, None] * block + c[3] * width + c[4]

    def of_split(self, share: Any, dims: Any, *, grouped: bool = False) -> Any:
        """[ms] of the parts of shards with a share of the rows; (tables, 3)."""
        c = np.moveaxis(self.grouped if grouped else self.split, 2, 0)
        part, width = np.broadcast_to(share, dims.shape)[:, None], dims[:, None]
        return c[0] * part * width + c[1] * part + (c[2] + c[3]) * width + c[4] * part


def own_costs(tables: EmbeddingTables, topology: Topology, batch: int, far: Any) -> Costs:
    """Costs by the bytes that move, over the cluster's own links.

    Parameters
    ----------
    tables : the tables.
    topology : of the cluster.
    batch : samples of a step, on all devices.
    far : (tables,) whether a table is kept in CPU memory.
    """
    memory = np.where(far, topology.far_memory, topology.memory)
    size, lookups = tables.number_bytes, batch * tables.pooling
    coefficients = np.zeros((len(tables), 3, 5))
    coefficients[:, 0, 0] = lookups * size / memory
    coefficients[:, 0, 1] = lookups * _INDEX_BYTES / memory
    coefficients[:, :2, 2] = (batch * size / memory)[:, None]
    coefficients[:, 1, 0] = 2 * coefficients[:, 0, 0]
    coefficients[:, 1, 1] = lookups * (_INDEX_BYTES + 2 * _STATE_BYTES) / memory
    coefficients[:, 2, 3] = 2 * batch * size * topology.exchange
    coefficients[:, 2, 4] = lookups * _INDEX_BYTES * topology.exchange
    grouped = coefficients.copy()
    grouped[:, 2, 3] = 2 * batch * size * topology.node_reduction
    costs = Costs(coefficients, coefficients, grouped, np.zeros((len(tables), 3)), np.ones(2), 0.0)
    replicated = costs.of_whole(tables.dims) / topology.devices
    replicated[:, 1] += 3 * tables.bytes / memory  # the summed gradient and the weights are read, these written
    seconds = hierarchical_all_reduce(
        tables.bytes, topology.devices, topology.intra * 1e3, topology.latency, topology.local, topology.inter * 1e3
    )
    replicated[:, 2] = seconds * 1e3
    return costs._replace(replicated=replicated)


def torchrec_costs(tables: EmbeddingTables, devices: int, per_node: int, batch: int, far: Any) -> Costs:
    """Costs as the planner of TorchRec estimates them, with its default bandwidths.

    Parameters
    ----------
    tables : the tables.
    devices, per_node : in all, and of a node.
    batch : samples of a step, on all devices.
    far : (tables,) whether a table is kept in CPU memory, of which a fifth is cached.
    """
    hbm, between = 897.0 * _GIB / 1e3, 32.0 * _GIB / 1e3
    intra, inter = 600.0 * _GIB / 1e3, 12.5 * _GIB / 1e3
    cached = (0.2 * hbm + 0.8 * between) / 10  # as its function kernel_bw_lookup has it for cached tables
    memory = np.where(far, cached, hbm)
    link = intra if devices <= per_node else inter
    size, lookups = tables.number_bytes, batch * tables.pooling
    whole = np.zeros((len(tables), 3, 5))
    whole[:, 0, 0] = lookups * size / memory
    whole[:, 0, 1] = lookups * _INDEX_BYTES / memory
    whole[:, 0, 2] = batch * size / memory
    whole[:, 1] = 2 * whole[:, 0]
    whole[:, 2, 3] = 2 * batch * size / link
    whole[:, 2, 4] = lookups * _INDEX_BYTES / link
    split = whole.copy()
    split[:, 2, 3] += 2.455 * batch * size / memory
    grouped = split.copy()
    if devices > per_node:  # sums are scattered inside nodes, exchanged between them, gradients gathered inside
        across = per_node / devices / inter
        grouped[:, 2, 3] = batch * size * (2 / intra + across + 2.455 / memory)
    copies = whole[:, :, :3] / devices * 2  # the kernel for copies reaches half of the bandwidth
    replicated = copies[:, :, 0] * tables.dims[:, None] + copies[:, :, 1] + copies[:, :, 2] * tables.dims[:, None]
    groups = min(devices / min(devices, per_node), 2)
    twice = 2 if devices > 2 * per_node else 1
    all_reduce = twice * (2 * groups - 1) / groups / (inter * per_node)
    replicated[:, 2] = tables.bytes * (all_reduce + 2 * 9.22 / memory)
    return Costs(whole, split, grouped, replicated, np.array([1.15, 1.75]), 32.0)

"""How long a step takes when states come from slower memories: the overlap engine, section 6.2 of the paper.

A step runs a list of operations, one layer at a time: forward through all layers; then, block by block from the last
one, the layers of a block again (recomputation) and backward. Each operation needs the parameters of its layer, which
come in three legs: from the drives to CPU memory (nc), from there to the device (cg), gathered from all devices (gg).
The engine looks ahead: when operation i begins it asks for the nc of i + 3, the cg of i + 2, the gg of i + 1. After a
backward operation the gradient is reduced and scattered (rs), and its shard leaves the device while the next two
operations run. Checkpoints of activations leave and come back in the same way. At last the optimizer reads and writes
its states. Drives, both directions of the link to CPU memory, the network and the device each do one thing at a time,
in the order in which they were asked.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from ironlake.udf.engine import Database, table

from ..checks import above_zero, at_least
from ..clusters import Cluster, find_cluster
from ..collectives import hierarchical_all_gather, hierarchical_broadcast
from .memory import States, check

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_LAYERS = 100_000
#: Bytes per parameter that an optimizer reads, and writes: fp32 gradient, master copy and two moments.
_OPTIMIZER_BYTES = 16
#: Operations ahead of the running one for which a leg is asked.
_AHEAD = {"nvme_to_cpu": 3, "cpu_to_gpu": 2, "all_gather": 1}


class Operation(NamedTuple):
    """A layer's turn: ``kind`` is ``forward``, ``recompute`` or ``backward``."""

    kind: str
    layer: int


@table
def zero_step_time(
    layers: int,
    hidden: int,
    gpus: int,
    cluster: str,
    database: Database,
    batch_per_gpu: float = 1.0,
    seq: int = 1024,
    ckpt_interval: int = 1,
    offload_optimizer: Literal["none", "cpu", "nvme"] = "nvme",
    offload_params: Literal["none", "cpu", "nvme"] = "nvme",
    offload_activations: Literal["none", "cpu"] = "cpu",
    overlap: bool = True,
    partitioning: Literal["bandwidth", "owner"] = "bandwidth",
) -> pa.Table:
    """Simulate a training step with ZeRO stage 3 whose states are kept on drives or in CPU memory.

    Parameters
    ----------
    layers, hidden : of a transformer with ``12 * hidden * hidden`` parameters per layer.
    gpus : devices over which all states are sharded; full nodes, or part of one.
    cluster : whose devices, links and drives; see `training_clusters`.
    batch_per_gpu, seq : sequences per device (with several devices per sequence less than 1), and their tokens.
    ckpt_interval : layers from one checkpoint of activations to the next.
    offload_optimizer, offload_params, offload_activations : where states and checkpoints are kept.
    overlap : whether transfers run while devices compute; otherwise each waits for the one before.
    partitioning : ``bandwidth`` loads a slice of each layer over every device's link and gathers them; ``owner`` loads
        a layer over the link of the device that owns it, which broadcasts it.

    Returns
    -------
    TABLE
        A row per component, ``step`` being the whole: ``component`` VARCHAR, ``seconds`` DOUBLE (its own work),
        ``overlapped`` DOUBLE (what of them passes while the device computes), ``share`` DOUBLE (of the step: transfers
        share the time in which the device waits in proportion to what of them is not overlapped; all add up to 1).

    Raises
    ------
    ValueError
        If a number is too small, the devices are no full nodes, or the cluster is unknown or its row lacks a fact.

    References
    ----------
    Rajbhandari and others: ZeRO-Infinity, SC (2021), sections 4 and 6. The time of an optimizer's update is that of
    reading and writing 16 bytes per parameter from where its states are.

    Examples
    --------
    SELECT component, seconds, share FROM zero_step_time(128, 25600, 512, 'dgx2_v100', batch_per_gpu := 1.25);
    SELECT 8 * 1024 * 12 * 128 * 25600**2 / seconds / 1e12 AS tflops_per_gpu
    FROM zero_step_time(128, 25600, 512, 'dgx2_v100') WHERE component = 'step';
    """
    import pyarrow as pa

    machine = find_cluster(cluster, database)
    above_zero(batch_per_gpu=batch_per_gpu)
    check(States(1.0, layers, hidden, 1, gpus, machine.gpus_per_node, 3, seq=seq, ckpt_interval=ckpt_interval))
    at_least(1, gpus=gpus)
    if layers > _MOST_LAYERS:
        raise ValueError(f"argument layers must be at most {_MOST_LAYERS}, got {layers}")
    if gpus > machine.gpus_per_node and gpus % machine.gpus_per_node:
        raise ValueError(f"argument gpus is {gpus}; expected full nodes of {machine.gpus_per_node}, or part of one")
    run = _Run(layers, hidden, gpus, batch_per_gpu, seq, ckpt_interval, partitioning == "owner")
    times = run.times(machine, offload_optimizer, offload_params, offload_activations)
    timeline = simulate(run.operations(), times, ckpt_interval, overlap)
    rows = timeline.components()
    columns = {"component": pa.array([row[0] for row in rows], pa.string())}
    for index, name in enumerate(("seconds", "overlapped", "share"), 1):
        columns[name] = pa.array([row[index] for row in rows], pa.float64())
    return pa.table(columns)


@dataclass(frozen=True)
class Times:
    """[s] of each thing that is done for a layer, and of the optimizer's step.

    Attributes
    ----------
    compute : of a forward operation; a recomputation takes as long, backward twice as long.
    legs : of fetching a layer's parameters, leg by leg.
    reduce_scatter, gradient_out, gradient_to_nvme : of a layer's gradient.
    checkpoint : of moving one between device and CPU memory.
    optimizer : of the step at the end.
    """

    compute: float
    legs: dict[str, float]
    reduce_scatter: float
    gradient_out: float
    gradient_to_nvme: float
    checkpoint: float
    optimizer: float


@dataclass(frozen=True)
class _Run:
    layers: int
    hidden: int
    gpus: int
    batch: float
    seq: int
    interval: int
    is_owned: bool

    def operations(self) -> list[Operation]:
        """The operations of a step in order."""
        order = [Operation("forward", layer) for layer in range(self.layers)]
        for start in range((self.layers - 1) // self.interval * self.interval, -1, -self.interval):
            block = range(start, min(start + self.interval, self.layers))
            order += [Operation("recompute", layer) for layer in block]
            order += [Operation("backward", layer) for layer in reversed(block)]
        return order

    def times(self, cluster: Cluster, optimizer: str, parameters: str, activations: str) -> Times:
        """What each thing takes on a cluster."""
        need = {name: cluster.need(name) for name in ("achievable_tflops", "intra_gbps")}
        if self.gpus > cluster.gpus_per_node:
            need["inter_gbps_per_gpu"] = cluster.need("inter_gbps_per_gpu")
        tiers = {optimizer, parameters, activations}
        link = cluster.need("cpu_link_gbps") * 1e9 if tiers != {"none"} else float("inf")
        drives = float("inf")
        if "nvme" in tiers:
            cluster.need("nvme_gib")
            drives = cluster.need("nvme_gbps") * 1e9
        params = 12.0 * self.hidden**2
        layer, shard = 2 * params, 2 * params / self.gpus
        network = (
            self.gpus, need["intra_gbps"] * 1e9, cluster.latency_s, cluster.gpus_per_node,
            need.get("inter_gbps_per_gpu", float("inf")) * 1e9,
        )  # fmt: skip
        gather = float(hierarchical_all_gather(layer, *network))
        loaded = layer if self.is_owned else shard
        states = _OPTIMIZER_BYTES * params * self.layers / self.gpus
        memory = {"none": cluster.hbm_gbps, "cpu": link / 1e9, "nvme": drives / 1e9}[optimizer]
        return Times(
            compute=2 * self.batch * self.seq * params / (need["achievable_tflops"] * 1e12),
            legs={
                "nvme_to_cpu": loaded / drives if parameters == "nvme" else 0.0,
                "cpu_to_gpu": loaded / link if parameters != "none" else 0.0,
                "all_gather": float(hierarchical_broadcast(layer, *network)) if self.is_owned else gather,
            },
            reduce_scatter=gather,
            gradient_out=shard / link if optimizer != "none" else 0.0,
            gradient_to_nvme=shard / drives if optimizer == "nvme" else 0.0,
            checkpoint=2 * self.batch * self.seq * self.hidden / link if activations != "none" else 0.0,
            optimizer=2 * states / (memory * 1e9) if memory else 0.0,
        )


class Timeline:
    """What each stream did: the busy seconds of each component, and when the device computed."""

    def __init__(self) -> None:
        self.busy: dict[str, float] = defaultdict(float)
        self.free: dict[str, float] = defaultdict(float)
        self.computing: list[tuple[float, float]] = []
        self.spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.total = 0.0

    def run(self, stream: str, component: str, seconds: float, ready: float) -> float:
        """Do something on a stream, once it is free and the thing is ready; when it is done."""
        start = max(self.free[stream], ready)
        end = start + seconds
        if seconds:
            self.free[stream] = end
            self.busy[component] += seconds
            (self.computing if stream == "device" else self.spans[component]).append((start, end))
        self.total = max(self.total, end)
        return end if seconds else ready

    def components(self) -> list[tuple[str, float, float, float]]:
        """Component, seconds, overlapped with computing, and its share of the step."""
        rows = []
        exposed = {name: sum(end - start for start, end in spans) for name, spans in self.spans.items()}
        hidden = {name: _common(spans, self.computing) for name, spans in self.spans.items()}
        device = sum(end - start for start, end in self.computing)
        waiting = self.total - device
        alone = sum(exposed.values()) - sum(hidden.values())
        for name, seconds in self.busy.items():
            if name in exposed:
                share = (exposed[name] - hidden[name]) / alone * waiting if alone else 0.0
                rows.append((name, seconds, hidden[name], share / self.total))
            else:
                rows.append((name, seconds, 0.0, seconds / self.total))
        return [*rows, ("step", self.total, 0.0, 1.0)]


def _common(spans: list[tuple[float, float]], others: list[tuple[float, float]]) -> float:
    """Seconds that two lists of intervals in ascending order have in common."""
    total, first = 0.0, 0
    for start, end in spans:
        while first < len(others) and others[first][1] <= start:
            first += 1
        index = first
        while index < len(others) and others[index][0] < end:
            total += min(end, others[index][1]) - max(start, others[index][0])
            index += 1
    return total


def simulate(operations: list[Operation], times: Times, interval: int, overlap: bool) -> Timeline:
    """Run the operations of a step through the streams.

    Parameters
    ----------
    operations : in their order.
    times : of each thing.
    interval : layers from one checkpoint to the next.
    overlap : whether streams run beside each other.
    """
    timeline = Timeline()
    streams = {
        "nvme_to_cpu": "drives", "cpu_to_gpu": "in", "all_gather": "network", "reduce_scatter": "network",
        "gradient_out": "out", "gradient_to_nvme": "drives", "checkpoint_out": "out", "checkpoint_in": "in",
    }  # fmt: skip

    def move(component: str, seconds: float, ready: float) -> float:
        # without overlap everything waits for what was asked for before, on one stream
        ready = ready if overlap else max(ready, timeline.total)
        return timeline.run(streams[component], component, seconds, ready)

    fetched = [0.0] * len(operations)
    asked = dict.fromkeys(_AHEAD, 0)

    def ask(leg: str, until: int, now: float) -> None:
        for index in range(asked[leg], min(until, len(operations))):
            fetched[index] = move(leg, times.legs[leg], max(fetched[index], now))
        asked[leg] = max(asked[leg], until)

    now = 0.0
    for index, (kind, layer) in enumerate(operations):
        for leg, ahead in _AHEAD.items():
            ask(leg, index + 1 + (ahead if overlap else 0), now)
        following = min(index + overlap, len(operations) - 1)
        if operations[following].kind == "recompute" and operations[following].layer % interval == 0:
            fetched[following] = max(fetched[following], move("checkpoint_in", times.checkpoint, now))
        ready = max(now, fetched[index])
        now = timeline.run("device", kind, times.compute * (2 if kind == "backward" else 1), ready)
        if kind == "forward" and layer % interval == 0:
            move("checkpoint_out", times.checkpoint, now)
        if kind == "backward":
            left = move("gradient_out", times.gradient_out, move("reduce_scatter", times.reduce_scatter, now))
            move("gradient_to_nvme", times.gradient_to_nvme, left)
        now = now if overlap else timeline.total
    timeline.run("optimizer", "optimizer", times.optimizer, timeline.total)
    return timeline

"""What training needs of each memory: sections 3 and 5 of the ZeRO-Infinity paper, and DeepSpeed's own estimate.

With P parameters on N devices, K bytes of optimizer states per parameter, blocks of a transformer of width ``hidden``:

- model states: ``(2 + 2 + K) P`` bytes (fp16 parameters and gradients, optimizer states) on each device; stage 1 shards
  the optimizer states over the N devices, stage 2 the gradients too, stage 3 also the parameters,
- working memory of model states (stage 3): the largest operator, hidden -> 4 hidden, with its gradient, in ``tiling``
  pieces: ``4 bytes * 4 hidden^2 / tiling``; the two operators that are fetched next, ``2 * 2 bytes * 4 hidden^2 /
  tiling``,
- checkpoints of activations: ``2 batch seq hidden layers / interval`` bytes per device,
- working memory of activations: what is computed anew between two checkpoints, ``batch seq interval (16 hidden + 2
  heads seq)`` numbers of 2 bytes.

What is offloaded leaves the device: shards of all devices of a node meet in its CPU memory or on its drives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from ironlake.udf.engine import Database, table

from ..checks import above_zero, at_least
from ..clusters import Cluster, find_cluster

if TYPE_CHECKING:
    import pyarrow as pa

Tier = Literal["none", "cpu", "nvme"]
_GIB = 1 << 30
#: DeepSpeed's estimate adds half for buffers in CPU memory.
_BUFFERS = 1.5


class Need(NamedTuple):
    """What a component takes: bytes of a tier (``gpu``, ``cpu``, ``nvme``), per device on the first, else per node."""

    tier: str
    component: str
    bytes: float


@dataclass(frozen=True)
class States:
    """How the states of a training run are sharded and where they are kept.

    Attributes
    ----------
    params, layers, hidden, heads : the model.
    gpus, gpus_per_node : devices in all, and of a node.
    zero_stage : 0 (nothing is sharded) to 3.
    optimizer, parameters, activations : where they are kept; ``none`` is on the device.
    batch_per_gpu, seq, ckpt_interval : sequences, their tokens, and blocks between two checkpoints.
    bytes_per_param : of all model states.
    tiling : pieces of an operator.
    bytes_per_operator_param : of the parameters of an operator and what belongs to them, while it runs.
    largest_layer : parameters of the largest operator.
    """

    params: float
    layers: int
    hidden: int
    heads: int
    gpus: int
    gpus_per_node: int
    zero_stage: int
    optimizer: Tier = "none"
    parameters: Tier = "none"
    activations: Tier = "none"
    batch_per_gpu: int = 1
    seq: int = 1024
    ckpt_interval: int = 1
    bytes_per_param: float = 20.0
    tiling: int = 1
    bytes_per_operator_param: float = 4.0
    largest_layer: float | None = None

    @property
    def nodes(self) -> int:
        """Nodes that the devices fill."""
        return -(-self.gpus // self.gpus_per_node)

    @property
    def largest(self) -> float:
        """Parameters of the largest operator."""
        return 4.0 * self.hidden**2 if self.largest_layer is None else self.largest_layer

    @property
    def checkpoint_bytes(self) -> float:
        """Checkpoints of activations of a device."""
        return 2.0 * self.batch_per_gpu * self.seq * self.hidden * self.layers / self.ckpt_interval

    @property
    def activation_working_bytes(self) -> float:
        """What a device computes anew between two checkpoints."""
        per_token = 16 * self.hidden + 2 * self.heads * self.seq
        return 2.0 * self.batch_per_gpu * self.seq * self.ckpt_interval * per_token

    def needs(self) -> list[Need]:
        """What each component takes, by the paper."""
        shards = [self.gpus if self.zero_stage >= stage else 1 for stage in (3, 2, 1)]
        gradients = self.optimizer if self.zero_stage >= 2 else "none"
        model_states = zip(
            ("parameters", "gradients", "optimizer"),
            (2.0, 2.0, self.bytes_per_param - 4),
            shards,
            (self.parameters, gradients, self.optimizer),
            strict=True,
        )
        needs = [self._at(tier, name, each * self.params / parts) for name, each, parts, tier in model_states]
        if self.zero_stage == 3:
            tile = self.largest / self.tiling
            needs.append(Need("gpu", "working_memory", self.bytes_per_operator_param * tile))
            needs.append(Need("gpu", "prefetch", 2 * 2 * tile))
        needs.append(self._at(self.activations, "activation_checkpoints", self.checkpoint_bytes))
        needs.append(Need("gpu", "activation_working_memory", self.activation_working_bytes))
        return needs

    def deepspeed_needs(self) -> list[Need]:
        """What model states take, as DeepSpeed's estimators tell it (parameters made in place, largest layer apart)."""
        params, layer = self.params, self.largest
        if self.zero_stage == 2:
            offloaded = self.optimizer != "none"
            gpu = 2 * params if offloaded else 4 * params + 16 * params / self.gpus
            cpu = params * (max(4 * self.gpus, 16) if offloaded else 4 * self.gpus_per_node)
        elif self.parameters != "none":
            gpu, cpu = 4 * layer, 18 * params / self.nodes
        elif self.optimizer != "none":
            gpu, cpu = 4 * layer + 2 * params / self.gpus, 16 * params / self.nodes
        else:
            gpu, cpu = 4 * layer + 18 * params / self.gpus, 4 * layer * self.gpus_per_node
        return [Need("gpu", "model_states", gpu), Need("cpu", "model_states", _BUFFERS * cpu)]

    def _at(self, tier: Tier, component: str, bytes_per_gpu: float) -> Need:
        if tier == "none":
            return Need("gpu", component, bytes_per_gpu)
        return Need(tier, component, bytes_per_gpu * min(self.gpus, self.gpus_per_node))


def capacities(cluster: Cluster, tiers: set[str]) -> dict[str, float]:
    """The bytes of some tiers: of a device, or of a node's CPU memory or drives.

    Raises
    ------
    ValueError
        If the cluster's row does not tell one.
    """
    columns = {"gpu": "hbm_gib", "cpu": "cpu_gib", "nvme": "nvme_gib"}
    return {tier: cluster.need(columns[tier]) * _GIB for tier in tiers}


@table
def zero_memory(
    params: float,
    layers: int,
    hidden: int,
    heads: int,
    gpus: int,
    database: Database,
    gpus_per_node: int | None = None,
    zero_stage: int = 3,
    offload_optimizer: Literal["none", "cpu", "nvme"] = "none",
    offload_params: Literal["none", "cpu", "nvme"] = "none",
    offload_activations: Literal["none", "cpu", "nvme"] = "none",
    batch_per_gpu: int = 1,
    seq: int = 1024,
    ckpt_interval: int = 1,
    bytes_per_param: float = 20.0,
    tiling: int = 1,
    formula: Literal["paper", "deepspeed"] = "paper",
    bytes_per_operator_param: float = 4.0,
    largest_layer: float | None = None,
    cluster: str | None = None,
) -> pa.Table:
    """Tell what training takes of each memory when states are sharded over devices and offloaded.

    Parameters
    ----------
    params : of the model; about ``12 * layers * hidden * hidden``.
    layers, hidden, heads : of the model.
    gpus : devices in all.
    gpus_per_node : devices of a node; by default those of the cluster, or 8.
    zero_stage : what is sharded over all devices: 0 nothing, 1 optimizer states, 2 also gradients, 3 also parameters.
    offload_optimizer, offload_params, offload_activations : where optimizer states (from stage 1 on, with the gradients
        from stage 2 on), parameters (stage 3) and checkpoints of activations are kept: ``none`` (the device), ``cpu``
        or ``nvme``.
    batch_per_gpu, seq : sequences per device, and their tokens.
    ckpt_interval : blocks from one checkpoint of activations to the next.
    bytes_per_param : of all model states: 20 counts fp32 gradients among the optimizer states, 16 does not.
    tiling : pieces that an operator is cut into.
    formula : ``paper``, or ``deepspeed``: what its estimators for stages 2 and 3 tell of model states.
    bytes_per_operator_param : of an operator while it runs, with its gradient.
    largest_layer : parameters of the largest operator; by default ``4 * hidden * hidden``.
    cluster : whose memories to compare with; see `training_clusters`.

    Returns
    -------
    TABLE
        A row per component: ``tier`` VARCHAR (``gpu``, ``cpu``, ``nvme``), ``component`` VARCHAR, ``bytes`` BIGINT,
        ``per`` VARCHAR (``gpu`` or ``node``), ``fits`` BOOLEAN (whether all components of the tier fit together; NULL
        without a cluster).

    Raises
    ------
    ValueError
        If a number is too small, the stage is not 0 to 3, what is not sharded is to be offloaded, or the cluster is
        unknown or does not tell its memory.

    References
    ----------
    Rajbhandari and others: ZeRO-Infinity, SC (2021), sections 3 and 5; ZeRO, SC (2020), table 1; DeepSpeed's functions
    estimate_zero2_model_states_mem_needs and estimate_zero3_model_states_mem_needs.

    Examples
    --------
    SELECT tier, component, bytes / 1024**3 AS gib, fits
    FROM zero_memory(1e12, 128, 25600, 256, 16, offload_optimizer := 'nvme', offload_params := 'nvme',
                     offload_activations := 'cpu', cluster := 'dgx2_v100');
    SELECT tier, sum(bytes) / 1024**3 AS gib
    FROM zero_memory(6.8e9, 32, 4096, 32, 4, formula := 'deepspeed') GROUP BY tier;
    """
    import pyarrow as pa

    machine = None if cluster is None else find_cluster(cluster, database)
    if gpus_per_node is None:
        gpus_per_node = 8 if machine is None else machine.gpus_per_node
    states = States(
        params, layers, hidden, heads, gpus, gpus_per_node, zero_stage, offload_optimizer, offload_params,
        offload_activations, batch_per_gpu, seq, ckpt_interval, bytes_per_param, tiling, bytes_per_operator_param,
        largest_layer,
    )  # fmt: skip
    check(states, formula)
    needs = states.needs() if formula == "paper" else states.deepspeed_needs()
    for need in needs:
        if need.bytes >= 2**63:
            raise ValueError(f"arguments give {need.bytes:g} bytes of {need.component}; expected fewer than 2^63")
    fits = {} if machine is None else _fits(needs, machine)
    columns = {
        "tier": pa.array([need.tier for need in needs], pa.string()),
        "component": pa.array([need.component for need in needs], pa.string()),
        "bytes": pa.array([round(need.bytes) for need in needs], pa.int64()),
        "per": pa.array(["gpu" if need.tier == "gpu" else "node" for need in needs], pa.string()),
        "fits": pa.array([fits.get(need.tier) for need in needs], pa.bool_()),
    }
    return pa.table(columns)


def _fits(needs: list[Need], cluster: Cluster) -> dict[str, bool]:
    sums: dict[str, float] = {}
    for need in needs:
        sums[need.tier] = sums.get(need.tier, 0) + need.bytes
    room = capacities(cluster, set(sums))
    return {tier: total <= room[tier] for tier, total in sums.items()}


def check(states: States, formula: str = "paper") -> None:
    """Refuse numbers and combinations that make no sense.

    Raises
    ------
    ValueError
        With the argument, its value and what is expected.
    """
    numbers = ("layers", "hidden", "heads", "gpus", "gpus_per_node", "batch_per_gpu", "seq", "ckpt_interval", "tiling")
    at_least(1, **{name: getattr(states, name) for name in numbers})
    above_zero(params=states.params, bytes_per_operator_param=states.bytes_per_operator_param)
    at_least(4, bytes_per_param=states.bytes_per_param)
    if states.largest_layer is not None:
        above_zero(largest_layer=states.largest_layer)
    if states.zero_stage not in range(4):
        raise ValueError(f"argument zero_stage is {states.zero_stage}; expected 0, 1, 2 or 3")
    if formula == "deepspeed" and states.zero_stage < 2:
        raise ValueError(f"argument zero_stage is {states.zero_stage}; formula 'deepspeed' knows 2 and 3")
    for argument, tier, stage in (("optimizer", states.optimizer, 1), ("params", states.parameters, 3)):
        if tier != "none" and states.zero_stage < stage:
            raise ValueError(
                f"argument offload_{argument} is {tier!r} with zero_stage {states.zero_stage}, which does not shard "
                f"them; expected 'none', or a zero_stage of at least {stage}"
            )

"""The search for plans: evaluated, ranked, explained; and what was rejected, and why."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from .candidates import Rule, Space, candidates
from .checks import above_zero
from .clusters import Cluster
from .runs import OFFLOAD, PLACES, RECOMPUTE, SCHEDULES, ZERO_STAGES, machine_of, run_of

if TYPE_CHECKING:
    import pyarrow as pa

#: The best pipelines by the closed form, which are simulated.
_SIMULATED = 32
GIB = 2.0**30
#: A component limits a plan from this share of its step on.
LIMITING = 0.1
#: What limits a plan, by the components of its step that it adds.
_LIMITS = {
    "tp_comm": ("tensor_parallel",),
    "ep_comm": ("expert_parallel",),
    "pp_bubble": ("pipeline_bubble", "pipeline_messages"),
    "dp_comm": ("data_parallel", "parameter_gather"),
    "offload_bw": ("offload",),
    "memory": ("recompute",),
}
#: The components of a step that pass through its pipeline.
_PIPELINE = (
    "compute", "recompute", "tensor_parallel", "expert_parallel", "loss", "pipeline_messages", "pipeline_bubble",
)  # fmt: skip
#: So many times the devices are tried when a model does not fit them.
_TIMES = (2, 4, 8, 16, 32, 64)
#: Where there may be too little memory.
_MEMORIES = ("memory of a device", "memory of a node", "drives of a node")


def places_of(cluster: Cluster) -> list[str]:
    """Where something can be offloaded to on a cluster."""
    places = ["none"]
    if cluster.cpu_gib is not None and cluster.cpu_link_gbps is not None:
        places.append("cpu")
        if cluster.nvme_gib is not None and cluster.nvme_gbps is not None:
            places.append("nvme")
    return places


class Search:
    """The search for plans of a model on a cluster.

    Attributes
    ----------
    space : what is tried.
    rules : what they rejected, after `plans`.
    """

    def __init__(
        self, sizes: dict[str, Any], cluster: Cluster, batch: int, constants: Any, limit_gib: float | None, space: Space
    ) -> None:
        self.cluster, self.constants, self.space = cluster, constants[0], space
        self.base = run_of({**sizes, "global_batch": batch})
        if limit_gib is not None:
            above_zero(memory_limit_gib=limit_gib)
        self.limit = (cluster.need("hbm_gib") if limit_gib is None else limit_gib) * GIB
        self.machine = machine_of(cluster, *(OFFLOAD[place] for place in space.places))[0]
        self.rules: list[Rule] = []

    def plans(self) -> Plans:
        """All plans that fit.

        Raises
        ------
        ValueError
            There is none.
        """
        plans, missing = self.tried()
        if not len(missing):
            raise ValueError(self._no_split())
        if not len(plans.runs):
            raise ValueError(self._nothing_fits(missing))
        return plans

    def tried(self) -> tuple[Plans, np.ndarray[Any, Any]]:
        """The plans that fit, and the bytes that each candidate misses in the three memories; fills ``rules``."""
        from .planner_kernels import evaluate

        self.runs, self.rules = candidates(self.base[0], self.space)
        size, seconds, away, missing = evaluate(self.runs, self.machine, self.constants, self.limit)
        left = np.ones(len(self.runs), bool)
        for name, misses in zip(_MEMORIES, missing.T, strict=True):
            rejected = left & (misses > 0)
            left &= ~rejected
            self.rules.append(Rule(name, "plans", int(rejected.sum()), int(left.sum())))
        return Plans(self.runs[left], size[left], seconds[left], away[left]), missing

    def mfu(self, plans: Plans, mfu_floor: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The mfu of plans, and whether it is high enough: the last of the ``rules``."""
        from .transformer import model_flops

        mfu = model_flops(self.base[0]) / (plans.seconds * self.space.gpus * float(self.machine["peak_flops"]))
        enough = mfu >= mfu_floor
        self.rules.append(Rule("mfu_floor", "plans", int((~enough).sum()), int(enough.sum())))
        return mfu, enough

    def best(self, top_k: int, objective: str, mfu_floor: float) -> pa.Table:
        """The best plans.

        Raises
        ------
        ValueError
            There is none, or none with an mfu that is high enough.
        """
        import pyarrow as pa

        plans = self.plans()
        mfu, enough = self.mfu(plans, mfu_floor)
        if not enough.any():
            raise ValueError(f"argument mfu_floor is {mfu_floor}, but the best plan has an mfu of {mfu.max():.3f}")
        order = plans.simulated(self.machine, self.constants, objective, enough)
        return pa.table(self._columns(plans, order[: min(top_k, len(order))]))

    def _no_split(self) -> str:
        layers, heads, batch = (int(self.base[0][name]) for name in ("layers", "heads", "global_batch"))
        return (
            f"{self.space.gpus} gpus cannot be split as tp * pp * dp for {heads} heads, {layers} layers and a "
            f"global_batch of {batch}, with tp up to {self.space.widest}; expected tp to divide the heads, pp the "
            "layers and dp the batch (training_plan_rejected counts what each rule leaves)"
        )

    def _nothing_fits(self, missing: np.ndarray[Any, Any]) -> str:
        """Which plans miss least, and what would help each."""
        total = missing.sum(axis=1)
        order = np.argsort(total, kind="stable")
        _, first = np.unique(self.runs[order][["tp", "pp"]], return_index=True)
        nearest = order[np.sort(first)][:3]
        otherwise = self._more_devices()
        told = "; ".join(
            f"tp {self.runs[row]['tp']:.0f}, pp {self.runs[row]['pp']:.0f}, micro_batch "
            f"{self.runs[row]['micro_batch']:.0f} misses {total[row] / GIB:.1f} GiB of the "
            f"{_MEMORIES[int(missing[row].argmax())]}, which {self._knobs(self.runs[row]) or otherwise} would fix"
            for row in nearest
        )
        return (
            f"none of {len(self.runs)} plans fits into {self.limit / GIB:g} GiB per device; the smallest shortfall is "
            f"{total[nearest[0]] / GIB:.1f} GiB: {told}"
        )

    def _knobs(self, run: Any) -> str | None:
        """The fewest changes of what the search may try that would make a plan fit."""
        from .planner_kernels import evaluate

        available = [OFFLOAD.index(each) for each in places_of(self.cluster)]
        values = {"recompute": (0, 1, 2), "zero_stage": ZERO_STAGES, **dict.fromkeys(PLACES, available)}
        changed = [
            {name: value for name, value in zip(values, way, strict=True) if value != run[name]}
            for way in itertools.product(*values.values())
            if way[3] == 0 or (way[1] == ZERO_STAGES[-1] and way[3] <= way[2])
        ]
        changed.sort(key=lambda change: (len(change), sum(change.values())))
        runs = np.repeat(run[None], len(changed))
        for row, change in enumerate(changed):
            for name, value in change.items():
                runs[row][name] = value
        _, _, _, missing = evaluate(runs, machine_of(self.cluster)[0], self.constants, self.limit)
        fitting = np.flatnonzero(missing.sum(axis=1) == 0)
        if not len(fitting):
            return None
        names = {"recompute": RECOMPUTE, **dict.fromkeys(PLACES, OFFLOAD)}
        *first, last = (
            f"{name} {names[name][int(value)]!r}" if name in names else f"{name} {value}"
            for name, value in changed[fitting[0]].items()
        )
        return f"{', '.join(first)} and {last}" if first else last

    def _more_devices(self) -> str:
        """How many devices the model needs, all else as it is."""
        from .planner_kernels import evaluate

        for times in _TIMES:
            runs, _ = candidates(self.base[0], dataclasses.replace(self.space, gpus=times * self.space.gpus))
            _, _, _, missing = evaluate(runs, self.machine, self.constants, self.limit)
            if len(runs) and (missing.sum(axis=1) == 0).any():
                return f"{times * self.space.gpus} gpus"
        return "more gpus or a smaller global_batch"

    def _columns(self, plans: Plans, rows: Any) -> dict[str, Any]:
        """The columns of chosen plans."""
        import pyarrow as pa

        from .transformer import model_flops, recomputed_flops

        runs, seconds, gpus = plans.runs[rows], plans.seconds[rows], self.space.gpus
        flops = model_flops(self.base[0])
        tokens = float(self.base[0]["global_batch"] * self.base[0]["seq"])
        done = flops + np.array([recomputed_flops(run) for run in runs])
        bubbles, limiting = plans.explained(rows, self.machine, self.constants)
        cpu, nvme = plans.away[rows].T * self.machine["gpus_per_node"] / GIB
        counts = ("tp", "pp", "dp", "ep", "micro_batch", "chunks")
        return {
            "rank": np.arange(1, len(rows) + 1),
            **{name: runs[name].astype(np.int64) for name in counts},
            "schedule": [SCHEDULES[int(each)] for each in runs["schedule"]],
            "zero_stage": runs["zero_stage"].astype(np.int64),
            **{name: [OFFLOAD[int(each)] for each in runs[name]] for name in PLACES},
            "recompute": [RECOMPUTE[int(each)] for each in runs["recompute"]],
            "seq_parallel": runs["seq_parallel"] > 0,
            "step_time_s": seconds,
            "tokens_per_s": tokens / seconds,
            "tflops_per_gpu": done / seconds / gpus / 1e12,
            "mfu": flops / seconds / gpus / float(self.machine["peak_flops"]),
            "memory_gib": plans.size[rows] / GIB,
            "cpu_gib": cpu,
            "nvme_gib": nvme,
            "bubble_ratio": bubbles,
            "limiting": limiting,
            "pareto": pareto(plans.size, plans.seconds)[rows],
            "cost_per_mtoken": pa.array(cost_per_mtoken(self.cluster, gpus, seconds / tokens), pa.float64()),
            "placement": pa.nulls(len(rows), pa.string()),
            "embedding_gib": pa.nulls(len(rows), pa.float64()),
            "embedding_s": pa.nulls(len(rows), pa.float64()),
        }


def cost_per_mtoken(cluster: Cluster, gpus: int, seconds: np.ndarray[Any, Any]) -> list[float | None]:
    """What a million tokens cost that take so many seconds each, by the cluster's price."""
    paid = cluster.price_per_gpu_hour
    return [None if paid is None else 1e6 * each * float(paid) * gpus / 3600 for each in seconds.tolist()]


def rules_table(rules: list[Rule]) -> pa.Table:
    """What the rules of a search rejected."""
    import pyarrow as pa

    rule, counted, rejected, remaining = (list(each) for each in zip(*rules, strict=True))
    return pa.table({"rule": rule, "counted": counted, "rejected": rejected, "remaining": remaining})


class Plans:
    """Plans that fit: their runs, the bytes and seconds of each, and the bytes of a device in its node's memories."""

    def __init__(
        self, runs: Any, size: np.ndarray[Any, Any], seconds: np.ndarray[Any, Any], away: np.ndarray[Any, Any]
    ) -> None:
        self.runs, self.size, self.seconds, self.away = runs, size, seconds, away

    def order(self, objective: str, enough: np.ndarray[Any, Any]) -> Any:
        """Places of the plans that are fast enough, best first; of equals the simpler one."""
        keys = (self.seconds, self.size) if objective != "memory" else (self.size, self.seconds)
        simpler = [self.runs[name] for name in (*PLACES, "zero_stage", "chunks", "seq_parallel")]
        order = np.lexsort((*simpler, keys[1], keys[0]))
        return order[enough[order]]

    def simulated(
        self, machine: Any, constants: Any, objective: str, enough: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Simulate the best pipelines; all plans in their new order, the simulated ones first."""
        from .simulated_step import pipeline_of, simulated_seconds

        order = self.order(objective, enough)
        head = np.zeros(len(self.runs), bool)
        seen: set[bytes] = set()
        known: dict[bytes, float] = {}
        for row in order:
            seen.add(pipeline_of(self.runs[row]))
            if len(seen) > _SIMULATED:
                break
            self.seconds[row] = simulated_seconds(self.runs[row], machine, constants, known)
            head[row] = True
        return np.concatenate([self.order(objective, enough & head), order[head.sum() :]])

    def explained(self, rows: Any, machine: Any, constants: Any) -> tuple[np.ndarray[Any, Any], list[str]]:
        """The share of the bubble in the time of the pipeline, and what limits each plan."""
        from .step_time_kernels import COMPONENTS, components

        runs = self.runs[rows]
        found, _ = components(runs, np.repeat(machine[None], len(runs)), np.repeat(constants[None], len(runs)))
        seconds = dict(zip(COMPONENTS, found.T, strict=True))
        shares = np.array([sum(seconds[name] for name in names) for names in _LIMITS.values()]) / found.sum(axis=1)
        told = np.where(shares.max(axis=0) >= LIMITING, np.array(list(_LIMITS))[shares.argmax(axis=0)], "compute")
        return seconds["pipeline_bubble"] / sum(seconds[name] for name in _PIPELINE), told.tolist()


def pareto(size: np.ndarray[Any, Any], seconds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which plans none beats in one of time and memory, and equals in the other."""
    order = np.lexsort((size, seconds))
    size, seconds = size[order], seconds[order]
    least = np.minimum.accumulate(size)
    faster = np.searchsorted(seconds, seconds, "left")  # plans that are faster
    first = size[faster]  # the smallest of those that are as fast
    before = np.where(faster > 0, least[np.maximum(faster - 1, 0)], np.inf)
    best = np.zeros(len(order), bool)
    best[order] = (size == first) & (size < before)
    return best

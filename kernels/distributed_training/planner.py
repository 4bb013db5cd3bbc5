"""How to train a model on a cluster: all ways to split it over the devices, ranked.

1. Enumerate (t, p, d, micro-batch, chunks, schedule, ZeRO, offloading, recomputation, sequence parallelism) with
   ``t p d`` = devices: t divides the heads and stays inside a node, p chunks divide the layers, d micro-batches divide
   the batch.
2. Leave out what does not fit into memory.
3. Take the time of each by the closed form of its schedule, and of the best ones by simulating the pipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ironlake.udf.engine import Database, table
from ironlake.udf.engine.sqltypes import ANY

from .candidates import candidates
from .checks import above_zero, at_least
from .clusters import Cluster, find_cluster
from .constants import constants_of
from .runs import OFFLOAD, RECOMPUTE, SCHEDULES, ZERO_STAGES, machine_of, model_of, run_of

if TYPE_CHECKING:
    import pyarrow as pa

#: The best plans by the closed form, whose pipelines are simulated.
_SIMULATED = 32
_GIB = 2.0**30
#: Bytes of a parameter's gradient.
_GRADIENT = 4.0
#: A component limits a plan from this share of its step on.
_LIMITING = 0.1
#: What limits a plan, by the components of its step that it adds.
_LIMITS = {
    "tp_comm": ("tensor_parallel",),
    "pp_bubble": ("pipeline_bubble", "pipeline_messages"),
    "dp_comm": ("data_parallel", "parameter_gather"),
    "offload_bw": ("offload",),
    "memory": ("recompute",),
}
#: The components of a step that pass through its pipeline.
_PIPELINE = ("compute", "recompute", "tensor_parallel", "loss", "pipeline_messages", "pipeline_bubble")


@table
def training_plan(
    model: ANY,
    cluster: str,
    gpus: int,
    global_batch: int,
    seq: int,
    database: Database,
    top_k: int = 10,
    objective: Literal["throughput", "cost", "memory"] = "throughput",
    memory_limit_gib: float | None = None,
    schedules: list[str] | None = None,
    zero_stages: list[int] | None = None,
    recompute: list[str] | None = None,
    offload: list[str] | None = None,
    calibration: ANY = None,
    mfu_floor: float = 0,
    allow_cross_node_tp: bool = False,
) -> pa.Table:
    """Find the best ways to train a model on a cluster.

    Parameters
    ----------
    model : a name of `training_models`, or a STRUCT of ``layers``, ``hidden``, ``heads``, and ``vocab`` (51200).
    cluster : a name of `training_clusters`.
    gpus : devices, all of which are used.
    global_batch, seq : sequences of a step, and tokens of each.
    top_k : how many plans to tell.
    objective : what the first plan is best in: ``throughput``, ``cost`` (the cluster needs a price) or ``memory``.
    memory_limit_gib : of a device, if not that of the cluster.
    schedules : which to try: ``1f1b``, ``interleaved_1f1b`` (the default are these two), ``gpipe``, ``chimera``,
        ``zb_h1``.
    zero_stages : which to try, of 0 to 3; all by default.
    recompute : which to try, of ``none``, ``selective``, ``full``; all by default.
    offload : where the optimizer's states may be, of ``none``, ``cpu``, ``nvme``; all that the cluster has by default.
    calibration : what `training_model_fit` gives, or a STRUCT of some constants; the shipped ones by default.
    mfu_floor : the least ``mfu``.
    allow_cross_node_tp : whether tensor parallelism may leave the node, which is slow.

    Returns
    -------
    TABLE
        ``rank``, ``tp``, ``pp``, ``dp``, ``micro_batch``, ``chunks`` BIGINT, ``schedule`` VARCHAR, ``zero_stage``
        BIGINT, ``offload``, ``recompute`` VARCHAR, ``seq_parallel`` BOOLEAN, ``step_time_s`` (the pipelines of the 32
        best are simulated), ``tokens_per_s``, ``tflops_per_gpu`` (with what is computed again), ``mfu`` (without),
        ``memory_gib`` (of the fullest device), ``bubble_ratio`` (of the pipeline's time) DOUBLE, ``limiting`` VARCHAR
        (the component beside compute that takes most of the step, from 10 % on: ``tp_comm``, ``pp_bubble``,
        ``dp_comm``, ``offload_bw``, ``memory`` for what is computed again for lack of it; else ``compute``), ``pareto``
        BOOLEAN (no plan is better in both time and memory), ``cost_per_mtoken`` DOUBLE (of a million tokens, in the
        currency of the cluster's price; NULL without one).

    Raises
    ------
    ValueError
        If a name is unknown, a number is not what it has to be, there is no way to split the model, or none fits into
        memory (the error tells what is missing, and what would help).

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    whose take-aways the search follows; Rajbhandari and others: ZeRO-Infinity, SC (2021).

    Examples
    --------
    SELECT tp, pp, dp, micro_batch, recompute, step_time_s, mfu, limiting
    FROM training_plan('gpt_13b', 'selene_a100', 64, 512, 2048, top_k := 3);
    """
    at_least(1, gpus=gpus, global_batch=global_batch, seq=seq, top_k=top_k)
    where = find_cluster(cluster, database)
    if objective == "cost":
        where.need("price_per_gpu_hour")
    search = _Search(
        {**model_of(model), "seq": seq}, where, gpus, global_batch, constants_of(calibration), memory_limit_gib,
        gpus if allow_cross_node_tp else where.gpus_per_node,
    )  # fmt: skip
    return search.table(
        search.found(
            _chosen("schedules", schedules or SCHEDULES[:2], SCHEDULES),
            _chosen("zero_stages", zero_stages or ZERO_STAGES, ZERO_STAGES),
            _chosen("recompute", recompute or RECOMPUTE, RECOMPUTE),
            _chosen("offload", offload or _available(where), OFFLOAD),
        ),
        top_k,
        objective,
        mfu_floor,
    )


def _chosen(name: str, given: Any, known: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """Places of names among those that are known."""
    for each in given:
        if each not in known:
            raise ValueError(f"argument {name} has {each!r}; expected some of {', '.join(map(str, known))}")
    return np.array(sorted({known.index(each) for each in given}))


def _available(cluster: Cluster) -> list[str]:
    """Where the states of an optimizer can be."""
    places = ["none"]
    if cluster.cpu_gib is not None and cluster.cpu_link_gbps is not None:
        places.append("cpu")
        if cluster.nvme_gib is not None and cluster.nvme_gbps is not None:
            places.append("nvme")
    return places


class _Search:
    """The search for plans of a model on a cluster."""

    def __init__(
        self, sizes: dict[str, int], cluster: Cluster, gpus: int, batch: int, constants: Any, limit_gib: float | None,
        widest: int,
    ) -> None:  # fmt: skip
        self.cluster, self.gpus, self.constants, self.widest = cluster, gpus, constants[0], widest
        self.base = run_of({**sizes, "global_batch": batch})
        if limit_gib is not None:
            above_zero(memory_limit_gib=limit_gib)
        self.limit = (cluster.need("hbm_gib") if limit_gib is None else limit_gib) * _GIB

    def found(self, schedules: Any, stages: Any, recomputes: Any, offloads: Any) -> _Plans:
        """All plans that fit.

        Raises
        ------
        ValueError
            There is none.
        """
        from .planner_kernels import evaluate

        self.machine = machine_of(self.cluster, OFFLOAD[max(offloads)])[0]
        runs = candidates(self.base[0], self.gpus, self.widest, schedules, stages, recomputes, offloads)
        if not len(runs):
            raise ValueError(self._no_split())
        size, seconds, missing = evaluate(runs, self.machine, self.constants, _GRADIENT, self.limit)
        fits = missing == 0
        if not fits.any():
            raise ValueError(self._nothing_fits(runs, missing))
        return _Plans(runs[fits], size[fits], seconds[fits])

    def _no_split(self) -> str:
        layers, heads, batch = (int(self.base[0][name]) for name in ("layers", "heads", "global_batch"))
        return (
            f"{self.gpus} gpus cannot be split as tp * pp * dp for {heads} heads, {layers} layers and a global_batch "
            f"of {batch}, with tp up to {self.widest}; expected tp to divide the heads, pp the layers and dp the batch"
        )

    def _nothing_fits(self, runs: Any, missing: np.ndarray[Any, Any]) -> str:
        """Which plans miss least, and what would help each."""
        order = np.argsort(missing, kind="stable")
        _, first = np.unique(runs[order][["tp", "pp"]], return_index=True)
        nearest = order[np.sort(first)][:3]
        told = "; ".join(
            f"tp {runs[row]['tp']:.0f}, pp {runs[row]['pp']:.0f}, micro_batch {runs[row]['micro_batch']:.0f} misses "
            f"{missing[row] / _GIB:.1f} GiB, {self._knob(runs[row : row + 1])}"
            for row in nearest
        )
        return (
            f"none of {len(runs)} plans fits into {self.limit / _GIB:g} GiB per device; the smallest shortfall is "
            f"{missing[nearest[0]] / _GIB:.1f} GiB: {told}"
        )

    def _knob(self, run: Any) -> str:
        """A change that would make a plan fit."""
        from .planner_kernels import evaluate

        knobs = [
            ("recompute", 2, "recompute 'full'"), ("seq_parallel", 1, "seq_parallel"),
            ("zero_stage", 1, "zero_stage 1"), ("zero_stage", 3, "zero_stage 3"),
            ("offload", 1, "offload 'cpu'"), ("offload", 2, "offload 'nvme'"),
        ]  # fmt: skip
        available = {OFFLOAD.index(each) for each in _available(self.cluster)}
        machine = machine_of(self.cluster)[0]
        for name, value, told in knobs:
            changed = run.copy()
            changed[name] = value
            if (name == "offload" and value not in available) or (name == "zero_stage" and run["dp"][0] == 1):
                continue
            if evaluate(changed, machine, self.constants, _GRADIENT, self.limit)[2][0] == 0:
                return f"which {told} would fix"
        return "which more gpus or a smaller global_batch would fix"

    def table(self, plans: _Plans, top_k: int, objective: str, mfu_floor: float) -> pa.Table:
        """The best plans."""
        import pyarrow as pa

        from .transformer import model_flops

        flops = model_flops(self.base[0])
        peak = self.gpus * float(self.machine["peak_flops"])
        enough = flops / (plans.seconds * peak) >= mfu_floor
        if not enough.any():
            best = (flops / (plans.seconds * peak)).max()
            raise ValueError(f"argument mfu_floor is {mfu_floor}, but the best plan has an mfu of {best:.3f}")
        best = plans.simulated(self.machine, self.constants, objective, enough)
        rows = best[: min(top_k, len(best))]
        return pa.table(self._columns(plans, rows, flops))

    def _columns(self, plans: _Plans, rows: Any, flops: float) -> dict[str, Any]:
        import pyarrow as pa

        from .transformer import recomputed_flops

        runs, seconds = plans.runs[rows], plans.seconds[rows]
        tokens = float(self.base[0]["global_batch"] * self.base[0]["seq"])
        done = flops + np.array([recomputed_flops(run) for run in runs])
        paid = self.cluster.price_per_gpu_hour
        price = None if paid is None else float(paid) * self.gpus / 3600  # of a second
        bubbles, limiting = plans.explained(rows, self.machine, self.constants)
        counts = ("tp", "pp", "dp", "micro_batch", "chunks")
        return {
            "rank": np.arange(1, len(rows) + 1),
            **{name: runs[name].astype(np.int64) for name in counts},
            "schedule": [SCHEDULES[int(each)] for each in runs["schedule"]],
            "zero_stage": runs["zero_stage"].astype(np.int64),
            "offload": [OFFLOAD[int(each)] for each in runs["offload"]],
            "recompute": [RECOMPUTE[int(each)] for each in runs["recompute"]],
            "seq_parallel": runs["seq_parallel"] > 0,
            "step_time_s": seconds,
            "tokens_per_s": tokens / seconds,
            "tflops_per_gpu": done / seconds / self.gpus / 1e12,
            "mfu": flops / seconds / self.gpus / float(self.machine["peak_flops"]),
            "memory_gib": plans.size[rows] / _GIB,
            "bubble_ratio": bubbles,
            "limiting": limiting,
            "pareto": plans.pareto()[rows],
            "cost_per_mtoken": pa.array(
                [None if price is None else each / tokens * 1e6 * price for each in seconds.tolist()],
                pa.float64(),
            ),
        }


class _Plans:
    """Plans that fit: their runs, and the bytes and seconds of each."""

    def __init__(self, runs: Any, size: np.ndarray[Any, Any], seconds: np.ndarray[Any, Any]) -> None:
        self.runs, self.size, self.seconds = runs, size, seconds

    def order(self, objective: str, enough: np.ndarray[Any, Any]) -> Any:
        """Places of the plans that are fast enough, best first; of equals the simpler one."""
        keys = (self.seconds, self.size) if objective != "memory" else (self.size, self.seconds)
        simpler = [self.runs[name] for name in ("offload", "zero_stage", "chunks", "seq_parallel")]
        order = np.lexsort((*simpler, keys[1], keys[0]))
        return order[enough[order]]

    def simulated(
        self, machine: Any, constants: Any, objective: str, enough: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Simulate the pipelines of the best plans; all plans in their new order."""
        from .simulated_step import simulated_seconds

        order = self.order(objective, enough)
        for row in order[:_SIMULATED]:
            self.seconds[row] = simulated_seconds(self.runs[row], machine, constants)
        head = np.zeros(len(self.runs), bool)
        head[order[:_SIMULATED]] = True
        return np.concatenate([self.order(objective, enough & head), order[_SIMULATED:]])

    def explained(self, rows: Any, machine: Any, constants: Any) -> tuple[np.ndarray[Any, Any], list[str]]:
        """The share of the bubble in the time of the pipeline, and what limits each plan."""
        from .step_time_kernels import COMPONENTS, components

        runs = self.runs[rows]
        found, _ = components(runs, np.repeat(machine[None], len(runs)), np.repeat(constants[None], len(runs)))
        seconds = dict(zip(COMPONENTS, found.T, strict=True))
        shares = np.array([sum(seconds[name] for name in names) for names in _LIMITS.values()]) / found.sum(axis=1)
        told = np.where(shares.max(axis=0) >= _LIMITING, np.array(list(_LIMITS))[shares.argmax(axis=0)], "compute")
        return seconds["pipeline_bubble"] / sum(seconds[name] for name in _PIPELINE), told.tolist()

    def pareto(self) -> np.ndarray[Any, Any]:
        """Which plans none beats in one of time and memory, and equals in the other."""
        order = np.lexsort((self.size, self.seconds))
        size, seconds = self.size[order], self.seconds[order]
        least = np.minimum.accumulate(size)
        faster = np.searchsorted(seconds, seconds, "left")  # plans that are faster
        first = size[faster]  # the smallest of those that are as fast
        before = np.where(faster > 0, least[np.maximum(faster - 1, 0)], np.inf)
        best = np.zeros(len(order), bool)
        best[order] = (size == first) & (size < before)
        return best

"""How to train a model on a cluster: all ways to split it over the devices, ranked.

1. Enumerate (t, p, d, micro-batch, experts' replicas, chunks, schedule, ZeRO, recomputation, sequence parallelism, and
   where the optimizer's states, the parameters and the activations are) with ``t p d`` = devices: t divides the heads
   and stays inside a node, p chunks divide the layers, d micro-batches divide the batch.
2. Leave out what does not fit into memory.
3. Take the time of each by the closed form of its schedule, and of the best ones by simulating the pipeline.

`candidates` enumerates, `search` ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ironlake.udf.engine import Database, table
from ironlake.udf.engine.sqltypes import ANY

from .candidates import Space
from .checks import at_least
from .clusters import Cluster, find_cluster
from .constants import constants_of
from .recommendation.plans import recommender_plans, recommender_table
from .runs import OFFLOAD, RECOMPUTE, SCHEDULES, ZERO_STAGES, model_of
from .search import Search, places_of, rules_table

if TYPE_CHECKING:
    import pyarrow as pa


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
    embedding_tables: str | None = None,
) -> pa.Table:
    """Find the best ways to train a model on a cluster.

    Parameters
    ----------
    model : a name of `training_models`, or a STRUCT as for `training_step_time`.
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
    offload : where the optimizer's states (from ZeRO 2 on with the gradients), the parameters (with ZeRO 3) and the
        activations may be, of ``none``, ``cpu``, ``nvme``; all that the cluster has by default.
    calibration : what `training_model_fit` gives, or a STRUCT of some constants; the shipped ones by default.
    mfu_floor : the least ``mfu``.
    allow_cross_node_tp : whether tensor parallelism may leave the node, which is slow.
    embedding_tables : of a recommendation model: a relation, or a query, as for `embedding_shard_plan`. Its ``model``
        is a STRUCT of ``bottom_mlp``, ``top_mlp`` and ``interaction`` as for `dlrm_cost`, ``global_batch`` counts
        samples, ``seq`` is 1, and ``offload`` tells where tables may be beside the devices, of ``none`` and ``cpu``.

    Returns
    -------
    TABLE
        ``rank``, ``tp``, ``pp``, ``dp``, ``ep`` (of ``dp``, replicas that share experts), ``micro_batch``, ``chunks``
        BIGINT, ``schedule`` VARCHAR, ``zero_stage`` BIGINT, ``offload``, ``offload_params``, ``offload_activations``
        (where the optimizer's states, the parameters and the activations are), ``recompute`` VARCHAR, ``seq_parallel``
        BOOLEAN, ``step_time_s`` (the 32 best pipelines are simulated), ``tokens_per_s``, ``tflops_per_gpu``
        (with what is computed again), ``mfu`` (without), ``memory_gib`` (of the fullest device), ``cpu_gib``,
        ``nvme_gib`` (of a node), ``bubble_ratio`` (of the pipeline's time) DOUBLE, ``limiting`` VARCHAR (the component
        beside compute that takes most of the step, from 10 % on: ``tp_comm``, ``ep_comm``, ``pp_bubble``, ``dp_comm``,
        ``offload_bw``, ``memory`` for what is computed again for lack of it; else ``compute``), ``pareto`` BOOLEAN (no
        plan is better in both time and memory), ``cost_per_mtoken`` DOUBLE (of a million tokens, in the currency of the
        cluster's price; NULL without one), ``placement`` VARCHAR, ``embedding_gib``, ``embedding_s`` DOUBLE.

        The last three are NULL but for recommendation models. Their plans differ in ``placement``: how tables may be
        cut, ``any`` or one of the kinds of `embedding_shard_plan`, which tells the shards. ``embedding_gib`` is what
        the fullest device holds of tables, ``embedding_s`` what the lookups, updates and exchanges of the slowest one
        take; ``limiting`` can be ``lookups`` or ``all_to_all``.

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
    SELECT placement, offload, step_time_s, memory_gib, embedding_gib, embedding_s, limiting
    FROM training_plan({'bottom_mlp': [13, 512, 256, 128], 'top_mlp': [1024, 1024, 512, 256, 1]}, 'selene_a100', 8,
        65536, 1, embedding_tables := 'FROM dlrm_tables()');
    """
    where = find_cluster(cluster, database)
    if objective == "cost":
        where.need("price_per_gpu_hour")
    at_least(1, top_k=top_k)
    if embedding_tables is not None:
        given = {"schedules": schedules, "zero_stages": zero_stages, "recompute": recompute, "calibration": calibration}
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"argument {name} is for transformers; a model with embedding_tables has none")
        at_least(1, gpus=gpus, global_batch=global_batch, seq=seq)
        places = [OFFLOAD[each] for each in _chosen("offload", offload or places_of(where)[:2], OFFLOAD[:2])]
        plans = recommender_plans(
            model, where, gpus, global_batch, memory_limit_gib, places, embedding_tables, database
        )
        return recommender_table(plans, where, gpus, global_batch, seq, top_k, objective, mfu_floor)
    search = _search(
        model, where, gpus, global_batch, seq, memory_limit_gib, schedules, zero_stages, recompute, offload,
        calibration, allow_cross_node_tp,
    )  # fmt: skip
    return search.best(top_k, objective, mfu_floor)


@table
def training_plan_rejected(
    model: ANY,
    cluster: str,
    gpus: int,
    global_batch: int,
    seq: int,
    database: Database,
    memory_limit_gib: float | None = None,
    schedules: list[str] | None = None,
    zero_stages: list[int] | None = None,
    recompute: list[str] | None = None,
    offload: list[str] | None = None,
    calibration: ANY = None,
    mfu_floor: float = 0,
    allow_cross_node_tp: bool = False,
) -> pa.Table:
    """Count what each rule of the search of `training_plan` rejects, and what it leaves.

    Parameters
    ----------
    model, cluster, gpus, global_batch, seq, memory_limit_gib, schedules, zero_stages, recompute, offload, calibration,
        mfu_floor, allow_cross_node_tp : as there.

    Returns
    -------
    TABLE
        A row per rule, in the order in which they are applied: ``rule`` VARCHAR, ``counted`` VARCHAR (what is counted:
        ``splits`` of the devices; ``pipelines``, which are splits with a micro-batch, a share of experts and a
        schedule; ``plans``, which are those with a way to save memory), ``rejected``, ``remaining`` BIGINT. Something
        is counted at the first rule that rejects it.

    Raises
    ------
    ValueError
        If a name is unknown or a number is not what it has to be; not if nothing remains.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021),
    section 3, whose take-aways are the rules on splits and pipelines.

    Examples
    --------
    FROM training_plan_rejected('gpt_175b', 'selene_a100', 64, 512, 2048);
    SELECT rule FROM training_plan_rejected('gpt_1t', 'selene_a100', 8, 8, 2048, offload := ['none'])
    WHERE remaining = 0 LIMIT 1;
    """
    search = _search(
        model, find_cluster(cluster, database), gpus, global_batch, seq, memory_limit_gib, schedules, zero_stages,
        recompute, offload, calibration, allow_cross_node_tp,
    )  # fmt: skip
    plans, _ = search.tried()
    search.mfu(plans, mfu_floor)
    return rules_table(search.rules)


def _search(
    model: Any, cluster: Cluster, gpus: int, global_batch: int, seq: int, memory_limit_gib: float | None,
    schedules: list[str] | None, zero_stages: list[int] | None, recompute: list[str] | None, offload: list[str] | None,
    calibration: Any, allow_cross_node_tp: bool,
) -> Search:  # fmt: skip
    """The search that a call asks for."""
    at_least(1, gpus=gpus, global_batch=global_batch, seq=seq)
    space = Space(
        gpus,
        gpus if allow_cross_node_tp else cluster.gpus_per_node,
        _chosen("schedules", schedules or SCHEDULES[:2], SCHEDULES),
        _chosen("zero_stages", zero_stages or ZERO_STAGES, ZERO_STAGES),
        _chosen("recompute", recompute or RECOMPUTE, RECOMPUTE),
        _chosen("offload", offload or places_of(cluster), OFFLOAD),
    )
    return Search(
        {**model_of(model), "seq": seq}, cluster, global_batch, constants_of(calibration), memory_limit_gib, space
    )


def _chosen(name: str, given: Any, known: tuple[Any, ...]) -> list[int]:
    """Places of names among those that are known."""
    for each in given:
        if each not in known:
            raise ValueError(f"argument {name} has {each!r}; expected some of {', '.join(map(str, known))}")
    return sorted({known.index(each) for each in given})

"""The memory of a training run: what the fullest device holds, part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ironlake.udf.engine import Database, table
from ironlake.udf.engine.sqltypes import ANY

from .clusters import find_cluster
from .runs import OFFLOAD, machine_of, model_of, run_of

if TYPE_CHECKING:
    import pyarrow as pa


@table
def training_memory(
    model: ANY,
    database: Database,
    cluster: str = "selene_a100",
    global_batch: int = 1,
    micro_batch: int = 1,
    tp: int = 1,
    pp: int = 1,
    dp: int = 1,
    ep: int = 1,
    chunks: int = 1,
    schedule: str | None = None,
    recompute: str = "full",
    seq_parallel: bool = False,
    zero_stage: int = 0,
    offload: str = "none",
    offload_params: str | None = None,
    offload_activations: str = "none",
    bytes_per_param: float = 18.0,
) -> pa.Table:
    """Tell what the fullest device of a training run holds, and what of it is kept outside.

    Parameters
    ----------
    model, cluster, global_batch, micro_batch, tp, pp, dp, ep, chunks, schedule, recompute, seq_parallel, zero_stage,
        offload, offload_params, offload_activations : as for `training_step_time`.
    bytes_per_param : of weights (2), optimizer states (12) and gradients (the rest: 18 counts 4 for them, 16 counts 2).

    Returns
    -------
    TABLE
        ``component`` VARCHAR (``weights``, ``gradients``, ``optimizer``, ``activations`` that wait for the backward
        pass, ``recomputation`` (of one layer), ``logits``, and ``total``, which for a pipeline is the larger one of
        the first and the last stage), ``bytes`` DOUBLE (of a device), ``place`` VARCHAR (``gpu``, ``cpu``, ``nvme``),
        ``fits`` BOOLEAN (all that is in this place, of all devices of a node if it is outside). Of what
        is kept outside, two layers' worth of weights, gradients and activations is on the device.

    Raises
    ------
    ValueError
        As `training_step_time`, or if there are fewer than 14 bytes per parameter.

    References
    ----------
    Korthikanti and others: Reducing Activation Recomputation in Large Transformer Models, arXiv 2205.05198 (2022),
    table 2; Rajbhandari and others: ZeRO, SC (2020), figure 1.

    Examples
    --------
    FROM training_memory('gpt_22b', global_batch := 4, micro_batch := 4, tp := 8);
    FROM training_memory('mixtral_8x7b', global_batch := 64, tp := 2, dp := 16, ep := 8, zero_stage := 1);
    """
    import pyarrow as pa

    from .memory_kernels import AWAY, AWAY_PLACES, AWAY_STATES, COMPONENTS, bytes_away, device_bytes

    if not bytes_per_param >= 14:
        raise ValueError(
            f"argument bytes_per_param must be at least 14 (2 of weights, 12 of states), got {bytes_per_param}"
        )
    run = run_of(
        {
            **model_of(model), "global_batch": global_batch, "micro_batch": micro_batch, "tp": tp, "pp": pp, "dp": dp,
            "ep": ep, "chunks": chunks, "schedule": schedule, "recompute": recompute, "seq_parallel": seq_parallel,
            "zero_stage": zero_stage, "offload": offload, "offload_params": offload_params,
            "offload_activations": offload_activations,
        }
    )  # fmt: skip
    places = {name: OFFLOAD[int(run[0][place])] for name, place in zip(AWAY, AWAY_PLACES, strict=True)}
    machine = machine_of(find_cluster(cluster, database), *places.values())[0]
    held = np.zeros(len(COMPONENTS) + len(AWAY))
    total = device_bytes(run[0], 12.0, bytes_per_param - 14, held)
    fits = {"gpu": bool(total <= machine["hbm_bytes"])}
    for number, place in enumerate(OFFLOAD[1:], 1):
        size = bytes_away(run[0], held, number) * machine["gpus_per_node"]
        fits[place] = bool(size == 0 or size <= machine[f"{place}_bytes"])
    rows = [(name, size, "gpu") for name, size in zip(COMPONENTS, held[:AWAY_STATES], strict=True) if size > 0]
    rows.append(("total", total, "gpu"))
    rows += [(name, size, places[name]) for name, size in zip(AWAY, held[AWAY_STATES:], strict=True) if size > 0]
    columns = zip(*((*row, fits[row[2]]) for row in rows), strict=True)
    return pa.table(dict(zip(("component", "bytes", "place", "fits"), map(list, columns), strict=True)))

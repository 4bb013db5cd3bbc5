"""Step times and plans of distributed training: Ironlake beside Calculon, on vTrain's measurements.

What it tells, each beside Calculon on the same rows: errors, rank correlation and regret on measured steps, with the
shipped constants, fitted on the rows with ``row mod 3 < 2`` and tested on the others, and fitted without a model and
tested on it; microseconds per prediction; and the search of all plans of 175 B on 512 GPUs. Both repositories are given
as checkouts: ``python benchmarks/training_plans.py --vtrain DIRECTORY [--calculon DIRECTORY]``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

import ironlake  # noqa: F401 - the functions

COLUMNS = "layers, hidden, heads, seq, global_batch, micro_batch, tp, pp, dp"
MODELS = {3072: "3.6 B", 6144: "18.4 B", 8192: "39.1 B", 12288: "175 B"}
FIT = f"training_model_fit(seconds, {COLUMNS}, {{'cluster': 'vtrain_a100'}})"


def load(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """The tables ``multi_node`` and ``single_node`` of all measured runs."""
    for name in ("multi", "single"):
        connection.execute(
            f"""
            CREATE TABLE {name}_node AS
            SELECT row_number() OVER () - 1 AS row, 'vtrain_a100' AS cluster, "# layers" AS layers,
                "hidden size" AS hidden, "attention heads" AS heads, "sequence length" AS seq,
                "global batch" AS global_batch, "micro batch" AS micro_batch, "tensor parallelism" AS tp,
                "pipeline parallelism" AS pp, "data parallelism" AS dp, "iteration time (ms)" / 1000 AS seconds
            FROM read_csv('{folder}/data/ground_truth_{name}.csv', header = true, parallel = false)
            """
        )


def value(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    [(found,)] = connection.sql(query).fetchall()
    return found


def error(connection: duckdb.DuckDBPyConnection, runs: str, calibration: Any) -> float:
    """The mean error of predictions [%]."""
    given = "NULL" if calibration is None else str(calibration["constants"])
    query = f"SELECT 100 * avg(abs(training_step_predict(t, {given}) / seconds - 1)) FROM {runs} t"
    return float(value(connection, query))


def accuracy(connection: duckdb.DuckDBPyConnection) -> None:
    """Errors with the shipped constants, and with fitted ones on rows that they have not seen."""
    for name in ("multi_node", "single_node"):
        known, new = (f"(FROM {name} WHERE row % 3 {rest})" for rest in ("< 2", "= 2"))
        fitted = value(connection, f"SELECT {FIT} FROM {known}")
        print(f"{name}: {error(connection, name, None):.2f} % as shipped on all rows; fitted on two thirds: "
              f"{error(connection, known, fitted):.2f} % on them, {error(connection, new, fitted):.2f} % on the others "
              f"(at a bound: {', '.join(fitted['at_bound']) or 'none'})")  # fmt: skip
    for hidden, model in MODELS.items():
        others, own = (f"(FROM multi_node WHERE row % 3 < 2 AND hidden {rest} {hidden})" for rest in ("<>", "="))
        fitted = value(connection, f"SELECT {FIT} FROM {others}")
        print(f"{model} left out of the fit: {error(connection, own, fitted):.2f} %")


def ranking(connection: duckdb.DuckDBPyConnection, predicted: str, title: str) -> None:
    """Kendall's tau and the regret of the best plan, of each model, by a column of predictions."""
    query = f"SELECT hidden, plan_quality(seconds, {predicted}) FROM multi_node t GROUP BY ALL ORDER BY 1"
    for hidden, quality in connection.sql(query).fetchall():
        print(f"{title}, {MODELS[hidden]}: error {100 * quality['mape']:.2f} %, tau {quality['kendall_tau']:.3f}, "
              f"regret {100 * quality['top1_regret']:.1f} %")  # fmt: skip


class Calculon:
    """Calculon's model, on one of its systems without a limit of memory."""

    def __init__(self, folder: Path, system: str) -> None:
        sys.path.insert(0, str(folder))
        from calculon.llm.llm import Llm
        from calculon.system import System

        self.llm, self.folder, self.logger = Llm, folder, logging.Logger("calculon")
        described = json.loads((folder / "systems" / f"{system}.json").read_text())
        described["mem1"]["GiB"] = 1_000_000
        self.system = System(described)

    def seconds(self, run: dict[str, int]) -> float:
        """The predicted step of a run."""
        model = self.llm(
            self.llm.Application(
                {
                    "hidden": run["hidden"], "feedforward": 4 * run["hidden"], "seq_size": run["seq"],
                    "attn_heads": run["heads"], "attn_size": run["hidden"] // run["heads"],
                    "num_blocks": run["layers"],
                }
            ),
            self.logger,
        )  # fmt: skip
        inside = run["tp"] * run["dp"] <= 8
        model.compile(
            self.system,
            self.llm.Execution.from_json(
                {
                    "num_procs": run["tp"] * run["pp"] * run["dp"], "tensor_par": run["tp"], "pipeline_par": run["pp"],
                    "data_par": run["dp"], "tensor_par_net": 0 if run["tp"] <= 8 else 1,
                    "pipeline_par_net": 0 if run["tp"] * run["pp"] * run["dp"] <= 8 else 1,
                    "data_par_net": 0 if inside else 1, "batch_size": run["global_batch"],
                    "microbatch_size": run["micro_batch"], "datatype": "float16", "fused_activation": True,
                    "attention_type": "multihead", "activation_recompute": "full", "pipeline_interleaving": 1,
                    "optimizer_sharding": False, "tensor_par_comm_type": "ar", "tensor_par_overlap": "none",
                    "seq_par_ag_redo": False, "data_par_overlap": False, "weight_offload": False,
                    "activations_offload": False, "optimizer_offload": False, "training": True,
                }
            ),
        )  # fmt: skip
        model.run(self.system)
        return float(model.get_total_time())


def beside_calculon(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Calculon's errors, as shipped and with the best factor, its ranking and its time per run."""
    for system in ("a100_80g", "a100_80e"):
        peer = Calculon(folder, system)
        for name in ("multi_node", "single_node"):
            runs = connection.sql(f"FROM {name} ORDER BY row").to_arrow_table()
            start = time.perf_counter()
            found = np.array([peer.seconds(run) for run in runs.to_pylist()])
            each = (time.perf_counter() - start) / len(found)
            measured = runs["seconds"].to_numpy()
            factors = np.exp(np.linspace(-1, 1, 2001))
            errors = np.abs(factors[:, None] * found / measured - 1).mean(axis=1)
            print(f"Calculon {system}, {name}: {100 * np.abs(found / measured - 1).mean():.2f} % as shipped, "
                  f"{100 * errors.min():.2f} % times the best factor; {1e3 * each:.2f} ms per run")  # fmt: skip
            if name == "multi_node":
                connection.register("peer", runs.append_column("calculon", [found]))
                connection.execute("CREATE OR REPLACE TABLE multi_node AS FROM peer")
        ranking(connection, "calculon", f"Calculon {system}")


def speed(connection: duckdb.DuckDBPyConnection) -> None:
    """Time of a prediction in a table of runs, and of the search of all plans."""
    connection.execute("CREATE TABLE many AS SELECT s.* FROM single_node s, range(200)")
    query = "SELECT sum(training_step_predict(t)) FROM many t"
    value(connection, query)
    start = time.perf_counter()
    value(connection, query)
    rows = value(connection, "SELECT count(*) FROM many")
    print(f"Ironlake: {1e6 * (time.perf_counter() - start) / rows:.3f} us per run, over {rows} runs")
    search = "SELECT count(*) FROM training_plan('gpt_175b', 'selene_a100', 512, 1536, 2048)"
    value(connection, search)
    start = time.perf_counter()
    value(connection, search)
    taken = time.perf_counter() - start
    rules = search.replace("count(*)", "rejected + remaining").replace("training_plan", "training_plan_rejected")
    plans = value(connection, f"{rules} WHERE counted = 'plans' LIMIT 1")
    print(f"Ironlake: search of {plans} plans of 175 B on 512 GPUs in {taken:.3f} s")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vtrain", type=Path, required=True)
    parser.add_argument("--calculon", type=Path)
    chosen = parser.parse_args()
    with duckdb.connect() as connection:
        load(connection, chosen.vtrain)
        speed(connection)
        accuracy(connection)
        ranking(connection, "training_step_predict(t)", "Ironlake as shipped")
        fitted = value(connection, f"SELECT {FIT} FROM multi_node WHERE row % 3 < 2")["constants"]
        ranking(connection, f"training_step_predict(t, {fitted})", "Ironlake fitted on two thirds")
        if chosen.calculon:
            beside_calculon(connection, chosen.calculon)


if __name__ == "__main__":
    main()

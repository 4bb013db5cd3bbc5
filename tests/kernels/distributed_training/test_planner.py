"""Plans to train a model on a cluster."""

import itertools

import duckdb
import numpy as np
import pytest

import ironlake  # noqa: F401 - the functions
from ironlake.kernels.distributed_training import simulated_step
from ironlake.kernels.distributed_training.candidates import Space, candidates
from ironlake.kernels.distributed_training.clusters import find_cluster
from ironlake.kernels.distributed_training.constants import constants_of
from ironlake.kernels.distributed_training.runs import machine_of, run_of
from ironlake.kernels.distributed_training.search import pareto
from ironlake.kernels.distributed_training.step_time_kernels import predict

SMALL = "{'layers': 8, 'hidden': 1024, 'heads': 16}"


def plans(arguments, columns="*"):
    relation = duckdb.sql(f"SELECT {columns} FROM training_plan({arguments})")
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def test_all_ways_are_tried():
    """The enumeration against all numbers there are."""
    model = {"layers": 4, "hidden": 64, "heads": 4, "global_batch": 12, "experts": 6, "experts_per_token": 2}
    found, rules = candidates(run_of(model)[0], Space(8, 2, (0, 1, 3), (0, 1), (2,), (0,)))
    names = ("tp", "pp", "dp", "ep", "micro_batch", "chunks", "schedule", "zero_stage", "seq_parallel")
    expected = set()
    ranges = ((1, 2), range(1, 9), range(1, 9), range(1, 9), range(1, 13), range(1, 5))
    for tp, pp, dp, ep, b, v in itertools.product(*ranges):
        if tp * pp * dp != 8:
            continue
        for schedule, zero, seq in itertools.product(("1f1b", "interleaved_1f1b", "chimera"), (0, 1), (False, True)):
            useless = (zero and dp == 1) or (seq and tp == 1) or (pp == 1 and schedule != "1f1b")
            if useless or (schedule == "interleaved_1f1b" and v == 1):
                continue
            try:
                run = run_of(
                    {
                        **model, "tp": tp, "pp": pp, "dp": dp, "ep": ep, "micro_batch": b, "chunks": v,
                        "schedule": schedule, "zero_stage": zero, "seq_parallel": seq,
                    }
                )  # fmt: skip
            except ValueError:
                continue
            expected.add(tuple(run[0][list(names)]))
    assert len(found) == len(expected)
    assert {tuple(row) for row in found[list(names)]} == expected
    assert [rule.remaining for rule in rules if rule.counted == "splits"] == [7, 7, 6, 5]  # pp 8 and dp 8 do not divide
    assert rules[-1].remaining == len({tuple(row)[:7] for row in found[list(names)]})


def test_all_ways_to_save_memory_are_tried():
    base = run_of({"layers": 4, "hidden": 64, "heads": 4, "global_batch": 4})[0]
    found, _ = candidates(base, Space(4, 1, (0,), (0, 1, 3), (0, 2), (0, 1, 2)))
    names = ["recompute", "zero_stage", "offload", "offload_params", "offload_activations"]
    sharded = {tuple(row) for row in found[found["dp"] == 4][names]}
    places = set(itertools.product((0, 1, 2), repeat=3))
    nearer = {place for place in places if place[1] <= place[0]}  # parameters move more often than states
    expected = {(way, 3, *place) for way in (0, 2) for place in nearer}
    expected |= {(way, stage, *place) for way in (0, 2) for stage in (0, 1) for place in nearer if place[1] == 0}
    assert sharded == expected


def test_the_best_plan_is_the_fastest_that_fits():
    options = "top_k := 2000, schedules := ['1f1b'], offload := ['none', 'cpu'], zero_stages := [0, 3]"
    rows = plans(f"{SMALL}, 'selene_a100', 16, 32, 2048, {options}")
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["tp"] * row["pp"] * row["dp"] == 16 and row["memory_gib"] <= 80 for row in rows)
    head = [row["step_time_s"] for row in rows[:32]]
    assert head == sorted(head)
    places = {(row["offload"], row["offload_params"], row["offload_activations"]) for row in rows}
    assert len(places) == 6
    for row in [*rows[:2], next(row for row in rows if row["offload_params"] == "cpu")]:
        arguments = (
            f"{SMALL}, global_batch := 32, micro_batch := {row['micro_batch']}, tp := {row['tp']}, pp := {row['pp']}, "
            f"dp := {row['dp']}, zero_stage := {row['zero_stage']}, recompute := '{row['recompute']}', "
            f"seq_parallel := {row['seq_parallel']}, offload := '{row['offload']}', "
            f"offload_params := '{row['offload_params']}', offload_activations := '{row['offload_activations']}'"
        )
        [(seconds,)] = duckdb.sql(f"SELECT sum(seconds) FROM training_step_time({arguments})").fetchall()
        [(size, away)] = duckdb.sql(
            "SELECT max(bytes) FILTER (place = 'gpu'), coalesce(sum(bytes) FILTER (place = 'cpu'), 0) "
            f"FROM training_memory({arguments})"
        ).fetchall()
        assert row["step_time_s"] == pytest.approx(seconds, rel=0.05)
        assert row["memory_gib"] == pytest.approx(size / 2**30)
        assert row["cpu_gib"] == pytest.approx(8 * away / 2**30)
        assert row["tokens_per_s"] == pytest.approx(32 * 2048 / row["step_time_s"])
        assert row["tflops_per_gpu"] / 312 >= 0.999 * row["mfu"]  # with what is computed again
        assert row["cost_per_mtoken"] is None


def test_plans_of_a_published_size():
    """175 B on 512 GPUs: inside a node tensors are split, and the plan is faster than the paper's."""
    best = plans("'gpt_175b', 'selene_a100', 512, 1536, 2048, top_k := 1")[0]
    assert 1 < best["tp"] <= 8
    [(theirs,)] = duckdb.sql(
        "SELECT sum(seconds) * 384 / 512 FROM training_step_time('gpt_175b', global_batch := 1536, tp := 8, pp := 12, "
        "dp := 4)"
    ).fetchall()
    assert best["step_time_s"] < theirs


def test_objectives_limits_and_prices():
    arguments = f"{SMALL}, 'own', 8, 32, 2048, top_k := 1"
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE training_clusters AS SELECT * REPLACE ('own' AS name, 2.0 AS price_per_gpu_hour) "
            "FROM training_clusters() WHERE name = 'selene_a100'"
        )
        query = f"SELECT step_time_s, memory_gib, cost_per_mtoken, pareto FROM training_plan({arguments}, %s)"
        fast, cheap, small, tight = (
            connection.sql(query % more).fetchall()[0]
            for more in (
                "mfu_floor := 0.1", "objective := 'cost'", "objective := 'memory'", "memory_limit_gib := 4",
            )
        )  # fmt: skip
    assert fast == cheap
    assert fast[2] == pytest.approx(fast[0] / (32 * 2048) * 1e6 * 8 * 2 / 3600)
    assert small[1] < tight[1] <= 4 < fast[1]
    assert fast[0] < tight[0] < small[0]
    assert all(plan[3] for plan in (fast, small, tight))


def test_pareto():
    random = np.random.default_rng(0)
    size, seconds = random.integers(0, 8, (2, 60)).astype(float)
    expected = [
        not any((b <= size[i] and s <= seconds[i]) and (b < size[i] or s < seconds[i]) for b, s in zip(size, seconds, strict=True))
        for i in range(60)
    ]  # fmt: skip
    assert pareto(size, seconds).tolist() == expected


def test_experts_are_shared_by_replicas():
    """Mixtral on 16 devices of 80 GiB: 46.7 B parameters do not fit any of them whole."""
    rows = plans("'mixtral_8x7b', 'selene_a100', 16, 64, 2048, offload := ['none'], zero_stages := [1], top_k := 500")
    assert all(row["dp"] % row["ep"] == 0 and 8 % row["ep"] == 0 for row in rows)
    assert all(row["ep"] > 1 for row in rows if row["tp"] * row["pp"] == 1)
    assert {row["ep"] for row in rows} == {1, 2, 4, 8}
    active, params = 12.88e9, 46.7e9
    best = rows[0]
    computed = best["mfu"] * 16 * 312e12 * best["step_time_s"] / (64 * 2048)
    assert 6 * active < computed < 6.6 * active < 6 * params  # and attention, whose work grows with the sequence


def test_a_trillion_parameters_on_one_node():
    """What ZeRO-Infinity is known for: with states and gradients on drives they fit 16 devices of 32 GiB."""
    [row] = plans("'gpt_1t', 'dgx2_v100', 16, 64, 1024, top_k := 1")
    assert (row["zero_stage"], row["offload"]) == (3, "nvme")
    assert 16 / 1.1 < row["nvme_gib"] / (1.008e12 / 2**30) < 18 * 1.1  # bytes per parameter
    assert row["limiting"] == "offload_bw"


def test_rules_tell_what_they_reject():
    def rules(arguments):
        return duckdb.sql(f"FROM training_plan_rejected({arguments})").fetchall()

    found = rules(f"{SMALL}, 'selene_a100', 48, 96, 2048, memory_limit_gib := 4, mfu_floor := 0.1")
    assert [counted for _, counted, *_ in found] == ["splits"] * 4 + ["pipelines"] * 2 + ["plans"] * 4
    by_rule = {rule: (rejected, remaining) for rule, _, rejected, remaining in found}
    splits = [
        (tp, pp, 48 // tp // pp) for tp in range(1, 49) if 48 % tp == 0 for pp in range(1, 49) if 48 // tp % pp == 0
    ]
    narrow = [each for each in splits if each[0] <= 8]
    even = [each for each in narrow if 16 % each[0] == 0]
    assert by_rule["tp stays inside a node"] == (len(splits) - len(narrow), len(narrow))
    assert by_rule["tp divides heads and kv_heads"] == (len(narrow) - len(even), len(even))
    for (_, counted, _, before), (_, following, rejected, left) in itertools.pairwise(found):
        assert counted != following or before == rejected + left
    assert by_rule["memory of a device"][0] > 0
    plan = f"{SMALL}, 'selene_a100', 48, 96, 2048, memory_limit_gib := 4, mfu_floor := 0.1, top_k := 1000000"
    assert len(plans(plan)) == by_rule["mfu_floor"][1]
    assert rules("'gpt_1t', 'selene_a100', 8, 8, 2048, offload := ['cpu']")[-1][3] == 0


@pytest.mark.parametrize(
    ("schedule", "pp", "chunks"), [("1f1b", 4, 1), ("interleaved_1f1b", 4, 2), ("gpipe", 4, 1), ("chimera", 4, 1)]
)
def test_a_long_pipeline_repeats_itself(monkeypatch, schedule, pp, chunks):
    sizes = {"layers": 24, "hidden": 4096, "heads": 32, "global_batch": 48, "tp": 8}
    run = run_of({**sizes, "pp": pp, "chunks": chunks, "schedule": schedule})
    machine, constants = machine_of(find_cluster("selene_a100", None)), constants_of(None)
    short = simulated_step.simulated_seconds(run[0], machine[0], constants[0])
    monkeypatch.setattr(simulated_step, "_STEADY", 1000)
    assert short == pytest.approx(simulated_step.simulated_seconds(run[0], machine[0], constants[0]), rel=1e-9)
    assert short == pytest.approx(predict(run, machine, constants)[0], rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (f"{SMALL}, 'selene', 8, 32, 2048", "there is no cluster 'selene'; expected one of"),
        (f"{SMALL}, 'selene_a100', 8, 32, 2048, schedules := ['best']", "schedules has 'best'; expected some of 1f1b"),
        (f"{SMALL}, 'selene_a100', 8, 32, 2048, zero_stages := [4]", "zero_stages has 4; expected some of 0, 1, 2, 3"),
        (f"{SMALL}, 'selene_a100', 8, 32, 2048, objective := 'cost'", "has no price_per_gpu_hour; fill it"),
        (f"{SMALL}, 'piz_daint_p100', 8, 32, 2048, offload := ['nvme']", "has no nvme_gib; fill it"),
        (
            f"{SMALL}, 'selene_a100', 8, 32, 2048, mfu_floor := 0.9",
            "mfu_floor is 0.9, but the best plan has an mfu of 0",
        ),
        (f"{SMALL}, 'selene_a100', 7, 32, 2048", "7 gpus cannot be split as tp \\* pp \\* dp for 16 heads, 8 layers"),
        (f"{SMALL}, 'selene_a100', 0, 32, 2048", "argument gpus must be at least 1, got 0"),
        (
            "'gpt_13b', 'selene_a100', 4, 32, 2048, offload := ['none'], memory_limit_gib := 40",
            "none of .* fits into 40 GiB .* shortfall is .* tp 4, .* which offload 'cpu' would fix",
        ),
        (
            "'gpt_13b', 'selene_a100', 4, 32, 2048, offload := ['none'], zero_stages := [0], recompute := ['none'], memory_limit_gib := 20",
            "misses 45.3 GiB of the memory of a device, which offload 'cpu' and offload_activations 'cpu' would fix",
        ),
        (
            "'gpt_1t', 'selene_a100', 8, 8, 2048, offload := ['none', 'cpu']",
            "GiB of the memory of a node, which zero_stage 3, offload 'nvme' and offload_params 'cpu' would fix",
        ),
        ("'gpt_1t', 'selene_a100', 1, 1, 2048", "GiB of the drives of a node, which 8 gpus would fix"),
        (
            "'gpt_1t', 'selene_a100', 1, 1, 2048, memory_limit_gib := 1",
            "which more gpus or a smaller global_batch would",
        ),
    ],
)
def test_wrong_arguments(arguments, told):
    with pytest.raises(duckdb.Error, match=told):
        plans(arguments)

"""The time of a training step, and predictions for tables of runs."""

import duckdb
import pytest

import ironlake  # noqa: F401 - the functions

GPT = "{'layers': 32, 'hidden': 3840, 'heads': 32}"


def seconds(arguments):
    [(found,)] = duckdb.sql(f"SELECT sum(seconds) FROM training_step_time({arguments})").fetchall()
    return found


def test_components_add_up_and_are_predicted_alike():
    rows = duckdb.sql(
        f"FROM training_step_time({GPT}, global_batch := 64, micro_batch := 2, tp := 4, pp := 4, dp := 2, chunks := 2)"
    ).fetchall()
    parts = {component: seconds for component, seconds, _, _ in rows}
    assert sum(share for *_, share in rows) == pytest.approx(1)
    assert {"compute", "recompute", "tensor_parallel", "loss", "pipeline_bubble", "data_parallel"} < set(parts)
    assert parts["recompute"] == pytest.approx(parts["compute"] / 3)
    [(predicted,)] = duckdb.sql(
        f"SELECT training_step_predict(t) FROM (SELECT unnest({GPT}), 64 AS global_batch, 2 AS micro_batch, 4 AS tp, "
        "4 AS pp, 32 AS gpus, 2 AS chunks, 'left alone' AS note) t"
    ).fetchall()
    assert predicted == pytest.approx(sum(parts.values()))


def test_rows_with_nulls_defaults_clusters_and_calibrations():
    rows = duckdb.sql(
        """
        SELECT training_step_predict(t), training_step_predict(t, {'step_s': 0.4}),
            training_step_predict(t, NULL)
        FROM (SELECT 8 AS layers, 1024 AS hidden, 16 AS heads, 16 AS global_batch, 16 AS dp, recompute, cluster
              FROM (VALUES ('full', NULL), (NULL, 'selene_a100'), ('none', 'dgx_h100')) v(recompute, cluster)) t
        """
    ).fetchall()
    assert rows[0] == rows[1]
    assert rows[2][0] < rows[1][0]
    for shipped, slower, null in rows:
        assert null == shipped
        assert slower - shipped == pytest.approx(0.4 - 0.02429)
    none = "CASE WHEN i > 0 THEN {'layers': 1, 'hidden': 64, 'heads': 1, 'global_batch': 1} END"
    found = duckdb.sql(f"SELECT training_step_predict({none}) IS NULL FROM range(2) t(i)").fetchall()
    assert found == [(True,), (False,)]
    row = "{'layers': 8, 'hidden': 1024, 'heads': 16, 'global_batch': 16, 'dp': 16"
    [(slow, fast)] = duckdb.sql(
        f"SELECT training_step_predict({row}, 'inter_gbps_per_gpu': 1}}), training_step_predict({row}}})"
    ).fetchall()
    assert slow > fast


def test_more_stages_and_more_tensor_parallelism_are_slower():
    """Figures 14 and 15 of the SC 2021 paper: 5.9 B on 64 GPUs, micro-batches of 1."""
    far = "allow_cross_node_tp := true"
    for batch in (32, 128, 512):
        widths = [p for p in (2, 4, 8, 16, 32) if batch % (64 // p) == 0]
        stages = [seconds(f"{GPT}, global_batch := {batch}, pp := {p}, dp := {64 // p}") for p in widths]
        assert stages == sorted(stages)
        tensors = [seconds(f"{GPT}, global_batch := {batch}, tp := {t}, dp := {64 // t}, {far}") for t in widths]
        assert tensors == sorted(tensors)


def test_zero_3_falls_behind_where_batches_get_small():
    """Table 2 of the SC 2021 paper: throughput of a GPU falls by more than 2.5 times; with PTD by less than 10 %."""
    sharded, split = (
        [seconds(f"'gpt_175b', global_batch := 1536, {options}") * gpus for gpus, options in rows]
        for rows in (
            [(384, "micro_batch := 4, dp := 384, zero_stage := 3"), (1536, "dp := 1536, zero_stage := 3")],
            [(384, "tp := 8, pp := 12, dp := 4"), (1536, "tp := 8, pp := 12, dp := 16")],
        )
    )
    assert sharded[1] > 2.5 * sharded[0]
    assert split[0] > 0.9 * split[1]


def test_offloading_and_sharding_cost_time():
    base = f"{GPT}, global_batch := 64, dp := 8"
    on_device, cpu, nvme = (
        seconds(f"{base}, zero_stage := 1, offload := '{place}'") for place in ("none", "cpu", "nvme")
    )
    assert on_device < cpu < nvme
    assert seconds(f"{base}, zero_stage := 2, pp := 2") > seconds(f"{base}, zero_stage := 1, pp := 2")
    names = ("1f1b", "gpipe", "zb_h1", "chimera")
    schedules = {name: seconds(f"{GPT}, global_batch := 4, pp := 4, schedule := '{name}'") for name in names}
    assert schedules["1f1b"] == schedules["gpipe"] > schedules["zb_h1"]
    assert schedules["chimera"] < schedules["1f1b"]


def test_one_device_fetches_its_parameters():
    """Twice without recomputation, for each micro-batch, over the link to the CPU, while it computes."""
    small = "{'layers': 8, 'hidden': 1024, 'heads': 16}, global_batch := 4, zero_stage := 3, recompute := 'none'"
    parameters = 8 * (12 * 1024**2 + 13 * 1024) + (51200 + 2048) * 1024
    found = parts(f"{small}, offload := 'cpu'")
    assert sum(found["parameter_gather"]) == pytest.approx(4 * 2 * 2 * parameters / 12.5e9)
    assert "parameter_gather" not in parts(f"{small}, offload := 'cpu', offload_params := 'none'")


MOE = "{'layers': 16, 'hidden': 2048, 'heads': 16, 'experts': 8, 'experts_per_token': 2}"


def parts(arguments):
    rows = duckdb.sql(f"SELECT component, seconds, overlapped FROM training_step_time({arguments})").fetchall()
    return {component: (seconds, overlapped) for component, seconds, overlapped in rows}


def test_tokens_go_to_their_experts_and_back():
    """Two exchanges in each of the forward pass, what is computed again, and the backward pass; by links of a node."""
    options = "global_batch := 64, micro_batch := 2, tp := 2, dp := 4"
    constants = "calibration := {'intra_efficiency': 1, 'latency_factor': 1}"
    [near, far] = [parts(f"{MOE}, {options}, ep := {ep}, {constants}") for ep in (4, 1)]
    size = 2 * 2 * 2048 * 2048 * 2 / 2  # of 2 copies, by 2 tensor-parallel devices
    once = size * 3 / 4 / 300e9 + 5e-6
    assert near["expert_parallel"][0] == pytest.approx(8 * 16 * 3 * 2 * once)
    assert "expert_parallel" not in far
    across = parts(f"{MOE}, global_batch := 64, micro_batch := 1, dp := 16, ep := 8, {constants}")
    within = parts(f"{MOE}, global_batch := 64, micro_batch := 1, dp := 16, ep := 4, {constants}")
    assert across["expert_parallel"][0] > within["expert_parallel"][0]
    assert far["data_parallel"][0] > near["data_parallel"][0]  # an expert has fewer replicas
    assert far["optimizer"][0] > near["optimizer"][0]


def test_compute_is_that_of_active_experts():
    """Of two of eight experts, about that of a network twice as wide; not that of all."""
    options = "global_batch := 64, micro_batch := 4, dp := 8"
    wide, chosen, whole = (
        parts(f"{{'layers': 16, 'hidden': 2048, 'heads': 16, {rest}}}, {options}")["compute"][0]
        for rest in ("'ffn': 16384", "'experts': 8, 'experts_per_token': 2", "'experts': 8, 'experts_per_token': 8")
    )
    assert wide < chosen < 1.15 * wide
    assert whole > 2 * chosen


def test_activations_move_while_devices_compute():
    base = f"{GPT}, global_batch := 64, dp := 8, recompute := 'none'"
    near, far = parts(base), parts(f"{base}, offload_activations := 'cpu'")
    one = 32 * 2048 * 3840 * (34 + 5 * 32 * 2048 / 3840)
    moved = 8 * 2 * one / 12.5e9  # out and back, over the link to the CPU
    assert far["offload"][0] + far["offload"][1] == pytest.approx(moved)
    assert far["offload"][1] == pytest.approx(min(moved, near["compute"][0]))
    shard = (32 * (12 * 3840**2 + 13 * 3840) + (51200 + 2048) * 3840) / 8
    base = f"{GPT}, global_batch := 64, dp := 8, zero_stage := 2"
    exposed, hidden = parts(f"{base}, offload := 'cpu'")["offload"]
    assert hidden == pytest.approx(8 * 4 * shard / 12.5e9)  # gradients, of each micro-batch
    assert exposed == pytest.approx(shard * 2 / 12.5e9)  # parameters, once
    drives = parts(f"{base}, offload := 'nvme'")["offload"]
    assert sum(drives) == pytest.approx(shard * (2 / 12.5e9 + (8 * 4 + 28) / 3.1e9))
    less = parts(f"{GPT}, global_batch := 64, dp := 8, offload_activations := 'nvme'")
    assert less["offload"] == (0, pytest.approx(8 * 2 * 32 * 2 * 2048 * 3840 / 3.1e9))


@pytest.mark.filterwarnings("error")
def test_zero_3_in_a_pipeline_warns():
    with pytest.raises(duckdb.Error, match="gathers the parameters again"):
        seconds(f"{GPT}, global_batch := 64, dp := 8, pp := 2, zero_stage := 3")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("tp := 2, pp := 2, dp := 2, gpus := 12", r"2 \* 2 \* 2 = 8 devices, but gpus is 12; the nearest .* 2\*2\*3"),
        ("pp := 5", "32 layers over 5 \\* 1 leave a remainder of 2; the nearest pp is 4, or give stages of unequal size"),
        ("global_batch := 12, dp := 4, micro_batch := 2", "12 sequences are no multiple of 4 \\* 2; expected micro_batch 1, 3"),
        ("global_batch := 6, pp := 4, chunks := 2", "multiple of pp 4, got 6; the next multiple is 8"),
        ("pp := 2, chunks := 2, schedule := '1f1b'", "chunks is 2; only schedule 'interleaved_1f1b' has more"),
        ("pp := 1, schedule := 'chimera'", "chimera needs an even pp of at least 2"),
        ("tp := 16", "tp is 16, but a node of 'selene_a100' has 8 devices; .* or set allow_cross_node_tp"),
        ("tp := 3", "32 heads cannot be split over tp 3"),
        ("schedule := 'best'", "schedule is 'best'; expected one of 1f1b, interleaved_1f1b, gpipe, chimera, zb_h1"),
        ("cluster := 'selene'", "there is no cluster 'selene'; expected one of dgx2_v100, "),
        ("zero_stage := 4", "zero_stage is 4; expected one of 0, 1, 2, 3"),
        ("recompute := 'all'", "recompute is 'all'; expected one of none, selective, full"),
        ("dp := 0", "argument dp must be a whole number of at least 1, got 0"),
        ("offload := 'nvme', cluster := 'piz_daint_p100'", "has no nvme_gib; fill it in a table"),
        ("ep := 2, dp := 2", "ep is 2; expected a divisor of both dp 2 and experts 1: 1"),
        ("offload_params := 'cpu'", "offload_params is 'cpu' with zero_stage 0; expected zero_stage 3"),
        ("offload_activations := 'disk'", "offload_activations is 'disk'; expected one of none, cpu, nvme"),
        ("offload_activations := 'cpu', cluster := 'vtrain_a100'", "has no cpu_gib; fill it in a table"),
        ("calibration := {'gemm_efficiency': 1.5}", "gemm_efficiency must be between 0.4 and 0.95, got 1.5"),
        ("calibration := {'gemm_eficiency': 0.5}", "did you mean 'gemm_efficiency'"),
        ("calibration := {'step_s': '8'}", "step_s must be a number, got '8'"),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments, told):
    with pytest.raises(duckdb.Error, match=told):
        seconds(f"{GPT}, {arguments}")


def test_a_cluster_needs_bandwidth():
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE training_clusters AS SELECT * REPLACE ('own' AS name, 0 AS hbm_gbps) "
            "FROM training_clusters() WHERE name = 'selene_a100'"
        )
        with pytest.raises(duckdb.Error, match="hbm_gbps of 'own' must be above 0, got 0"):
            connection.sql(f"FROM training_step_time({GPT}, cluster := 'own')").fetchall()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("'gpt_13'", "there is no 'gpt_13'; did you mean 'gpt_13b'"),
        ("{'layers': 2}", "argument model has no 'hidden'"),
        ("{'layers': 2, 'hidden': '8', 'heads': 1}", "model.hidden is the text '8'; expected a number"),
        ("{'layers': 2, 'hidden': 8, 'head': 1}", "argument model has 'head'; did you mean 'heads'"),
        ("7", "argument model must be a name or a STRUCT"),
        ("{'layers': 2, 'hidden': 8, 'heads': 4, 'kv_heads': 3}", "4 heads cannot share 3 kv_heads"),
        (
            "{'layers': 2, 'hidden': 8, 'heads': 1, 'experts_per_token': 2}",
            "experts_per_token is 2; expected at most the 1",
        ),
        ("{'layers': 2, 'hidden': 8, 'heads': 1, 'gated': 1}", "argument model.gated must be true or false, got 1"),
    ],
)
def test_wrong_models(model, told):
    with pytest.raises(duckdb.Error, match=told):
        seconds(model)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{'layers': 8, 'hidden': 64, 'global_batch': 1}", "argument heads is missing"),
        ("{'layers': 8, 'hidden': 64, 'heads': 1, 'global_batch': 1, 'pp': 3}", "remainder of 2"),
        (
            "{'layers': 8, 'hidden': 64, 'heads': 1, 'global_batch': 1, 'schedule': 'x'}",
            "schedule is 'x'; expected one of",
        ),
        ("{'layers': 8, 'hidden': 64, 'heads': 1, 'global_batch': 8, 'gpus': 3, 'tp': 1}", "no multiple of 3"),
        ("8", "argument row must be a STRUCT"),
    ],
)
def test_wrong_rows(row, told):
    with pytest.raises(duckdb.Error, match=told):
        duckdb.sql(f"SELECT training_step_predict({row})").fetchall()

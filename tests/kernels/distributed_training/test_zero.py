"""ZeRO-Infinity: memory by the paper and by DeepSpeed, bandwidths, the largest models, and the overlap engine."""

import itertools

import duckdb
import pytest

from ironlake.kernels.distributed_training.zero.step import Operation, Times, simulate


def value(expression):
    [(found,)] = duckdb.sql(f"SELECT {expression}").fetchall()
    return found


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("zero_efficiency(ait_params(1024, 1), 70e9)", 0.506),
        ("zero_efficiency(ait_params(1024, 2), 70e9)", 0.672),
        ("zero_efficiency(ait_params(1024, 4), 70e9)", 0.804),
        ("zero_efficiency(ait_params(1024, 8), 70e9)", 0.891),
        ("zero_efficiency(ait_optimizer(1024, 1), 1.5e12)", 0.846),
        ("zero_efficiency(ait_optimizer(1024, 2), 1.5e12)", 0.916),
        ("zero_efficiency(ait_activations(2048), 2e9)", 0.584),
        ("zero_efficiency(ait_activations(8192), 3e9)", 0.894),
    ],
)
def test_efficiency(call, expected):
    assert value(call) == pytest.approx(expected, abs=5e-4)


def test_bandwidth_is_the_inverse_of_efficiency():
    assert value("bandwidth_for_efficiency(1024, zero_efficiency(1024, 70e9))") == pytest.approx(70e9)
    assert value("bandwidth_for_efficiency(1024, 1)") == float("inf")
    assert value("bandwidth_for_efficiency(NULL, 0.5)") is None


def memory(arguments):
    return {
        (tier, name): size
        for tier, name, size in duckdb.sql(f"SELECT tier, component, bytes FROM zero_memory({arguments})").fetchall()
    }


@pytest.mark.parametrize(("stage", "per_param"), [(0, 16), (1, 4 + 12 / 8), (2, 2 + 14 / 8), (3, 16 / 8)])
def test_stages_shard_model_states(stage, per_param):
    needs = memory(f"1e9, 24, 1024, 16, 8, zero_stage := {stage}, bytes_per_param := 16")
    states = sum(size for (_, name), size in needs.items() if name in ("parameters", "gradients", "optimizer"))
    assert states == pytest.approx(per_param * 1e9)


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "states", "checkpoints", "full", "working", "activations"),
    [  # figure 2a from memory, in TiB and GiB; exact arithmetic here
        (80, 10240, 128, 1.8311, 0.0488, 2.0313, 1.5625, 1.625),
        (100, 20480, 160, 9.1553, 0.1221, 3.9063, 6.25, 2.5),
        (195, 65536, 512, 182.8125, 0.7617, 24.375, 64, 8),
    ],
)
def test_sizes_of_figure_2a(layers, hidden, heads, states, checkpoints, full, working, activations):
    params = 12 * layers * hidden**2
    needs = memory(
        f"{params}, {layers}, {hidden}, {heads}, 16, gpus_per_node := 16, batch_per_gpu := 2, offload_params := 'nvme', offload_optimizer := 'nvme', offload_activations := 'cpu'"
    )
    assert sum(size for (tier, _), size in needs.items() if tier == "nvme") / 2**40 == pytest.approx(states, abs=1e-4)
    assert needs["cpu", "activation_checkpoints"] / 2**40 == pytest.approx(checkpoints, abs=1e-4)
    assert needs["gpu", "activation_working_memory"] / 2**30 == activations
    assert needs["gpu", "activation_working_memory"] * layers * 16 / 2**40 == pytest.approx(full, abs=1e-4)
    assert needs["gpu", "working_memory"] / 2**30 == working
    assert (
        memory(f"{params}, {layers}, {hidden}, {heads}, 16, tiling := 4")["gpu", "working_memory"] / 2**30
        == working / 4
    )


@pytest.mark.parametrize(
    ("offloaded", "cpu", "gpu"),
    [
        ("offload_params := 'cpu', offload_optimizer := 'cpu'", 171.13, 0.49),
        ("offload_optimizer := 'cpu'", 152.11, 3.66),
        ("zero_stage := 3", 2.93, 29.01),
    ],
)
def test_deepspeeds_estimate(offloaded, cpu, gpu):
    needs = memory(
        f"6805e6, 32, 4096, 32, 4, gpus_per_node := 4, formula := 'deepspeed', largest_layer := 131e6, {offloaded}"
    )
    assert needs["cpu", "model_states"] / 2**30 == pytest.approx(
        cpu, rel=1e-4, abs=0.006
    )  # the parameters are told to a million
    assert needs["gpu", "model_states"] / 2**30 == pytest.approx(gpu, abs=0.006)


def test_deepspeeds_estimate_of_stage_2():
    base = "1e9, 24, 1024, 16, 8, formula := 'deepspeed', zero_stage := 2"
    assert memory(base)["gpu", "model_states"] == 6e9
    assert memory(f"{base}, offload_optimizer := 'cpu'") == {
        ("gpu", "model_states"): 2e9,
        ("cpu", "model_states"): 48e9,
    }


def test_what_fits_is_told_for_each_tier():
    call = "zero_memory(1e12, 128, 25600, 256, 16, offload_optimizer := 'nvme', offload_params := '{}', cluster := 'dgx2_v100')"
    told = dict(duckdb.sql(f"SELECT DISTINCT tier, fits FROM {call.format('nvme')}").fetchall())
    assert told == {"gpu": True, "nvme": True}
    told = dict(duckdb.sql(f"SELECT DISTINCT tier, fits FROM {call.format('cpu')}").fetchall())
    assert told == {"gpu": True, "cpu": False, "nvme": True}


def test_largest_models_on_one_node():
    rows = duckdb.sql("SELECT strategy, max_params / 1e9 FROM max_model_size('dgx2_v100', 1)").fetchall()
    size = dict(rows)
    assert 1.2 <= size["data_parallel"] <= 2.0
    assert 1000 <= size["infinity_nvme"] <= 1600
    ladder = ["data_parallel", "zero_2", "zero_offload", "zero_3", "infinity_cpu", "infinity_nvme"]
    assert all(size[low] < size[high] for low, high in itertools.pairwise(ladder))
    assert size["3d_parallel"] == pytest.approx(size["zero_3"], rel=0.1)  # figure 6a: 20 billion both


def test_a_cluster_without_drives_has_no_strategy_for_them():
    names = [name for (name,) in duckdb.sql("SELECT strategy FROM max_model_size('piz_daint_p100', 64)").fetchall()]
    assert "infinity_cpu" in names
    assert "infinity_nvme" not in names
    with pytest.raises(duckdb.Error, match="has no nvme_gib; fill it in a table 'training_clusters'"):
        duckdb.sql("FROM max_model_size('piz_daint_p100', 64, strategies := ['infinity_nvme'])")


OPERATIONS = [
    Operation("forward", 0),
    Operation("forward", 1),
    Operation("recompute", 1),
    Operation("backward", 1),
    Operation("recompute", 0),
    Operation("backward", 0),
]


def times(compute=1.0, nc=0.0, cg=0.0, gg=0.0, rs=0.0, out=0.0, drive=0.0, checkpoint=0.0, optimizer=0.0):
    return Times(
        compute, {"nvme_to_cpu": nc, "cpu_to_gpu": cg, "all_gather": gg}, rs, out, drive, checkpoint, optimizer
    )


@pytest.mark.parametrize(
    ("given", "overlapped", "alone"),
    [
        ({}, 8, 8),
        ({"optimizer": 5.0}, 13, 13),
        ({"gg": 0.5}, 0.5 + 8, 3 + 8),  # only the first gather is waited for
        ({"gg": 2.0}, 12 + 2, 12 + 8),  # the network is the bottleneck; the last backward follows its gather
        ({"nc": 0.1, "cg": 0.1, "gg": 0.1}, 0.3 + 8, 1.8 + 8),
        ({"rs": 1.5}, 8 + 1.5, 8 + 3),  # the first gradient leaves while the next layer runs
        ({"rs": 0.5, "out": 0.25, "drive": 0.25}, 8 + 1, 8 + 2),
        ({"checkpoint": 0.5}, 8, 8 + 2),
    ],
)
def test_overlap(given, overlapped, alone):
    assert simulate(OPERATIONS, times(**given), 1, True).total == pytest.approx(overlapped)
    assert simulate(OPERATIONS, times(**given), 1, False).total == pytest.approx(alone)


def test_shares_add_up():
    rows = duckdb.sql(
        "SELECT component, seconds, overlapped, share FROM zero_step_time(24, 4096, 32, 'dgx2_v100', ckpt_interval := 2)"
    ).fetchall()
    assert sum(share for name, _, _, share in rows if name != "step") == pytest.approx(1)
    assert all(0 <= overlapped <= seconds * (1 + 1e-9) for _, seconds, overlapped, _ in rows)


def test_without_overlap_the_efficiency_is_the_papers():
    # parameters from CPU memory alone, 3 GB/s per device: the shards of 16 devices are read for three operations, of
    # which the paper's 4 moves of 2 bytes leave out the gradient's
    rows = duckdb.sql("""
        SELECT component, seconds FROM zero_step_time(24, 4096, 16, 'dgx2_v100', batch_per_gpu := 2, overlap := false,
            offload_optimizer := 'cpu', offload_params := 'cpu', offload_activations := 'none')
    """).fetchall()
    seconds = dict(rows)
    moved = seconds["cpu_to_gpu"] + seconds["gradient_out"]
    computed = seconds["forward"] + seconds["recompute"] + seconds["backward"]
    assert computed / (computed + moved) == pytest.approx(value("zero_efficiency(ait_params(1024, 2), 16 * 3e9)"))


def test_slices_load_faster_than_owners_send():
    def fetched(partitioning):
        rows = duckdb.sql(
            f"SELECT component, seconds FROM zero_step_time(24, 4096, 16, 'dgx2_v100', partitioning := '{partitioning}')"
        ).fetchall()
        return dict(rows)["cpu_to_gpu"]

    assert fetched("owner") == pytest.approx(16 * fetched("bandwidth"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT zero_efficiency(1, 1, -1)", "zero_efficiency: argument peak_flops must be above 0, got -1.0"),
        ("SELECT bandwidth_for_efficiency(1, 1.5)", "argument eff must be above 0 and at most 1, got 1.5"),
        ("SELECT ait_params(0, 1)", "ait_params: argument seq must be above 0, got 0"),
        ("FROM zero_memory('nan'::DOUBLE, 1, 1, 1, 1)", "zero_memory: argument params must be above 0, got nan"),
        ("FROM zero_memory(1e30, 1, 1, 1, 1)", "bytes of parameters; expected fewer than 2\\^63"),
        ("FROM zero_memory(1e9, 24, 1024, 16, 8, zero_stage := 4)", "argument zero_stage is 4; expected 0, 1, 2 or 3"),
        (
            "FROM zero_memory(1e9, 24, 1024, 16, 8, zero_stage := 2, offload_params := 'cpu')",
            "argument offload_params is 'cpu' with zero_stage 2",
        ),
        (
            "FROM zero_memory(1e9, 24, 1024, 16, 8, zero_stage := 1, formula := 'deepspeed')",
            "formula 'deepspeed' knows 2 and 3",
        ),
        (
            "FROM zero_memory(1e9, 24, 1024, 16, 8, offload_params := 'disk')",
            "argument 'offload_params' is 'disk'; the valid ones are",
        ),
        (
            "FROM zero_memory(1e9, 24, 1024, 16, 8, offload_params := 'nvme', cluster := 'piz_daint_p100')",
            "zero_memory: argument cluster: the cluster 'piz_daint_p100' has no nvme_gib",
        ),
        (
            "FROM max_model_size('dgx3', 1)",
            "max_model_size: argument cluster: there is no cluster 'dgx3'; expected one of",
        ),
        (
            "FROM max_model_size('dgx2_v100', 1, strategies := ['zero_4'])",
            "argument strategies has 'zero_4'; did you mean 'zero_3'",
        ),
        (
            "FROM max_model_size('dgx2_v100', 1, batch_per_gpu := 10000000)",
            "with which no model fits 1 nodes of 'dgx2_v100'",
        ),
        (
            "FROM zero_step_time(24, 1024, 24, 'dgx2_v100')",
            "argument gpus is 24; expected full nodes of 16, or part of one",
        ),
        ("FROM zero_step_time(24, 1024, 16, 'piz_daint_p100')", "has no achievable_tflops"),
        (
            "FROM zero_step_time(24, 1024, 16, 'dgx2_v100', batch_per_gpu := 0)",
            "argument batch_per_gpu must be above 0, got 0",
        ),
    ],
)
def test_bad_input(query, message):
    with pytest.raises(duckdb.Error, match=message):
        duckdb.sql(query).fetchall()

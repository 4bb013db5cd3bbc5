"""The size, the FLOPs, the days and the memory of a transformer."""

import duckdb
import pytest

import ironlake  # noqa: F401 - the functions


def value(expression):
    [(found,)] = duckdb.sql(f"SELECT {expression}").fetchall()
    return found


def memory(arguments):
    rows = duckdb.sql(f"SELECT component, bytes, place FROM training_memory({arguments})").fetchall()
    return {(component, place): size for component, size, place in rows}


def test_parameters_are_those_of_the_matrices():
    layers, h, vocab, seq = 3, 64, 1000, 128
    layer = 3 * h * h + 3 * h + h * h + h + 4 * h * h + 4 * h + 4 * h * h + h + 4 * h
    found = value(f"transformer_size({layers}, {h}, {vocab}, {seq})")
    assert found == {
        "params": layers * layer + (vocab + seq) * h,
        "params_active": layers * layer + (vocab + seq) * h,
        "params_embedding": (vocab + seq) * h,
    }


def test_parameters_with_groups_of_heads_gates_and_experts():
    h, ffn, kv = 64, 96, 64 // 8 * 2
    attention = 2 * h * h + 2 * h * kv + 2 * h + 2 * kv
    network = 3 * h * ffn + 2 * ffn + h
    found = value(f"transformer_size(2, {h}, 10, 6, {ffn}, 2, true, 4, 8)")
    assert found["params"] == 2 * (attention + 4 * network + 4 * h + 4 * h) + 16 * h
    assert found["params_active"] == 2 * (attention + network + 4 * h + 4 * h) + 16 * h
    assert value("transformer_size(NULL, 64)") is None


def test_flops_count_what_is_computed_again():
    none, selective, full = (
        value(f"transformer_flops(8, 2048, 24, 1024, 51200, '{way}')") for way in ("none", "selective", "full")
    )
    assert none["hardware_flops"] == none["model_flops"] == full["model_flops"]
    assert selective["hardware_flops"] - none["hardware_flops"] == pytest.approx(4 * 8 * 2048**2 * 1024 * 24)
    forward = 8 * 24 * (24 * 2048 * 1024**2 + 4 * 2048**2 * 1024)
    assert full["hardware_flops"] - none["hardware_flops"] == pytest.approx(forward)
    assert none["model_flops"] == pytest.approx(3 * forward + 6 * 8 * 2048 * 1024 * 51200)


def test_days():
    assert value("training_days(1e9, 1e9, 10, 1e12)") == pytest.approx(8e18 / 1e13 / 86400)
    exact = value("transformer_flops(1, 2048, 24, 1024, 51200).hardware_flops") / 2048
    found = value("training_days(1e9, 1e9, 10, 1e12, true, 24, 1024)")
    assert found == pytest.approx(exact * 1e9 / 1e13 / 86400)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("transformer_size(0, 8)", "argument layers must be at least 1, got 0"),
        ("transformer_size(2, 8, 10, 6, 32, 4)", "argument kv_heads must be between 1 and heads"),
        ("transformer_flops(8, 2048, 24, 1024, 51200, 'some')", "'some'; expected one of none, selective, full"),
        ("training_days(1e9, 1e9, 0, 1e12)", "argument gpus must be above 0, got 0"),
        ("training_days(1e9, 1e9, 8, 1e12, true)", "exact is true, but layers or hidden are missing"),
    ],
)
def test_wrong_arguments(expression, told):
    with pytest.raises(duckdb.Error, match=told):
        value(expression)


MODEL = "{'layers': 8, 'hidden': 1024, 'heads': 16}"
PARAMETERS = 8 * (12 * 1024**2 + 13 * 1024) + (51200 + 2048) * 1024


@pytest.mark.parametrize(
    ("stage", "weights", "gradients", "states"), [(0, 2, 4, 12), (1, 2, 4, 12 / 4), (2, 2, 1, 3), (3, 0.5, 1, 3)]
)
def test_zero_shards_states_then_gradients_then_parameters(stage, weights, gradients, states):
    held = memory(f"{MODEL}, global_batch := 4, dp := 4, zero_stage := {stage}")
    gathered = 4 * max(12 * 1024**2 + 13 * 1024, 51200 * 1024) if stage == 3 else 0
    assert held["weights", "gpu"] == pytest.approx(weights * PARAMETERS + gathered)
    assert held["gradients", "gpu"] == pytest.approx(gradients * PARAMETERS)
    assert held["optimizer", "gpu"] == pytest.approx(states * PARAMETERS)


def test_offloaded_states_are_elsewhere():
    held = memory(f"{MODEL}, offload := 'nvme', bytes_per_param := 16")
    assert held["optimizer", "nvme"] == 12 * PARAMETERS
    assert ("optimizer", "gpu") not in held
    assert held["gradients", "gpu"] == 2 * PARAMETERS


def test_activations_in_flight():
    one = memory(f"{MODEL}, recompute := 'none'")["activations", "gpu"]
    assert one == 8 * 2048 * 1024 * (34 + 5 * 16 * 2048 / 1024)
    options = "recompute := 'none', pp := 4, global_batch := 8"
    assert memory(f"{MODEL}, {options}")["activations", "gpu"] == one
    assert memory(f"{MODEL}, {options}, schedule := 'gpipe'")["activations", "gpu"] == 2 * one
    interleaved = memory(f"{MODEL}, {options}, chunks := 2")["activations", "gpu"]
    assert interleaved == pytest.approx(one * (1 + 3 / 8))
    chimera = memory(f"{MODEL}, {options}, schedule := 'chimera'")
    assert chimera["weights", "gpu"] == 2 * memory(f"{MODEL}, {options}")["weights", "gpu"]
    with pytest.raises(duckdb.Error, match="argument bytes_per_param must be at least 14"):
        memory(f"{MODEL}, bytes_per_param := 8")

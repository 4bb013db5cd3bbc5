"""The memory of a training run."""

import duckdb
import pytest

import ironlake  # noqa: F401 - the functions


def memory(arguments):
    rows = duckdb.sql(f"SELECT component, bytes, place FROM training_memory({arguments})").fetchall()
    return {(component, place): size for component, size, place in rows}


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


MOE = (
    "{'layers': 8, 'hidden': 1024, 'heads': 16, 'ffn': 3072, 'kv_heads': 4, 'gated': true, 'experts': 16, "
    "'experts_per_token': 2}"
)


def test_experts_are_spread():
    """Of a device: a layer's attention, router and norms by tp; its share of the experts by tp and ep."""
    attention = 2 * 1024**2 + 2 * 1024 * 256 + 2 * 1024 + 2 * 256
    expert = 3 * 1024 * 3072 + 2 * 3072 + 1024
    shared = 8 * (attention + 4 * 1024 + 16 * 1024) / 2 + (51200 / 2 + 2048) * 1024
    experts = 8 * 16 * expert / (2 * 4)
    held = memory(f"{MOE}, global_batch := 16, tp := 2, dp := 8, ep := 4, zero_stage := 1")
    assert held["weights", "gpu"] == pytest.approx(2 * (shared + experts))
    assert held["gradients", "gpu"] == pytest.approx(4 * (shared + experts))
    assert held["optimizer", "gpu"] == pytest.approx(12 * (shared / 8 + experts / 2))  # 2 replicas have an expert
    whole = memory(f"{MOE}, global_batch := 16, tp := 2, dp := 8, zero_stage := 1")
    assert whole["optimizer", "gpu"] == pytest.approx(held["optimizer", "gpu"])
    assert whole["weights", "gpu"] - held["weights", "gpu"] == pytest.approx(2 * 3 * experts)
    third = memory(f"{MOE}, global_batch := 16, tp := 2, dp := 8, ep := 4, zero_stage := 3")
    gathered = max((attention + 4 * 1024 + 16 * 1024) / 2 + experts / 8, 51200 / 2 * 1024)
    assert third["weights", "gpu"] == pytest.approx(2 * (shared / 8 + experts / 2) + 4 * gathered)


def test_activations_of_experts():
    """Each of the two copies of a token is kept as it arrives, in the gate, the other matrix, their product, and out."""
    scores = 5 * 16 * 2048 / 1024
    attention, network = 2 * (2 + 2 / 4) + 4 + 1, 2 * (2 + (2 + 2 + 2) * 3 + 2) + 1
    one = memory(f"{MOE}, recompute := 'none'")["activations", "gpu"]
    assert one == 8 * 2048 * 1024 * (4 + attention + 2 + network + scores - 2)


@pytest.mark.parametrize(("place", "stage"), [("cpu", 3), ("nvme", 3), ("cpu", 1)])
def test_what_is_kept_elsewhere(place, stage):
    options = f"global_batch := 16, dp := 4, zero_stage := {stage}, recompute := 'none'"
    near = memory(f"{MODEL}, {options}")
    params = ", offload_params := 'cpu'" if stage == 3 else ""
    far = memory(f"{MODEL}, {options}, offload := '{place}'{params}, offload_activations := '{place}'")
    assert far["optimizer", place] == near["optimizer", "gpu"]
    if stage > 1:
        assert far["gradients", place] == near["gradients", "gpu"]
        assert far["gradients", "gpu"] == min(4 * PARAMETERS / 4, 2 * 4 * (12 * 1024**2 + 13 * 1024))
    else:
        assert far["gradients", "gpu"] == near["gradients", "gpu"]
    assert far["activations", place] == near["activations", "gpu"]
    assert far["activations", "gpu"] == near["activations", "gpu"] / 4  # two of eight layers
    if stage == 3:
        assert far["weights", "cpu"] == pytest.approx(2 * PARAMETERS / 4)
        assert far["weights", "gpu"] == pytest.approx(near["weights", "gpu"] - far["weights", "cpu"])
    else:
        assert far["weights", "gpu"] == near["weights", "gpu"]


def test_parameters_follow_the_states_of_stage_3():
    held = memory(f"{MODEL}, global_batch := 4, dp := 4, zero_stage := 3, offload := 'cpu'")
    assert ("weights", "cpu") in held
    with pytest.raises(duckdb.Error, match="offload_params is 'cpu' with zero_stage 1; expected zero_stage 3"):
        memory(f"{MODEL}, global_batch := 4, dp := 4, zero_stage := 1, offload_params := 'cpu'")

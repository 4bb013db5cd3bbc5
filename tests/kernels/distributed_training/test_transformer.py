"""The size, the FLOPs and the days of a transformer."""

import duckdb
import pytest

import ironlake  # noqa: F401 - the functions


def value(expression):
    [(found,)] = duckdb.sql(f"SELECT {expression}").fetchall()
    return found


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
    assert value("transformer_size(64, NULL)") is None


def test_mixtral_8x7b():
    """46.7 B parameters of which 12.9 B work for a token: without biases, positions and shared embeddings."""
    attention, expert, router, norms = 2 * 4096**2 + 2 * 4096 * 1024, 3 * 4096 * 14336, 8 * 4096, 2 * 4096
    size = value("transformer_size(32, 4096, 32000, 0, 14336, 8, true, 8, 32, 2, false, false)")
    assert size["params"] == 32 * (attention + 8 * expert + router + norms) + 2 * 32000 * 4096
    assert size["params_active"] == 32 * (attention + 2 * expert + router + norms) + 2 * 32000 * 4096
    assert size["params_embedding"] == 2 * 32000 * 4096
    assert (round(size["params"] / 1e9, 1), round(size["params_active"] / 1e9, 1)) == (46.7, 12.9)
    flops = value("transformer_flops(8, 4096, 32, 4096, 32000, 'full', 14336, 8, true, 8, 32, 2)")
    layer = 2 * (attention + 2 * expert + router) + 4 * 4096 * 4096
    assert flops["model_flops"] == 3 * 8 * 4096 * (32 * layer + 2 * 4096 * 32000)
    assert flops["hardware_flops"] == flops["model_flops"] + 8 * 4096 * 32 * layer


def test_flops_count_what_is_computed_again():
    none, selective, full = (
        value(f"transformer_flops(8, 2048, 24, 1024, 51200, '{way}')") for way in ("none", "selective", "full")
    )
    assert none["hardware_flops"] == none["model_flops"] == full["model_flops"]
    assert selective["hardware_flops"] - none["hardware_flops"] == pytest.approx(4 * 8 * 2048**2 * 1024 * 24)
    forward = 8 * 24 * (24 * 2048 * 1024**2 + 4 * 2048**2 * 1024)
    assert full["hardware_flops"] - none["hardware_flops"] == pytest.approx(forward)
    nulls = [value(f"transformer_flops({each})") for each in ("NULL, 8, 2, 64, 10", "1, 8, 2, 64, 10, NULL")]
    assert nulls == [None, None]
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
        (
            "transformer_size(2, 8, 10, 6, 32, NULL, true, 2, 1, 3)",
            "experts_per_token is 3; expected at most the 2 experts",
        ),
        (
            "transformer_flops(8, 2048, 24, 1024, 51200, 'full', NULL, NULL, false, 1, NULL, 2)",
            "experts_per_token is 2",
        ),
        ("training_days(1e9, 1e9, 0, 1e12)", "argument gpus must be above 0, got 0"),
        ("training_days(1e9, 1e9, 8, 1e12, true)", "exact is true, but layers or hidden are missing"),
    ],
)
def test_wrong_arguments(expression, told):
    with pytest.raises(duckdb.Error, match=told):
        value(expression)

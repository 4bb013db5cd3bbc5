"""Recommendation models: what their operators cost, and one that learns from a lakehouse table."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import ironlake
from ironlake.kernels.distributed_training.recommendation.network import Dlrm
from ironlake.kernels.distributed_training.recommendation.operators import interaction_size, network_params

MLPERF = "[13, 512, 256, 128], [1024, 1024, 512, 256, 1], 'FROM dlrm_tables()'"


def cost(arguments):
    rows = duckdb.sql(f"SELECT component, flops, bytes, seconds FROM dlrm_cost({arguments})").fetchall()
    return {name: (flops, size, seconds) for name, flops, size, seconds in rows}


def test_what_the_top_network_sees():
    assert interaction_size(26, 128, "dot") == 479  # MLPerf
    assert interaction_size(26, 16, "dot") == 367  # Criteo Kaggle
    assert interaction_size(26, 16, "cat") == 432


def test_costs_of_mlperfs_model():
    found = cost(f"{MLPERF}, 2048, 1")
    bottom = 13 * 512 + 512 * 256 + 256 * 128
    top = 479 * 1024 + 1024 * 1024 + 1024 * 512 + 512 * 256 + 256
    assert found["bottom_mlp"][0] == 2048 * 6 * bottom
    assert found["top_mlp"][0] == 2048 * 6 * top
    assert found["interaction"][0] == 2048 * 3 * 2 * 27**2 * 128
    assert found["embedding_lookup"][1] == 2 * 2048 * 26 * 128 * 4
    assert [found[name][2] for name in ("all_reduce", "forward_all_to_all")] == [0, 0]
    assert found["step"][2] == pytest.approx(
        sum(found[name][2] for name in found if name != "step") - found["bottom_mlp"][2], rel=0.2
    )


def test_costs_of_communication():
    found = cost(f"{MLPERF}, 65536, 8")
    params = network_params([13, 512, 256, 128]) + network_params([479, 1024, 1024, 512, 256, 1])
    assert found["all_reduce"][1] == pytest.approx(2 * 7 / 8 * params * 4)
    assert found["forward_all_to_all"][1] == pytest.approx(65536 / 8 * 26 * 128 * 4 * 7 / 8)
    ring = cost(f"{MLPERF}, 65536, 8, topology := 'ring'")
    assert ring["all_reduce"][2] == pytest.approx(found["all_reduce"][2])  # a ring is all that it needs
    assert ring["forward_all_to_all"][2] > found["forward_all_to_all"][2]
    assert cost(f"{MLPERF}, 65536, 16")["forward_all_to_all"][2] > found["forward_all_to_all"][2]


@pytest.mark.parametrize(("mode", "every"), [("parameter_server", 1), ("easgd", 10)])
def test_trainers_are_as_fast_as_they_or_their_servers_are(mode, every):
    """Throughput is that of all trainers until the servers receive no more; a gradient misses those of the others."""
    params = network_params([13, 512, 256, 128]) + network_params([479, 1024, 1024, 512, 256, 1])
    sums = 512 * 26 * 128 * 4  # of a trainer's 512 samples
    seen = {}
    for devices in (1, 8, 16, 64):
        found = cost(
            f"{MLPERF}, {512 * devices}, {devices}, mode := '{mode}', servers := 4, server_gbps := 100, period := 10"
        )
        sent = sums + 512 * 26 * 8 + 4 * params / every
        assert found["push"][1] == pytest.approx(sent)
        assert found["pull"][1:] == pytest.approx((sums + 4 * params / every, (sums + 4 * params / every) / 25e9))
        assert found["servers"][1:] == pytest.approx((devices * sent, devices * sent / (4 * 100e9)))
        own = sum(found[name][2] for name in ("bottom_mlp", "interaction", "top_mlp", "push", "pull"))
        assert found["step"][2] == pytest.approx(max(own, devices * sent / 400e9))
        seen[devices] = 512 * devices / found["step"][2]
    assert seen[8] == pytest.approx(8 * seen[1])
    assert seen[64] == pytest.approx(512 * 400e9 / sent)
    query = (
        f"SELECT staleness FROM dlrm_cost({MLPERF}, 8192, 16, mode := '{mode}', period := 10) WHERE component = 'step'"
    )
    assert duckdb.sql(query).fetchall() == [(15 * every,)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"{MLPERF}, 64, 8, mode := 'easgd', period := 0", "argument period must be at least 1, got 0"),
        (f"{MLPERF}, 64, 8, mode := 'easgd', server_gbps := 0", "argument server_gbps must be above 0, got 0"),
        (f"{MLPERF}, 64, 8, mode := 'hogwild'", "argument 'mode' is 'hogwild'"),
        (f"{MLPERF}, 0, 8", "argument batch must be at least 1, got 0"),
        (f"{MLPERF}, 64, 12", "argument devices is 12; expected full nodes of 8"),
        (
            "[13, 64], [1], 'FROM dlrm_tables()', 64, 8",
            r"argument bottom_mlp ends with 64, the tables have dimensions \[128\]",
        ),
        ("[128], [1], 'FROM dlrm_tables()', 64, 8", "have 1 and 1 sizes; expected at least 2 and 1"),
        ("[13, 0, 128], [1], 'FROM dlrm_tables()', 64, 8", "argument bottom_mlp must be at least 1, got 0"),
    ],
)
def test_bad_costs(arguments, message):
    with pytest.raises(duckdb.Error, match=message):
        cost(arguments)


def test_gradients_are_those_of_finite_differences():
    random = np.random.default_rng(0)
    rows, dense, labels = (
        np.array([[0, 3], [1, 4], [0, 5]]),
        random.normal(size=(3, 2)).astype(np.float32),
        np.array([0, 1, 1]),
    )

    def model():
        return Dlrm.random([2, 5, 4], [interaction_size(2, 4, "dot"), 6, 1], np.array([3, 4]), np.random.default_rng(1))

    def parameters(of):
        return [of.embeddings, *(part for network in (of.bottom, of.top) for layer in network.layers for part in layer)]

    stepped, step = model(), 1e-2
    stepped.train(dense, rows, labels, step)
    for index, (before, after) in enumerate(zip(parameters(model()), parameters(stepped), strict=True)):
        place = np.unravel_index(np.abs(after - before).argmax(), before.shape)
        losses = []
        for shift in (-1e-2, 1e-2):
            moved = model()
            parameters(moved)[index][place] += shift
            losses.append(moved.train(dense, rows, labels, 0.0) / 3)
        gradient = (losses[1] - losses[0]) / 2e-2
        assert (before - after)[place] / step == pytest.approx(gradient, rel=0.03, abs=1e-4)
    assert (stepped.embeddings[[2, 6]] == model().embeddings[[2, 6]]).all()  # not looked up


def clicks(count, seed):
    """Clicks as in Criteo's data: counts, and ids of which few are frequent; what two of them have in common decides."""
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(99)
    tables = [40, 200, 1000]
    taste, bias = [truth.normal(size=(rows, 3)) for rows in tables], [truth.normal(size=rows) for rows in tables]
    ids = np.stack([np.minimum(random.zipf(1.4, count) - 1, rows - 1) for rows in tables], 1)
    dense = np.log1p(random.poisson(3, (count, 4)))
    score = dense @ [0.6, -0.4, 0.2, 0.0] - 1.0
    score += sum(0.5 * bias[table][ids[:, table]] for table in range(3))
    score += 1.2 * (taste[0][ids[:, 0]] * taste[1][ids[:, 1]]).sum(1)
    probability = 1 / (1 + np.exp(-score))
    return pa.table(
        {
            "label": (random.random(count) < probability).astype(int),
            "dense": dense.tolist(),
            "categories": ids.tolist(),
            "probability": probability,
        }
    )


def test_a_model_learns_from_a_lakehouse_table(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("clicks", clicks(30_000, 0))
    lake.write("later", clicks(10_000, 1))
    model = lake.sql(
        "SELECT dlrm_fit(label, dense, categories, {'dim': 8, 'bottom': [32], 'top': [32], 'epochs': 4, 'step_size': 1.0, 'batch': 64}) AS model FROM clicks"
    )
    lake.write("models", model)
    [(ours, best, losses)] = lake.sql("""
        SELECT binary_metrics(label, dlrm_predict(model, dense, categories)).roc_auc,
            binary_metrics(label, probability).roc_auc, any_value(model.loss_history)
        FROM later, models""").fetchall()
    [(linear,)] = lake.sql("""
        WITH m AS (SELECT logistic_fit(label, dense, {'epochs': 10}) AS model FROM clicks)
        SELECT binary_metrics(label, predict_proba(model, dense)).roc_auc FROM later, m""").fetchall()
    assert losses == sorted(losses, reverse=True)
    assert best == pytest.approx(0.8255, abs=1e-4)
    assert ours > linear + 0.15
    assert ours > best - 0.03  # of the probabilities that the clicks were drawn with


def test_prediction_is_the_training_forward_pass():
    rows = clicks(500, 3)
    model = ironlake.dlrm_fit(rows["label"], rows["dense"], rows["categories"], dim=4, bottom=[8], top=[8, 8], epochs=1)
    [(loss,)] = duckdb.sql(
        "SELECT dlrm_fit(label, dense, categories, {'dim': 4, 'bottom': [8], 'top': [8, 8], 'epochs': 2, 'batch': 500, 'step_size': 1e-9}).loss_history[2] FROM rows"
    ).fetchall()
    [(predicted,)] = duckdb.sql("""
        SELECT binary_metrics(label, dlrm_predict(m, dense, categories)).log_loss
        FROM rows, (SELECT dlrm_fit(label, dense, categories, {'dim': 4, 'bottom': [8], 'top': [8, 8], 'epochs': 1, 'batch': 500, 'step_size': 1e-9}) AS m FROM rows)
    """).fetchall()
    assert predicted == pytest.approx(loss, rel=1e-5)
    assert model["table_rows"] == (np.array(rows["categories"].to_pylist()).max(0) + 1).tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("2, [1.0], [1]", "argument label must be true or false, 1 or 0; a row has 2"),
        ("1, ['nan'::DOUBLE], [1]", "argument dense must be finite numbers; a row has nan"),
        ("1, []::DOUBLE[], [1]", "argument dense has no numbers"),
        ("1, [1.0], [-4]", "argument categories must be ids of at least 0; a row has -4"),
        ("1, [1.0], [1], {'dim': 0}", "option dim must be at least 1, got 0"),
        ("1, [1.0], [1], {'top': [0]}", "options bottom and top must be sizes of at least 1, got 0"),
        ("1, [1.0], [1], {'step_size': -1}", "option step_size must be above 0 and finite, got -1"),
        (
            "1, CASE WHEN i = 0 THEN [1.0] ELSE [1.0, 2.0] END, [1]",
            "argument dense has 1 values in a row and 2 in another",
        ),
        ("i, [i * 1e30], [i], {'step_size': 1e30, 'epochs': 3}", "training diverges with the step_size"),
    ],
)
def test_bad_training(call, message):
    with pytest.raises(duckdb.Error, match=message):
        duckdb.sql(f"SELECT dlrm_fit({call}) FROM range(2) t(i)").fetchall()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("m, [1.0, 2.0], [1]", "argument dense has 2 numbers, the model was trained on 1"),
        ("m, [1.0], [1, 2]", "argument categories has 2 ids, the model was trained on 1"),
        ("m, [1.0], [-1]", "argument categories must be ids of at least 0; a row has -1"),
        ("struct_update(m, weights := [1.0::FLOAT]), [1.0], [1]", "argument model does not have as many weights"),
        ("struct_update(m, task := 'x'), [1.0], [1]", "argument model must be a model of dlrm_fit"),
    ],
)
def test_bad_predictions(call, message):
    with pytest.raises(duckdb.Error, match=message):
        duckdb.sql(
            f"SELECT dlrm_predict({call}) FROM (SELECT dlrm_fit(i, [1.0], [i], {{'dim': 2}}) AS m FROM range(2) t(i))"
        ).fetchall()

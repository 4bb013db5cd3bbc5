"""Plans of a recommendation model: its tables placed, its step and its memory."""

import duckdb
import pytest

import ironlake  # noqa: F401 - the functions

MODEL = "{'bottom_mlp': [13, 512, 256, 128], 'top_mlp': [1024, 1024, 512, 256, 1]}"
TABLES = "embedding_tables := 'FROM dlrm_tables()'"


def plans(arguments):
    relation = duckdb.sql(f"FROM training_plan({arguments})")
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def test_plans_are_those_of_the_placements():
    rows = plans(f"{MODEL}, 'selene_a100', 16, 131072, 1, {TABLES}, top_k := 20")
    assert [row["step_time_s"] for row in rows] == sorted(row["step_time_s"] for row in rows)
    assert rows[0]["placement"] == "any"
    assert {"table_wise", "row_wise", "column_wise"} < {row["placement"] for row in rows}
    costs = dict(
        duckdb.sql(
            "SELECT component, seconds FROM dlrm_cost([13, 512, 256, 128], [1024, 1024, 512, 256, 1], "
            "'FROM dlrm_tables()', 131072, 16)"
        ).fetchall()
    )
    for row in rows:
        assert (row["tp"], row["dp"], row["micro_batch"], row["offload"]) == (1, 16, 8192, "none")
        network = row["memory_gib"] - row["embedding_gib"]
        kinds = "" if row["placement"] == "any" else f", kinds := ['{row['placement']}']"
        [(seconds, gib)] = duckdb.sql(
            f"SELECT max_device_ms / 1000, max_device_gib FROM embedding_shard_summary('FROM dlrm_tables()', 16, 131072, "
            f"hbm_gib := {80 - network}, ddr_gib := 0{kinds})"
        ).fetchall()
        assert (row["embedding_s"], row["embedding_gib"]) == (pytest.approx(seconds), pytest.approx(gib))
        networks = costs["interaction"] + costs["top_mlp"]
        assert networks < row["step_time_s"] < networks + costs["bottom_mlp"] + costs["all_reduce"] + seconds
        assert row["tokens_per_s"] == pytest.approx(131072 / row["step_time_s"])
        assert row["limiting"] == "all_to_all"


def test_tables_that_do_not_fit_go_to_the_cpu():
    options = f"{MODEL}, 'selene_a100', 4, 65536, 1, {TABLES}, memory_limit_gib := 20"
    rows = plans(f"{options}, objective := 'memory'")
    assert {row["offload"] for row in rows} == {"cpu"}  # 98 GiB do not fit 80
    assert all(row["cpu_gib"] > 18 and row["memory_gib"] <= 20 for row in rows)
    assert [row["memory_gib"] for row in rows] == sorted(row["memory_gib"] for row in rows)
    with pytest.raises(duckdb.Error, match="no placement of the embedding tables fits: .* needs 98.1 GiB"):
        plans(f"{options}, offload := ['none']")


def test_a_transformer_has_no_placement():
    [row] = plans("{'layers': 2, 'hidden': 64, 'heads': 1}, 'selene_a100', 1, 1, 128, top_k := 1")
    assert [row[name] for name in ("placement", "embedding_gib", "embedding_s")] == [None] * 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (f"'gpt_13b', 'selene_a100', 8, 64, 1, {TABLES}", "argument model must be a STRUCT of bottom_mlp and top_mlp"),
        (f"{{'bottom_mlp': [1]}}, 'selene_a100', 8, 64, 1, {TABLES}", "argument model has no list 'top_mlp'"),
        (f"{{'bottom': [1]}}, 'selene_a100', 8, 64, 1, {TABLES}", "argument model has 'bottom'; did you mean"),
        (
            f"{{'bottom_mlp': [13, 64], 'top_mlp': [1]}}, 'selene_a100', 8, 64, 1, {TABLES}",
            "argument bottom_mlp ends with 64, the tables have dimensions",
        ),
        (f"{MODEL}, 'selene_a100', 12, 120, 1, {TABLES}", "argument gpus is 12; expected full nodes of 8"),
        (f"{MODEL}, 'selene_a100', 8, 60, 1, {TABLES}", "argument global_batch is 60, no multiple of gpus 8"),
        (f"{MODEL}, 'selene_a100', 8, 64, 1, {TABLES}, zero_stages := [1]", "argument zero_stages is for transformers"),
        (
            f"{MODEL}, 'selene_a100', 8, 64, 1, {TABLES}, offload := ['nvme']",
            "offload has 'nvme'; expected some of none, cpu",
        ),
        (f"{MODEL}, 'selene_a100', 8, 64, 1, {TABLES}, mfu_floor := 0.9", "mfu_floor is 0.9, but the best plan has"),
        (f"{MODEL}, 'selene_a100', 8, 64, 1, {TABLES}, memory_limit_gib := 0.01", "leaves no room for tables"),
        (f"{MODEL}, 'selene_a100', 8, 64, 1", "argument model has 'bottom_mlp'"),
    ],
)
def test_wrong_arguments(arguments, told):
    with pytest.raises(duckdb.Error, match=told):
        plans(arguments)

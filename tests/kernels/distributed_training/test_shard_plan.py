"""Placing embedding tables: every cell of a table once, loads that add up, near the bound, within memory."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ironlake.kernels.distributed_training.clusters import find_cluster
from ironlake.kernels.distributed_training.recommendation import costs as cost_models
from ironlake.kernels.distributed_training.recommendation.placement_kernels import cost_of
from ironlake.kernels.distributed_training.recommendation.tables import EmbeddingTables

MLPERF = "'FROM dlrm_tables()'"


@pytest.fixture(scope="module")
def con():
    con = duckdb.connect()
    for seed, name, spread in ((0, "even", 1.0), (1, "skewed", 2.5)):
        random, count = np.random.default_rng(seed), 500
        tables = pa.table(
            {
                "name": [f"t{index}" for index in range(count)],
                "rows": (10 ** random.uniform(1, 7.5, count)).astype(int),
                "dim": random.choice([16, 32, 64, 96, 128, 192, 256], count),
                "pooling": np.exp(random.normal(1.5, spread, count)),
                "bytes": np.full(count, 2),
            }
        )
        con.register("made", tables)
        con.execute(f"CREATE TABLE {name} AS FROM made")
    return con


def summary(con, arguments):
    columns = "max_device_ms, imbalance, max_device_ms / lower_bound_ms, max_device_gib, shards, copied_tables"
    return con.execute(f"SELECT {columns} FROM embedding_shard_summary({arguments})").fetchall()[0]


def shards(con, arguments):
    return con.sql(f"FROM embedding_shard_plan({arguments})").to_arrow_table()


def test_mlperfs_tables_are_97_gib(con):
    [(rows, gib)] = con.execute("SELECT sum(rows), sum(rows * dim * bytes) / 1024**3 FROM dlrm_tables()").fetchall()
    assert rows == 204_184_588
    assert gib == pytest.approx(97.36, abs=0.005)


@pytest.mark.parametrize("devices", [8, 16])
@pytest.mark.parametrize("model", ["auto", "torchrec"])
def test_mlperfs_tables_are_balanced(con, devices, model):
    call = f"{MLPERF}, {devices}, {devices * 8192}, hbm_gib := 40, cost_model := '{model}'"
    longest, imbalance, _, gib, _, _ = summary(con, call)
    assert imbalance <= 1.02
    assert gib <= 40
    whole_tables = summary(con, f"{call}, kinds := ['table_wise', 'data_parallel']")  # what TorchRec's planner chose
    assert longest <= whole_tables[0]


@pytest.mark.parametrize("tables", ["even", "skewed"])
@pytest.mark.parametrize("model", ["auto", "torchrec"])
def test_500_tables_are_near_the_bound(con, tables, model):
    _, _, ratio, gib, _, _ = summary(con, f"'{tables}', 64, 65536, cost_model := '{model}'")
    assert 1 <= ratio <= 1.03
    assert gib <= 80


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        (f"{MLPERF}, 8, 65536, hbm_gib := 40", None),
        ("'skewed', 64, 65536", None),
        ("'skewed', 64, 65536, cost_model := 'torchrec'", None),
        ("'even', 64, 65536, hbm_gib := 8", {"row_wise"}),
        ("'even', 64, 65536", {"table_wise"}),
        ("'even', 16, 65536", {"table_row_wise", "data_parallel"}),
        ("'even', 16, 65536", {"column_wise"}),
        ("'even', 16, 65536", {"grid", "row_wise", "table_wise"}),
        ("'even', 16, 65536, hbm_gib := 20", {"grid"}),
    ],
)
def test_plans_are_whole(con, arguments, kinds):
    if (
        kinds == {"column_wise"}
        or kinds == {"grid"}
        or kinds == {"row_wise"}
        or kinds == {"table_row_wise", "data_parallel"}
    ):
        con.execute("CREATE OR REPLACE TEMP VIEW large AS FROM even WHERE rows >= 64 AND dim >= 32")
        arguments = arguments.replace("'even'", "'FROM even WHERE rows >= 64 AND dim >= 32'")
    given = "" if kinds is None else f", kinds := {sorted(kinds)}"
    plan = shards(con, arguments + given)
    relation = arguments.split("'")[1]
    con.register("plan", plan)
    source = relation if relation.startswith("FROM") else f"FROM {relation}"
    wrong = con.execute(f"""
        SELECT name, rows, dim, covered, count FROM ({source}) JOIN (
            SELECT table_name AS name, any_value(kind) AS kind, count(*) AS count, count(DISTINCT device) AS devices,
                sum((rows_to - rows_from) * (dim_to - dim_from)::HUGEINT) AS covered,
                max(rows_to) AS last_row, max(dim_to) AS last_dim, min(rows_from) + min(dim_from) AS first
            FROM plan GROUP BY ALL) USING (name)
        WHERE covered != rows * dim * CASE WHEN kind = 'data_parallel' THEN devices ELSE 1 END
            OR last_row != rows OR last_dim != dim OR first != 0""").fetchall()
    assert wrong == []
    overlaps = con.execute("""
        SELECT count(*) FROM plan a JOIN plan b ON a.table_name = b.table_name AND a.shard < b.shard
        WHERE a.kind != 'data_parallel' AND a.rows_from < b.rows_to AND b.rows_from < a.rows_to
            AND a.dim_from < b.dim_to AND b.dim_from < a.dim_to""").fetchall()
    assert overlaps == [(0,)]
    tables = con.execute(f"SELECT count(*) FROM ({source})").fetchall()
    assert con.execute("SELECT count(DISTINCT table_name) FROM plan").fetchall() == tables
    told = summary(con, arguments + given)
    [(longest, gib)] = con.execute("""
        SELECT max(ms), max(gib) FROM (
            SELECT sum(fwd_ms + bwd_ms + comm_ms) AS ms, sum(bytes) FILTER (tier = 'hbm') / 1024**3 AS gib
            FROM plan GROUP BY device)""").fetchall()
    assert (longest, gib) == (pytest.approx(told[0]), pytest.approx(told[3]))
    if kinds is not None:
        used = {kind for (kind,) in con.execute("SELECT DISTINCT kind FROM plan").fetchall()}
        assert used <= kinds
    nodes = con.execute("""
        SELECT count(*) FROM (SELECT count(DISTINCT device // 8) AS nodes FROM plan
        WHERE kind = 'table_row_wise' GROUP BY table_name) WHERE nodes != 1""").fetchall()
    assert nodes == [(0,)]


def test_what_does_not_fit_the_devices_goes_to_the_cpu(con):
    plan = shards(con, f"{MLPERF}, 4, 65536, hbm_gib := 16")
    con.register("plan", plan)
    tiers = dict(con.execute("SELECT tier, count(DISTINCT table_name) FROM plan GROUP BY tier").fetchall())
    assert tiers["ddr"] == 3  # of the five large ones, 19 GiB each: 98 do not fit 64
    [(most,)] = con.execute("""
        SELECT max(size) FROM (SELECT sum(bytes) / 1024**3 AS size FROM plan WHERE tier = 'hbm' GROUP BY device)
    """).fetchall()
    assert most <= 16


def test_the_search_is_the_optimum_of_small_problems(con):
    """Whole tables on few devices: no assignment at all is better by more than what the search may leave."""
    random = np.random.default_rng(3)
    for _ in range(5):
        pooling = random.uniform(1, 20, 7)
        con.register(
            "few",
            pa.table(
                {
                    "name": [str(index) for index in range(7)],
                    "rows": [10**6] * 7,
                    "dim": [128] * 7,
                    "pooling": pooling,
                    "bytes": [4] * 7,
                }
            ),
        )
        con.execute("CREATE OR REPLACE TABLE few_tables AS FROM few")
        call = "'few_tables', 3, 8192, kinds := ['table_wise']"
        con.register("plan", shards(con, call))
        price = con.execute("SELECT fwd_ms + bwd_ms + comm_ms FROM plan ORDER BY table_name").fetchnumpy()
        [price] = price.values()
        best = min(np.bincount(np.array(np.unravel_index(place, (3,) * 7)), price, 3).max() for place in range(3**7))
        assert summary(con, call)[0] <= best * 1.06


def test_both_forms_of_a_cost_agree():
    tables = EmbeddingTables(
        ["a", "b", "c"],
        np.array([1000, 10, 5000]),
        np.array([16, 64, 256]),
        np.array([1.0, 3.0, 20.0]),
        np.array([4.0, 2.0, 2.0]),
    )
    topology = cost_models.Topology.of(find_cluster("selene_a100", None), 16, 8, False)
    far = np.array([False, False, False])
    for costs in (
        cost_models.own_costs(tables, topology, 1024, far),
        cost_models.torchrec_costs(tables, 16, 8, 1024, far),
    ):
        coefficients = np.stack([costs.whole.sum(1), costs.split.sum(1)], 1)
        whole, split = costs.of_whole(tables.dims).sum(1), costs.of_split(0.25, tables.dims).sum(1)
        for table in range(3):
            call = coefficients[table], costs.block, costs.least
            assert cost_of(*call, 1.0, tables.dims[table]) == pytest.approx(whole[table])
            assert cost_of(*call, 0.25, tables.dims[table]) == pytest.approx(split[table])


def test_costs_are_the_bytes_that_move():
    tables = EmbeddingTables(["a"], np.array([1000]), np.array([128]), np.array([10.0]), np.array([4.0]))
    topology = cost_models.Topology(8, 8, 2e9, 1e7, 3e8, 1.0, 0.0)
    forward, backward, communication = cost_models.own_costs(tables, topology, 1024, np.array([False])).of_whole(
        tables.dims
    )[0]
    lookups, sums = 10240, 1024 * 128 * 4
    assert forward == pytest.approx((lookups * (128 * 4 + 8) + sums) / 2e9)
    assert backward == pytest.approx((lookups * (2 * 128 * 4 + 16) + sums) / 2e9)
    assert communication == pytest.approx((2 * sums + lookups * 8) * 7 / 8 / 3e8)


TORCHREC = """
8  1000000 128 table_wise      0.070221 0.140442 0.104167
8  1000000 128 row_wise        0.039261 0.078522 0.189694
8  1000000 128 data_parallel   0.017555 0.035111 14.570910
8  100     128 data_parallel   0.017555 0.035111 0.001457
8  1000000 64  table_wise      0.040690 0.081380 0.052083
8  1000000 64  row_wise        0.019665 0.039329 0.094848
8  1000000 64  data_parallel   0.008846 0.017691 7.285455
8  10000   256 table_wise      0.139898 0.279795 0.208333
16 1000000 128 table_wise      0.140442 0.280884 10.000000
16 1000000 128 row_wise        0.074100 0.148199 10.171056
16 1000000 128 table_row_wise  0.078522 0.157045 2.879390
16 1000000 128 data_parallel   0.017555 0.035111 16.955096
16 1000000 64  table_row_wise  0.039329 0.078658 1.439694
16 10000   256 row_wise        0.148131 0.296262 20.342113
16 10000   256 table_row_wise  0.156909 0.313817 5.758783
"""


@pytest.mark.parametrize("line", TORCHREC.strip().splitlines())
def test_torchrecs_estimate(line):
    """What the planner of TorchRec 1.1.0 told of a table with 8192 samples a device (forward, backward, communication)."""
    devices, rows, dim, kind, *expected = line.split()
    devices, dims = int(devices), np.array([int(dim)])
    tables = EmbeddingTables(["a"], np.array([int(rows)]), dims, np.array([1.0]), np.array([4.0]))
    costs = cost_models.torchrec_costs(tables, devices, 8, 8192 * devices, np.array([False]))
    parts = {
        "table_wise": lambda: costs.of_whole(dims),
        "row_wise": lambda: costs.of_split(1 / devices, dims),
        "table_row_wise": lambda: costs.of_split(1 / 8, dims, grouped=True),
        "data_parallel": lambda: costs.replicated,
    }[kind]()[0]
    share = {"table_wise": 1, "row_wise": 1 / devices, "table_row_wise": 1 / 8, "data_parallel": 0}[kind]
    link = (600 if devices == 8 else 12.5) * 2**30 / 1000
    parts[2] -= share * 8192 * devices * 8 / link  # it counts indices on their way from its next versions on
    assert parts == pytest.approx([float(each) for each in expected], rel=1e-5, abs=2e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            f"{MLPERF}, 8, 65536, hbm_gib := 10, kinds := ['table_wise']",
            r"the table 'C20' takes 20640000000 bytes with its optimizer state, .* a device holds 10737418240; expected kinds such as 'column_wise', 'row_wise'",
        ),
        (
            f"{MLPERF}, 1, 65536, hbm_gib := 10, ddr_gib := 1",
            r"argument tables needs 98.1 GiB with optimizer states; 1 devices hold 10.0 GiB in HBM",
        ),
        (f"{MLPERF}, 12, 65536", "argument devices is 12; expected full nodes of 8"),
        (f"{MLPERF}, 0, 65536", "argument devices must be at least 1, got 0"),
        (f"{MLPERF}, 8, 65536, kinds := ['rowwise']", "argument kinds has 'rowwise'; did you mean 'row_wise'"),
        (f"{MLPERF}, 8, 65536, kinds := []", "argument kinds is empty"),
        (f"{MLPERF}, 8, 65536, cost_model := 'guess'", "argument 'cost_model' is 'guess'"),
        (f"{MLPERF}, 8, 65536, hbm_gib := 0", "argument hbm_gib must be above 0, got 0"),
        (f"{MLPERF}, 8, 65536, cluster := 'here'", "there is no cluster 'here'"),
        ("'nothing', 8, 65536", "argument tables is 'nothing', which cannot be read"),
        ("'FROM range(3)', 8, 65536", "has no column 'name'; expected name, rows, dim, pooling, bytes"),
        (
            "'SELECT 1 AS name, -1 AS rows, 4 AS dim, 1 AS pooling, 4 AS bytes', 8, 65536",
            "argument rows must be at least 1, got -1",
        ),
        (
            "'SELECT 1 AS name, NULL AS rows, 4 AS dim, 1 AS pooling, 4 AS bytes', 8, 65536",
            "argument tables has a NULL in column 'rows'",
        ),
        (
            "'SELECT 1 AS name, 1 AS rows, ''x'' AS dim, 1 AS pooling, 4 AS bytes', 8, 65536",
            "expected numbers in rows, dim, pooling and bytes",
        ),
        ("'FROM dlrm_tables() LIMIT 0', 8, 65536", "argument tables has 0 rows"),
        (
            "'SELECT 1 AS name, 3 AS rows, 2 AS dim, 1 AS pooling, 4 AS bytes', 8, 65536, kinds := ['column_wise']",
            "has 3 rows of 2 numbers, which cannot be cut by",
        ),
    ],
)
def test_bad_input(con, arguments, message):
    for function in ("embedding_shard_plan", "embedding_shard_summary"):
        with pytest.raises(duckdb.Error, match=message):
            con.execute(f"FROM {function}({arguments})")

"""The SQL functions of pipeline schedules: results, exchange with other programs, wrong input."""

import json
import re

import duckdb
import pytest

from ironlake.kernels.distributed_training.pipelines import draw_schedule
from ironlake.kernels.distributed_training.pipelines.catalogue import SCHEDULES

COLUMNS = "worker, op, stage, pipeline, micro_batch, start_time, end_time"


@pytest.fixture(scope="module")
def con():
    with duckdb.connect() as connection:
        yield connection


def one(con, query):
    [(value,)] = con.sql(query).fetchall()
    return value


def refused(con, query, message):
    with pytest.raises(duckdb.Error, match=message):
        con.sql(query).fetchall()


def test_a_schedule_as_rows(con):
    rows = con.sql("FROM pipeline_schedule(schedule := '1f1b', stages := 2, micro_batches := 2)").fetchall()
    assert rows == [
        (0, 0, "F", 0, 0, 0, 0, 0.0, 1.0, 1.0),
        (0, 1, "F", 0, 0, 0, 1, 1.0, 2.0, 2.0),
        (0, 2, "B", 0, 0, 0, 0, 4.0, 6.0, 1.0),
        (0, 3, "B", 0, 0, 0, 1, 7.0, 9.0, 0.0),
        (1, 0, "F", 1, 0, 0, 0, 1.0, 2.0, 1.0),
        (1, 1, "B", 1, 0, 0, 0, 2.0, 4.0, 0.0),
        (1, 2, "F", 1, 0, 0, 1, 4.0, 5.0, 1.0),
        (1, 3, "B", 1, 0, 0, 1, 5.0, 7.0, 0.0),
    ]


def test_a_summary(con):
    [row] = (
        con.sql("FROM pipeline_summary(schedule := 'chimera', stages := 8, micro_batches := 8)")
        .to_arrow_table()
        .to_pylist()
    )
    assert row == {
        "schedule": "chimera", "makespan": 36.0, "ideal": 24.0, "bubble_ratio": pytest.approx(1 / 3),
        "stage_span_bubble": pytest.approx(1 / 3), "warmup_bubble": pytest.approx(0.125),
        "steady_bubble": 0.0, "drain_bubble": pytest.approx(1 / 3 - 0.125), "peak_activations_min": 5.0,
        "peak_activations_max": 8.0, "weight_copies": 2.0, "cf": 8, "cb": 14, "cw": 0,
        "closed_form_bubble": pytest.approx(6 / 22),
    }  # fmt: skip


def test_all_schedules_compared(con):
    rows = con.sql("SELECT * FROM pipeline_compare(stages := 8, micro_batches := 16, chunks := 2)").fetchall()
    assert {row[0] for row in rows} == set(SCHEDULES)
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    rows = con.sql("SELECT schedule FROM pipeline_compare(stages := 3, micro_batches := 6)").fetchall()
    assert {"1f1b", "zb_h1"} <= {name for (name,) in rows} <= set(SCHEDULES) - {"chimera", "dualpipe", "hanayo"}
    rows = con.sql("SELECT schedule FROM pipeline_compare(schedules := ['gpipe', 'zb_v'])").fetchall()
    assert rows == [("zb_v",), ("gpipe",)]


def test_workers_that_do_not_wait(con):
    row = con.sql(
        "SELECT makespan, bubble_ratio, weight_copies FROM pipeline_summary(schedule := 'pipedream', stages := 4, micro_batches := 8)"
    ).fetchall()
    assert row == [(24.0, 0.0, 4.0)]


def test_sums_of_gradients(con):
    common = "schedule := 'chimera', stages := 4, micro_batches := 4, sync_time := 1.0"
    makespans = {
        sync: one(con, f"SELECT makespan FROM pipeline_summary({common}, sync := '{sync}')")
        for sync in ("after", "eager", "eager_opt")
    }
    assert makespans == {"after": 18.0, "eager": 17.0, "eager_opt": 17.0}
    rows = con.sql(f"""
        SELECT worker, stage, pipeline, start_time FROM pipeline_schedule({common}, sync := 'eager')
        WHERE op = 'SYNC' ORDER BY stage, pipeline""").fetchall()  # fmt: skip
    # Both replicas of a stage at once; the deep stages are done first.
    assert [row[:3] for row in rows] == [(w, s, p) for s in range(4) for p, w in ((0, s), (1, 3 - s))]
    assert [row[3] for row in rows[::2]] == [16.0, 14.0, 12.0, 9.0]


def test_costs_of_each_stage_and_communication(con):
    base = "SELECT makespan FROM pipeline_summary(stages := 2, micro_batches := 1, backward_time := 1.0"
    assert one(con, f"{base})") == 4
    assert one(con, f"{base}, comm_time := 0.5)") == 5
    assert one(con, f"{base}, stage_forward_times := [1.0, 3.0])") == 8


def test_measured_costs(con):
    con.execute("""
        CREATE OR REPLACE TABLE measured AS FROM (VALUES
            ('F', 0, 1_000_000), ('F', 0, 3_000_000), ('B', 0, 4_000_000), ('F', 1, 5_000_000), ('sync', 1, 7)
        ) t(op, stage, dur_us)""")  # fmt: skip
    common = "stages := 2, micro_batches := 1, forward_time := 1.0, backward_time := 1.0, trace := "
    assert one(con, f"SELECT makespan FROM pipeline_summary({common} 'measured')") == 2 + 5 + 1 + 4
    drawn = f"SELECT makespan FROM pipeline_summary({common} 'FROM measured WHERE stage = 0', seed := "
    found = {one(con, f"{drawn} {seed})") for seed in range(8)}
    assert found == {1 + 1 + 1 + 4, 3 + 1 + 1 + 4}
    assert one(con, f"{drawn} 3)") == one(con, f"{drawn} 3)")
    con.execute("INSERT INTO measured VALUES ('W', 0, 2_000_000)")
    [row] = con.sql(f"""
        SELECT max(end_time - start_time) FILTER (op = 'I'), max(end_time - start_time) FILTER (op = 'W')
        FROM pipeline_schedule(schedule := 'zb_h1', {common} 'FROM measured WHERE stage = 0') WHERE stage = 0
        """).fetchall()  # fmt: skip
    assert row == (4, 2)
    refused(con, f"FROM pipeline_summary({common} 'FROM measured WHERE false')", "trace has no time of an operation F")
    refused(con, f"FROM pipeline_summary({common} 'SELECT op, stage FROM measured')", "trace has no column 'dur_us'")


# ----------------------------------------------------------------------------------------------------------- validation


def validation(con, change=""):
    table = "pipeline_schedule(schedule := 'zb_h1', stages := 2, micro_batches := 3)"
    con.execute(f"CREATE OR REPLACE TABLE ops AS FROM {table}")
    if change:
        con.execute(change)
    return one(con, f"SELECT schedule_validate({COLUMNS}) FROM ops")


def test_valid_schedules(con):
    found = validation(con)
    assert found == {"ok": True, "errors": [], "makespan": 11.0, "bubble_ratio": pytest.approx(2 / 11)}
    assert one(con, f"SELECT schedule_validate({COLUMNS}) FROM ops WHERE false") is None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("DELETE FROM ops WHERE op = 'I' AND stage = 0 AND micro_batch = 1", "backward pass of stage 0 on micro-batch 1 of pipeline 0 is missing"),
        ("DELETE FROM ops WHERE op = 'F' AND stage = 0 AND micro_batch = 1", "forward pass of stage 0 on micro-batch 1 of pipeline 0 is missing"),
        ("DELETE FROM ops WHERE op = 'W' AND stage = 0 AND micro_batch = 1", "stage 0 has an I without W on micro-batch 1"),
        ("INSERT INTO ops FROM ops WHERE op = 'F' AND stage = 1 AND micro_batch = 2", "forward of stage 1 on micro-batch 2 of pipeline 0: 2 passes"),
        ("UPDATE ops SET end_time = end_time + 1 WHERE worker = 1 AND seq = 0", r"I of stage 1 on micro-batch 0 \(worker 1\) starts at 2, before F of stage 1"),
        ("UPDATE ops SET end_time = -1 WHERE worker = 1 AND seq = 0", "ends at -1, before it starts at 1"),
        ("UPDATE ops SET start_time = 0, end_time = 1 WHERE worker = 1 AND seq = 0", r"F of stage 1 on micro-batch 0 \(worker 1\) starts at 0, before the forward pass of stage 0 ends at 1"),
        ("UPDATE ops SET op = 'X' WHERE worker = 1 AND seq = 0", "worker 1 has an operation 'X'; expected one of B, BH, F"),
        ("UPDATE ops SET stage = NULL WHERE worker = 1 AND seq = 0", "a row has a NULL"),
        ("UPDATE ops SET micro_batch = NULL WHERE worker = 1 AND seq = 0", "has no micro_batch"),
    ],
)  # fmt: skip
def test_what_is_wrong(con, change, error):
    found = validation(con, change)
    assert not found["ok"]
    assert any(re.search(error, each) for each in found["errors"]), found["errors"]


# ------------------------------------------------------------------------------------------------------------- exchange


def test_traces(con):
    columns = "worker, op, stage, chunk, pipeline, micro_batch, start_time, end_time"
    query = "pipeline_schedule(stages := 2, micro_batches := 2, sync_time := 1.0)"
    text = one(con, f"SELECT pipeline_trace_json({columns}, {{'time_unit_us': 1000}}) FROM {query}")
    events = json.loads(text)["traceEvents"]
    passes = [event for event in events if event["ph"] == "X"]
    assert len(passes) == 10
    assert passes[0] == {
        "ph": "X", "name": "F 0", "cat": "F", "pid": 0, "tid": 0, "ts": 0, "dur": 1000,
        "args": {"stage": 0, "chunk": 0, "micro_batch": 0, "kind": "F"},
    }  # fmt: skip
    arrows = [(e["ph"], e["id"], e["tid"], e["ts"]) for e in events if e["ph"] in "sf"]
    assert len(arrows) == 2 * 4  # two forward, two backward
    assert [arrow for arrow in arrows if arrow[1] == 1] == [("s", 1, 0, 1000), ("f", 1, 1, 1000)]
    refused(con, f"SELECT pipeline_trace_json({columns}, {{'time_unit_us': 0}}) FROM {query}", "time_unit_us must be")


def test_traces_come_back(con, tmp_path):
    import ironlake

    columns = "worker, op, stage, chunk, pipeline, micro_batch, start_time, end_time"
    query = "pipeline_schedule(schedule := 'zb_v', stages := 2, micro_batches := 4)"
    (tmp_path / "trace.json").write_text(one(con, f"SELECT pipeline_trace_json({columns}) FROM {query}"))
    lake = ironlake.open(tmp_path / "lake")
    lake.create_traces()
    assert lake.load_trace("pipeline_op_trace", tmp_path / "trace.json").rows == 48
    read = lake.sql(
        "SELECT worker, op, stage, micro_batch, start_us, dur_us FROM pipeline_op_trace ORDER BY ALL"
    ).fetchall()
    assert (
        read
        == con.sql(
            f"SELECT worker, op, stage, micro_batch, start_time * 1e6, (end_time - start_time) * 1e6 FROM {query} ORDER BY ALL"
        ).fetchall()
    )


@pytest.mark.parametrize(
    "name", ["gpipe", "1f1b", "interleaved_1f1b", "looped_bfs", "zb_h1", "zb_v", "v_min", "dualpipe_v"]
)
def test_csv_of_pytorch_and_back(con, tmp_path, name):
    query = f"pipeline_schedule(schedule := '{name}', stages := 3, micro_batches := 6, chunks := 2)"
    text = one(con, f"SELECT pipeline_schedule_csv(worker, seq, op, stage, micro_batch, start_time) FROM {query}")
    (tmp_path / "order.csv").write_text(text)
    order = "SELECT worker, seq, op, stage, micro_batch FROM"
    read = con.sql(f"{order} read_pipeline_csv('{tmp_path}/order.csv') ORDER BY ALL").fetchall()
    assert read == con.sql(f"{order} {query} ORDER BY ALL").fetchall()


def test_cells_of_pytorch(con):
    csv = "SELECT pipeline_schedule_csv(worker, seq, op, stage, micro_batch, start_time) FROM pipeline_schedule"
    assert one(con, f"{csv}(stages := 2, micro_batches := 2)") == "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"
    text = one(con, f"{csv}(schedule := 'dualpipe_v', stages := 2, micro_batches := 4)")
    assert "(0F3;3B1)OVERLAP_F_B" in text
    refused(con, f"{csv}(schedule := 'chimera')", "PyTorch's format has no replicas of the model, but stage 0 is on")
    refused(con, f"{csv}(schedule := 'chimera_forward_doubling', micro_batches := 8)", "PyTorch has no operation 'FF'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0F0,0B0,0F1\n", "rank 0: stage 0 has F on micro-batch 1; expected '0F1', and '0B1' or both"),
        ("0F0,0B0,0B0\n", "rank 0: the operation '0B0' is there twice"),
        ("0F0,x,0B0\n", "rank 0: the cell 'x' is no operation; expected such as '0F3'"),
        ("0F0,0B0\n0F1,0B1\n", "rank 1: the cell '0F1' is on stage 0, which is on rank 0"),
        ("0B0,0F0\n", "ranks wait for each other: .*worker 0 cannot start B of stage 0 on micro-batch 0"),
        ("1F0,1B0\n", "stage 0 is on no rank"),
        ("\n", "has no operations"),
    ],
)
def test_wrong_csv(con, tmp_path, text, message):
    (tmp_path / "wrong.csv").write_text(text)
    refused(con, f"FROM read_pipeline_csv('{tmp_path}/wrong.csv')", message)


# ------------------------------------------------------------------------------------------------------------- pictures


def test_picture_for_a_terminal(con):
    drawn = one(con, """
        SELECT pipeline_gantt(worker, op, micro_batch, start_time, end_time)
        FROM pipeline_schedule(schedule := 'zb_h1', stages := 2, micro_batches := 2, sync_time := 1.0)""")  # fmt: skip
    assert drawn.splitlines()[:2] == ["0 01.awbw=", "1 .0a1bww="]
    narrow = one(con, """
        SELECT pipeline_gantt(worker, op, micro_batch, start_time, end_time, {'width': 20})
        FROM pipeline_schedule(stages := 12, micro_batches := 40)""")  # fmt: skip
    assert [len(line) for line in narrow.splitlines()[:12]] == [23] * 12
    refused(con, "SELECT pipeline_gantt(1, 'F', 1, 0.0, 1.0, {'width': 0})", "option width must be 1 ... 10000, got 0")


def test_picture_of_matplotlib(con):
    pytest.importorskip("matplotlib").use("Agg")
    relation = con.sql(
        "FROM pipeline_schedule(schedule := 'dualpipe', stages := 4, micro_batches := 8, sync_time := 1.0)"
    )
    axes = draw_schedule(relation)
    assert len(axes.collections) == len(relation.fetchall())
    assert axes.get_ylabel() == "worker"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "forward",
        "backward",
        "gradient of input",
        "gradient of weights",
        "sum",
    ]


# ---------------------------------------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("schedule := 'chimera', stages := 5", "chimera needs an even number of stages, from 2 on, got 5"),
        ("schedule := 'chimera', stages := 8, pipelines := 6", "pipelines that are one of 2, 4, 8 .*got 6"),
        ("schedule := 'interleaved_1f1b', stages := 4, micro_batches := 6, chunks := 2", "multiple of the 4 stages, got 6; the next one is 8"),
        ("schedule := 'dualpipe', stages := 4, micro_batches := 6", "at least 8"),
        ("schedule := 'hanayo', chunks := 3", "hanayo needs an even number of chunks"),
        ("schedule := 'chimera_forward_doubling', micro_batches := 5", "needs an even number of micro_batches, at least 8"),
        ("schedule := 'fifo'", "schedule.*'fifo'.*gpipe"),
        ("stages := 0", "stages and chunks must be at least 1, got 0 and 1"),
        ("micro_batches := 0", "micro_batches must be at least 1, got 0"),
        ("stages := 100000, micro_batches := 100000", "make more than 2147483648 operations"),
        ("forward_time := -1", "forward_time must be a time greater than 0, got -1"),
        ("backward_time := 'nan'::DOUBLE", "backward_time must be a time greater than 0, got nan"),
        ("comm_time := -0.5", "comm_time must be a time"),
        ("weight_time := 3.0", "weight_time is 3.0, more than the backward_time 2.0"),
        ("stage_forward_times := [1.0]", "stage_forward_times has 1 times, but there are 4 stages"),
        ("stage_forward_times := [1.0, 0, 1, 1]", "stage_forward_times must be greater than 0"),
        ("sync_time := -1.0", "sync_time must be a time from 0 on"),
        ("sync := 'late'", "sync"),
        ("max_activations := 0.0", "max_activations must be greater than 0"),
        ("schedule := 'gpipe', micro_batches := 8, max_activations := 4.0", "gpipe needs activations of 8 micro-batches, more than max_activations 4"),
        ("stage := 3", "stage"),
        ("trace := 'no_such_table'", "no_such_table"),
    ],
)  # fmt: skip
def test_wrong_arguments(con, arguments, message):
    refused(con, f"FROM pipeline_summary({arguments})", message)


def test_unknown_names_in_a_comparison(con):
    refused(
        con, "FROM pipeline_compare(schedules := ['gpipe', 'fifo'])", "schedules: there is no 'fifo'; expected some of"
    )
    refused(
        con, "FROM pipeline_compare(schedules := ['chimera'], stages := 3)", "chimera needs an even number of stages"
    )

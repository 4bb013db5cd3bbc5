"""CSV, JSON and MLflow's CSV as rows of trace tables."""

import json

import pytest

COLUMNS = {"step": "iteration", "compute_seconds": "ms / 1000", "run": "'tuesday'"}
EXPECTED = [
    {"run": "tuesday", "step": 1, "worker": 0, "compute_seconds": 1.5},
    {"run": "tuesday", "step": 2, "worker": 1, "compute_seconds": 0.0205},
]
ROWS = [{"iteration": 1, "ms": 1500, "worker": 0, "order": "a,\nb"}, {"iteration": 2, "ms": 20.5, "worker": 1}]
CSV = 'iteration,ms,worker,order\n1,1500,0,"a,\nb"\n2,20.5,1,\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps.csv", CSV),
        ("steps.tsv", 'iteration\tms\tworker\n1\t1500\t0\n2\t20.5\t1\n'),
        ("steps.jsonl", "\n\n".join(map(json.dumps, ROWS))),
        ("steps.ndjson", "".join(json.dumps(row) + "\r\n" for row in ROWS)),
        ("steps.jsonl", json.dumps(ROWS, indent=1)),
    ],
)  # fmt: skip
def test_columns(load, name, text):
    assert load("worker_steps", text, name=name, columns=COLUMNS) == EXPECTED


def test_files_with_different_columns(tmp_path, rows_of):
    (tmp_path / "rank0.csv").write_text("step,read_seconds\n1,0.5\n")
    (tmp_path / "rank1.csv").write_text("step,write_seconds\n1,0.25\n")
    columns = {"worker": r"regexp_extract(log_file, 'rank(\d+)', 1)"}
    assert rows_of("worker_steps", str(tmp_path / "*.csv"), "csv", columns) == [
        {"step": 1, "worker": 0, "read_seconds": 0.5},
        {"step": 1, "worker": 1, "write_seconds": 0.25},
    ]


def test_nested_json_and_negative_differences(load):
    text = '{"t": {"start": 5, "end": 3}, "knobs": {"a": 1}, "trial": 1}\n{"t": {"start": 1, "end": 2}, "trial": 2}\n'
    columns = {"knobs": "map_from_entries([('a', knobs.a)])", "compile_seconds": "t.end - t.start"}
    rows = load("tuning_records", text, "json", columns=columns)
    assert [row["compile_seconds"] for row in rows] == [-2, 1]
    assert rows[0]["knobs"] == [("a", 1)]


@pytest.mark.parametrize(
    ("name", "text", "problem", "good"),
    [
        ("s.csv", "step,worker\n1,x\n2,3\n", "s.csv, row 1: column worker is x, which is no INTEGER", [2]),
        ("s.jsonl", '{"step": 1}\n{"st\n[2]\n{"step": 4}\n', 's.jsonl, line 2: this is no JSON object: {"st', [1, 4]),
        ("s.jsonl", '[{"step": 1}, 5, {"step": 2}', "s.jsonl, line 2: this is no JSON object: 5", [1, 2]),
        (
            "s.jsonl",
            '{"step": 1}\n{"step": "many"}\n',
            's.jsonl, line 2: column step is "many", which is no BIGINT',
            [1],
        ),
    ],
)
def test_malformed_rows(load, name, text, problem, good):
    with pytest.raises(ValueError, match=problem):
        load("worker_steps", text, name=name)
    with pytest.warns(UserWarning, match=rf"malformed rows were skipped; the first: .*{problem}"):
        assert [row["step"] for row in load("worker_steps", text, name=name, on_malformed="skip")] == good


def test_malformed_csv_behind_what_was_looked_at_for_types(load):
    text = "step,worker\n" + "1,0\n" * 21_000 + "oops,1\n2,3,4,5\n2,3\n"
    with pytest.raises(
        ValueError, match='run.csv, line 21002: Error when converting column "step". Could not convert string "oops"'
    ):
        load("worker_steps", text, name="run.csv")
    with pytest.warns(
        UserWarning, match="^2 malformed rows were skipped; the first: .*run.csv, line 21002: Error when conv"
    ):
        rows = load("worker_steps", text, name="run.csv", on_malformed="skip")
    assert (len(rows), rows[-1]) == (21_001, {"step": 2, "worker": 3})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"stp": "iteration"}, "argument columns names 'stp', which worker_steps does not have; did you mean 'step'"),
        ({"step": "iterations"}, "argument columns: 'step' is 'iterations', which is no expression over the log: .*"),
        ({"step": "iteration +"}, "argument columns: 'step' is 'iteration [+]', which is no expression"),
    ],
)
def test_wrong_columns(load, columns, message):
    with pytest.raises(ValueError, match=message):
        load("worker_steps", CSV, name="steps.csv", columns=columns)


def test_logs_without_any_column(load):
    with pytest.raises(ValueError, match="the log has none of the columns of edges, but iteration, ms, worker, order"):
        load("edges", CSV, name="steps.csv")


class TestMlflow:
    CSV = """run_id,key,value,step,timestamp
r1,loss,0.5,1,1700000000000
r1,val_loss,0.6,1,1700000000500
r1,loss,0.9,2,1700000001000
r1,loss,0.4,2,1700000002000
r2,train/acc,0.7,1,1700000000000
"""

    def test_a_row_per_step(self, load):
        first, second, other = load("training_runs", self.CSV, "mlflow", columns={"val_loss": "metrics['val_loss']"})
        assert (first["run_id"], first["step"], first["loss"], first["val_loss"]) == ("r1", 1, 0.5, 0.6)
        assert first["time"].timestamp() == 1_700_000_000.5
        assert (second["step"], second["loss"]) == (2, 0.4)  # the later one
        assert "loss" not in other

    def test_exports_of_the_database(self, load):
        text = "key,value,timestamp,run_uuid,step,is_nan\nloss,0.5,1700000000000,r1,3,0\n"
        [row] = load("training_runs", text, "mlflow")
        assert (row["run_id"], row["step"], row["loss"]) == ("r1", 3, 0.5)

    def test_malformed(self, load):
        with pytest.raises(ValueError, match="row 2: value is x, which is no number"):
            load("training_runs", self.CSV.replace("0.6", "x"), "mlflow")
        with pytest.raises(ValueError, match="has no column 'run_id'; expected run_id, key, value, step, timestamp"):
            load("training_runs", CSV, "mlflow")

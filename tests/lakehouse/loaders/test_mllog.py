"""MLPerf logs as rows of mllog and run_log."""

import json

import pytest


def line(key, time=1000, value=None, kind="POINT_IN_TIME", **metadata):
    told = {"namespace": "", "time_ms": time, "event_type": kind, "key": key, "value": value, "metadata": metadata}
    return ":::MLLOG " + json.dumps(told)


RUN = f"""starting, with \xe9
{line("submission_benchmark", value="resnet")}
{line("submission_org", value="Somebody")}
{line("global_batch_size", value=4096)}
0: {line("init_start", 60_000)}\r
[3] {line("init_stop", 120_000)}
[1,2]<stdout>:{line("run_start", 180_000, kind="INTERVAL_START")}
step 12: loss 0.3
2024-01-01 12:00:03 {line("eval_accuracy", 200_000, 0.70, epoch_num=36)}
{line("eval_accuracy", 230_000, 0.76, epoch_num=38, samples_count=100)}
{line("run_stop", 240_000.5, kind="INTERVAL_END", status="success", file="train.py", lineno=7)}
"""


def test_lines(load):
    rows = load("mllog", RUN.encode("latin-1"))
    assert [row["line_no"] for row in rows] == [2, 3, 4, 5, 6, 7, 9, 10, 11]
    assert [row.get("rank") for row in rows] == [None, None, None, 0, 3, 2, None, None, None]
    accuracy = {name: rows[7][name] for name in ("key", "value", "epoch_num", "samples_count", "time_ms")}
    assert accuracy == {
        "key": "eval_accuracy",
        "value": "0.76",
        "epoch_num": 38,
        "samples_count": 100,
        "time_ms": 230_000,
    }
    assert rows[0]["value"] == '"resnet"'
    assert (rows[8]["status"], rows[8]["time_ms"], json.loads(rows[8]["metadata"])["lineno"]) == (
        "success",
        240_000.5,
        7,
    )


def test_runs(load):
    [row] = load("run_log", RUN)
    told = {name: row[name] for name in row if name != "file"}
    assert told == {
        "benchmark": "resnet", "org": "Somebody", "global_batch_size": 4096, "minutes": pytest.approx(1.0, rel=1e-3),
        "converged": True, "epochs_to_converge": 38, "init_minutes": 1,
    }  # fmt: skip
    [aborted] = load("run_log", RUN.replace("success", "aborted"))
    assert (aborted["converged"], "epochs_to_converge" in aborted) == (False, False)


@pytest.mark.parametrize("trace", ["mllog", "run_log"])
@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (':::MLLOG {"key": "se', 'there is no JSON object behind :::MLLOG: {"key": "se'),
        (":::MLLOG 5", "there is no JSON object behind :::MLLOG: 5"),
        (':::MLLOG {"value": 3}', "the JSON object behind :::MLLOG has no key"),
    ],
)
def test_malformed_lines(load, trace, bad, problem):
    text = f"{RUN}{bad}\n"
    with pytest.raises(ValueError, match=f"run.log, line 12: {problem}"):
        load(trace, text)
    with pytest.warns(UserWarning, match=f"1 malformed rows were skipped; the first: .*line 12: {problem}"):
        assert load(trace, text, on_malformed="skip") == load(trace, RUN)

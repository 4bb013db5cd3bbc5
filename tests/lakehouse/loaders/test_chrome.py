"""Trace Event JSON as rows of step_trace."""

import gzip
import json

import pytest

START = 1_700_000_000_000_000  # microseconds since 1970

METADATA = [
    {"ph": "M", "name": "process_name", "pid": 7, "args": {"name": "python"}},
    {"ph": "M", "name": "process_labels", "pid": 7, "args": {"labels": "CPU"}},
    {"ph": "M", "name": "thread_name", "pid": 7, "tid": 1, "args": {"name": "main"}},
]


def event(name, ts, dur=None, ph="X", pid=7, tid=1, **others):
    made = {"ph": ph, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, **others}
    return {key: value for key, value in made.items() if value is not None}


def profile(*events):
    return json.dumps({"schemaVersion": 1, "traceEvents": [*METADATA, *events], "traceName": "x"})


def test_a_profile_of_pytorch(load):
    text = profile(
        event("ProfilerStep#3", START, 100, cat="user_annotation"),
        event("aten::mm", START + 10, 12.345, cat="cpu_op", args={"External id": 5}),
        event("Memcpy HtoD", START + 20, 1, cat="gpu_memcpy", tid="stream 7", args={"bytes": 64}),
        event("ProfilerStep#4", START + 100, 50, cat="user_annotation"),
        event("aten::add", START + 150, 1, cat="cpu_op"),
        event("a mark", START + 1, ph="i"),
    )
    first, mm, copy, _, outside = load("step_trace", gzip.compress(text.encode()), name="worker0.pt.trace.json.gz")
    assert first == {
        "run": "worker0", "step": 3, "device": "python CPU / main", "name": "ProfilerStep#3", "op": "user_annotation",
        "start_ns": START * 1000, "duration_ns": 100_000,
    }  # fmt: skip
    assert (mm["step"], mm["op"], mm["duration_ns"]) == (3, "cpu_op", 12_345)
    assert (copy["device"], copy["bytes"], copy["step"]) == ("python CPU / stream 7", 64, 3)
    assert "step" not in outside


def test_times_keep_their_nanoseconds(load):
    text = profile(event("aten::mm", START, 1)).replace(str(START), f"{START}.123")
    assert load("step_trace", text)[0]["start_ns"] == START * 1000 + 123
    inside = profile(event("x", 5, 1, args={"ts": 9.5})).replace('"ts": 5, ', "").replace("}}]", '}, "ts": 5}]')
    assert load("step_trace", inside)[0]["start_ns"] == 5000  # not that of the arguments


def test_begins_and_ends_nest(load):
    pairs = [
        event("outer", 1, ph="B", args={"op": "MatMul"}), event("inner", 2, ph="B"), event("other", 2, ph="B", tid=2),
        event(None, 3, ph="E"), event("inner", 4, ph="B"), event(None, 5, ph="E"), event(None, 7.5, ph="E"),
        event(None, 8, ph="E", tid=2),
    ]  # fmt: skip
    rows = load("step_trace", json.dumps(pairs))  # the form without an object around the array
    told = [(row["name"], row["start_ns"], row["duration_ns"], row["device"]) for row in rows]
    assert told == [
        ("outer", 1000, 6500, "7 / 1"), ("inner", 2000, 1000, "7 / 1"), ("other", 2000, 6000, "7 / 2"),
        ("inner", 4000, 1000, "7 / 1"),
    ]  # fmt: skip
    assert rows[0]["op"] == "MatMul"


def test_steps_of_jax(load):
    text = profile(event("train", 0, 10, args={"step_num": "12"}), event("fusion", 3, 2))
    assert [row["step"] for row in load("step_trace", text)] == [12, 12]


def test_other_columns_and_tables(load):
    text = profile(event("F 3", 1, 2, pid=4))
    columns = {
        "micro_batch": "split_part(name, ' ', 2)",
        "op": "name[1]",
        "worker": "pid",
        "dur_us": "duration_ns / 1000",
    }
    rows = load("pipeline_op_trace", text, "chrome", columns=columns)
    assert rows == [{"run": "run", "worker": 4, "micro_batch": 3, "op": "F", "start_us": 1, "dur_us": 2}]


def test_passes_of_pipelines(load):
    names = ["F 3", "I 0", "call_forward", "call_backward_weight", "call_backward", "Fused"]
    events = [event(name, at, 2, args={"stage": "5", "micro_batch": 1}) for at, name in enumerate(names)]
    rows = load("pipeline_op_trace", profile(*events))
    assert [row["op"] for row in rows] == ["F", "I", "F", "W", "B", "Fused"]
    assert {(row["stage"], row["micro_batch"]) for row in rows} == {(5, 1)}


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (event(None, 3, ph="E", tid=9), "event 5: it ends and has no beginning"),
        (event("open", 3, ph="B", tid=9), "event 5: open begins and has no end"),
        (event("endless", 3), "event 5: endless has no duration dur"),
        (event("timeless", None, 3), "event 5: timeless has no time ts"),
        (event("early", 3, -1), "event 5: early has a negative duration"),
        ("a text", 'event 5: this is no event: "a text"'),
    ],
)
def test_malformed_events(load, bad, problem):
    text = profile(event("good", 1, 1), bad)
    with pytest.raises(ValueError, match=problem):
        load("step_trace", text)
    with pytest.warns(UserWarning, match=f"^1 malformed rows were skipped; the first: .*run.log, {problem}"):
        rows = load("step_trace", text, on_malformed="skip")
    assert [row["name"] for row in rows] == ["good"]


def test_a_trace_that_breaks_off(load):
    text = profile(event("good", 1, 1), event("cut", 2, 2))
    with pytest.raises(ValueError, match=r'run.log, event 5: this is no event: {"ph": "X", "name": "cut"'):
        load("step_trace", text[: text.index('"dur": 2')])

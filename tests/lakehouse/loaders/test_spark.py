"""Event logs of Spark as rows of rdd_task_trace, rdd_lineage_trace and training_runs."""

import json

import pyarrow as pa
import pytest

APPLICATION = {"Event": "SparkListenerApplicationStart", "App Name": "x", "App ID": "local-17", "Timestamp": 1}


def job(number, *stages):
    return {
        "Event": "SparkListenerJobStart",
        "Job ID": number,
        "Submission Time": 2,
        "Stage IDs": stages,
        "Properties": {},
    }


def task(stage, partition, attempt=0, reason=None, **metrics):
    info = {
        "Task ID": 9, "Index": partition, "Attempt": attempt, "Partition ID": partition, "Launch Time": 1_700_000_000_010,
        "Executor ID": "driver", "Host": "localhost", "Locality": "PROCESS_LOCAL", "Speculative": False,
        "Getting Result Time": 0, "Finish Time": 1_700_000_000_250, "Failed": reason is not None, "Killed": False,
    }  # fmt: skip
    measured = {
        "Executor Deserialize Time": 15, "Executor Run Time": 200, "Executor CPU Time": 150_000_000, "JVM GC Time": 3,
        "Result Serialization Time": 2, "Peak Execution Memory": 4096, "Memory Bytes Spilled": 7, "Disk Bytes Spilled": 5,
        "Shuffle Read Metrics": {"Remote Bytes Read": 20, "Local Bytes Read": 164, "Total Records Read": 4},
        "Shuffle Write Metrics": {"Shuffle Bytes Written": 173, "Shuffle Records Written": 5},
        "Input Metrics": {"Bytes Read": 2559, "Records Read": 11}, **metrics,
    }  # fmt: skip
    return {
        "Event": "SparkListenerTaskEnd", "Stage ID": stage, "Stage Attempt ID": 0, "Task Type": "ResultTask",
        "Task End Reason": reason or {"Reason": "Success"}, "Task Info": info, "Task Metrics": measured,
    }  # fmt: skip


def rdd(number, name, scope, *parents, memory=False):
    return {
        "RDD ID": number, "Name": name, "Scope": json.dumps({"id": str(number), "name": scope}), "Callsite": "x.py:1",
        "Parent IDs": parents, "Number of Partitions": 2, "Number of Cached Partitions": 2 * memory, "Memory Size": 800 * memory,
        "Storage Level": {"Use Disk": False, "Use Memory": memory, "Use Off Heap": False, "Deserialized": False, "Replication": 1},
        "Disk Size": 0,
    }  # fmt: skip


def stage(number, name, start, end, *rdds, records=None, failure=None):
    counted = [] if records is None else [{"ID": 1, "Name": "internal.metrics.input.recordsRead", "Value": records}]
    info = {
        "Stage ID": number, "Stage Attempt ID": 0, "Stage Name": name, "Number of Tasks": 2, "RDD Info": rdds,
        "Submission Time": start, "Completion Time": end, "Accumulables": counted,
    }  # fmt: skip
    return {
        "Event": "SparkListenerStageCompleted",
        "Stage Info": info | ({"Failure Reason": failure} if failure else {}),
    }


def log(*events):
    return "".join(json.dumps(event) + "\n" for event in events)


def test_attempts_of_tasks(load):
    lost = {"Reason": "ExceptionFailure", "Class Name": "PythonException", "Description": "boom", "Stack Trace": []}
    text = log(APPLICATION, job(0, 0, 1), task(1, 1), job(1, 1, 2), task(2, 0, attempt=1, reason=lost))
    first, second = load("rdd_task_trace", text, name="local-17")
    assert first == {
        "app_id": "local-17", "job_id": 0, "stage_id": 1, "stage_attempt": 0, "partition": 1, "attempt": 0,
        "worker": "driver localhost", "launch_ms": 1_700_000_000_010, "finish_ms": 1_700_000_000_250, "run_ms": 200,
        "cpu_ns": 150_000_000, "gc_ms": 3, "deserialize_ms": 15, "result_serialize_ms": 2, "input_bytes": 2559,
        "input_rows": 11, "shuffle_read_local_bytes": 164, "shuffle_read_remote_bytes": 20, "shuffle_write_bytes": 173,
        "spill_mem_bytes": 7, "spill_disk_bytes": 5, "peak_mem_bytes": 4096, "locality": "PROCESS_LOCAL",
        "speculative": False, "status": "SUCCESS", "tier": "jvm",
    }  # fmt: skip
    assert (second["job_id"], second["attempt"], second["status"]) == (1, 1, "FAILED")
    assert second["reason"] == "PythonException: boom"


@pytest.mark.parametrize(
    ("ending", "status", "reason"),
    [
        ({"Reason": "TaskKilled", "Kill Reason": "another attempt succeeded"}, "KILLED", "another attempt succeeded"),
        ({"Reason": "FetchFailed", "Message": "no block"}, "FETCH_FAILED", "no block"),
        ({"Reason": "ExecutorLostFailure", "Loss Reason": "out of memory"}, "WORKER_LOST", "out of memory"),
        ({"Reason": "Resubmitted"}, "FAILED", "Resubmitted"),
    ],
)
def test_ends_of_tasks(load, ending, status, reason):
    [row] = load("rdd_task_trace", log(APPLICATION, task(0, 0, reason=ending)))
    assert (row["status"], row["reason"]) == (status, reason)


def test_rolled_and_compressed_logs_are_one_application(tmp_path, rows_of):
    for number, events in [(2, [task(1, 0)]), (10, [task(1, 1)]), (1, [APPLICATION, job(5, 1)])]:
        content = pa.compress(log(*events).encode(), "zstd", asbytes=True)
        (tmp_path / f"events_{number}_local-17.zstd").write_bytes(content)
    (tmp_path / "appstatus_local-17").touch()
    rows = rows_of("rdd_task_trace", str(tmp_path))
    assert [(row["app_id"], row["job_id"], row["partition"]) for row in rows] == [
        ("local-17", 5, 0),
        ("local-17", 5, 1),
    ]


def test_lineage(load):
    text = log(
        APPLICATION,
        stage(0, "reduceByKey", 1000, 2000, rdd(1, "MappedRDD", "map", 0), rdd(0, "TextRDD", "textFile", memory=True)),
        stage(1, "collect", 2000, 2500, rdd(3, "JoinedRDD", "join", 2, 1), rdd(2, "ShuffledRDD", "reduceByKey", 1)),
    )
    rows = load("rdd_lineage_trace", text)
    told = {row["rdd_id"]: (row["scope"], row["parents"], row.get("dep"), row["storage_level"]) for row in rows}
    assert told == {
        0: ("textFile", [], None, "MEMORY"), 1: ("map", [0], "narrow", "NONE"),
        2: ("reduceByKey", [1], "shuffle", "NONE"), 3: ("join", [2, 1], "both", "NONE"),
    }  # fmt: skip
    assert [(row["cached_partitions"], row["mem_bytes"]) for row in rows if row["rdd_id"] == 0] == [(2, 800)]


def test_stages_as_epochs(load):
    text = log(
        APPLICATION,
        stage(0, "treeAggregate at A.scala:1", 1_700_000_000_000, 1_700_000_001_500, records=1000),
        stage(1, "treeAggregate at A.scala:1", 1_700_000_002_000, 1_700_000_002_250, failure="it broke"),
    )
    first, second = load("training_runs", text, "spark")
    assert (first["run_id"], first["epoch"], first["seconds"], first["rows"]) == ("local-17", 1, 1.5, 1000)
    assert (second["epoch"], second["seconds"], second["stop_reason"]) == (2, 0.25, "it broke")
    assert first["time"].timestamp() == 1_700_000_001.5


def test_a_log_that_breaks_off(load):
    text = (
        log(APPLICATION, task(1, 0), {"Event": "SparkListenerBlockManagerAdded"})
        + '\n{"Event":"SparkListenerTaskEnd","St'
    )
    with pytest.raises(
        ValueError, match=r"run.log, line 5: this is no JSON object: {\"Event\":\"SparkListenerTaskEnd\",\"St"
    ):
        load("rdd_task_trace", text)
    with pytest.warns(UserWarning, match="1 malformed rows were skipped"):
        assert len(load("rdd_task_trace", text, on_malformed="skip")) == 1
    with pytest.raises(ValueError, match="line 2: the end of a task lacks its stage or its Task Info"):
        load("rdd_task_trace", log(APPLICATION, {"Event": "SparkListenerTaskEnd", "Stage ID": 1}))

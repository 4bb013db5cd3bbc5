"""The event log: in memory, and as tables of a lake."""

import os
import re
from pathlib import Path

import pytest
from conftest import new_context
from disturbed import unharmed

import ironlake
from ironlake.rdd import SparkContext
from ironlake.rdd.events import LINEAGE_COLUMNS, TASK_COLUMNS

_SQL = Path(__file__).parents[2] / "sql/traces"


@pytest.mark.parametrize(
    ("name", "columns"), [("rdd_task_trace", TASK_COLUMNS), ("rdd_lineage_trace", LINEAGE_COLUMNS)]
)
def test_columns_are_those_of_the_trace_tables(name: str, columns: dict[str, str]) -> None:
    file = _SQL / f"{name}.sql"
    if not file.exists():
        pytest.skip("the definitions of trace tables are not in this tree")
    assert list(columns) == re.findall(r"^    (\w+) [A-Z]", file.read_text(), re.MULTILINE)


def test_what_tasks_did(context_with, tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    sc = context_with(
        "local[2,2]", spark__eventLog__enabled="true", spark__eventLog__dir=f"file://{lake}", ironlake__events=20
    )
    pairs = unharmed(sc.parallelize([(place % 7, place) for place in range(100)], 2)).reduceByKey(lambda a, b: a + b, 3)
    kept = pairs.cache()
    kept.count()
    kept.setName("sums").map(lambda pair: pair[0]).sum()
    maps, reads, again = (sc.events().slice(start, length).to_pylist() for start, length in ((0, 2), (2, 3), (5, 3)))
    assert [sum(row["input_rows"] for row in rows) for rows in (maps, reads, again)] == [100, 0, 7]
    assert all(row["shuffle_write_bytes"] > 0 for row in maps)
    written, read = (sum(row[name] for row in rows) for name, rows in (
        ("shuffle_write_bytes", maps), ("shuffle_read_local_bytes", reads)))  # fmt: skip
    assert written == read
    assert all(row["peak_mem_bytes"] > 1 << 20 and row["cpu_ns"] > 0 for row in maps)
    assert all(row["finish_ms"] >= row["launch_ms"] > 1.6e12 for row in maps + reads)
    assert {row["status"] for row in maps + reads + again} == {"SUCCESS"}
    assert {row["app_id"] for row in maps} == {sc.applicationId}
    assert {row["worker"] for row in maps} <= {"worker-0", "worker-1"}
    with pytest.raises(ZeroDivisionError):
        sc.parallelize([1, 0], 1).map(lambda x: 1 // x if os.getpid() else 0).collect()
    assert [row["status"] for row in sc.events().to_pylist()[-2:]] == ["FAILED", "FAILED"]
    for _ in range(4):
        sc.parallelize(range(8), 8).map(lambda x: x + 1).count()
    assert sc.events().num_rows == 20  # the latest
    sc.stop()
    told = ironlake.open(lake)
    rows = "SELECT status, count(*), count(DISTINCT job_id) FROM rdd_task_trace GROUP BY ALL ORDER BY ALL"
    assert told.sql(rows).fetchall() == [("FAILED", 2, 1), ("SUCCESS", 40, 6)]
    lineage = "SELECT scope, dep, len(parents), partitions, storage_level, cached_partitions FROM rdd_lineage_trace ORDER BY rdd_id LIMIT 5"
    assert told.sql(lineage).fetchall() == [
        ("parallelize", None, 0, 2, "NONE", 0),
        ("mapPartitions", "narrow", 1, 2, "NONE", 0),
        ("reduceByKey", "narrow", 1, 2, "NONE", 0),
        ("partitionBy", "shuffle", 1, 3, "NONE", 0),
        ("reduceByKey", "narrow", 1, 3, "MEMORY", 3),
    ]


def test_a_log_needs_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ValueError, match=r"spark\.eventLog\.dir is missing; expected the directory of a lake"):
        new_context("local[1]", spark__eventLog__enabled=True)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SparkContext("local[1]", pyFiles=["/nowhere.py"])
    assert not list(tmp_path.iterdir())
    new_context("local[1]").stop()

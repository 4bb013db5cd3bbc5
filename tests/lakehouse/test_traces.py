"""Loading logs into a lake, and reading them in SQL."""

import json

import duckdb
import pytest

import ironlake
from ironlake.sql import trace_columns

LINES = "".join(f'some text\n:::MLLOG {{"time_ms": {i}, "key": "k{i}", "value": {i}}}\n' for i in range(3))


@pytest.fixture
def lake(tmp_path):
    return ironlake.open(tmp_path / "lake")


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "run.log"
    file.write_text(LINES)
    return file


def test_rows_are_appended_to_a_table_with_comments(lake, log):
    assert lake.load_trace("mllog", log) == (0, 3, 0)
    assert lake.load_trace("mllog", log, columns={"rank": "7"}) == (1, 3, 0)
    assert lake.sql("SELECT key, count(*), max(rank) FROM mllog GROUP BY ALL ORDER BY ALL").fetchall() == [
        (f"k{i}", 2, 7) for i in range(3)
    ]
    told = duckdb.sql(f"SELECT comment FROM delta_schema('{lake.root / 'mllog'}')").fetchall()
    assert told == [(str(column),) for column in trace_columns("mllog")]


def test_a_malformed_log_leaves_nothing(lake, log):
    log.write_text(LINES + ":::MLLOG {")
    with pytest.raises(
        ValueError, match=r"^Lake.load_trace\('mllog'\): .*run.log, line 7: there is no JSON object behind"
    ):
        lake.load_trace("mllog", log)
    assert lake.tables() == []
    with pytest.warns(UserWarning, match="1 malformed rows were skipped"):
        assert lake.load_trace("mllog", log, on_malformed="skip") == (0, 3, 1)


def test_wrong_arguments(lake, log):
    for arguments, message in [
        (("mlog", log), r"^Lake.load_trace\('mlog'\): there is no trace table 'mlog'; did you mean 'mllog'"),
        (("mllog", log, "mlog"), "there is no loader 'mlog'; did you mean 'mllog'"),
        (
            ("training_runs", log),
            "argument loader is not given; expected one of 'spark', 'vw', 'sklearn', 'mlflow' for",
        ),
        (("edges", log), "argument loader is not given; expected one of 'chrome', .* for edges"),
    ]:
        with pytest.raises(ValueError, match=message):
            lake.load_trace(*arguments)
    with pytest.raises(FileNotFoundError, match="there is no file 'nothing'"):
        lake.load_trace("mllog", "nothing")


def test_in_sql(log):
    assert duckdb.sql(f"SELECT key FROM read_mllog('{log}') LIMIT 1").fetchall() == [("k0",)]
    for columns in ("{'rank': 'line_no'}", "MAP {'rank': 'line_no'}"):
        query = f"SELECT rank FROM read_trace('mllog', '{log}', columns := {columns})"
        assert duckdb.sql(query).fetchall() == [(2,), (4,), (6,)]
    for columns in ("3", "{'rank': 3}"):
        with pytest.raises(duckdb.Error, match="read_trace: argument columns is .*; expected SQL expressions such as"):
            duckdb.sql(f"FROM read_trace('mllog', '{log}', columns := {columns})")
    assert ironlake.read_trace("mllog", str(log), columns={"rank": "5"})["rank"].to_pylist() == [5, 5, 5]


def test_nothing_is_read_before_it_is_asked_for(log):
    log.write_text(":::MLLOG {")
    relation = duckdb.sql(f"FROM read_mllog('{log}')")
    assert relation.columns == [column.name for column in trace_columns("mllog")]
    with pytest.raises(duckdb.Error, match="read_mllog: .*run.log, line 1: there is no JSON object behind :::MLLOG"):
        relation.fetchall()


class TestLakeLog:
    def test_actions(self, lake):
        lake.write("t", duckdb.sql("SELECT range AS id, range % 2 AS part FROM range(10)"), partition_by="part")
        lake["t"].delete("part = 1")
        rows = duckdb.sql(f"FROM lake_log('{lake.root / 't'}')").fetchall()
        names = [column.name for column in trace_columns("delta_log_actions")]
        told = [dict(zip(names, row, strict=True)) for row in rows]
        assert [(row["version"], row["action"]) for row in told] == [
            (0, "commitInfo"), (0, "protocol"), (0, "metaData"), (0, "add"), (0, "add"), (1, "commitInfo"), (1, "remove"),
        ]  # fmt: skip
        assert {row["operation"] for row in told if row["version"] == 1} == {"DELETE"}
        added = [row for row in told if row["action"] == "add"]
        assert [(row["rows"], row["data_change"]) for row in added] == [(5, True), (5, True)]
        sizes = {row["path"]: row["size"] for row in added}
        assert sizes == {path: (lake.root / "t" / path).stat().st_size for path in sizes}
        assert told[-1]["path"] in sizes
        assert json.loads(told[5]["metrics"])["numDeletedRows"] in (5, "5")
        stamps = [commit["timestamp"] for commit in lake["t"].history().to_pylist()]
        assert [row["timestamp"] for row in told if row["action"] == "commitInfo"] == stamps[::-1]

    def test_as_a_trace_table(self, lake):
        lake.create_traces(["edges"])
        assert lake.load_trace("delta_log_actions", lake.root / "edges") == (0, 3, 0)

    def test_no_table(self, tmp_path):
        with pytest.raises(duckdb.Error, match="lake_log: .*is not a Delta table"):
            duckdb.sql(f"FROM lake_log('{tmp_path}')")

    def test_a_damaged_log(self, lake):
        lake.write("t", duckdb.sql("SELECT 1 AS x"))
        commit = next((lake.root / "t" / "_delta_log").glob("*.json"))
        commit.write_text(commit.read_text() + "{damage")
        with pytest.raises(duckdb.Error, match=r"00000000000000000000.json.*line"):
            duckdb.sql(f"FROM lake_log('{lake.root / 't'}')").fetchall()

"""The definitions of trace tables: complete, with units, and the same after a round trip through Delta."""

import re

import duckdb
import pytest

import ironlake
from ironlake.lakehouse.schema import stored_schema
from ironlake.sql import trace_columns, trace_names, trace_schema

#: Endings of names that say a unit, and the unit.
ENDINGS = {
    "_ms": "ms", "_us": "us", "_ns": "ns", "_s": "s", "seconds": "s", "minutes": "min", "bytes": "bytes", "_mib": "MiB",
    "_gib": "GiB", "_gb": "GB", "mbps": "Mbit/s", "kbps": "kbit/s", "flops": "FLOP",
}  # fmt: skip


@pytest.mark.parametrize("name", trace_names())
def test_definition(name):
    columns, schema = trace_columns(name), trace_schema(name)
    assert [column.name for column in columns] == schema.names
    stored = stored_schema(schema)  # Delta has all of its types
    assert [(field, field.metadata) for field in stored] == [(field, field.metadata) for field in schema]
    for column in columns:
        assert column.comment
        ending = next((unit for end, unit in ENDINGS.items() if column.name.endswith(end)), None)
        if ending and "_per_" not in column.name and column.type != "VARCHAR":
            assert (column.unit or "").startswith(ending), column
        assert not re.search(r"[\[\]]", column.comment), column


def test_names_are_those_of_the_specifications():
    expected = """
        abr_session amp_steps api_predictions api_prices checkpoints collective_trace delta_log_actions devices edges
        egress_prices embedding_tables embedding_trace gemmini_counter graph_edges graph_nodes latency_lut
        link_throughput lookup_log measurements mllog model_bench network_trace offers op_edges op_profile op_trace
        pass_trace pipeline_op_trace placement_ops placement_train_log queries rcps rdd_lineage_trace rdd_task_trace
        run_log runs spot_availability step_trace studies task_offer_seconds tasks training_run_log training_runs
        trials tuning_records video_chunks worker_steps"""
    assert trace_names() == expected.split()


def test_unknown_name():
    with pytest.raises(ValueError, match="there is no trace table 'step_traces'; did you mean 'step_trace'"):
        trace_schema("step_traces")


def test_trace_tables():
    query = "FROM trace_tables() WHERE name = 'network_trace'"
    assert duckdb.sql(query).fetchall() == [
        ("network_trace", "trace", "VARCHAR", None, "the trace"),
        ("network_trace", "t_s", "DOUBLE", "s", "since the start"),
        ("network_trace", "mbps", "DOUBLE", "Mbit/s", "from the row before until then"),
    ]


class TestCreate:
    def test_comments_come_back(self, tmp_path):
        lake = ironlake.open(tmp_path)
        assert lake.create_traces(["latency_lut", "runs"]) == ["latency_lut", "runs"]
        for name in lake.tables():
            told = duckdb.sql(f"SELECT name, type, comment FROM delta_schema('{tmp_path / name}')").fetchall()
            assert told == [(column.name, column.type, str(column)) for column in trace_columns(name)]
            assert lake.table(name).fetchall() == []

    def test_tables_that_exist_are_left(self, tmp_path):
        lake = ironlake.open(tmp_path)
        lake.write("runs", duckdb.sql("SELECT 1 AS x"))
        assert lake.create_traces(["runs", "edges"]) == ["edges"]
        assert lake.create_traces(["edges"]) == []
        assert lake.table("runs").fetchall() == [(1,)]

    def test_all(self, tmp_path, monkeypatch):
        lake = ironlake.open(tmp_path)
        written = []
        monkeypatch.setattr(type(lake), "write", lambda _, name, rows: written.append((name, rows.schema)))
        assert lake.create_traces() == trace_names()
        assert written == [(name, trace_schema(name)) for name in trace_names()]

    def test_an_unknown_name_creates_nothing(self, tmp_path):
        lake = ironlake.open(tmp_path)
        with pytest.raises(ValueError, match=r"^Lake.create_traces: there is no trace table 'run'"):
            lake.create_traces(["edges", "run"])
        assert lake.tables() == []

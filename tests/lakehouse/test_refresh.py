"""A version whose log was read before is made from that and the new commits, and is what the whole log says."""

import duckdb
import pyarrow as pa
import pytest

import ironlake
from ironlake.lakehouse import snapshot as snapshots
from ironlake.lakehouse.replay import replay
from ironlake.lakehouse.snapshot import open_snapshot


@pytest.fixture
def replays(monkeypatch):
    """How often a log was read as a whole."""
    counted = []
    monkeypatch.setattr(snapshots, "replay", lambda *given: counted.append(given) or replay(*given))
    return counted


def rows(start):
    return duckdb.sql(f"SELECT i AS x, i // 10 AS part FROM range({start}, {start + 20}) t(i)")


def test_every_kind_of_commit(tmp_path, replays):
    lake = ironlake.open(tmp_path)
    lake.write("t", rows(0), partition_by="part")
    table = lake["t"]
    steps = [
        lambda: lake.write("t", rows(20), mode="append"),
        lambda: table.delete("x = 3", deletion_vectors=True),
        lambda: table.delete("x = 4", deletion_vectors=True),
        lambda: table.delete("x = 25", deletion_vectors=False),
        lambda: table.checkpoint(),
        lambda: table.set_properties({"note": "new"}),
        lambda: lake.write("t", rows(50), mode="overwrite", where="part = 5 OR part = 6"),
        lambda: table.add_columns(pa.schema({"y": pa.int64()})),
        lambda: lake.write("t", rows(60), mode="append", merge_schema=True),
        lambda: table.optimize(),
        lambda: table.restore(1),
    ]
    before = len(replays)
    for step in steps:
        step()
        found = open_snapshot(lake.root / "t", None, "")
        whole = replay(found.storage, found.segment)
        assert found.state.files.sort_by("path").equals(whole.files.sort_by("path"))
        assert found.state.files["modification_time"].equals(whole.files["modification_time"])
        assert found.state.protocol == {key: value for key, value in whole.protocol.items() if value is not None}
        assert found.schema == snapshots.Snapshot(found.storage, found.segment, whole).schema
        assert found.configuration == (whole.metadata.get("configuration") or {})
        assert (found.state.transactions, found.state.domains) == (whole.transactions, whole.domains)
    assert len(replays) == before


def test_another_table_in_its_place(tmp_path, replays):
    lake = ironlake.open(tmp_path)
    for text in ("SELECT 1 AS x", "SELECT 'a' AS y"):
        if lake.tables():
            (tmp_path / "t").rename(tmp_path.parent / f"{tmp_path.name}-old")
        lake.write("t", duckdb.sql(text))
        lake.write("t", duckdb.sql(text), mode="append")
        assert lake.sql("FROM t").fetchall() == duckdb.sql(text).fetchall() * 2
    assert len(replays) == 2

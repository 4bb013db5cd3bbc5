"""What a principal may write, and the audit log of it."""

import duckdb
import pyarrow as pa
import pytest

import ironlake


def rows(*values: int) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


@pytest.fixture
def lake(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    lake.write("t", rows(1, 2))
    lake.write("secret", rows(42))
    return lake


def entries(lake, columns):
    return lake.sql("SELECT 1") and lake.audit().order("event_time").project(columns).fetchall()


def test_each_privilege_allows_what_it_says(lake):
    lake.grant("INSERT", on="t", to="loader")
    loader = lake.as_principal("loader")
    assert loader.write("t", rows(3), mode="append") == 1
    for refused in (
        lambda: loader.table("t"),
        lambda: loader["t"],
        lambda: loader.write("t", rows(9), mode="overwrite"),
        lambda: loader.write("t", pa.table({"y": [1]}), mode="append", merge_schema=True),
        lambda: loader.write("u", rows(9)),
        lambda: loader.write("secret", rows(9), mode="append"),
    ):
        with pytest.raises(PermissionError, match="'loader' has no privilege (SELECT|INSERT) on"):
            refused()
    lake.grant("SELECT", on="t", to="loader")
    with pytest.raises(PermissionError, match="'loader' has no privilege MODIFY on a table 't'"):
        loader["t"].delete("x = 1")
    lake.grant("MODIFY", on="t", to="loader")
    assert loader["t"].delete("x = 1")["rows_deleted"] == 1
    assert loader["t"].update({"x": "x + 10"}, where="x = 2")["rows_updated"] == 1
    assert loader["t"].merge(rows(3, 4), on="x").when_not_matched_insert().execute()["rows_inserted"] == 1
    assert sorted(loader.table("t").fetchall()) == [(3,), (4,), (12,)]
    lake.grant("INSERT", on="*", to="loader")
    assert loader.write("u", rows(9)) == 0
    assert lake["t"].version == loader["t"].version == 4


def test_whoever_does_not_see_all_changes_nothing(lake):
    for privilege in ("SELECT", "INSERT", "MODIFY"):
        lake.grant(privilege, on="t", to="ann")
    lake["t"].set_row_filter("x > 1")
    ann = lake.as_principal("ann")
    assert ann.write("t", rows(0), mode="append") == 1
    for refused in (
        lambda: ann["t"].delete(),
        lambda: ann["t"].update({"x": "0"}),
        lambda: ann["t"].merge(rows(1), on="x").when_matched_delete().execute(),
        lambda: ann.write("t", rows(), mode="overwrite"),
    ):
        with pytest.raises(
            PermissionError, match="sees the table 't' filtered or masked, and so cannot change its rows"
        ):
            refused()
    assert lake["t"].version == 1


@pytest.mark.parametrize(
    "expression",
    [
        "x = (SELECT max(x) FROM read_parquet('{lake}/secret/*.parquet'))",
        "x IN (FROM '{lake}/secret/*.parquet')",
        "EXISTS (FROM lake_scan('{lake}/secret'))",
        "error(lake_scan_sql('{lake}/secret'))",
        "true) OR error((SELECT content FROM read_text('{lake}/secret/*')) IN ('x'",
    ],
)
def test_conditions_of_a_principal_look_no_further_than_the_row(lake, expression):
    lake.grant("SELECT", on="t", to="ann")
    lake.grant("MODIFY", on="t", to="ann")
    table, text = lake.as_principal("ann")["t"], expression.format(lake=lake.root)
    value = {"x": f"CASE WHEN {text} THEN 0 END"}
    for refused in (
        lambda: table.delete(text),
        lambda: table.update(value),
        lambda: table.merge(rows(1), on=text).when_matched_delete().execute(),
        lambda: table.merge(rows(1), on="x").when_matched_update(value).execute(),
        lambda: table.merge(rows(1), on="x").when_matched_delete(text).execute(),
        lambda: lake.as_principal("ann").write("t", rows(), mode="overwrite", where=text),
    ):
        with pytest.raises((PermissionError, ValueError), match="looks further than the row|is not valid"):
            refused()
    assert lake["t"].version == 0


# ------------------------------------------------------------------------------------------------------- the audit log


def test_reads_and_writes_are_written_down(lake):
    lake.grant("SELECT", on="t", to="ann")
    lake.grant("INSERT", on="t", to="ann")
    ann = lake.as_principal("ann")
    ann.sql("SELECT count(*), max(x) FROM t").fetchall()
    ann.write("t", rows(3), mode="append")
    lake["t"].delete("x = 1")
    ann.table("t", version=0, where="x > 1").fetchall()
    with pytest.raises(PermissionError):
        ann.table("secret")
    with pytest.raises(ValueError, match="does not fit"):
        ann.write("t", pa.table({"y": ["a"]}), mode="append")
    told = entries(lake, 'principal, action, "table", version, columns, predicate, rows_read, files_read, status')
    assert told[3:] == [
        ("ann", "SELECT", "t", 0, ["x"], None, 2, 1, "ok"),
        ("ann", "WRITE", "t", 1, None, None, None, None, "ok"),
        (None, "DELETE", "t", 2, None, "x = 1", None, None, "ok"),
        ("ann", "SELECT", "t", 0, ["x"], "(x > 1)", 2, 1, "ok"),
        ("ann", "SELECT", "secret", None, None, None, None, None, "denied"),
        ("ann", "WRITE", "t", None, None, None, None, None, "error"),
    ]
    assert {action for _, action, *_ in told[:3]} == {"CREATE TABLE", "WRITE"}  # of the grants
    sessions = {session for (session,) in entries(lake, "session_id") if session}
    assert sessions == {ann.id}
    assert lake.audit().types[:2] == ["TIMESTAMP WITH TIME ZONE", "VARCHAR"]


def test_each_run_is_an_entry_and_a_plan_is_none(lake):
    lake.grant("SELECT", on="t", to="ann")
    connection = lake.as_principal("ann").connect()
    before = len(entries(lake, "1"))
    connection.execute("EXPLAIN FROM t")
    statement = "SELECT x FROM t WHERE x > $1"
    assert [len(connection.execute(statement, [value]).fetchall()) for value in (0, 1, 2)] == [2, 1, 0]
    assert connection.execute("SELECT count(*) FROM t a, t b").fetchall() == [(4,)]
    assert len(entries(lake, "1")) == before + 5


@pytest.mark.parametrize("damage", ["gone", "no commits", "no folder to write to"])
def test_nothing_is_read_without_being_written_down(lake, damage):
    lake.grant("SELECT", on="t", to="ann")
    session = lake.as_principal("ann")
    connection = session.connect()
    log = lake.root / "_ironlake" / "audit_log"
    if damage == "gone":
        log.rename(lake.root / "elsewhere")
    elif damage == "no commits":
        for commit in (log / "_delta_log").glob("*.json"):
            commit.unlink()
    else:
        (log / "_delta_log").rename(log / "kept")
        (log / "_delta_log").touch()
    for ask in (session.table("t").fetchall, lambda: connection.execute("FROM t").fetchall()):
        with pytest.raises(duckdb.Error, match="the audit log of the lake .* cannot be written"):
            ask()
    with pytest.raises(PermissionError, match="version 1 of the table 't' is committed, but the audit log"):
        lake.write("t", rows(3), mode="append")


def test_switching_it_off(lake):
    lake.grant("SELECT", on="t", to="ann")
    lake.set_audit(False)
    before = len(entries(lake, "1"))
    assert lake.as_principal("ann").table("t").fetchall() == [(1,), (2,)]
    lake.write("t", rows(3), mode="append")
    assert len(entries(lake, "1")) == before
    lake.set_audit(True)
    assert entries(lake, "action")[before:] == [("SET TBLPROPERTIES",)]


def test_its_files_are_packed(lake, monkeypatch):
    monkeypatch.setattr("ironlake.lakehouse.governance.audit._PACKED", 4)
    lake.grant("SELECT", on="t", to="ann")
    relation = lake.as_principal("ann").table("t")
    for _ in range(6):
        relation.fetchall()
    log = ironlake.lakehouse.Table(lake.root / "_ironlake" / "audit_log")
    assert "OPTIMIZE" in log.history().column("operation").to_pylist()
    assert len(entries(lake, "1")) == 8

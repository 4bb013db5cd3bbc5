"""Governance of lakes with schemas, and of lakes that stay at their versions."""

import duckdb
import pyarrow as pa
import pytest

import ironlake


@pytest.fixture
def lake(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    lake.write("finance.pay", pa.table({"name": ["ann", "eve"], "pay": [1, 2]}))
    lake.write("open", pa.table({"x": [1]}))
    return lake


def test_tables_in_schemas_are_granted_and_filtered(lake):
    lake.grant("SELECT", on="finance.pay", to="ann")
    lake["finance.pay"].set_row_filter("name = current_principal()")
    ann = lake.as_principal("ann")
    assert ann.tables() == ["finance.pay"]
    assert ann.sql("FROM finance.pay").fetchall() == [("ann", 1)]
    assert ann.table("finance.pay").fetchall() == [("ann", 1)]
    with pytest.raises(PermissionError, match="no privilege SELECT on a table 'open'"):
        ann.sql("FROM open")


def test_functions_that_write_scans_are_closed_to_a_session(lake):
    lake.grant("SELECT", on="open", to="ann")
    with lake.as_principal("ann").connect() as connection:
        for name in ("lake_scan_sql", "lake_view_sql"):
            with pytest.raises(duckdb.Error, match="external access is disabled"):
                connection.execute(f"SELECT {name}('{lake.root}/finance/pay')").fetchall()


def test_a_fixed_lake_grants_nothing_and_has_no_sessions(lake):
    fixed = lake.at()
    for call in (
        lambda: fixed.grant("SELECT", on="open", to="ann"),
        lambda: fixed.revoke("SELECT", on="open", to="ann"),
        lambda: fixed.set_audit(True),
        lambda: fixed.as_principal("ann"),
        lambda: fixed["open"].set_row_filter("x > 0"),
    ):
        with pytest.raises(PermissionError, match="the lake is fixed by Lake.at"):
            call()
    assert fixed["open"].expectations() == {}

"""What owners say: grants, filters, masks, and what is written down of it."""

import duckdb
import pyarrow as pa
import pytest

import ironlake


def test_grants_are_a_table_with_versions(lake):
    columns = ["principal", "object", "privilege"]
    assert lake.governance("grants", version=0).fetchall() == []
    assert lake.governance("grants").project(", ".join(columns)).fetchall() == [("readers", "people", "SELECT")]
    before = lake.governance("grants").fetchall()
    version = lake.grant("INSERT", on="*", to="loader")
    assert lake.grant("INSERT", on="*", to="loader") == version + 1  # said again, still one row
    assert len(lake.governance("grants").fetchall()) == 2
    assert lake.revoke("INSERT", on="*", to="loader")
    assert lake.governance("grants").fetchall() == before
    assert lake.governance("row_filters").fetchall() == [("people", "region = 'north' OR is_member('staff')", None)]
    assert lake.governance("column_masks").project('"column", applies_to').order("ALL").fetchall() == [
        ("note", None), ("salary", ["readers"])
    ]  # fmt: skip
    assert "_ironlake" not in lake.tables()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda lake: lake.grant("READ", on="people", to="ann"),
            r"Lake\.grant: privilege is 'READ'; expected one of 'S",
        ),
        (lambda lake: lake.grant("SELECT", on="people", to=""), r"Lake\.grant: to is ''; expected the name"),
        (lambda lake: lake.as_principal(""), "principal is ''; expected a name"),
        (lambda lake: lake.as_principal("ann", "staff"), "groups is 'staff'; expected a sequence of names"),
        (lambda lake: ironlake.open(lake.root, groups=["staff"]), "there is no principal to be a member"),
        (lambda lake: lake.governance("users"), "there is no such table; expected one of 'audit_log'"),
        (lambda lake: lake["people"].set_row_filter("regio = 'x'"), r"Table\.set_row_filter\('people'\): .*regio"),
        (lambda lake: lake["people"].set_row_filter("is_member(name)"), "is_member takes one argument, a constant"),
        (lambda lake: lake["people"].set_row_filter("true", applies_to="ann"), "applies_to is 'ann'; expected a seq"),
        (lambda lake: lake["people"].set_row_filter("true) FROM (SELECT 1"), "is not valid"),
        (lambda lake: lake["people"].set_column_mask("wage", "0"), "there is no column 'wage'"),
        (lambda lake: lake["people"].set_column_mask("salary", "'x'"), "is of type VARCHAR, the column 'salary' of"),
        (lambda lake: lake["people"].set_column_mask("salary", "0"), r"of type INTEGER.*expected CAST\(\.\.\. AS BIGI"),
        (lambda lake: lake["people"].set_column_mask("salary", "1, 2"), "is of type TUPLE"),
    ],
)
def test_what_makes_no_sense_is_refused(lake, call, message):
    rules = lake.governance("row_filters").fetchall(), lake.governance("column_masks").fetchall()
    with pytest.raises(ValueError, match=message):
        call(lake)
    assert rules == (lake.governance("row_filters").fetchall(), lake.governance("column_masks").fetchall())


def test_a_grant_names_a_table_that_there_is(lake):
    with pytest.raises(FileNotFoundError, match=r"Lake\.grant\('peple'\).*did you mean 'people'"):
        lake.grant("SELECT", on="peple", to="ann")


def test_procedures_do_the_same_in_sql(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    lake.write("t", pa.table({"x": [1, 2, 3]}))
    lake.grant("SELECT", on="t", to="ann")
    con, path = duckdb.connect(), tmp_path / "lake" / "t"
    assert con.execute(f"CALL delta_set_row_filter('{path}', 'x > 1')").fetchall() == [(1,)]
    con.execute(f"PREPARE later AS FROM delta_drop_row_filter('{path}')")  # does nothing yet
    mask = f"CALL delta_set_column_mask('{path}', 'x', '(0)::BIGINT', applies_to := ['ann', 'bob'])"
    assert con.execute(mask).fetchall() == [(1,)]
    assert lake.as_principal("ann").table("t").fetchall() == [(0,), (0,)]
    assert con.execute("EXECUTE later").fetchall() == [(True,)]
    assert con.execute(f"CALL delta_drop_row_filter('{path}')").fetchall() == [(False,)]
    assert con.execute(f"CALL delta_drop_column_mask('{path}', 'x')").fetchall() == [(True,)]
    assert lake.as_principal("ann").table("t").order("x").fetchall() == [(1,), (2,), (3,)]
    assert con.execute(f"CALL delta_expectation('{path}', 'small', 'x < 9', on_violation := 'fail')").fetchall() == [
        (1,)
    ]
    with pytest.raises(ironlake.lakehouse.ConstraintError):
        lake.write("t", pa.table({"x": [9]}), mode="append")


def test_losing_a_table_of_rules_closes_the_lake(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"x": [1]}))
    lake.grant("SELECT", on="t", to="ann")
    (tmp_path / "_ironlake" / "row_filters").rename(tmp_path / "elsewhere")
    with pytest.raises(duckdb.Error, match="the table 'row_filters' of the lake .* cannot be read, and without it"):
        lake.as_principal("ann").table("t")

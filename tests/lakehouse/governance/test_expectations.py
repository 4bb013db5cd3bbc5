"""What is expected of rows that are written, and what becomes of those that break it."""

import duckdb
import pyarrow as pa
import pytest

import ironlake
from ironlake.lakehouse import ConstraintError, ExpectationWarning


@pytest.fixture
def lake(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    lake.write("t", pa.table({"x": [0, 1], "part": ["a", "b"]}), partition_by="part")
    return lake


def rows(*values: int | None) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64()), "part": ["a"] * len(values)})


def metrics(lake) -> dict[str, str]:
    return dict(lake["t"].history(1)["metrics"][0].as_py())


def seen(lake):
    return [x for (x,) in lake.sql("SELECT x FROM t ORDER BY x NULLS LAST").fetchall()]


def test_warn_writes_and_counts(lake):
    lake["t"].expect("positive", "x > 0")
    with pytest.warns(
        ExpectationWarning, match=r"2 rows of the table 't' written although the expectation 'positive' \(x"
    ):
        lake.write("t", rows(-1, 5, None), mode="append")
    assert seen(lake) == [-1, 0, 1, 5, None]
    assert metrics(lake)["expectation.positive"] == "2"


def test_drop_leaves_out_and_counts_each(lake, recwarn):
    lake["t"].expect("positive", "x > 0", on_violation="drop")
    lake["t"].expect("small", "x < 100", on_violation="drop")
    lake.write("t", rows(7, 8), mode="append")
    assert not [each for each in recwarn if each.category is ExpectationWarning]
    assert metrics(lake) | {"numFiles": "", "numOutputBytes": ""} == {
        "expectation.positive": "0", "expectation.small": "0", "numFiles": "", "numOutputBytes": ""
    }  # fmt: skip
    with pytest.warns(ExpectationWarning, match="left out although") as warned:
        lake.write("t", rows(*range(-3, 103), None), mode="append")
    assert len([each for each in warned if each.category is ExpectationWarning]) == 2
    assert metrics(lake)["expectation.positive"] == "5"
    assert metrics(lake)["expectation.small"] == "4"
    assert seen(lake) == sorted([0, 1, 7, 8, *range(1, 100)])
    with pytest.warns(ExpectationWarning, match="1 row of"):
        lake.write("t", rows(0), mode="overwrite", where="x < 50")
    assert min(seen(lake)) == 50
    with pytest.warns(ExpectationWarning, match="1 row of"):
        assert lake.write("t", rows(0), mode="append") == 6  # no rows, but something to tell
    assert (len(seen(lake)), metrics(lake)["expectation.positive"]) == (50, "1")


def test_dropping_keeps_the_order_of_rows(lake):
    lake["t"].expect("odd", "x % 2 = 1", on_violation="drop")
    many = pa.table({"x": pa.array(range(300_000)), "part": pa.array(["c"] * 300_000)})
    with pytest.warns(ExpectationWarning, match="150000 rows"):
        lake.write("t", many, mode="append")
    assert lake.sql("SELECT x FROM t WHERE part = 'c'").to_arrow_table()["x"].to_pylist() == list(range(1, 300_000, 2))


def test_fail_refuses_all(lake):
    lake["t"].expect("positive", "x > 0", on_violation="fail")
    with pytest.raises(ConstraintError, match=r"the expectation 'positive' \(x > 0\) does not hold for 1 row"):
        lake.write("t", rows(5, -1), mode="append")
    assert (seen(lake), lake["t"].version) == ([0, 1], 1)


@pytest.mark.parametrize("kind", ["drop", "fail"])
def test_updates_and_merges_refuse_what_would_be_dropped(lake, kind):
    lake["t"].expect("small", "x < 100", on_violation=kind)
    with pytest.raises(ConstraintError, match="the expectation 'small'"):
        lake["t"].update({"x": "x + 100"})
    with pytest.raises(ConstraintError, match="the expectation 'small'"):
        lake["t"].merge(rows(100), on="x").when_not_matched_insert().execute()
    assert seen(lake) == [0, 1]
    assert lake["t"].update({"x": "x + 10"})["rows_updated"] == 2


def test_they_are_said_anew_taken_back_and_looked_up(lake):
    table = lake["t"]
    table.expect("bound", "x > 0", on_violation="fail")
    table.expect("bound", "x > -10", on_violation="fail")
    assert table.expectations() == {"bound": ("x > -10", "fail")}
    lake.write("t", rows(-5), mode="append")
    with pytest.raises(ConstraintError, match="the expectation 'bound' .* needs the column 'x'"):
        table.rename_column("x", "y")
    table.add_constraint("known", "x IS NOT NULL")  # rows that are there keep out of the expectations
    table.drop_expectation("bound")
    assert table.expectations() == {}
    lake.write("t", rows(-50), mode="append")
    with pytest.raises(ValueError, match=r"Table\.drop_expectation\('t'\): there is no expectation 'bound'"):
        table.drop_expectation("bound")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a b", "x > 0"), "the name 'a b' of an expectation is not valid"),
        (("a", "x > 0", "ignore"), "on_violation is 'ignore'; expected one of 'warn', 'drop', 'fail'"),
        (("a", "y > 0"), "the predicate 'y > 0' is not valid"),
    ],
)
def test_wrong_arguments(lake, arguments, message):
    with pytest.raises(ValueError, match=message):
        lake["t"].expect(*arguments)


def test_a_condition_that_fails_on_a_row(lake):
    lake["t"].expect("number", "part::INTEGER > 0", on_violation="drop")
    with pytest.raises((ValueError, duckdb.Error), match="Could not convert"):
        lake.write("t", rows(1), mode="append")
    assert lake["t"].version == 1

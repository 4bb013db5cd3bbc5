"""Skipping files by what the log knows of them: no row that a predicate wants is ever in a file that was skipped."""

import datetime as dt
import random

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

import ironlake
from ironlake.lakehouse.pruning import PredicateError, decisions, kept_files
from ironlake.lakehouse.scan import scan_sql
from ironlake.lakehouse.snapshot import open_snapshot

FILES = 12


@pytest.fixture(scope="module")
def con():
    connection = ironlake.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def rows_of_file(number, writer):
    """Rows whose values rise from file to file, NULLs and NaN among them; texts are longer than bounds keep."""

    def some(value):
        return None if writer.random() < 0.1 else value

    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    rows = [
        {
            "i": some(number * 10 + writer.randrange(15)),
            "d": float("nan") if writer.random() < 0.03 else some(number + writer.random()),
            "s": some(chr(97 + number) + writer.choice("abc") * writer.randrange(45)),
            "day": some(dt.date(2020, 1, 1) + dt.timedelta(days=number * 3 + writer.randrange(4))),
            "instant": some(start + dt.timedelta(microseconds=number * 1000 + writer.randrange(1500))),
            "time": some((start + dt.timedelta(seconds=number + writer.random())).replace(tzinfo=None)),
            "flag": some(writer.random() < number / FILES),
            "part": number % 4 if number % 5 else None,
        }
        for _ in range(20)
    ]
    types = {
        "i": pa.int32(), "d": pa.float64(), "s": pa.string(), "day": pa.date32(), "flag": pa.bool_(), "part": pa.int64(),
        "instant": pa.timestamp("us", "UTC"), "time": pa.timestamp("us"),
    }  # fmt: skip
    schema = pa.schema([(name, types[name]) for name in rows[0]])
    return pa.Table.from_pylist(rows, schema)


@pytest.fixture(scope="module", params=["ironlake", "deltalake"])
def table(request, con, tmp_path_factory):
    """A snapshot, and the name of a table with its rows and the number of each row's file."""
    lake, writer = ironlake.open(tmp_path_factory.mktemp("lake")), random.Random(5)
    for number in range(FILES):
        rows = rows_of_file(number, writer)
        if request.param == "ironlake":
            lake.write("t", rows, mode="append" if number else "error", partition_by="part")
        else:
            write_deltalake(lake.root / "t", rows, mode="append", partition_by=["part"])
    snapshot = open_snapshot(lake.root / "t", None, "")
    assert len(snapshot.files) == FILES
    parts = " UNION ALL ".join(
        f"SELECT {index} AS file, * FROM ({scan_sql(snapshot, [index])})" for index in range(FILES)
    )
    con.execute(f"CREATE OR REPLACE TABLE {request.param} AS {parts}")
    return snapshot, request.param


def predicate(chance, depth=0):
    """A random condition on the columns."""
    kind = chance.random()
    if depth < 3 and kind < 0.35:
        return f"({predicate(chance, depth + 1)} {chance.choice(['AND', 'OR'])} {predicate(chance, depth + 1)})"
    if depth < 3 and kind < 0.45:
        return f"NOT ({predicate(chance, depth + 1)})"
    values = {
        "i": lambda: str(chance.randint(-5, 140)),
        "d": lambda: chance.choice([f"{chance.uniform(-1, 13):.2f}", "2", "'nan'::DOUBLE", "-1e3"]),
        "s": lambda: f"'{chr(97 + chance.randrange(13))}{chance.choice(['', 'a', 'b' * 32, 'a' * 44])}'",
        "day": lambda: f"DATE '2020-01-{chance.randint(1, 31):02d}'",
        "instant": lambda: f"'2020-01-01 00:00:00.{chance.randrange(14000):06d}+00'",
        "time": lambda: f"TIMESTAMP '2020-01-01 00:00:{chance.randrange(13):02d}.{chance.randrange(10**6):06d}'",
        "flag": lambda: chance.choice(["true", "false"]),
        "part": lambda: str(chance.randint(-1, 5)),
    }
    column = chance.choice(list(values))
    value = values[column]
    kind = chance.random()
    if kind < 0.1:
        return f"{column} IS {chance.choice(['', 'NOT '])}NULL"
    if kind < 0.2:
        return f"{column} {chance.choice(['', 'NOT '])}IN ({value()}, {value()})"
    if kind < 0.35:
        return f"{column} {chance.choice(['', 'NOT '])}BETWEEN {value()} AND {value()}"
    sign = chance.choice(["=", "<>", "<", ">", "<=", ">="])
    return f"{column} {sign} {value()}" if kind < 0.9 else f"{value()} {sign} {column}"


def test_no_wanted_row_is_skipped(con, table):
    snapshot, name = table
    chance, skipped = random.Random(1), 0
    for _ in range(1000):
        text = predicate(chance)
        kept = set(kept_files(snapshot, text))
        wanted = {file for (file,) in con.execute(f"SELECT DISTINCT file FROM {name} WHERE {text}").fetchall()}
        assert wanted <= kept, text
        skipped += FILES - len(kept)
    assert skipped > 0.25 * FILES * 1000


def test_files_of_which_all_rows_are_wanted(con, table):
    snapshot, name = table
    chance, found = random.Random(2), 0
    for _ in range(100):
        text = predicate(chance)
        told = decisions(snapshot, text)["decision"].to_pylist()
        unwanted = f"SELECT DISTINCT file FROM {name} WHERE ({text}) IS NOT TRUE"
        others = {file for (file,) in con.execute(unwanted).fetchall()}
        assert not others & {file for file, decision in enumerate(told) if decision == "all"}, text
        assert kept_files(snapshot, text) == [file for file, decision in enumerate(told) if decision != "skip"]
        found += told.count("all")
    assert found > 50


def test_reasons(table):
    snapshot, _ = table
    row = decisions(snapshot, "i >= 1000").to_pylist()[0]
    assert row["decision"] == "skip"
    assert row["reason"].startswith("i: ")
    assert (row["rows"], row["file"].endswith(".parquet")) == (20, True)


@pytest.mark.parametrize(
    "text",
    [
        "sqrt(i) > 100",
        "i + 1 > 1000",
        "i > d",
        "(SELECT true)",
        "s LIKE '%zz'",
        "day::VARCHAR = 'x'",
        "i > random() * 1e9",
        "i > 5 - d",
    ],
)
def test_what_is_not_understood_keeps_all_files(table, text):
    assert kept_files(table[0], text) == list(range(FILES))


def test_instants_without_a_zone_depend_on_the_session(table):
    assert len(kept_files(table[0], "instant < '1999-01-01 00:00:00'")) == FILES
    assert kept_files(table[0], "instant < '1999-01-01 00:00:00Z'") == []


@pytest.mark.parametrize("text", ["i >", "", "1; SELECT 2", "true GROUP BY i"])
def test_no_predicate(table, text):
    with pytest.raises(PredicateError, match="is not valid"):
        kept_files(table[0], text)


def test_the_plan_of_a_predicate_in_sql(con, table):
    snapshot, _ = table
    plan = con.execute("SELECT lake_scan_sql(?, NULL, 'i < 10')", [str(snapshot.storage.root)]).fetchall()[0][0]
    assert plan.count(".parquet") == len(kept_files(snapshot, "i < 10")) < 4
    rows = con.sql(f"SELECT file, decision FROM lake_explain('{snapshot.storage.root}', 'i < 10')").fetchall()
    assert [decision for _, decision in rows].count("skip") > 8
    with pytest.raises(duckdb.Error, match="lake_explain: the predicate 'i <' is not valid"):
        con.execute(f"FROM lake_explain('{snapshot.storage.root}', 'i <')").fetchall()

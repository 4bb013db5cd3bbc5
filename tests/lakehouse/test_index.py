"""Indexes of data files beside the log: filters and bounds that leave files out, and never one with a wanted row."""

import datetime as dt
import random

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

import ironlake
from ironlake.lakehouse import index
from ironlake.lakehouse.bloom import hashes_of, made_of, may_hold
from ironlake.lakehouse.pruning import decisions, kept_files
from ironlake.lakehouse.scan import scan_sql
from ironlake.lakehouse.snapshot import open_snapshot

FILES = 8
COLUMNS = ["i", "s", "day", "instant", "time", "d", "flag"]


def rows_of_file(chance):
    """Rows whose values lie anywhere in every file, NULLs among them."""

    def some(value):
        return None if chance.random() < 0.1 else value

    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return [
        {
            "i": some(chance.randrange(-200, 200)),
            "s": some(chance.choice("abcdefgh") * chance.randrange(20)),
            "day": some(dt.date(1969, 12, 1) + dt.timedelta(days=chance.randrange(100))),
            "instant": some(start + dt.timedelta(microseconds=chance.randrange(300))),
            "time": some((start + dt.timedelta(seconds=chance.randrange(200))).replace(tzinfo=None)),
            "d": float("nan") if chance.random() < 0.1 else some(chance.random()),
            "flag": some(chance.random() < 0.5),
        }
        for _ in range(30)
    ]


@pytest.fixture(scope="module")
def con():
    connection = ironlake.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@pytest.fixture(scope="module")
def table(con, tmp_path_factory):
    """An indexed snapshot whose log knows no bounds, and a table with its rows and the number of each row's file."""
    lake, chance = ironlake.open(tmp_path_factory.mktemp("lake")), random.Random(4)
    types = {
        "i": pa.int32(), "s": pa.string(), "day": pa.date32(), "instant": pa.timestamp("us", "UTC"),
        "time": pa.timestamp("us"), "d": pa.float64(), "flag": pa.bool_(),
    }  # fmt: skip
    for _ in range(FILES):
        rows = pa.Table.from_pylist(rows_of_file(chance), pa.schema(types))
        write_deltalake(lake.root / "t", rows, mode="append", configuration={"delta.dataSkippingNumIndexedCols": "0"})
    snapshot = open_snapshot(lake.root / "t", None, "")
    assert kept_files(snapshot, "i = 5 AND s = 'aaa'") == list(range(FILES))
    told = lake["t"].index(*COLUMNS)
    assert told["files_indexed"] == FILES
    assert told["bytes"] > 1000
    parts = " UNION ALL ".join(f"SELECT {at} AS file, * FROM ({scan_sql(snapshot, [at])})" for at in range(FILES))
    con.execute(f"CREATE OR REPLACE TABLE indexed AS {parts}")
    return snapshot


def predicate(chance, depth=0):
    if depth < 2 and chance.random() < 0.3:
        return f"({predicate(chance, depth + 1)} {chance.choice(['AND', 'OR'])} {predicate(chance, depth + 1)})"
    if depth < 2 and chance.random() < 0.1:
        return f"NOT ({predicate(chance, depth + 1)})"
    values = {
        "i": lambda: chance.choice([f"{chance.randint(-210, 210)}", f"{chance.randint(-210, 210)}.0", "1e2", "'7'"]),
        "s": lambda: f"'{chance.choice('abcdefghi') * chance.randrange(21)}'",
        "day": lambda: f"'{dt.date(1969, 11, 25) + dt.timedelta(days=chance.randrange(110))}'",
        "instant": lambda: f"'2020-01-01 00:00:00.{chance.randrange(310):06d}+00'",
        "time": lambda: f"TIMESTAMP '2020-01-01 00:0{chance.randrange(4)}:{chance.randrange(60):02d}'",
        "d": lambda: f"{chance.uniform(-0.1, 1.1):.3f}",
        "flag": lambda: chance.choice(["true", "false"]),
    }
    column = chance.choice(list(values))
    value = values[column]
    kind = chance.random()
    if kind < 0.1:
        return f"{column} IS {chance.choice(['', 'NOT '])}NULL"
    if kind < 0.3:
        return f"{column} {chance.choice(['', 'NOT '])}IN ({value()}, {value()})"
    return f"{column} {'=' if kind < 0.8 else chance.choice(['<>', '<', '>', '<=', '>='])} {value()}"


def test_no_wanted_row_is_skipped(con, table):
    chance, skipped = random.Random(1), 0
    for _ in range(200):
        text = predicate(chance)
        wanted = {file for (file,) in con.execute(f"SELECT DISTINCT file FROM indexed WHERE {text}").fetchall()}
        kept = set(kept_files(table, text))
        assert wanted <= kept, text
        skipped += FILES - len(kept)
    assert skipped > 0.2 * 200 * FILES


def test_each_value_is_found(con, table):
    for column in COLUMNS[:5]:
        for value, file in con.execute(
            f"SELECT {column}::VARCHAR, file FROM indexed WHERE {column} NOTNULL"
        ).fetchall():
            text = value if column == "i" else f"'{value}'"
            assert file in kept_files(table, f"{column} = {text}")


def test_reasons(table):
    told = decisions(table, "i = 199 OR i = 1000").to_pylist()
    skipped = [row["reason"] for row in told if row["decision"] == "skip"]
    assert skipped
    assert all("its Bloom filter has no i = 199" in reason for reason in skipped)
    assert "i: -19" in skipped[0]  # bounds that the log does not have


def test_the_rate_of_false_positives():
    numbers = np.random.default_rng(0).choice(10**9, 40_000, replace=False)
    for rate in (0.1, 0.01):
        content = made_of(hashes_of(pa.array(numbers[:20_000])), rate)
        assert all(may_hold(content, hash_) for hash_ in hashes_of(pa.array(numbers[:2000])).tolist())
        wrong = sum(may_hold(content, hash_) for hash_ in hashes_of(pa.array(numbers[20_000:])).tolist())
        assert 0.7 * rate < wrong / 20_000 < 1.3 * rate
    assert len(content) * 8 / 20_000 < 12
    texts = pa.array([f"customer {number}" for number in numbers[:20_000]])
    content = made_of(hashes_of(texts), 0.01)
    assert all(may_hold(content, hash_) for hash_ in hashes_of(texts.slice(7, 100)).tolist())
    others = hashes_of(pa.array([f"Customer {number}" for number in numbers[:20_000]])).tolist()
    assert sum(may_hold(content, hash_) for hash_ in others) < 260


def test_hashes_of_texts_tell_lengths_and_order_apart():
    texts = ["", "\x00", "\x00\x00", "a", "ab", "ba", "a" * 8, "a" * 9, "a" * 16, "ü", "12345678a", "a12345678"]
    assert len(np.unique(hashes_of(pa.array([*texts, None])))) == len(texts)


def test_deleted_rows_stay_in_an_index(tmp_path):
    """It is about files, of which an old version has more rows."""
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"id": range(10), "name": [f"n{i}" for i in range(10)]}))
    lake["t"].delete("id = 3", deletion_vectors=True)
    lake["t"].rename_column("name", "called")
    lake["t"].index("id", "called")
    assert lake.table("t", where="called = 'n3'").fetchall() == []
    assert lake.table("t", version=0, where="name = 'n3'").fetchall() == [(3, "n3")]
    assert len(kept_files(open_snapshot(lake.root / "t", None, ""), "called = 'm3'")) == 0


def test_new_files_are_read_until_they_are_indexed(tmp_path):
    lake = ironlake.open(tmp_path)
    for first in (0, 1):
        lake.write("t", pa.table({"id": range(first, 100, 2)}), mode="append")
    assert lake["t"].index("id", false_positive_rate=0.001)["files_indexed"] == 2
    assert len(kept_files(open_snapshot(lake.root / "t", None, ""), "id = 17")) == 1
    lake.write("t", pa.table({"id": range(0, 100, 2)}), mode="append")
    assert len(kept_files(open_snapshot(lake.root / "t", None, ""), "id = 17")) == 2
    assert lake["t"].index("id", false_positive_rate=0.001)["files_indexed"] == 1
    assert len(kept_files(open_snapshot(lake.root / "t", None, ""), "id = 17")) == 1
    assert lake["t"].index("id") == {"files_indexed": 0, "bytes": 0}


@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "of another kind"])
def test_a_damaged_index_is_not_used(tmp_path, damage):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"id": range(0, 100, 2)}))
    lake["t"].index("id")
    (file,) = (lake.root / "t" / "_ironlake").iterdir()
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        file.write_bytes(content[:200].replace(content[60:120], bytes(60)) + content[200:])
    else:
        pa.parquet.write_table(pa.table({"x": [1]}), file)
    index._loaded.clear()
    lake.write("t", pa.table({"id": [1]}), mode="append")  # another version
    snapshot = open_snapshot(lake.root / "t", None, "")
    assert kept_files(snapshot, "id = 17") == [0]


def test_vacuum_removes_what_tells_of_no_file(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"id": range(10)}))
    lake["t"].index("id")
    folder = lake.root / "t" / "_ironlake"
    lake["t"].vacuum(0, dry_run=False, force=True)
    assert len(list(folder.iterdir())) == 1
    lake.write("t", pa.table({"id": range(20)}), mode="overwrite")
    lake["t"].index("id")
    removed = lake["t"].vacuum(0, dry_run=False, force=True)["path"].to_pylist()
    assert sum(path.startswith("_ironlake/index-") for path in removed) == 1
    assert len(list(folder.iterdir())) == 1
    assert lake.table("t", where="id = 15").fetchall() == [(15,)]


@pytest.mark.parametrize(
    ("columns", "rate", "message"),
    [
        ([], 0.01, "no column is named"),
        (["idd"], 0.01, "there is no column 'idd'; the columns are 'id', 'p', 'list'"),
        (["p"], 0.01, "the table is partitioned by 'p'"),
        (["list"], 0.01, r"the column 'list' is a BIGINT\[\], by which files cannot be told apart"),
        (["id"], 1, "argument false_positive_rate is 1; expected a number between 0"),
    ],
)
def test_arguments(tmp_path, columns, rate, message):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"id": [1], "p": ["a"], "list": [[1]]}), partition_by="p")
    with pytest.raises(ValueError, match=rf"Table.index\('t'\): {message}"):
        lake["t"].index(*columns, false_positive_rate=rate)
    assert not (lake.root / "t" / "_ironlake").exists()

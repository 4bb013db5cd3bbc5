"""Directories of Parquet files that become Delta tables in place."""

import datetime as dt
import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import ironlake
from ironlake.lakehouse import convert

ROWS = """
SELECT i AS id, i % 3 AS part, 'n ' || i % 2 AS word, TIMESTAMP '2024-01-01 00:00:00.0005' + INTERVAL (i) SECOND AS t,
    i / 2 AS x, i::DECIMAL(9, 2) AS price, {'a': i} AS inner, CASE WHEN i > 50 THEN i END AS gap, NULL::INT AS nothing,
    DATE '2024-01-01' + i::INT AS day, repeat('long', i::INT) AS text
FROM range(100) t(i)
"""


def rows(path):
    return duckdb.sql(f"FROM lake_scan('{path}') ORDER BY id").fetchall()


def test_plain_files(tmp_path):
    duckdb.sql(f"COPY ({ROWS}) TO '{tmp_path / 'files'}' (FORMAT parquet, PER_THREAD_OUTPUT)")
    duckdb.sql(f"COPY ({ROWS} LIMIT 0) TO '{tmp_path / 'files' / 'empty.parquet'}'")
    (tmp_path / "files" / "_SUCCESS").write_text("")
    before = sorted((tmp_path / "files").iterdir())
    table = convert(tmp_path / "files")
    assert rows(table.path) == duckdb.sql(ROWS).order("id").fetchall()
    assert DeltaTable(table.path).to_pyarrow_table().num_rows == 100
    assert set(before) < set(table.path.iterdir())
    entry = next(
        json.loads(line)["add"]
        for line in (table.path / "_delta_log" / f"{0:020}.json").read_text().splitlines()
        if '"add"' in line and "empty" not in line
    )
    stats = json.loads(entry["stats"])
    assert (stats["numRecords"], stats["minValues"]["id"], stats["maxValues"]["id"]) == (100, 0, 99)
    assert (stats["minValues"]["t"], stats["maxValues"]["t"]) == ("2024-01-01T00:00:00.000", "2024-01-01T00:01:39.001")
    assert stats["maxValues"]["day"] == "2024-04-09"
    assert (stats["nullCount"]["gap"], stats["nullCount"]["nothing"], stats["minValues"]["gap"]) == (51, 100, 51)
    assert not {"x", "inner", "nothing", "text"} & set(stats["minValues"])
    assert table.history()["operation"].to_pylist() == ["CONVERT"]
    assert table.delete("id < 50")["rows_deleted"] == 50


def test_directories_that_name_values(tmp_path):
    lake = ironlake.open(tmp_path)
    copy = f"COPY (SELECT *, CASE WHEN id % 4 > 0 THEN day END AS d FROM ({ROWS})) TO '{tmp_path / 'files'}'"
    duckdb.sql(f"{copy} (FORMAT parquet, PARTITION_BY (part, word, d))")
    table = lake.convert("files")
    found = duckdb.sql(f"SELECT id, part, word, d FROM lake_scan('{table.path}') ORDER BY id")
    assert [str(type_) for type_ in found.types[1:]] == ["BIGINT", "VARCHAR", "DATE"]
    day = dt.date(2024, 1, 1)
    wanted = [(i, i % 3, f"n {i % 2}", day + dt.timedelta(i) if i % 4 else None) for i in range(100)]
    assert found.fetchall() == wanted
    assert DeltaTable(table.path).to_pyarrow_table(filters=[("part", "=", 1)]).num_rows == 33
    assert lake.sql("SELECT count(*) FROM files WHERE part = 2 AND word = 'n 1'").fetchall() == [(16,)]


@pytest.mark.parametrize(
    ("given", "type_"), [(None, "BIGINT"), ("day", "BIGINT"), (["day"], "BIGINT"), ({"day": pa.int16()}, "SMALLINT"),
                         (pa.schema({"day": pa.string()}), "VARCHAR")],
)  # fmt: skip
def test_types_of_what_directories_name(tmp_path, given, type_):
    duckdb.sql(f"COPY (SELECT 1 AS id, '01' AS day) TO '{tmp_path / 'files'}' (FORMAT parquet, PARTITION_BY day)")
    (found,) = duckdb.sql(f"SELECT day FROM lake_scan('{convert(tmp_path / 'files', given).path}')").types
    assert str(found) == type_


def test_timestamps_of_spark(tmp_path):
    moment = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
    (tmp_path / "files").mkdir()
    table = pa.table({"id": [1], "t": pa.array([moment], pa.timestamp("us", "UTC"))})
    pq.write_table(table, tmp_path / "files" / "a.parquet", use_deprecated_int96_timestamps=True)
    assert duckdb.sql(f"SELECT epoch(t) FROM lake_scan('{convert(tmp_path / 'files').path}')").fetchall() == [
        (moment.timestamp(),)
    ]


def _write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def _a_table(path):
    ironlake.open(path.parent).write("files", pa.table({"id": [1]}))


@pytest.mark.parametrize(
    ("make", "partition_by", "error", "message"),
    [
        (lambda path: None, None, FileNotFoundError, "files' is not there; expected a directory of Parquet files"),
        (Path.mkdir, None, FileNotFoundError, "holds no files"),
        (_a_table, None, FileExistsError, "is a Delta table already"),
        (
            lambda path: (_write(path / "a", id=[1]), (path / "b").write_text("id\n1")),
            None, ValueError, "'b' is not a Parquet file; expected nothing else in the directory",
        ),
        (
            lambda path: (_write(path / "a", id=[1]), _write(path / "b", id=["x"])),
            None, ValueError, "the columns differ: those of 'b' are \"id\" VARCHAR, those of 'a' \"id\" BIGINT",
        ),
        (
            lambda path: (_write(path / "a", id=[1]), _write(path / "b", id=[1], x=[1])),
            None, ValueError, "the columns differ",
        ),
        (
            lambda path: (_write(path / "d=1" / "a", id=[1]), _write(path / "b", id=[1])),
            None, ValueError, "the directories differ: 'd=1/a' names 'd', 'b' no column",
        ),
        (
            lambda path: _write(path / "d=1" / "a", id=[1]),
            "day", ValueError, "argument partition_by names 'day', the directories name 'd'",
        ),
        (
            lambda path: _write(path / "d=one" / "a", id=[1]),
            {"d": pa.int32()}, ValueError, "the directories name 'one' as a value of the column 'd', which is no INTEGER",
        ),
        (
            lambda path: _write(path / "a", id=pa.array([1], pa.uint8())),
            None, TypeError, "column 'id' has type uint8, which Delta cannot store; cast it to int16",
        ),
        (
            lambda path: _write(path / "a", t=pa.array([1], pa.timestamp("ns"))),
            None, TypeError, "column 't' of 'a' has nanoseconds, which Delta cannot store",
        ),
        (lambda path: _write(path / "a", id=[1], ID=[2]), None, ValueError, "columns 'id' and 'ID' differ only by case"),
    ],
)  # fmt: skip
def test_directories_that_are_none(tmp_path, make, partition_by, error, message):
    make(tmp_path / "files")
    with pytest.raises(error, match=f"^convert: .*{message}"):
        convert(tmp_path / "files", partition_by)
    if error is not FileExistsError:
        assert not (tmp_path / "files" / "_delta_log").exists()


def test_names_that_no_table_has(tmp_path):
    with pytest.raises(ValueError, match=r"^Lake.convert\('a b'\): the name is not valid"):
        ironlake.open(tmp_path).convert("a b")

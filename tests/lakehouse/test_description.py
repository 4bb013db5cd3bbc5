"""What the functions delta_history, delta_files, delta_schema and delta_detail tell of a table."""

import datetime as dt

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import ironlake


@pytest.fixture
def lake(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    rows = "SELECT range::INT AS id, range % 3 AS part, 'name ' || range AS name, {'a': range} AS nested FROM range({})"
    lake.write("t", duckdb.sql(rows.replace("{}", "90")), partition_by="part")
    lake["t"].delete("part = 1 AND id < 30", deletion_vectors=True)
    return lake


def query(text, lake):
    return duckdb.sql(text.replace("$t", f"'{lake.root / 't'}'")).fetchall()


def test_history(lake):
    rows = query("SELECT version, operation, metrics['numDeletedRows'] FROM delta_history($t)", lake)
    assert rows == [(1, "DELETE", "10"), (0, "CREATE TABLE AS SELECT", None)]
    assert query("SELECT version FROM delta_history($t, newest => 1)", lake) == [(1,)]
    told = [commit["timestamp"] for commit in DeltaTable(lake.root / "t").history()]
    stamps = [dt.datetime.timestamp(row[0]) for row in query("SELECT timestamp FROM delta_history($t)", lake)]
    assert stamps == [stamp / 1000 for stamp in told]
    assert lake["t"].history().equals(ironlake.delta_history(str(lake.root / "t")))
    with pytest.raises(duckdb.Error, match="delta_history: argument newest is -1; expected a number of commits"):
        query("FROM delta_history($t, newest => -1)", lake)


def test_a_long_history_is_read_in_little_memory(tmp_path):
    """The buffers for lines must follow the size of the commits: a gigabyte for each file once ran out of memory."""
    for number in range(40):
        write_deltalake(tmp_path / "t", pa.table({"id": [number]}), mode="append")
    assert len(ironlake.open(tmp_path)["t"].history()) == 40
    assert len(ironlake.open(tmp_path).table("t").fetchall()) == 40


def test_files(lake):
    rows = query(
        "SELECT partition['part'], num_records, deleted_records, min.id, max.id, max.name, null_count.id, tight_bounds, "
        "size_bytes > 0 FROM delta_files($t) ORDER BY ALL",
        lake,
    )
    assert rows == [
        ("0", 30, 0, 0, 87, "name 9", 0, True, True),
        ("1", 30, 10, 1, 88, "name 88", 0, False, True),
        ("2", 30, 0, 2, 89, "name 89", 0, True, True),
    ]
    assert query("SELECT sum(deleted_records) FROM delta_files($t, version => 0)", lake) == [(0,)]


def test_schema(lake):
    rows = query('SELECT name, type, nullable, "partition" FROM delta_schema($t)', lake)
    assert rows == [
        ("id", "INTEGER", True, False),
        ("part", "BIGINT", True, True),
        ("name", "VARCHAR", True, False),
        ("nested", 'STRUCT("a" BIGINT)', True, False),
    ]


def test_detail(lake):
    rows = query(
        "SELECT version, partition_columns, num_files, num_records, properties['delta.enableDeletionVectors'], "
        "min_reader_version, reader_features FROM delta_detail($t)",
        lake,
    )
    assert rows == [(1, ["part"], 3, 80, "true", 3, ["deletionVectors"])]


def test_mapped_columns_are_told_by_their_names(tmp_path):
    properties = {"delta.columnMapping.mode": "name", "delta.minReaderVersion": "2", "delta.minWriterVersion": "5"}
    write_deltalake(tmp_path / "t", pa.table({"id": range(5, 10)}), configuration=properties)
    assert duckdb.sql(f"SELECT min.id, max.id FROM delta_files('{tmp_path / 't'}')").fetchall() == [(5, 9)]


@pytest.mark.parametrize("function", ["delta_history", "delta_files", "delta_schema", "delta_detail"])
def test_what_is_no_table(function, tmp_path):
    with pytest.raises(duckdb.Error, match=f"{function}: .*is not a Delta table"):
        duckdb.sql(f"FROM {function}('{tmp_path}')")

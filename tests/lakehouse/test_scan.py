"""Reading Delta tables: every way that a table can differ from a plain list of Parquet files."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

import ironlake
from ironlake.lakehouse.scan import scan_sql
from ironlake.lakehouse.snapshot import open_snapshot

UTC = dt.UTC


@pytest.fixture
def con():
    connection = ironlake.connect()
    # Nothing may depend on the session's time zone.
    connection.execute("SET TimeZone = 'America/New_York'")
    return connection


def both_ways(con: duckdb.DuckDBPyConnection, path: Path, version: int | None = None) -> pa.Table:
    """The table through the view's plan and through the stream; they have to agree."""
    text = "NULL" if version is None else version
    planned = con.sql(f"FROM query(lake_scan_sql('{path}', {text}))").to_arrow_table()
    streamed = con.sql(f"FROM lake_scan('{path}', version => {text})").to_arrow_table()
    assert planned.sort_by("id").to_pylist() == streamed.sort_by("id").to_pylist()
    assert planned.schema.names == streamed.schema.names
    assert con.sql(f"FROM query(lake_scan_sql('{path}', {text}))").types == (
        con.sql(f"FROM lake_scan('{path}', version => {text})").types
    )
    return planned.sort_by("id")


ALL_TYPES = pa.table(
    {
        "id": pa.array([1, 2], pa.int64()),
        "tiny": pa.array([-128, None], pa.int8()),
        "small": pa.array([7, None], pa.int16()),
        "whole": pa.array([7, None], pa.int32()),
        "single": pa.array([1.5, None], pa.float32()),
        "real": pa.array([float("inf"), None], pa.float64()),
        "flag": pa.array([True, None]),
        "text": pa.array(["ü'\"\n", None]),
        "bytes": pa.array([b"\x00\xff", None]),
        "day": pa.array([dt.date(1969, 12, 31), None]),
        "instant": pa.array([dt.datetime(2020, 3, 8, 2, 30, 0, 123456, UTC), None], pa.timestamp("us", "UTC")),
        "local": pa.array([dt.datetime(2020, 3, 8, 2, 30, 0, 123456), None], pa.timestamp("us")),
        "price": pa.array([Decimal("-0.01"), None], pa.decimal128(12, 2)),
        "list": pa.array([[1.0, None], None], pa.list_(pa.float32())),
        "struct": pa.array([{"a b": 1, "c": ["x"]}, None], pa.struct({"a b": pa.int32(), "c": pa.list_(pa.string())})),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
    }
)


def test_all_types(con, tmp_path):
    write_deltalake(tmp_path / "t", ALL_TYPES)
    assert both_ways(con, tmp_path / "t").to_pylist() == ALL_TYPES.to_pylist()
    types = con.sql(f"FROM lake_scan('{tmp_path / 't'}')").types
    assert list(map(str, types)) == [
        "BIGINT", "TINYINT", "SMALLINT", "INTEGER", "FLOAT", "DOUBLE", "BOOLEAN", "VARCHAR", "BLOB", "DATE",
        "TIMESTAMP WITH TIME ZONE", "TIMESTAMP", "DECIMAL(12,2)", "FLOAT[]", 'STRUCT("a b" INTEGER, c VARCHAR[])',
        "MAP(VARCHAR, INTEGER)",
    ]  # fmt: skip


PARTITION_VALUES = {
    "text": ["a b", "x/y", "100%", "ünïcode", "=eq?&#*[]", "it's", None],
    "number": pa.array([-128, 0, 127, None], pa.int8()),
    "flag": [True, False, None],
    "day": [dt.date(2020, 2, 29), None],
    "instant": pa.array([dt.datetime(2020, 3, 8, 2, 30, 0, 123456, UTC), None], pa.timestamp("us", "UTC")),
    "local": pa.array([dt.datetime(2020, 3, 8, 2, 30), None], pa.timestamp("us")),
    "price": pa.array([Decimal("1.20"), Decimal("0.03"), None], pa.decimal128(10, 2)),
    "bytes": [b"ab\x00\xff", b"'q\\u0041", None],
}


@pytest.mark.parametrize("kind", PARTITION_VALUES)
def test_partition_values(con, tmp_path, kind):
    values = PARTITION_VALUES[kind]
    values = values if isinstance(values, pa.Array) else pa.array(values)
    table = pa.table({"id": pa.array(range(len(values)), pa.int64()), "p": values, "q": [kind] * len(values)})
    write_deltalake(tmp_path / "t", table, partition_by=["p", "q"])
    read = both_ways(con, tmp_path / "t")
    assert read.to_pylist() == table.to_pylist()
    assert read.schema.field("p").type == values.type or kind in ("instant",)


def test_filter_on_a_partition_skips_files(con, tmp_path):
    table = pa.table({"id": pa.array(range(100), pa.int64()), "part": [f"k{i % 10}" for i in range(100)]})
    write_deltalake(tmp_path / "t", table, partition_by=["part"])
    query = f"SELECT sum(id) FROM query(lake_scan_sql('{tmp_path / 't'}')) WHERE part = 'k7'"
    assert con.sql(query).fetchall() == [(sum(range(7, 100, 10)),)]
    assert "Total Files Read: 1" in con.sql(f"EXPLAIN ANALYZE {query}").fetchall()[0][1]


def test_columns_added_later_are_null_in_older_files(con, tmp_path):
    path = tmp_path / "t"
    write_deltalake(path, pa.table({"id": [1], "s": [{"x": 1}]}))
    wider = pa.table({"id": [2], "s": [{"x": 2, "y": "new"}], "extra": [[1.5]]})
    write_deltalake(path, wider, mode="append", schema_mode="merge")
    assert both_ways(con, path).to_pylist() == [
        {"id": 1, "s": {"x": 1, "y": None}, "extra": None},
        {"id": 2, "s": {"x": 2, "y": "new"}, "extra": [1.5]},
    ]
    assert both_ways(con, path, 0).to_pylist() == [{"id": 1, "s": {"x": 1}}]


def test_tables_without_rows(con, tmp_path):
    write_deltalake(tmp_path / "t", ALL_TYPES.slice(0, 0))
    read = both_ways(con, tmp_path / "t")
    assert read.num_rows == 0
    assert read.schema.names == ALL_TYPES.schema.names


def test_rows_come_in_the_order_of_the_commits(con, tmp_path):
    for number in range(5):
        write_deltalake(tmp_path / "t", pa.table({"id": [number]}), mode="append")
    assert con.sql(f"FROM lake_scan('{tmp_path / 't'}')").fetchall() == [(i,) for i in range(5)]


def test_deletes_and_versions(con, tmp_path):
    path = tmp_path / "t"
    write_deltalake(path, pa.table({"id": [1, 2, 3]}))
    DeltaTable(path).delete("id = 2")
    assert both_ways(con, path)["id"].to_pylist() == [1, 3]
    assert both_ways(con, path, 0)["id"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize("mode", ["name", "id"])
def test_column_mapping(con, tmp_path, mode):
    path = tmp_path / "t"
    table = pa.table({"id": [1, 2], "a b": ["x", None]})
    write_deltalake(path, table, configuration={"delta.columnMapping.mode": mode})
    assert both_ways(con, path).to_pylist() == table.to_pylist()


def rewrite_log(path: Path, version: int, change) -> None:
    """Put a commit through `change`, a function from a list of actions to a list of actions."""
    file = path / "_delta_log" / f"{version:020}.json"
    actions = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("\n".join(json.dumps(action) for action in change(actions)))


def test_deletion_vector(con, tmp_path):
    path = tmp_path / "t"
    write_deltalake(path, pa.table({"id": pa.array(range(5), pa.int64())}))

    def delete_row_one(actions):
        # An inline vector in Z85: a bitmap array that holds only row 1.
        payload = bytes.fromhex("d1d33964 0100000000000000 00000000 3a300000 01000000 00000000 10000000 0100")
        for action in actions:
            if "protocol" in action:
                features = ["deletionVectors"]
                action["protocol"] = {
                    "minReaderVersion": 3, "minWriterVersion": 7,
                    "readerFeatures": features, "writerFeatures": features,
                }  # fmt: skip
            if "add" in action:
                action["add"]["deletionVector"] = {
                    "storageType": "i", "pathOrInlineDv": z85(payload), "sizeInBytes": len(payload), "cardinality": 1,
                }  # fmt: skip
        return actions

    rewrite_log(path, 0, delete_row_one)
    assert both_ways(con, path)["id"].to_pylist() == [0, 2, 3, 4]


def z85(data: bytes) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    data += bytes(-len(data) % 4)
    text = ""
    for start in range(0, len(data), 4):
        number = int.from_bytes(data[start : start + 4], "big")
        text += "".join(digits[number // 85**power % 85] for power in (4, 3, 2, 1, 0))
    return text


def test_int96_timestamps_are_instants_whatever_the_session_time_zone(con, tmp_path):
    path = tmp_path / "t"
    table = pa.table({"id": [1], "at": pa.array([dt.datetime(2020, 1, 1, 12, tzinfo=UTC)], pa.timestamp("us", "UTC"))})
    write_deltalake(path, table)
    file = Path(open_snapshot(path, None, "").files[0])
    pq.write_table(table, file, use_deprecated_int96_timestamps=True)
    rewrite_log(path, 0, lambda actions: [resized(action, file) for action in actions])
    assert both_ways(con, path).to_pylist() == table.to_pylist()


def resized(action: dict, file: Path) -> dict:
    if "add" in action:
        action["add"]["size"] = file.stat().st_size
    return action


def test_a_column_named_like_a_virtual_one(con, tmp_path):
    table = pa.table({"id": [1, 2], "file_index": [7, 8], "p": ["a", "b"]})
    write_deltalake(tmp_path / "t", table, partition_by=["p"])
    assert both_ways(con, tmp_path / "t").to_pylist() == table.to_pylist()


def test_files_at_absolute_paths(con, tmp_path):
    path = tmp_path / "a b"
    write_deltalake(path, pa.table({"id": [1]}))
    elsewhere = tmp_path / "elsewhere é.parquet"
    file = Path(open_snapshot(path, None, "").files[0])
    file.rename(elsewhere)

    def absolute(actions):
        for action in actions:
            if "add" in action:
                action["add"]["path"] = elsewhere.as_uri()
        return actions

    rewrite_log(path, 0, absolute)
    assert open_snapshot(path, None, "").files == [str(elsewhere)]
    assert con.sql(f"FROM query(lake_scan_sql('{path}'))").fetchall() == [(1,)]


def test_odd_table_directories(con, tmp_path):
    for name in ("a b", "it's", "ünïcode", "x#1", "p=1", "semi;colon"):
        write_deltalake(tmp_path / name, pa.table({"id": [1]}))
        escaped = str(tmp_path / name).replace("'", "''")
        assert con.sql(f"FROM lake_scan('{escaped}')").fetchall() == [(1,)]


def test_odd_column_names(con, tmp_path):
    names = ["id", 'quo"te', "it's", "a.b", "select", "{x: 1}", "ünï"]
    table = pa.table({name: [1] for name in names})
    write_deltalake(tmp_path / "t", table)
    assert both_ways(con, tmp_path / "t").to_pylist() == table.to_pylist()


def test_the_plan_is_one_select(tmp_path):
    write_deltalake(tmp_path / "t", pa.table({"id": [1]}))
    snapshot = open_snapshot(tmp_path / "t", None, "")
    assert scan_sql(snapshot) == (
        f"SELECT \"id\" FROM read_parquet(['{snapshot.files[0]}'], hive_partitioning := false, "
        "schema := MAP {'id': {name: 'id', type: 'BIGINT', default_value: NULL}})"
    )


def test_streaming_stops_at_limit(con, tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", con.sql("SELECT range AS id FROM range(1_000_000)"))
    assert con.sql(f"FROM lake_scan('{tmp_path / 't'}') LIMIT 3").fetchall() == [(0,), (1,), (2,)]
    assert con.sql(f"SELECT count(*), sum(id) FROM lake_scan('{tmp_path / 't'}')").fetchall() == [
        (1_000_000, 499_999_500_000)
    ]


class TestErrors:
    def fails(self, con, call: str, *expected: str) -> None:
        for query in (f"FROM lake_scan({call})", f"FROM query(lake_scan_sql({call.replace('version =>', '')}))"):
            with pytest.raises(duckdb.Error) as error:
                con.sql(query)
            for text in expected:
                assert text in str(error.value)

    def test_not_a_table(self, con, tmp_path):
        write_deltalake(tmp_path / "lake" / "t", pa.table({"id": [1]}))
        (tmp_path / "file").touch()
        self.fails(con, f"'{tmp_path / 'none'}'", "does not exist")
        self.fails(con, f"'{tmp_path / 'file'}'", "is a file; expected the directory of a Delta table")
        self.fails(con, f"'{tmp_path / 'lake'}'", "has no '_delta_log' directory", "it holds the tables t")
        self.fails(con, f"'{tmp_path / 'lake' / 't' / 'part=1'}'", f"encloses it is '{tmp_path / 'lake' / 't'}'")

    def test_versions(self, con, tmp_path):
        for number in range(3):
            write_deltalake(tmp_path / "t", pa.table({"id": [number]}), mode="append")
        self.fails(con, f"'{tmp_path / 't'}', version => 3", "has no version 3; available are 0 to 2")
        self.fails(con, f"'{tmp_path / 't'}', version => -1", "version is -1; expected an integer from 0 on")

    def test_versions_that_the_log_no_longer_has(self, con, tmp_path):
        for number in range(3):
            write_deltalake(tmp_path / "t", pa.table({"id": [number]}), mode="append")
        DeltaTable(tmp_path / "t").create_checkpoint()
        for number in range(2):
            (tmp_path / "t" / "_delta_log" / f"{number:020}.json").unlink()
        self.fails(con, f"'{tmp_path / 't'}', version => 0", "has no version 0; available are 2 to 2")
        assert both_ways(con, tmp_path / "t").num_rows == 3

    def test_missing_file(self, con, tmp_path):
        write_deltalake(tmp_path / "t", pa.table({"id": [1]}))
        file = open_snapshot(tmp_path / "t", None, "").files[0]
        Path(file).unlink()
        self.fails(
            con, f"'{tmp_path / 't'}'", f"version 0 of the table '{tmp_path / 't'}'", file, "is gone: no later version"
        )

    def test_damaged_log(self, con, tmp_path):
        write_deltalake(tmp_path / "t", pa.table({"id": [1]}))
        (tmp_path / "t" / "_delta_log" / f"{0:020}.json").write_text("nonsense")
        self.fails(con, f"'{tmp_path / 't'}'", "cannot be read: a file of the log is damaged: Malformed JSON")
        (tmp_path / "t" / "_delta_log" / f"{0:020}.json").unlink()
        self.fails(con, f"'{tmp_path / 't'}'", "cannot be read: the log has no commits")

    def test_paths_that_would_be_misread(self, con):
        self.fails(con, "'ftp://host/table'", "is not a URL of tables; expected a path")
        self.fails(con, "'/data/a*b'", "contains '*'")
        self.fails(con, "'/data/a%20b'", "contains '%'")

    def test_arguments(self, con):
        self.fails(con, "", "lake_scan")
        with pytest.raises(duckdb.Error, match="lake_scan"):
            con.sql("FROM lake_scan('x', versoin => 1)")


def test_null_path_gives_a_null_plan(con):
    assert con.sql("SELECT lake_scan_sql(NULL)").fetchall() == [(None,)]


def test_python_face(tmp_path):
    write_deltalake(tmp_path / "t", pa.table({"id": [1]}))
    assert ironlake.lake_scan(str(tmp_path / "t")).to_pylist() == [{"id": 1}]
    assert ironlake.lake_scan_sql(str(tmp_path / "t")).startswith('SELECT "id" FROM read_parquet(')

"""A lake as a database: writing, versions, views, and what people see of it."""

import datetime as dt
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from rich.console import Console

import ironlake


@pytest.fixture
def lake(tmp_path):
    return ironlake.open(tmp_path / "lake")


def rows(*values: int) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


class TestOpen:
    def test_creates_nothing_before_the_first_write(self, lake):
        assert lake.tables() == []
        assert lake.sql("SELECT 1").fetchall() == [(1,)]
        assert not lake.root.exists()
        lake.write("t", rows(1))
        assert lake.tables() == ["t"]

    def test_other_directories_are_not_tables(self, lake):
        lake.write("t", rows(1))
        (lake.root / "notes").mkdir()
        (lake.root / "readme.txt").touch()
        assert lake.tables() == ["t"]

    def test_relative_and_home_paths(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert ironlake.open("lake").root == ironlake.open("~/lake").root == tmp_path.resolve() / "lake"

    def test_a_file(self, tmp_path):
        (tmp_path / "f").touch()
        with pytest.raises(NotADirectoryError, match="is a file; expected a directory of Delta tables"):
            ironlake.open(tmp_path / "f")

    def test_a_table(self, lake):
        lake.write("t", rows(1))
        with pytest.raises(ValueError, match=r"is a Delta table; open the directory that holds it"):
            ironlake.open(lake.root / "t")

    @pytest.mark.parametrize("path", ["ftp://host/lake", "a[1]", "50%", "a\nb", "a*"])
    def test_paths_that_cannot_work(self, path):
        with pytest.raises(ValueError, match=r"^ironlake\.open: "):
            ironlake.open(path)


class TestWrite:
    def test_versions_count_commits(self, lake):
        assert lake.write("t", rows(1)) == 0
        assert lake.write("t", rows(2), mode="append") == 1
        assert lake.write("t", rows(3), mode="overwrite") == 2
        assert lake["t"].version == 2
        assert [lake.table("t", version).fetchall() for version in range(3)] == [[(1,)], [(1,), (2,)], [(3,)]]

    def test_append_and_overwrite_create_too(self, lake):
        assert lake.write("a", rows(1), mode="append") == 0
        assert lake.write("b", rows(1), mode="overwrite") == 0

    def test_every_kind_of_data(self, lake):
        table = rows(1, 2)
        kinds = {
            "table": table,
            "batch": table.to_batches()[0],
            "reader": table.to_reader(),
            "relation": duckdb.sql("SELECT unnest([1, 2])::BIGINT AS x"),
            "capsule": Capsule(table),
        }
        for name, data in kinds.items():
            lake.write(name, data)
            assert lake.table(name).to_arrow_table() == table

    def test_data_from_the_table_itself(self, lake):
        lake.write("t", rows(1, 2))
        lake.write("t", lake.sql("SELECT x + 10 AS x FROM t"), mode="append")
        lake.write("t", lake.table("t").filter("x > 1"), mode="overwrite")
        assert lake.table("t").fetchall() == [(2,), (11,), (12,)]

    def test_rows_keep_their_order(self, lake):
        lake.write(
            "t", duckdb.sql("SELECT range AS i, hash(range) % 3 AS h FROM range(700_000)").project("i, h::INT AS h")
        )
        numbers = lake.table("t").to_arrow_table()["i"].to_numpy()
        assert np.array_equal(numbers, np.arange(700_000))

    def test_rows_keep_their_order_within_a_partition(self, lake):
        lake.write("t", duckdb.sql("SELECT range AS i, range % 3 AS p FROM range(700_000)"), partition_by="p")
        for part in range(3):
            numbers = lake.sql(f"SELECT i FROM t WHERE p = {part}").to_arrow_table()["i"].to_numpy()
            assert np.array_equal(numbers, np.arange(part, 700_000, 3))

    def test_equal_data_gives_equal_files(self, lake):
        for name in ("a", "b"):
            lake.write(name, duckdb.sql("SELECT range AS i, range % 7 AS p FROM range(10_000)"), partition_by=["p"])
        contents = [sorted(file.read_bytes() for file in (lake.root / name).rglob("*.parquet")) for name in ("a", "b")]
        assert contents[0] == contents[1]

    def test_empty_data(self, lake):
        lake.write("t", rows())
        assert lake.table("t").fetchall() == []
        lake.write("t", rows(), mode="append")
        lake.write("p", pa.table({"x": rows()["x"], "p": pa.array([], pa.string())}), partition_by="p")
        assert lake.sql("SELECT count(*) FROM p").fetchall() == [(0,)]
        lake.write("t", rows(1), mode="append")
        lake.write("t", rows(), mode="overwrite")
        assert lake.table("t").fetchall() == []

    def test_types_as_they_are_stored(self, lake):
        data = pa.table(
            {
                "fixed": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)),
                "dictionary": pa.array(["a"]).dictionary_encode(),
                "large": pa.array([["x"]], pa.large_list(pa.large_string())),
                "view": pa.array(["x"], pa.string_view()),
                "nanoseconds": pa.array([1_400], pa.timestamp("ns")),
                "zoned": pa.array([0], pa.timestamp("s", "Europe/Paris")),
                "date64": pa.array([dt.date(2020, 1, 1)], pa.date64()),
                "digest": pa.array([b"abcd"], pa.binary(4)),
            }
        )
        lake.write("t", data)
        assert list(map(str, lake.table("t").types)) == [
            "FLOAT[]", "VARCHAR", "VARCHAR[]", "VARCHAR", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DATE", "BLOB",
        ]  # fmt: skip
        assert lake.table("t").to_arrow_table().to_pylist() == [
            {
                "fixed": [1.0, 2.0], "dictionary": "a", "large": ["x"], "view": "x",
                "nanoseconds": dt.datetime(1970, 1, 1, 0, 0, 0, 1), "zoned": dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
                "date64": dt.date(2020, 1, 1), "digest": b"abcd",
            }
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("type_", "cast"),
        [
            (pa.float16(), "float32 (FLOAT in SQL)"),
            (pa.uint8(), "int16 (SMALLINT in SQL)"),
            (pa.uint64(), "decimal128(20, 0) (DECIMAL(20, 0) in SQL)"),
            (pa.time64("us"), "int64 (microseconds) (BIGINT in SQL)"),
            (pa.duration("s"), "int64 (microseconds) (BIGINT in SQL)"),
            (pa.null(), "VARCHAR in SQL"),
            (pa.decimal256(50, 2), "DECIMAL(38, 2) in SQL"),
            (pa.month_day_nano_interval(), "VARCHAR in SQL"),
            (pa.list_(pa.uint8()), "column 'bad[]' has type uint8"),
            (pa.struct({"in": pa.struct({"ner": pa.uint8()})}), "column 'bad.in.ner' has type uint8"),
            (pa.map_(pa.string(), pa.float16()), "column 'bad.value' has type halffloat"),
            (pa.struct([]), "which Delta cannot store"),
        ],
    )
    def test_types_that_delta_cannot_store(self, lake, type_, cast):
        data = pa.table({"x": [1], "bad": pa.nulls(1, type_)})
        with pytest.raises(TypeError) as error:
            lake.write("t", data)
        assert "Lake.write('t'): column 'bad" in str(error.value)
        assert cast in str(error.value)
        assert not lake.root.exists()

    @pytest.mark.parametrize("name", ["", "a b", "a.b.c", "1a", "a-b", "_delta/../x", None, 7])
    def test_names(self, lake, name):
        with pytest.raises(ValueError, match="the name is not valid"):
            lake.write(name, rows(1))

    def test_names_that_differ_by_case(self, lake):
        lake.write("sales", rows(1))
        with pytest.raises(ValueError, match="has a table 'sales', and SQL does not tell the two names apart"):
            lake.write("Sales", rows(1))

    def test_existing_table(self, lake):
        lake.write("t", rows(1))
        with pytest.raises(FileExistsError, match=r"exists, at version 0; pass mode=\"append\" or mode=\"overwrite\""):
            lake.write("t", rows(1))

    def test_existing_directory(self, lake):
        (lake.root / "t").mkdir(parents=True)
        (lake.root / "t" / "precious.txt").touch()
        with pytest.raises(FileExistsError, match="is not a Delta table; move it away"):
            lake.write("t", rows(1), mode="overwrite")
        assert (lake.root / "t" / "precious.txt").exists()

    def test_wrong_arguments(self, lake):
        with pytest.raises(TypeError, match="data is of type dict; expected a table"):
            lake.write("t", {"x": [1]})
        with pytest.raises(ValueError, match="mode is 'replace'; expected one of 'error', 'append', 'overwrite'"):
            lake.write("t", rows(1), mode="replace")
        with pytest.raises(ValueError, match="the data has no columns"):
            lake.write("t", pa.table({}))
        with pytest.raises(ValueError, match="columns 'x' and 'X' differ only by case"):
            lake.write("t", pa.table({"x": [1], "X": [2]}))

    def test_data_that_does_not_fit(self, lake):
        lake.write("t", pa.table({"x": [1], "y": ["a"]}))
        with pytest.raises(
            ValueError, match="missing column 'y'; unknown columns 'a', 'b'; column 'x' is DOUBLE, not BIGINT"
        ):
            lake.write("t", pa.table({"x": [1.5], "a": [1], "b": [1]}), mode="append")
        assert lake["t"].version == 0

    def test_appended_columns_match_by_name_and_widen(self, lake):
        lake.write("t", pa.table({"x": [1], "y": [0.5], "l": [[1]]}))
        narrow = {
            "l": pa.array([[2]], pa.list_(pa.int8())),
            "y": pa.array([1.5], pa.float32()),
            "x": pa.array([2], pa.int16()),
        }
        lake.write("t", pa.table(narrow), mode="append")
        assert lake.table("t").fetchall() == [(1, 0.5, [1]), (2, 1.5, [2])]

    @pytest.mark.parametrize(
        ("stored", "appended"),
        [
            (pa.int32(), pa.int64()),
            (pa.float32(), pa.float64()),
            (pa.float32(), pa.int32()),
            (pa.float64(), pa.int64()),
            (pa.decimal128(10, 2), pa.decimal128(10, 3)),
            (pa.timestamp("us"), pa.timestamp("us", "UTC")),
            (pa.string(), pa.int64()),
            (pa.list_(pa.float32()), pa.list_(pa.float64())),
            (pa.struct({"a": pa.int64()}), pa.struct({"b": pa.int64()})),
        ],
    )
    def test_appends_that_could_lose_something(self, lake, stored, appended):
        lake.write("t", pa.table({"x": pa.nulls(1, stored)}))
        with pytest.raises(ValueError, match=r"column 'x' is .*, not "):
            lake.write("t", pa.table({"x": pa.nulls(1, appended)}), mode="append")

    def test_overwriting_replaces_the_schema(self, lake):
        lake.write("t", rows(1))
        lake.write("t", pa.table({"y": ["a"], "at": [dt.datetime(2020, 1, 1)]}), mode="overwrite")
        assert lake.table("t").columns == ["y", "at"]
        assert lake.table("t", 0).fetchall() == [(1,)]

    def test_a_write_that_fails_leaves_nothing(self, lake):
        failing = "SELECT CASE WHEN range < 500_000 THEN range ELSE error('bad row') END AS x FROM range(1_000_000)"
        with pytest.raises(Exception, match="bad row"):
            lake.write("t", duckdb.sql(failing))
        assert lake.tables() == []
        assert not (lake.root / "t").exists()
        lake.write("t", rows(1))
        with pytest.raises(Exception, match="bad row"):
            lake.write("t", duckdb.sql(failing), mode="append")
        assert lake["t"].version == 0
        assert len(list((lake.root / "t").glob("*.parquet"))) == 1

    def test_the_error_of_a_generator_reaches_the_caller(self, lake):
        def batches():
            yield rows(1).to_batches()[0]
            raise ZeroDivisionError("from the generator")

        with pytest.raises(ZeroDivisionError, match="from the generator"):
            lake.write("t", pa.RecordBatchReader.from_batches(rows(1).schema, batches()))

    def test_rules_of_the_table_hold(self, lake):
        lake.write("t", rows(1))
        DeltaTable(lake.root / "t").alter.add_constraint({"positive": "x > 0"})
        with pytest.raises(Exception, match=r"the constraint 'positive' \(x > 0\) does not hold for 1 row: {'x': -1}"):
            lake.write("t", rows(-1), mode="append")
        lake.write("t", rows(2), mode="append")
        assert lake.table("t").fetchall() == [(1,), (2,)]

    def test_null_in_a_column_that_forbids_it(self, lake):
        schema = pa.schema([pa.field("x", pa.int64(), nullable=False)])
        write_deltalake(lake.root / "t", pa.table({"x": [1]}, schema))
        with pytest.raises(Exception, match="NOT NULL of the column 'x' does not hold for 1 row: {'x': None}"):
            lake.write("t", pa.table({"x": pa.array([None], pa.int64())}), mode="append")
        assert lake.table("t").fetchall() == [(1,)]


class Capsule:
    """Any object that speaks the Arrow stream protocol, as data frames do."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class TestPartitions:
    TABLE = pa.table({"x": [1, 2, 3], "p": ["a", "b/c %", None], "q": [1, 1, 2]})

    def test_directories_and_values(self, lake):
        lake.write("t", self.TABLE, partition_by=["p", "q"])
        assert DeltaTable(lake.root / "t").metadata().partition_columns == ["p", "q"]
        assert lake.table("t").order("x").to_arrow_table() == self.TABLE
        # Others read the same.
        assert DeltaTable(lake.root / "t").to_pyarrow_table().sort_by("x").to_pylist() == self.TABLE.to_pylist()

    def test_every_type(self, lake):
        data = pa.table(
            {
                "x": [1, 2],
                "flag": [True, None],
                "day": [dt.date(2020, 2, 29), None],
                "at": pa.array([dt.datetime(2020, 3, 8, 2, 30, 0, 123456, dt.UTC), None], pa.timestamp("us", "UTC")),
                "local": pa.array([dt.datetime(2020, 3, 8, 2, 30), None], pa.timestamp("us")),
                "price": pa.array([Decimal("1.20"), None], pa.decimal128(10, 2)),
            }
        )
        lake.write("t", data, partition_by=data.column_names[1:])
        assert lake.table("t").order("x").to_arrow_table().to_pylist() == data.to_pylist()
        # Others read the same.
        assert DeltaTable(lake.root / "t").to_pyarrow_table().sort_by("x").to_pylist() == data.to_pylist()

    def test_negative_decimals(self, lake):
        data = pa.table({"x": [1], "price": [Decimal("-1.20")]})
        lake.write("t", data, partition_by="price")
        assert lake.table("t").to_arrow_table().to_pylist() == data.to_pylist()

    def test_kept_by_appends_and_overwrites(self, lake):
        lake.write("t", self.TABLE, partition_by="p")
        lake.write("t", self.TABLE, mode="append")
        lake.write("t", self.TABLE, mode="append", partition_by=["p"])
        lake.write("t", self.TABLE, mode="overwrite")
        assert DeltaTable(lake.root / "t").metadata().partition_columns == ["p"]
        lake.write("t", self.TABLE, mode="overwrite", partition_by=[])
        assert DeltaTable(lake.root / "t").metadata().partition_columns == []
        assert lake.table("t").order("x").to_arrow_table() == self.TABLE

    def test_an_empty_text_is_null(self, lake):
        lake.write("t", pa.table({"x": [1], "p": [""]}), partition_by="p")
        assert lake.table("t").fetchall() == [(1, None)]

    @pytest.mark.parametrize(
        ("partition_by", "message"),
        [
            ("z", "partition_by names 'z'; the columns are 'x', 'p', 'q'"),
            (["x", "p", "q"], "partition_by names every column"),
        ],
    )
    def test_wrong_columns(self, lake, partition_by, message):
        with pytest.raises(ValueError, match=message):
            lake.write("t", self.TABLE, partition_by=partition_by)

    @pytest.mark.parametrize("values", [[0.5], [[1]], [b"x"]])
    def test_types_without_one_text(self, lake, values):
        with pytest.raises(ValueError, match="expected a column of texts"):
            lake.write("t", pa.table({"x": [1], "p": values}), partition_by="p")

    def test_appending_to_other_partitions(self, lake):
        lake.write("t", self.TABLE, partition_by="p")
        with pytest.raises(ValueError, match=r"partition_by is \['q'\], but the table is partitioned by \['p'\]"):
            lake.write("t", self.TABLE, mode="append", partition_by="q")


def test_statistics_in_the_log(lake):
    lake.write(
        "t",
        pa.table(
            {
                "number": [3, 1, None],
                "real": [0.5, -1.0, None],
                "hollow": [float("nan"), 1.0, None],
                "text": ["b", "a", None],
                "long": ["x" * 40, "y", None],
                "day": [dt.date(2020, 1, 1), dt.date(2019, 1, 1), None],
                "at": pa.array([1_500, 2_000, None], pa.timestamp("us", "UTC")),
            }
        ),
    )
    adds = pa.table(DeltaTable(lake.root / "t").get_add_actions(flatten=True)).to_pylist()[0]
    assert adds["num_records"] == 3
    assert (adds["min.number"], adds["max.number"], adds["null_count.number"]) == (1, 3, 1)
    assert (adds["min.real"], adds["max.real"]) == (-1.0, 0.5)
    assert (adds["min.text"], adds["max.text"]) == ("a", "b")
    assert (adds["min.day"], adds["max.day"]) == (dt.date(2019, 1, 1), dt.date(2020, 1, 1))
    # Milliseconds in the log: rounded outwards.
    assert (adds["min.at"].microsecond, adds["max.at"].microsecond) == (1000, 2000)
    # No exact bounds: none at all.
    assert adds.get("min.hollow") is None
    assert adds.get("max.long") is None


class TestSql:
    def test_views_follow_the_newest_version(self, lake):
        lake.write("t", rows(1))
        con = lake.connect()
        lake.write("t", rows(2), mode="append")
        assert con.sql("FROM t").fetchall() == lake.sql("FROM t").fetchall() == [(1,), (2,)]
        lake.write("t", pa.table({"y": ["a"]}), mode="overwrite")
        assert con.sql("FROM t").fetchall() == lake.sql("FROM t").fetchall() == [("a",)]

    def test_relations_keep_their_version(self, lake):
        lake.write("t", rows(1))
        relation = lake.table("t")
        lake.write("t", rows(2), mode="overwrite")
        assert relation.fetchall() == [(1,)]

    def test_new_and_removed_tables(self, lake):
        lake.write("a", rows(1))
        con = lake.connect()
        lake.write("b", rows(2))
        assert lake.sql("SELECT a.x + b.x FROM a, b").fetchall() == [(3,)]
        with pytest.raises(duckdb.CatalogException):
            con.sql("FROM b")
        lake.attach(con, None)
        assert con.sql("FROM b").fetchall() == [(2,)]
        (lake.root / "b").rename(lake.root / "c")
        assert lake.sql("FROM c").fetchall() == [(2,)]
        with pytest.raises(duckdb.CatalogException):
            lake.sql("FROM b")

    def test_names_that_need_quotes(self, lake):
        write_deltalake(lake.root / "two words", rows(1))
        write_deltalake(lake.root / "select", rows(2))
        assert lake.tables() == ["select", "two words"]
        assert lake.sql('SELECT "two words".x + "select".x FROM "two words", "select"').fetchall() == [(3,)]

    def test_data_frames_of_the_caller(self, lake):
        lake.write("t", rows(1))
        mine = rows(10)  # noqa: F841 - found by DuckDB
        assert lake.sql("SELECT t.x + mine.x FROM t, mine").fetchall() == [(11,)]

    def test_cursors_and_other_threads_see_the_views(self, lake):
        lake.write("t", rows(1))
        assert lake.connect().cursor().sql("FROM t").fetchall() == [(1,)]

    def test_a_damaged_table_leaves_the_others_in_reach(self, lake):
        lake.write("good", rows(1))
        lake.write("bad", rows(1))
        for file in (lake.root / "bad" / "_delta_log").iterdir():
            file.write_text("nonsense")
        assert lake.sql("FROM good").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error, match="a file of the log is damaged: Malformed JSON"):
            lake.sql("FROM bad").fetchall()
        assert "unreadable" in lake._repr_html_()

    def test_an_existing_table_of_the_database_is_not_replaced(self, lake):
        lake.write("t", rows(1))
        con = ironlake.connect()
        con.execute("CREATE TABLE t AS SELECT 42 AS x")
        with pytest.raises(duckdb.CatalogException):
            lake.attach(con, None)
        assert con.sql("FROM t").fetchall() == [(42,)]


class TestPeople:
    def test_history(self, lake):
        lake.write("t", rows(1))
        lake.write("t", rows(2), mode="append")
        history = lake["t"].history()
        assert history["version"].to_pylist() == [1, 0]
        assert history["operation"].to_pylist()[0] == "WRITE"
        assert dict(history["parameters"].to_pylist()[0])["mode"] == "Append"
        assert history.schema.field("timestamp").type == pa.timestamp("us", "UTC")
        age = dt.datetime.now(dt.UTC) - history["timestamp"].to_pylist()[0]
        assert dt.timedelta(0) <= age < dt.timedelta(days=1)

    def test_reprs(self, lake):
        lake.write("t", rows(*range(1234)))
        assert repr(lake) == f"Lake({str(lake.root)!r}, tables=['t'])"
        assert "<td>t</td><td>1,234</td><td>0</td>" in lake._repr_html_()
        console = Console(width=200)
        with console.capture() as captured:
            console.print(lake)
        for text in ("t", "1,234", "kB"):
            assert text in captured.get()

    def test_rows_unknown_to_the_log(self, lake):
        write_deltalake(lake.root / "t", rows(1), configuration={"delta.dataSkippingNumIndexedCols": "0"})
        assert "<td>1</td>" in lake._repr_html_() or "<td>unknown</td>" in lake._repr_html_()

    @pytest.mark.parametrize(("method", "told"), [("table", r"Lake\.table"), ("__getitem__", "Lake")])
    def test_unknown_tables(self, lake, method, told):
        with pytest.raises(FileNotFoundError, match=r"its tables are \(none yet\)"):
            getattr(lake, method)("t")
        lake.write("customers", rows(1))
        with pytest.raises(FileNotFoundError, match=rf"^{told}\('custmers'\): .* did you mean 'customers'\?"):
            getattr(lake, method)("custmers")

    def test_versions_in_the_future(self, lake):
        lake.write("t", rows(1))
        with pytest.raises(
            ValueError, match=r"^Lake\.table\('t'\): the table .* has no version 1; available are 0 to 0"
        ):
            lake.table("t", 1)
        with pytest.raises(ValueError, match="version is '1'; expected an integer"):
            lake.table("t", "1")


def test_a_condition_leaves_files_out(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    for number in range(5):
        values = f"SELECT {number * 10} + i AS x FROM range(10) t(i)"
        lake.write("t", duckdb.sql(values), mode="append" if number else "error")
    rows = lake.table("t", where="x BETWEEN 12 AND 14")
    assert sorted(rows.fetchall()) == [(12,), (13,), (14,)]
    assert rows.explain().count("t/part-") <= 1
    min((lake.root / "t").glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns).unlink()
    assert len(lake.table("t", where="x > 20")) == 29
    assert lake.table("t", where="x < 0").fetchall() == []
    with pytest.raises(FileNotFoundError, match="it was not vacuum that removed it"):
        lake.table("t")
    with pytest.raises(ValueError, match="the predicate 'x <' is not valid"):
        lake.table("t", where="x <")
    with pytest.raises(ValueError, match="has no version of 2000-01-01"):
        lake.table("t", timestamp="2000-01-01")

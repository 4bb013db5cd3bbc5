"""RDDs from tables and tables from RDDs."""

import collections
import datetime as dt
import decimal

import duckdb
import pyarrow as pa
import pytest

import ironlake
from ironlake.rdd import SparkContext


@pytest.fixture(scope="module")
def sc():
    with SparkContext("local[2]", "tables") as context:
        yield context


def test_rows_of_many_kinds(sc):
    class Thing:
        def __init__(self, b, a):
            self.b, self.a = b, a

    Fruit = collections.namedtuple("Fruit", "name price")
    naive = dt.datetime(2024, 1, 2, 3, 4, 5)
    cases = [
        ([(1, "a"), (2, None)], None, {"_1": [1, 2], "_2": ["a", None]}),
        ([[1, "a"]], ["n"], {"n": [1], "_2": ["a"]}),
        ([{"b": 1, "a": None}, {"a": "x", "c": True}], None, {"a": [None, "x"], "b": [1, None], "c": [None, True]}),
        ([Fruit("fig", 0.5)], None, {"name": ["fig"], "price": [0.5]}),
        ([Thing(1, 2)], None, {"a": [2], "b": [1]}),
        ([(1, True), (2, "x")], "a tinyint, b: string", {"a": [1, 2], "b": ["true", "x"]}),
        ([({},), ({"k": 1},), ({"k": 2},)], None, {"_1": [[], [("k", 1)], [("k", 2)]]}),
        ([((1, "x"), {"k": (2,)})], None, {"_1": [{"_1": 1, "_2": "x"}], "_2": [[("k", {"_1": 2})]]}),
        ([(decimal.Decimal("1.0000000000000000005"),)], None, {"_1": [decimal.Decimal("1.000000000000000001")]}),
        ([(naive,)], None, {"_1": [naive.astimezone(dt.UTC)]}),
        ([(naive,)], "t timestamp_ntz", {"t": [naive]}),
        ([(1, 0.5, decimal.Decimal("2"))], "`a b` smallint, c float, struct decimal(5,1)", {"a b": [1], "c": [0.5], "struct": [decimal.Decimal("2.0")]}),
        ([([(1, "x")],)], "a array<struct<p:int,q:string>>", {"a": [[{"p": 1, "q": "x"}]]}),
        ([({"k": [1]},)], pa.schema([("m", pa.map_(pa.string(), pa.list_(pa.int8())))]), {"m": [[("k", [1])]]}),
    ]  # fmt: skip
    for rows, schema, wanted in cases:
        table = sc.parallelize(rows, 2).toDF(schema)
        assert table.to_pydict() == wanted, (rows, schema)


def test_a_schema_of_spark_is_taken(sc):
    types = pytest.importorskip("pyspark.sql.types")
    struct = types.StructType(
        [types.StructField("a", types.IntegerType()), types.StructField("b", types.ArrayType(types.DateType()))]
    )
    table = sc.parallelize([(1, [dt.date(2024, 1, 2)])], 1).toDF(struct)
    assert [str(type_) for type_ in table.schema.types] == ["int32", "list<element: date32[day]>"]


def test_what_types_are_inferred_from(sc):
    late = [(n, None if n < 120 else n) for n in range(130)]
    with pytest.raises(
        ValueError,
        match="cannot be inferred, as their values are null: _1 int64, _2 null; pass a schema, or sampleRatio=1.0",
    ):
        sc.parallelize(late, 3).toDF()
    assert sc.parallelize(late, 3).toDF(sampleRatio=1.0)["_2"].null_count == 120
    with pytest.raises(ValueError, match="RDD is empty"):
        sc.parallelize([], 2).toDF()


@pytest.mark.parametrize(
    ("rows", "schema", "kind", "words"),
    [
        ([1], None, TypeError, "no columns can be made of the element 1 of type int"),
        ([(1,), ("x",)], None, TypeError, "the column '_1' is of type int64, but .* cannot be interpreted as an integer"),
        ([(1,), (2**70,)], None, TypeError, "the column '_1' is of type int64, but .*too (large|big)"),
        ([(300,)], "a tinyint", TypeError, "the column 'a' is of type int8"),
        ([(None,), (1,), (0.5,)], None, TypeError, "the column '_1' is of type int64"),
        ([([1, 0.5],)], None, TypeError, "'element of _1' has values of types int64 and double, which cannot be merged"),
        ([(1, 2)], "a int", ValueError, "an element has 2 values; expected 1 for the columns a int32"),
        ([(1,)], "a inta", ValueError, "the schema 'struct<a inta>' cannot be read at 'inta'"),
        ([(1,)], "a array<int", ValueError, "cannot be read"),
        ([(object(),)], None, TypeError, "no type can be inferred for the column '_1' of <object object"),
        ([()], None, ValueError, "no columns can be inferred"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit(sc, rows, schema, kind, words):
    with pytest.raises(kind, match=words):
        sc.parallelize(rows, 1).toDF(schema)


def test_columns_are_not_copied(sc):
    table = pa.table({"n": [1, 2, 3], "x": [0.5, 1.5, None], "t": ["a", "b", "c"]})
    rdd = sc.fromArrow(table, 1)
    found = rdd.toArrow(["n", "x", "t"])
    assert found == table
    assert found["n"].chunk(0).buffers()[1].address == table["n"].chunk(0).buffers()[1].address
    assert rdd.filter(lambda row: row[0] > 1).toArrow(["n", "x", "t"]).to_pydict() == table.slice(1).to_pydict()
    assert sc.parallelize(["a", "b"]).toArrow()["value"].to_pylist() == ["a", "b"]


def test_tables_of_all_sorts(sc):
    columns = {
        "small": pa.array([1, None], pa.int8()), "single": pa.array([0.5, 1.5], pa.float32()), "text": pa.array(["x", None], pa.large_string()),
        "word": pa.array(["x", "y"]).dictionary_encode(), "list": pa.array([[1], None]), "date": pa.array([dt.date(2024, 1, 2), None]),
        "big": pa.array([2**64 - 1, 0], pa.uint64()),
    }  # fmt: skip
    wanted = list(zip(*(column.to_pylist() for column in columns.values()), strict=True))
    table = pa.table(columns)
    for data in (table, table.to_batches()[0], pa.RecordBatchReader.from_batches(table.schema, table.to_batches())):
        assert sc.fromArrow(data, 2).collect() == wanted
    assert sc.fromArrow(duckdb.sql("SELECT range AS n FROM range(5)"), 2).glom().collect() == [
        [(0,), (1,)],
        [(2,), (3,), (4,)],
    ]
    assert sc.fromArrow(pa.table({"n": pa.array([], pa.int64())}), 2).collect() == []
    with pytest.raises(TypeError, match="fromArrow: data is a list; expected a table"):
        sc.fromArrow([1])
    with pytest.raises(ValueError, match="numSlices is 0"):
        sc.fromArrow(table, 0)


def test_duckdb(sc):
    con = duckdb.connect()
    relation = sc.parallelize([(n, f"t{n}") for n in range(10)], 3).toDuckDB(con, "things")
    assert relation.order("_1").fetchall() == [(n, f"t{n}") for n in range(10)]
    with pytest.raises(duckdb.CatalogException, match="already exists"):
        sc.parallelize([1]).toDuckDB(con, "things")
    with pytest.raises(TypeError, match="the column 'value' is of type int64"):
        sc.parallelize([1, 2, "x"], 3).toDuckDB(con, "broken")
    assert con.sql("SHOW TABLES").fetchall() == [("things",)]
    con.execute('CREATE SCHEMA "a b"')
    sc.parallelize([0.5]).toDuckDB(con, "a b.c")
    assert con.sql('FROM "a b".c').fetchall() == [(0.5,)]


def test_delta(sc, tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("sales", pa.table({"item": ["fig", "kiwi"], "pieces": [7, 2]}))
    lake.write("sales", pa.table({"item": ["fig"], "pieces": [1]}), mode="append")
    rdd = sc.fromDelta(str(tmp_path / "sales"))
    assert rdd.getNumPartitions() == 2
    assert sorted(rdd.collect()) == [("fig", 1), ("fig", 7), ("kiwi", 2)]
    assert sorted(rdd.reduceByKey(lambda a, b: a + b).collect()) == [("fig", 8), ("kiwi", 2)]
    assert sc.fromDelta(str(tmp_path / "sales"), version=0, columns=["pieces"]).collect() == [(7,), (2,)]
    lake["sales"].delete("pieces = 7", deletion_vectors=True)
    assert sorted(rdd.collect()) == [("fig", 1), ("fig", 7), ("kiwi", 2)]  # of the version that it was made of
    assert sorted(sc.fromDelta(str(tmp_path / "sales")).collect()) == [("fig", 1), ("kiwi", 2)]
    for act, words in [
        (lambda: sc.fromDelta(str(tmp_path / "none")), "fromDelta: .*does not exist"),
        (lambda: sc.fromDelta(str(tmp_path / "sales"), version=9), "fromDelta: "),
        (
            lambda: sc.fromDelta(str(tmp_path / "sales"), columns=["price"]),
            "has no column 'price'; it has item, pieces",
        ),
    ]:
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            act()

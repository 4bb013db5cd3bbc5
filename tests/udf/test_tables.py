"""Table functions: constants in, an Arrow table or a stream of batches out."""

import weakref

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from declared_functions import declare_source, generator_log, held, sql

from ironlake.udf.engine import Database, Source, check_external_access, scalar, table
from ironlake.udf.engine.declaration import DeclarationError


@table
def echo_arguments(
    number: int, text: str = "a", flag: bool = True, weights: list[float] = (1.0,), limit: int | None = None,
    point: sql("STRUCT(x DOUBLE, y INTEGER[])") = None,
):  # fmt: skip
    """The arguments of the call as one row of text."""
    return pa.table({"told": [repr((number, text, flag, list(weights), limit, point))]})


@table
def copy_table(database: Database, name: str, rows: int = 10):
    """The first rows of a table of the database."""
    return database.query(f'SELECT * FROM "{name}" LIMIT {rows}')


alive = {"now": 0, "most": 0, "batches": 0}


@table
def counted_batches(n: int, rows: int = 10000):
    """Batches whose memory tells when it is freed."""
    for at in range(n):
        numbers = np.full(rows, at)
        alive["now"] += 1
        alive["batches"] += 1
        alive["most"] = max(alive["most"], alive["now"])
        weakref.finalize(numbers, lambda: alive.update(now=alive["now"] - 1))
        yield pa.record_batch({"i": numbers})


@table
def changing_schema(n: int = 3):
    for at in range(n):
        yield pa.record_batch({"a" if at < 2 else "b": [at]})


#: The columns that `asked_for_columns` was asked for, run by run.
asked: list[list[str]] = []


@table
def asked_for_columns(rows: int = 3) -> Source:
    """Numbers that are made when a query runs, in the columns that it needs."""
    schema = pa.schema({name: pa.int64() for name in "abc"})

    def read(columns):
        asked.append(columns)
        made = {name: pa.array(range(rows), pa.int64()) for name in columns}
        yield pa.record_batch(made)

    return Source(schema, read)


@table
def reads_a_file(path: str):
    """What a function does that reads files."""
    check_external_access(f"the path {path!r}")
    return pa.table({"path": [path]})


@table
def reads_a_file_late(path: str):
    yield pa.record_batch({"n": pa.array([], pa.int64())})
    check_external_access(f"the path {path!r}")


@scalar(form="arrow")
def file_of(path: str) -> str:
    check_external_access("the file")
    return path


# ------------------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("1", (1, "a", True, [1.0], None, None)),
        ("-5, text := 'é', flag => false", (-5, "é", False, [1.0], None, None)),
        ('1, weights := [1, 0.5], "limit" := 7', (1, "a", True, [1.0, 0.5], 7, None)),
        ('1, "limit" := NULL, weights := []', (1, "a", True, [], None, None)),
        ("1::TINYINT, point := {'x': 1, 'y': [2, 3]}", (1, "a", True, [1.0], None, {"x": 1.0, "y": [2, 3]})),
        ("2 + 3, text => upper('b')", (5, "B", True, [1.0], None, None)),
    ],
)
def test_arguments_by_position_and_name(con, arguments, told):
    assert con.execute(f"FROM echo_arguments({arguments})").fetchall() == [(repr(told),)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("echo_arguments()", "echo_arguments"),
        ("echo_arguments(1, 2)", "echo_arguments"),
        ("echo_arguments('x')", "Could not convert string 'x'"),
        ("echo_arguments(1, txt := 'a')", "txt"),
        ("echo_arguments(1, text := [1, 2], flag := 'maybe')", "maybe"),
        ("echo_arguments(NULL)", "echo_arguments: argument 'number' must be an integer, got None"),
        ("echo_arguments(1, text := NULL)", "echo_arguments: argument 'text' must be a text, got None"),
        ("echo_arguments(1, weights := [1, NULL])", "echo_arguments: argument 'weights' must be"),
        ("echo_arguments(1, point := 3)", "point"),
    ],
)
def test_wrong_arguments_fail_when_the_query_is_bound(con, call, message):
    with pytest.raises(duckdb.Error, match=message):
        con.execute(f"PREPARE p AS FROM {call}")


def test_an_error_in_the_body_fails_when_the_query_is_bound(con):
    with pytest.raises(duckdb.BinderException, match="returned: KeyError: no such"):
        con.execute("PREPARE p AS FROM returned(what := 'no such')")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nothing", "must return a pyarrow table or reader or yield record batches, got NoneType"),
        ("number", "got int"),
        ("half", "half"),
    ],
)
def test_wrong_results(con, what, message):
    with pytest.raises(duckdb.Error, match=f"(?i)returned: .*{message}|{message}"):
        con.execute(f"FROM returned(what := '{what}')").fetchall()
    assert con.execute("FROM squares(1, stop := 2)").fetchall() == [(1, 1)]


# -------------------------------------------------------------------------------------------------------------- results


def test_a_table_a_reader_and_a_generator(con):
    assert con.execute("FROM squares(2, step => 2, stop := 7)").fetchall() == [(2, 4), (4, 16), (6, 36)]
    assert con.execute("SELECT i FROM reader_of(n := 3)").fetchall() == [(0,), (1,), (2,)]
    query = "SELECT batch, count(*), sum(row) FROM batches(n := 3, rows := 5000) GROUP BY batch ORDER BY batch"
    assert con.execute(query).fetchall() == [(at, 5000, 12497500) for at in range(3)]
    assert con.execute("FROM returned(what := 'zero rows')").fetchall() == []


@pytest.mark.parametrize("rows", [0, 1, 2047, 2048, 2049, 100000])
def test_every_row_arrives(threaded, rows):
    held["numbers"] = pa.table({"i": np.arange(rows), "t": [f"row {i}" for i in range(rows)]})
    query = "SELECT count(*), count(DISTINCT i), count(*) FILTER (t = 'row ' || i) FROM held_table('numbers')"
    assert threaded.execute(query).fetchall() == [(rows, rows, rows)]
    assert threaded.sql("FROM held_table('numbers')").to_arrow_table() == held["numbers"]


def test_columns_of_many_types(con):
    held["types"] = pa.table(
        {
            "flag": pa.array([True, None, False]),
            "decimal": pa.array([None, "1.50", "-2.25"]).cast(pa.decimal128(10, 2)),
            "binary": pa.array([b"\x00", None, b"x" * 50]),
            "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
            "lists": pa.array([[1, None], None, []], pa.list_(pa.int16())),
            "arrays": pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(pa.float32(), 2)),
            "structs": pa.array([{"a": 1, "b": "é"}, None, {"a": None, "b": ""}]),
            "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            "time": pa.array([0, None, 86399999999], pa.time64("us")),
            "stamp": pa.array([0, None, 10**15], pa.timestamp("us")),
            "large": pa.array(["x", None, "é" * 40], pa.large_string()),
            "view": pa.array(["short", None, "longer than twelve"], pa.string_view()),
            "nothing": pa.nulls(3),
        }
    )
    rows = held["types"].to_pylist()
    got = con.sql("FROM held_table('types')").to_arrow_table().to_pylist()
    assert got == rows


def test_columns_are_pushed_down_and_pruned(con):
    held["wide"] = pa.table({f"c{i}": np.arange(10) * i for i in range(20)})
    assert con.execute("SELECT c7, c2 FROM held_table('wide') WHERE c3 = 9").fetchall() == [(21, 6)]
    assert con.execute("SELECT count(*) FROM held_table('wide')").fetchall() == [(10,)]
    assert con.execute(
        "SELECT sum(a.c1 + b.c2) FROM held_table('wide') a JOIN held_table('wide') b USING (c0)"
    ).fetchall() == [(sum(i + 2 * j for i in range(10) for j in range(10)),)]


def test_two_columns_of_one_name(con):
    with pytest.raises(duckdb.BinderException, match='duplicate column name "a"'):
        con.execute("SELECT * FROM returned(what := 'duplicate')")


def test_in_ctes_views_and_prepared_statements(con):
    con.execute("CREATE VIEW v AS FROM squares(0, stop := 4)")
    con.execute("PREPARE p AS SELECT sum(square) + ? FROM squares(0, stop := 4)")
    for term in (0, 1):
        assert con.execute("SELECT sum(square) FROM v").fetchall() == [(14,)]
        assert con.execute(f"EXECUTE p({term})").fetchall() == [(14 + term,)]
    query = "WITH b AS (SELECT * FROM batches(n := 2, rows := 3)) SELECT count(*) FROM b x, b y"
    assert con.execute(query).fetchall() == [(36,)]
    con.execute("CREATE TABLE kept AS FROM squares(3)")
    assert con.execute("FROM kept").fetchall() == [(3, 9), (4, 16)]


# ----------------------------------------------------------------------------------------------------------- generators


def test_limit_closes_the_generator(con):
    generator_log.clear()
    assert con.execute("FROM batches(n := 100000, rows := 2048) LIMIT 3").fetchall() == [(0, 0), (0, 1), (0, 2)]
    assert generator_log[0] == "open"
    assert generator_log[-1] == "close"
    assert len(generator_log) < 20


def test_a_result_read_in_part_closes_the_generator(con):
    generator_log.clear()
    con.execute("FROM batches(n := 100000)").fetchone()
    con.execute("SELECT 1").fetchall()
    assert generator_log[-1] == "close"
    assert generator_log.count("open") == 1


def test_explain_runs_and_closes_the_generator_once(con):
    generator_log.clear()
    con.execute("EXPLAIN FROM batches(n := 100)").fetchall()
    assert generator_log == ["open", "0", "close"]


def test_an_error_in_a_generator(con):
    generator_log.clear()
    with pytest.raises(duckdb.Error, match="batches: the generator failed on purpose"):
        con.execute("SELECT sum(row) FROM batches(n := 10, fail_at := 3)").fetchall()
    assert generator_log == ["open", "0", "1", "2", "close"]
    with pytest.raises(duckdb.BinderException, match="batches: the generator failed on purpose"):
        con.execute("SELECT sum(row) FROM batches(n := 10, fail_at := 0)")


def test_an_error_elsewhere_closes_the_generator(con):
    generator_log.clear()
    with pytest.raises(duckdb.Error, match="stopped here"):
        con.execute("SELECT CASE WHEN batch = 2 THEN error('stopped here') END FROM batches(n := 100000)").fetchall()
    assert generator_log[-1] == "close"
    assert len(generator_log) < 100


def test_generators_that_yield_something_else(con):
    with pytest.raises(
        duckdb.Error, match="changing_schema: a batch has the columns b: int64, the first one had a: int64"
    ):
        con.execute("SELECT count(*) FROM changing_schema()").fetchall()
    declare_source("@table\ndef yields_nothing(n: int = 0):\n  for i in range(n): yield i")
    with pytest.raises(
        duckdb.Error, match="yields_nothing: a generator must yield .* at least one; it yielded nothing"
    ):
        con.execute("FROM yields_nothing()")
    with pytest.raises(duckdb.Error, match="yields_nothing: a generator must yield .*; it yielded int"):
        con.execute("FROM yields_nothing(n := 1)")


def test_batches_without_rows(con):
    held["gaps"] = pa.Table.from_batches(
        [pa.record_batch({"i": [1] * n}, pa.schema([("i", pa.int64())])) for n in (0, 3, 0, 0, 2, 0)]
    )
    assert con.execute("SELECT count(*), sum(i) FROM held_table('gaps')").fetchall() == [(5, 5)]


def test_a_stream_takes_bounded_memory(con):
    alive.update(now=0, most=0, batches=0)
    assert con.execute("SELECT sum(i), count(*) FROM counted_batches(2000)").fetchall() == [
        (10000 * sum(range(2000)), 20000000)
    ]
    assert alive["batches"] == 2000
    assert alive["most"] <= 8
    con.execute("SELECT 1").fetchall()
    assert alive["now"] == 0


# ------------------------------------------------------------------------------------------------- the same database


def test_queries_on_the_same_database(con):
    con.execute("CREATE TABLE fruits AS SELECT i AS n, 'fruit ' || i AS name, [i, NULL] AS l FROM range(5000) t(i)")
    assert con.execute("SELECT count(*), sum(n), max(l[1]) FROM copy_table('fruits', rows := 5000)").fetchall() == [
        (5000, 12497500, 4999)
    ]
    assert con.execute("SELECT name FROM copy_table('fruits') WHERE n = 3").fetchall() == [("fruit 3",)]
    other = duckdb.connect()
    other.execute("CREATE TABLE fruits AS SELECT 42 AS n")
    assert other.execute("FROM copy_table('fruits')").fetchall() == [(42,)]
    with pytest.raises(duckdb.Error, match="copy_table: .*nuts does not exist"):
        con.execute("FROM copy_table('nuts')")


def test_queries_see_what_is_committed(con):
    con.execute("CREATE TABLE counted (i INTEGER); BEGIN; INSERT INTO counted VALUES (1)")
    query = "FROM run_query(query := 'SELECT count(*) AS n FROM counted')"
    assert con.execute(query).fetchall() == [(0,)]
    con.execute("COMMIT")
    assert con.execute(query).fetchall() == [(1,)]


def test_queries_call_functions_and_each_other(con):
    inner = "SELECT sum(square) AS s, add_one(1) AS a FROM squares(0, stop := 4)"
    assert con.execute(f"FROM run_query(query := '{inner}')").fetchall() == [(14, 2.0)]
    nested = "FROM run_query(query := ''FROM squares(3)'')"
    assert con.execute(f"FROM run_query(query := '{nested}')").fetchall() == [(3, 9), (4, 16)]


def test_a_wrong_query_keeps_its_message(con):
    with pytest.raises(duckdb.Error, match="run_query: .*no_such_table"):
        con.execute("FROM run_query(query := 'FROM no_such_table')")
    assert con.execute("FROM run_query()").fetchall() == [(42,)]


# --------------------------------------------------------------------------------------------------------- declarations


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("def broken(x): return x", "parameter 'x' needs a type"),
        ("def broken(x: int | str): return x", "parameter 'x' must have one type"),
        ("def broken(*x: int): return x", r"\*x cannot be called from SQL"),
    ],
)
def test_wrong_declarations(declaration, message):
    with pytest.raises(DeclarationError, match=message):
        declare_source("@table\n" + declaration)


def test_redeclaring_in_an_open_database(con):
    for value in (1, 2):
        declare_source(f"@table\ndef redeclared_table(n: int = 1): return pa.table({{'i': [n * {value}]}})")
        assert con.execute("FROM redeclared_table(n := 10)").fetchall() == [(10 * value,)]
    with pytest.warns(UserWarning, match="redeclared_table: .*open them again"):
        declare_source("@table\ndef redeclared_table(m: str = 'x'): return pa.table({'i': [m]})")
    assert con.execute("FROM redeclared_table(n := 10)").fetchall() == [(20,)]
    assert duckdb.connect().execute("FROM redeclared_table(m := 'y')").fetchall() == [("y",)]


# --------------------------------------------------------------------------------------------- sources, external access


def test_a_source_is_asked_when_a_query_runs_for_the_columns_that_it_needs(con):
    asked.clear()
    con.execute("CREATE VIEW v AS FROM asked_for_columns()")
    con.execute("EXPLAIN FROM v")
    assert asked == []
    assert con.sql("SELECT c, a FROM v ORDER BY a").fetchall() == [(0, 0), (1, 1), (2, 2)]
    assert con.sql("SELECT count(*) FROM v").fetchall() == [(3,)]
    assert sorted(asked[0]) == ["a", "c"]
    assert len(asked[1]) == 1
    statement = "SELECT b FROM asked_for_columns(rows => 5000) WHERE b > $1"
    assert [len(con.execute(statement, [value]).fetchall()) for value in (10, 4998)] == [4989, 1]
    assert asked[2:] == [["b"], ["b"]]
    assert asked_for_columns(2).to_pydict() == {name: [0, 1] for name in "abc"}


@pytest.mark.parametrize("call", ["FROM reads_a_file('x')", "FROM reads_a_file_late('x')", "SELECT file_of('x')"])
def test_external_access_is_asked_of_the_database_that_calls(con, call):
    closed = duckdb.connect(config={"enable_external_access": "false"})
    con.execute(call).fetchall()
    with pytest.raises(duckdb.Error, match="cannot be reached: external access is disabled in this database"):
        closed.execute(call).fetchall()
    con.execute(call).fetchall()  # nothing of it is left
    check_external_access("a file, outside of functions,")

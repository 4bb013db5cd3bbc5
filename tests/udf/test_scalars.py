"""Scalar functions in their three forms: compiled rows, NumPy columns, Arrow columns."""

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from declared_functions import declare_source, sql

from ironlake.udf.engine import functions, scalar
from ironlake.udf.engine.declaration import DeclarationError


@scalar(form="numpy")
def numpy_kinds(x: float, n: int, b: bool, s: str, l: list[float], a: sql("FLOAT[2]")) -> str:
    """How columns of each type arrive."""
    found = [x.dtype, n.dtype, b.dtype, type(s[0]).__name__, l[0].dtype, a.dtype, a.shape]
    return [" ".join(map(str, found))] * len(x)


@scalar(form="numpy")
def numpy_sum(x: float, y: int = 10) -> float:
    """Two columns, the second may be left out."""
    return x + y


@scalar(form="numpy")
def numpy_lists(n: int) -> list[int]:
    return [None if i < 0 else list(range(i)) for i in n]


@scalar(form="arrow")
def arrow_upper(s: str) -> str:
    import pyarrow.compute as pc

    return pc.utf8_upper(s)


@scalar(form="arrow", nulls=True)
def arrow_coalesce(x: float, *, value: float = 0.0) -> float:
    return x.fill_null(value)


@scalar(form="arrow")
def arrow_chunked(x: float) -> float:
    return pa.chunked_array([x.slice(0, 1), x.slice(1)])


chunks: list[int] = []


@scalar(form="arrow", volatile=True)
def remember_chunk(x: int) -> int:
    chunks.append(len(x))
    return x


# ------------------------------------------------------------------------------------------------------------- by row


def test_rows(threaded):
    query = "SELECT sum(add_one(i)), count(add_one(CASE WHEN i % 3 = 0 THEN i END)) FROM range(300000) t(i)"
    assert threaded.execute(query).fetchall() == [(sum(range(1, 300001)), 100000)]


def test_null_in_null_out_or_passed_on(con):
    query = "SELECT add_one(x), or_minus_one(x), positive_or_null(x) FROM (VALUES (2.0), (NULL), (-3.0)) t(x)"
    assert con.execute(query).fetchall() == [(3.0, 2.0, 2.0), (None, -1.0, None), (-2.0, -3.0, None)]
    assert con.execute("SELECT add_one(NULL), or_minus_one(NULL)").fetchall() == [(None, -1.0)]


def test_errors_of_compiled_rows_keep_their_message(con):
    assert con.execute("SELECT refuse_negative(4)").fetchall() == [(2.0,)]
    with pytest.raises(
        duckdb.InvalidInputException, match="refuse_negative: argument x must not be negative, got -7.0"
    ):
        con.execute("SELECT refuse_negative(3 - i) FROM range(100000) t(i) WHERE i >= 10").fetchall()
    assert con.execute("SELECT TRY(refuse_negative(-1)), refuse_negative(9)").fetchall() == [(None, 3.0)]
    assert con.execute("SELECT refuse_negative(x) FROM (VALUES (NULL), (1.0)) t(x)").fetchall() == [(None,), (1.0,)]


def test_texts(con):
    query = "SELECT repeat_text(s, n), length(repeat_text(s, n)) = length(s) * n FROM (VALUES ('ab', 2), ('é😀', 3), ('', 5), ('x', 0)) t(s, n)"
    assert con.execute(query).fetchall() == [("abab", True), ("é😀" * 3, True), ("", True), ("", True)]
    assert con.execute(
        "SELECT repeat_text(s, 1000) = repeat(s, 1000) FROM (VALUES ('longer than twelve'))t(s)"
    ).fetchall() == [(True,)]


def test_in_every_clause(con):
    con.execute("CREATE TABLE t AS SELECT i, add_one(i) AS j FROM range(5000) t(i)")
    assert con.execute("SELECT count(*) FROM t WHERE add_one(i) = j").fetchall() == [(5000,)]
    assert con.execute("SELECT count(*) FROM t a JOIN t b ON add_one(a.i) = b.i").fetchall() == [(4999,)]
    assert con.execute("SELECT i FROM t ORDER BY add_one(-i) LIMIT 1").fetchall() == [(4999,)]
    assert con.execute("SELECT add_one(i % 2) AS k, count(*) FROM t GROUP BY k HAVING add_one(k) > 2").fetchall() == [
        (2.0, 2500)
    ]
    assert con.execute("SELECT list_transform([1, 2], lambda x: add_one(x))").fetchall() == [([2.0, 3.0],)]
    assert con.execute(
        "SELECT add_one(add_one(x)) FROM (SELECT CASE WHEN i > 1 THEN add_one(i) END AS x FROM range(3) t(i))"
    ).fetchall() == [(None,), (None,), (5.0,)]
    con.execute("CREATE MACRO twice(x) AS add_one(x) + add_one(x); CREATE VIEW v AS SELECT twice(i) AS d FROM t")
    assert con.execute("SELECT max(d) FROM v").fetchall() == [(10000.0,)]


def test_prepared_statements(con):
    con.execute("PREPARE p AS SELECT add_one(?)")
    assert [con.execute(f"EXECUTE p({i})").fetchall() for i in range(3)] == [[(1.0,)], [(2.0,)], [(3.0,)]]


def test_wrong_calls_are_errors_of_binding(con):
    for call in (
        "add_one()",
        "add_one(1, 2)",
        "add_one([1])",
        "add_one({'a': 1})",
        "repeat_text('a')",
        "repeat_text(1, [])",
    ):
        with pytest.raises(duckdb.BinderException, match=call.partition("(")[0]):
            con.execute(f"SELECT {call}")
    with pytest.raises(duckdb.Error, match="Could not convert string 'a'"):
        con.execute("SELECT add_one('a')").fetchall()


# ------------------------------------------------------------------------------------------------- NumPy and Arrow forms


def test_what_numpy_bodies_see(con):
    query = "SELECT DISTINCT numpy_kinds(i, i, i > 2, i::VARCHAR, [i, 0.5], [i, 1]) FROM range(7) t(i)"
    assert con.execute(query).fetchall() == [("float64 int64 bool str float64 float32 (7, 2)",)]


def test_numpy_around_nulls(threaded):
    query = (
        "SELECT count(*) FILTER (numpy_sum(x, y) IS DISTINCT FROM x + y), count(numpy_sum(x, y)), count(numpy_sum(x)) "
        "FROM (SELECT CASE WHEN i % 3 > 0 THEN i::DOUBLE END AS x, CASE WHEN i % 5 > 0 THEN i END AS y FROM range(300000) t(i))"
    )
    assert threaded.execute(query).fetchall() == [(0, 160000, 200000)]
    assert threaded.execute("SELECT numpy_sum(NULL), numpy_sum(1), numpy_sum(1, NULL)").fetchall() == [
        (None, 11.0, None)
    ]
    assert threaded.execute("SELECT numpy_sum(x) FROM (SELECT 1 AS x WHERE false)").fetchall() == []


def test_lists_from_numpy(con):
    query = "SELECT numpy_lists(n) FROM (VALUES (0), (-1), (3), (NULL)) t(n)"
    assert con.execute(query).fetchall() == [([],), (None,), ([0, 1, 2],), (None,)]


def test_arrow_bodies(threaded):
    query = "SELECT count(*) FILTER (arrow_upper(s) IS DISTINCT FROM upper(s)) FROM (SELECT CASE WHEN i % 4 > 0 THEN 'é' || i END AS s FROM range(100000) t(i))"
    assert threaded.execute(query).fetchall() == [(0,)]
    assert threaded.execute("SELECT arrow_chunked(i) FROM range(3) t(i)").fetchall() == [(0.0,), (1.0,), (2.0,)]
    assert threaded.execute("SELECT describe_arrow(x) FROM (VALUES ({'a': [1, NULL]}), (NULL)) t(x)").fetchall() == [
        ("{'a': [1, None]}",),
        ("None",),
    ]


def test_bodies_see_whole_chunks(con):
    chunks.clear()
    assert con.execute("SELECT sum(remember_chunk(i)) FROM range(5000) t(i)").fetchall() == [(12497500,)]
    assert sum(chunks) == 5000
    assert len(chunks) <= 4


def test_options(con):
    query = "SELECT scaled(i), scaled(i, {'by': 3}), scaled(i, {'how': 'down', 'shift': [1, 0.5]}) FROM range(2) t(i)"
    assert con.execute(query).fetchall() == [(0.0, 0.0, 1.5), (2.0, 3.0, 2.0)]
    assert con.execute("SELECT arrow_coalesce(NULL), arrow_coalesce(NULL, {'value': 7})").fetchall() == [(0.0, 7.0)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{'bye': 1}", "unknown option 'bye'; did you mean 'by'"),
        ("{'by': 'x'}", "option 'by' must be a number, got 'x'"),
        ("{'how': 'upp'}", "option 'how' is 'upp'; did you mean 'up'"),
        ("{'by': i}", "the options must be the same for all rows"),
        ("3", "options must be a STRUCT"),
    ],
)
def test_wrong_options(con, options, message):
    with pytest.raises(duckdb.Error, match=f"scaled: .*{message}"):
        con.execute(f"SELECT scaled(i, {options}) FROM range(3) t(i)").fetchall()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("short", "the function returned 2 values for 3 rows"),
        ("text", "Could not convert 'a'"),
        ("matrix", "1-dimensional"),
        ("raise", "KeyError: no such thing"),
        ("exit", "SystemExit: out"),
    ],
)
def test_misbehaving_bodies(con, how, message):
    with pytest.raises(duckdb.Error, match=f"misbehave: .*{message}"):
        con.execute(f"SELECT misbehave(i, '{how}') FROM range(3) t(i)").fetchall()
    assert con.execute("SELECT misbehave(i, 'fine') FROM range(3) t(i)").fetchall() == [(0.0,), (1.0,), (2.0,)]


# ---------------------------------------------------------------------------------------------------------- declarations


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("def broken(x: float): return x", "broken needs a result type"),
        ("def broken(x) -> float: return x", "parameter 'x' needs a type"),
        ("def broken() -> float: return 1.0", "needs at least one column argument"),
        ("def broken(x: float, *, k: int = 1) -> float: return x", "options need form='numpy' or form='arrow'"),
        ("def broken(x: dict) -> float: return x", "parameter 'x'"),
        ("def broken(x: float) -> dict: return x", "result"),
        ("def broken(**x: float) -> float: return x", r"\*x cannot be called from SQL"),
        ("def Broken(x: float) -> float: return x", "'Broken' cannot name a SQL function"),
    ],
)
def test_wrong_declarations(declaration, message):
    with pytest.raises(DeclarationError, match=message):
        declare_source("@scalar\n" + declaration)


def test_a_wrong_form():
    with pytest.raises(DeclarationError, match="form must be 'rows', 'numpy' or 'arrow', got 'pandas'"):
        declare_source("@scalar(form='pandas')\ndef broken(x: float) -> float: return x")


def test_a_number_that_is_not_of_the_declared_kind(con):
    declare_source("@scalar\ndef rounded(x: float) -> int: return x")
    with pytest.raises(duckdb.Error, match="rounded: .*the result is declared BIGINT, the code gives float64"):
        con.execute("SELECT rounded(1.5)").fetchall()


def test_a_body_that_does_not_compile(con):
    declare_source("@scalar\ndef uncompiled(x: float) -> float: return x.no_such_thing")
    for _ in range(2):
        with pytest.raises(duckdb.Error, match="uncompiled: it cannot be compiled: .*no_such_thing"):
            con.execute("SELECT uncompiled(1)").fetchall()


def test_redeclaring(con):
    for term in (1, 2):
        declare_source(f"@scalar(form='numpy')\ndef redeclared_scalar(x: float) -> float: return x + {term}")
        assert con.execute("SELECT redeclared_scalar(1)").fetchall() == [(1.0 + term,)]


def test_any_takes_everything(con):
    for value in ("1", "'a'", "[1]", "{'a': 1}", "date '2020-01-01'", "NULL"):
        assert len(con.execute(f"SELECT describe_arrow({value})").fetchall()[0][0]) > 0


def test_a_literal_column_of_python_objects():
    @scalar(form="numpy", nulls=True, name="typed_any")
    def f(x: Any) -> str:
        return [str(x.dtype)] * len(x)

    assert duckdb.connect().execute("SELECT typed_any(1.5::DOUBLE)").fetchall() == [(str(np.dtype("float64")),)]


def test_overloads_have_results_of_their_own(con):
    @scalar(name="doubled")
    def number(x: float) -> float:
        """Twice a number."""
        return 2 * x

    @scalar(name="doubled", overload=True)
    def text(x: str) -> str:
        """A text, twice."""
        return x + x

    assert con.sql("SELECT doubled(1.5::DOUBLE), doubled('ab')").fetchall() == [(3.0, "abab")]
    assert duckdb.connect().sql("SELECT doubled('ab')").fetchall() == [("abab",)]
    assert functions["doubled"](1.5) == 3
    assert functions["doubled"]("ab") == "abab"
    declaration = functions["doubled"].declaration
    assert declaration.signature == "doubled(x DOUBLE) -> DOUBLE; doubled(x VARCHAR) -> VARCHAR"
    assert "A text, twice." in declaration.documentation.text
    with pytest.raises(ValueError, match="an overload needs a function of this name"):

        @scalar(overload=True)
        def tripled(x: float) -> float:
            return 3 * x

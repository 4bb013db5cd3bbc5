"""Relation functions: all rows of a group as Arrow columns into plain Python."""

import itertools

import duckdb
import pyarrow as pa
import pyarrow.compute
import pytest
import typed_functions
from declared_functions import declare_source

from ironlake.udf.engine import relation
from ironlake.udf.engine.declaration import DeclarationError

arrived: list[tuple[pa.Array, ...]] = []


@relation
def keep_columns(x: float, s: str, l: list[int]) -> int:
    """Keep what arrives for the test to look at."""
    arrived.append((x, s, l))
    return len(x)


@relation
def count_rows(x: int, *, factor: float = 1.0, name: str = "") -> float:
    return len(x) * factor + len(name)


# --------------------------------------------------------------------------------------------------------- what arrives


def test_arrow_columns_with_nulls_arrive(one):
    arrived.clear()
    query = "SELECT keep_columns(x, s, l) FROM (VALUES (1.5, 'é', [1, NULL]), (NULL, NULL, NULL), ('nan'::DOUBLE, '', [])) t(x, s, l)"
    assert one.execute(query).fetchall() == [(3,)]
    x, s, l = arrived[0]
    assert [x.type, s.type, l.type] == [pa.float64(), pa.string(), pa.list_(pa.int64())]
    assert x.to_pylist()[:2] == [1.5, None]
    assert str(x[2]) == "nan"
    assert s.to_pylist() == ["é", None, ""]
    assert l.to_pylist() == [[1, None], None, []]
    for column in (x, s, l):
        column.validate(full=True)


def test_every_type_arrives_and_leaves(con):
    from test_types import flat_table, nested_table

    flat_table(con, 40)
    nested_table(con, 40)
    con.execute("CREATE TABLE types AS SELECT f.row, f.v AS flat, n.v AS nested FROM flat f JOIN nested n USING (row)")
    con.execute("INSERT INTO types VALUES (100, NULL, NULL)")
    con.execute(
        "UPDATE types SET flat = struct_update(flat, hugeint := '-1'::HUGEINT, timestamptz := NULL::TIMESTAMPTZ, date := NULL::DATE, timestamp := NULL::TIMESTAMP)"
    )
    got = con.execute("SELECT rows_back(row, flat, nested) FROM types").fetchall()[0][0]
    want = con.execute("SELECT row, flat, nested FROM types ORDER BY row").to_arrow_table().to_pylist()
    assert len(got) == 41
    for mine, row in zip(got, want, strict=True):
        assert mine == {"row": row["row"], "flat": repr(row["flat"]), "nested": repr(row["nested"])}


@pytest.mark.parametrize("rows", [1, 2047, 2048, 2049, 100000])
def test_groups_of_any_length(threaded, rows):
    query = f"SELECT count_rows(i), count_rows(CASE WHEN i % 2 = 0 THEN i END) FROM range({rows}) t(i)"
    assert threaded.execute(query).fetchall() == [(rows, rows)]


# ------------------------------------------------------------------------------------------------- where SQL aggregates


def test_group_by(threaded):
    query = "SELECT k, fit_line(x, 2 * x + k) AS f FROM (SELECT i % 5 AS k, (i % 100)::DOUBLE AS x FROM range(5000) t(i)) GROUP BY k"
    for k, line in threaded.execute(query).fetchall():
        assert (line["slope"], line["intercept"]) == (2.0, k)
        assert len(line["residuals"]) == 1000


def test_many_groups(threaded):
    query = "SELECT count(*), sum(n) FROM (SELECT count_rows(i) AS n FROM range(30000) t(i) GROUP BY i % 10000)"
    assert threaded.execute(query).fetchall() == [(10000, 30000)]


def test_merged_threads_lose_and_repeat_nothing(threaded):
    threaded.execute("CREATE TABLE t AS SELECT i FROM range(300000) t(i)")
    threaded.execute(
        "CREATE TABLE rows AS SELECT i % 3 AS k, unnest(string_split(rows_as_text(i, i::VARCHAR, [i, NULL], {'sep': '|'}), '|')) AS row FROM t WHERE i < 60000 OR i > 290000 GROUP BY k"
    )
    query = "SELECT count(*), count(DISTINCT row), count(*) FILTER (row = format('({0}.0, ''{0}'', [{0}, None])', split_part(substr(row, 2), '.', 1))) FROM rows"
    assert threaded.execute(query).fetchall() == [(69999, 69999, 69999)]


def test_windows_like_sql(threaded):
    for frame in ("", "PARTITION BY i % 3", "ORDER BY i ROWS 4 PRECEDING", "PARTITION BY i % 7 ORDER BY i"):
        query = f"SELECT count(*) FROM (SELECT count_rows(i) OVER ({frame}) AS a, count(*) OVER ({frame}) AS b FROM range(300) t(i)) WHERE a <> b"
        assert threaded.execute(query).fetchall() == [(0,)]


def test_filter_distinct_and_order(con):
    assert con.execute(
        "SELECT count_rows(i) FILTER (i > 5), count_rows(DISTINCT i % 4) FROM range(10) t(i)"
    ).fetchall() == [(4.0, 4.0)]
    arrived.clear()
    con.execute("SELECT keep_columns(i, i::VARCHAR, [i] ORDER BY i DESC) FROM range(5000) t(i)").fetchall()
    assert arrived[0][2].to_pylist() == [[i] for i in reversed(range(5000))]


def test_groups_without_rows(con):
    assert con.execute("SELECT count_rows(i), fit_line(i, i) FROM range(0) t(i)").fetchall() == [(None, None)]
    assert con.execute("SELECT count_rows(i) FROM range(0) t(i) GROUP BY i").fetchall() == []
    assert con.execute(
        "SELECT i, count_rows(i) FILTER (i = 1) FROM range(2) t(i) GROUP BY i ORDER BY i"
    ).fetchall() == [(0, None), (1, 1.0)]


def test_options(con):
    query = "SELECT count_rows(i), count_rows(i, {'factor': 2}), count_rows(i, {'name': 'abc', 'factor': 0.5}) FROM range(4) t(i)"
    assert con.execute(query).fetchall() == [(4.0, 8.0, 5.0)]
    query = "SELECT count_rows(i, {'factor': k}) FROM (SELECT i, i % 3 AS k FROM range(9) t(i)) GROUP BY k ORDER BY k"
    assert con.execute(query).fetchall() == [(0.0,), (3.0,), (6.0,)]
    with pytest.raises(duckdb.Error, match="count_rows: unknown option 'factr'; did you mean 'factor'"):
        con.execute("SELECT count_rows(i, {'factr': 2}) FROM range(4) t(i)").fetchall()


def test_many_groups_in_one_call(con):
    @relation(form="groups")
    def spans(starts, s: str, l: list[int], *, factor: int = 1) -> list[int]:
        if factor > 2:
            return [None]
        made = [(len(s[a:b].drop_null()), len(l[a:b].flatten()), factor) for a, b in itertools.pairwise(starts)]
        return pa.array(made, pa.list_(pa.int64())) if factor == 1 else [None if one[0] > 1 else one for one in made]

    rows = "(SELECT i % 5 AS k, CASE WHEN i % 2 = 0 THEN 'é' || i END AS s, range(i) AS l FROM range(12) t(i))"
    query = f"SELECT k, spans(s, l), spans(s, l, {{'factor': 1 + k % 2}}), spans(s, l) FILTER (k > 3) FROM {rows}"
    found = con.execute(f"{query} GROUP BY k ORDER BY k").fetchall()
    lengths = [
        (k, len(range(k, 12, 5)), sum(i % 2 == 0 for i in range(k, 12, 5)), sum(range(k, 12, 5))) for k in range(5)
    ]
    assert found == [
        (k, [n, total, 1], [n, total, 1] if k % 2 == 0 else None if n > 1 else [n, total, 2], [n, total, 1] if k > 3 else None)
        for k, _, n, total in lengths
    ]  # fmt: skip
    with pytest.raises(duckdb.Error, match="spans: the function returned 1 values for 5 groups"):
        con.execute(f"SELECT spans(s, l, {{'factor': 3}}) FROM {rows} GROUP BY k").fetchall()


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "the body failed on purpose"),
        ("type", "Could not convert 'text'"),
        ("exit", "SystemExit: out"),
        ("interrupt", "KeyboardInterrupt"),
    ],
)
def test_errors_of_the_body(con, how, message):
    with pytest.raises(duckdb.Error, match=f"relation_fails: .*{message}"):
        con.execute(f"SELECT relation_fails(i, '{how}') FROM range(3) t(i)").fetchall()
    assert con.execute("SELECT count_rows(i) FROM range(3) t(i)").fetchall() == [(3.0,)]


def test_a_result_of_the_wrong_shape(con):
    typed_functions.examples.update({0: {"doubles": ["text"]}, 1: {"array": [1.0]}, 2: {"point": 3}, 3: 7})
    for key in range(4):
        with pytest.raises(duckdb.Error, match="example: "):
            con.execute(f"SELECT example({key})").fetchall()


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("def broken() -> float: return 1.0", "needs at least one column argument"),
        ("def broken(x: float): return 1.0", "needs a result type"),
        ("def broken(x: float) -> dict: return 1.0", "result"),
        ("def broken(x: set) -> float: return 1.0", "parameter 'x'"),
        ("(form='rows')\ndef broken(x: float) -> float: return 1.0", "form must be 'group' or 'groups', got 'rows'"),
    ],
)
def test_wrong_declarations(declaration, message):
    with pytest.raises(DeclarationError, match=message):
        declare_source("@relation" + ("" if declaration[0] == "(" else "\n") + declaration)


def test_lists_of_arrow_go_out_whole():
    @relation
    def halves(x: float) -> list[float]:
        if len(x) == 1:
            return None
        half = pa.compute.divide(x, 2)
        return half if len(x) == 2 else pa.scalar(half.to_pylist(), pa.list_(pa.float64()))

    rows = "(SELECT x, (x >= 3)::INT + (x >= 5)::INT AS k FROM range(6) t(x))"
    query = f"SELECT halves(x ORDER BY x) FROM {rows} GROUP BY k ORDER BY k"
    con = duckdb.connect()
    assert con.execute(query).fetchall() == [([0.0, 0.5, 1.0],), ([1.5, 2.0],), (None,)]
    assert con.execute("SELECT halves(x) FROM range(1) t(x)").fetchall() == [(None,)]

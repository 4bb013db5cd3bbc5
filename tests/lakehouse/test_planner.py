"""Filters written in ordinary SQL reach the planner: files that no row of them can be in are not opened."""

import datetime as dt
import gc
import itertools
import random
import threading
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import ironlake
from ironlake.lakehouse import pinned, planner, snapshot
from ironlake.lakehouse.scan import scan_sql
from ironlake.lakehouse.snapshot import open_snapshot
from ironlake.udf.engine import filters
from ironlake.udf.engine.filters import Filter, Watch

FILES = 6
BROKEN = "no Parquet file at all"


def rows_of_file(number):
    """A hundred rows; every column rises from file to file, and each file has a NULL in each."""
    day = dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=number)
    numbers = [number * 100 + i for i in range(99)]
    columns = {
        "i": pa.array([*numbers, None], pa.int32()),
        "big": pa.array([*(10**12 * value for value in numbers), None], pa.int64()),
        "d": pa.array([*(value / 7 for value in numbers), None], pa.float64()),
        "price": pa.array([*(Decimal(value) for value in numbers), None], pa.decimal128(12, 2)),
        "s": pa.array([*(f"{chr(97 + number)}-{value:04}" for value in numbers), None], pa.string()),
        "instant": pa.array([*(day + dt.timedelta(minutes=i) for i in range(99)), None], pa.timestamp("us", "UTC")),
        "day": pa.array([*(day.date() for _ in range(99)), None], pa.date32()),
        "tags": pa.array([*([f"t{value % 3}"] for value in numbers), None], pa.list_(pa.string())),
    }
    return pa.table(columns)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake with a table ``t``, and with ``broken``, of whose files only the fourth (300 to 398) can be read."""
    lake = ironlake.open(tmp_path_factory.mktemp("lake"))
    for number, name in itertools.product(range(FILES), ("t", "broken")):
        lake.write(name, rows_of_file(number), mode="append" if number else "error")
    lake.connect().close()  # how a file stores instants is looked up once
    for number, file in enumerate(open_snapshot(lake.root / "broken", None, "").files):
        if number != 3:
            Path(file).write_text(BROKEN)
    return lake


@pytest.fixture
def con(lake):
    with lake.connect() as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        connection.execute(f"CREATE TABLE plain AS {scan_sql(open_snapshot(lake.root / 't', None, ''))}")
        yield connection


CONDITIONS = [
    "i BETWEEN 310 AND 320",
    "i > 310 AND i <= 320",
    "i = 333",
    "333 = i",
    "i IN (333, 344, 355)",
    "i = 310 OR i = 320",
    "(i > 310 AND i < 315) OR (d > 45 AND d < 46)",
    "NOT (i < 310 OR i > 320)",
    "i > 309.5 AND i < 320.5",
    "i::BIGINT * 1 = 333 AND i = 333",
    "big = 333000000000000",
    "d BETWEEN 45.0 AND 46.0",
    "s LIKE 'd-%'",
    "s LIKE 'd-031_'",
    "starts_with(s, 'd-032')",
    "s > 'd-0310' AND s < 'd-0320'",
    "s = 'd-0333'",
    "instant >= '2024-01-04 00:10:00+00' AND instant < '2024-01-04 00:20:00+00'",
    "instant = TIMESTAMPTZ '2024-01-03 19:10:00'",
    "day = DATE '2024-01-04'",
    "day >= TIMESTAMP '2024-01-03 12:00:00' AND day <= TIMESTAMP '2024-01-04 12:00:00'",
    "i = (SELECT 333)::INT AND i > 310 AND i < 340",
    "i > 310 AND i < 320 AND list_contains(tags, 't1')",
    "i IS NOT DISTINCT FROM 333 AND i = 333",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_other_files_are_not_opened(con, condition):
    found = con.sql(f"SELECT i, s FROM broken WHERE {condition} ORDER BY i").fetchall()
    assert found == con.sql(f"SELECT i, s FROM plain WHERE {condition} ORDER BY i").fetchall()
    assert found


STATEMENTS = [
    "SELECT count(*) FROM {t} WHERE i BETWEEN 300 AND 350",
    "SELECT i FROM (SELECT i + 1 AS j, * FROM {t}) WHERE i > 310 AND i < 313 ORDER BY j DESC",
    "WITH c AS (FROM {t}) SELECT max(d) FROM c WHERE i BETWEEN 310 AND 320",
    "SELECT a.i, b.d FROM {t} a JOIN {t} b USING (i) WHERE i BETWEEN 310 AND 312 ORDER BY ALL",
    "SELECT b.i FROM range(311, 313) r(x) LEFT JOIN (FROM {t} WHERE i >= 310 AND i < 320) b ON r.x = b.i ORDER BY ALL",
    "SELECT x FROM range(310, 312) r(x) WHERE EXISTS (FROM {t} WHERE i > 300 AND i < 390 AND i = x) ORDER BY ALL",
    "(SELECT i FROM {t} WHERE i = 310) UNION ALL (SELECT i FROM {t} WHERE i = 320) ORDER BY ALL",
    "SELECT * EXCLUDE (tags) FROM {t} WHERE i > 305 AND i < 390 ORDER BY d DESC LIMIT 3",
    "SELECT day, count(*), sum(i) FROM {t} GROUP BY day HAVING day = DATE '2024-01-04'",
    "SELECT i, row_number() OVER (PARTITION BY day ORDER BY i) FROM {t} WHERE s LIKE 'd-031%' ORDER BY ALL",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements(con, statement):
    assert con.sql(statement.format(t="broken")).fetchall() == con.sql(statement.format(t="plain")).fetchall()


def test_what_leaves_a_file_opens_it(con):
    for condition in ("i > 390", "i IS NULL", "sqrt(i) < 3", "true"):
        with pytest.raises(duckdb.Error, match="parquet"):
            con.sql(f"SELECT sum(d) FROM broken WHERE {condition}").fetchall()
    assert con.sql("SELECT count(*) FROM broken WHERE i > 1000").fetchall() == [(0,)]


def test_random_conditions(con):
    chance = random.Random(3)
    columns = {
        "i": lambda: str(chance.randint(-10, 610)),
        "d": lambda: f"{chance.uniform(-1, 90):.1f}",
        "price": lambda: f"{chance.uniform(-1, 610):.3f}",
        "s": lambda: f"'{chr(97 + chance.randrange(7))}-0{chance.randrange(600)}'",
        "day": lambda: f"DATE '2024-01-{chance.randint(1, 9):02}'",
        "instant": lambda: f"'2024-01-0{chance.randint(1, 7)} 00:{chance.randrange(60):02}:00+00'::TIMESTAMPTZ",
    }

    def condition(depth=0):
        column = chance.choice(list(columns))
        forms = [
            f"({condition(depth + 1)} {chance.choice(['AND', 'OR'])} {condition(depth + 1)})" if depth < 2 else "true",
            f"NOT ({condition(depth + 1)})" if depth < 2 else "false",
            f"{column} {chance.choice(['=', '<>', '<', '>', '<=', '>='])} {columns[column]()}",
            f"{column} IN ({columns[column]()}, {columns[column]()}, NULL)",
            f"{column} BETWEEN {columns[column]()} AND {columns[column]()}",
            f"{column} IS {chance.choice(['', 'NOT '])}NULL",
            f"s LIKE '{chr(97 + chance.randrange(7))}-0{chance.randrange(6)}%'",
        ]
        return chance.choice(forms)

    for _ in range(60):
        text = condition()
        counts = "count(*), sum(i), sum(d), min(s)"
        found, expected = (con.sql(f"SELECT {counts} FROM {t} WHERE {text}").fetchall()[0] for t in ("t", "plain"))
        assert found[::3] == expected[::3], text
        assert found[1:3] == pytest.approx(expected[1:3]), text


def test_parameters_and_relations(lake, con):
    assert con.execute("SELECT count(*) FROM broken WHERE i BETWEEN ? AND ?", [310, 320]).fetchall() == [(11,)]
    con.execute("PREPARE wanted AS SELECT count(*) FROM broken WHERE i BETWEEN ? AND ?")
    assert con.execute("EXECUTE wanted(310, 320)").fetchall() == [(11,)]
    assert con.execute("EXECUTE wanted(330, 330)").fetchall() == [(1,)]
    for relation in (con.table("broken"), lake.table("broken"), lake.sql("FROM broken")):
        for low in (310, 330):
            assert relation.filter(f"i >= {low} AND i < 340").aggregate("count(*)").fetchall() == [(340 - low,)]


def test_new_versions(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", duckdb.sql("SELECT 1 AS x"))
    with lake.connect() as con:
        relation, old = con.sql("SELECT sum(x) FROM t WHERE x > 0"), lake.table("t").filter("x > 0")
        con.execute("PREPARE p AS SELECT sum(x) FROM t WHERE x > $1")
        assert relation.fetchall() == con.execute("EXECUTE p(0)").fetchall() == [(1,)]
        fixed = lake.at()
        fixed.attach(con, None)
        lake.write("t", duckdb.sql("SELECT 20 AS x"), mode="append")
        assert fixed.versions() == {"t": 0}
        assert con.sql("SELECT sum(x) FROM t WHERE x > 0").fetchall() == old.aggregate("sum(x)").fetchall() == [(1,)]
        lake.attach(con, None)
        assert con.execute("EXECUTE p(0)").fetchall() == con.sql("SELECT sum(x) FROM t").fetchall() == [(21,)]


def test_copies_have_filters_of_their_own(con):
    statement = (
        "WITH c AS NOT MATERIALIZED (FROM {t}) SELECT (SELECT sum(i) FROM c WHERE i < 50), (SELECT sum(i) FROM c "
        "WHERE i > 550), (SELECT count(*) FROM c)"
    )
    assert con.sql(statement.format(t="t")).fetchall() == con.sql(statement.format(t="plain")).fetchall()


def test_a_part_is_needed_if_a_copy_needs_it():
    watch = Watch([("x", "INTEGER")], lambda filters: np.array([each.text == "yes" for each in filters]), [[0, 2], [1]])
    watch.narrow([Filter("", text=text) for text in ("yes", "no", "no")])
    assert [list(kept) for kept in watch._kept] == [[1, 0], [0]]
    watch.narrow([Filter("", text=text) for text in ("no", "yes", "no")])
    assert [list(kept) for kept in watch._kept] == [[1, 0], [1]]


def test_without_pushdown(con):
    con.execute("SET disabled_optimizers = 'filter_pushdown'")
    assert con.sql("SELECT sum(i), count(*) FROM t WHERE i < 50").fetchall() == [(1225, 50)]


def test_a_duckdb_that_tells_no_filters(lake, con, monkeypatch):
    monkeypatch.setattr(planner.supported, "filters", lambda: False)
    assert "ironlake_filters" not in ironlake.lake_view_sql(str(lake.root / "t"))
    assert con.sql("SELECT count(*) FROM t WHERE i < 50").fetchall() == [(50,)]


def test_many_connections_and_cancelled_statements(lake):
    def work(number):
        with lake.connect() as con:
            for low in range(0, 500, 100):
                count = con.execute(f"SELECT count(*) FROM t WHERE i >= {low + number} AND i < {low + 50}").fetchall()
                counts.append((number, count))

    counts = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [(number, [(50 - number,)]) for number in range(4) for _ in range(5)]
    with lake.connect() as con:
        timer = threading.Timer(0.2, con.interrupt)
        timer.start()
        with pytest.raises(duckdb.InterruptException):
            con.execute("SELECT count(*) FROM t a, t b, t c, t d WHERE a.i + b.i + c.i + d.i < 0").fetchall()
        timer.join()
        assert con.sql("SELECT count(*) FROM t WHERE i < 50").fetchall() == [(50,)]


def test_nothing_is_kept_of_statements_that_are_done(lake):
    before = len(filters._bound)
    with lake.connect() as con:
        con.sql("SELECT count(*) FROM t WHERE i < 50").fetchall()
        with pytest.raises(duckdb.Error):
            con.sql("SELECT error('no') FROM t WHERE i < 50").fetchall()
    assert len(filters._bound) <= before


def test_scans_of_no_statement(con):
    for call in ("FROM ironlake_filters(0)", "SELECT ironlake_part_kept(0, 0, 0::UBIGINT)"):
        with pytest.raises(duckdb.Error, match="0 is no scan of this statement"):
            con.sql(call).fetchall()


def test_deleted_rows_and_partitions(tmp_path):
    lake = ironlake.open(tmp_path)
    for number in range(4):
        rows = duckdb.sql(f"SELECT i AS x, i // 100 AS part FROM range({number * 100}, {number * 100 + 100}) r(i)")
        lake.write("t", rows, mode="append" if number else "error", partition_by="part")
    lake["t"].delete("x % 2 = 0 AND x < 200", deletion_vectors=True)
    for condition in ("part = 1", "x > 150 AND x < 250", "part IN (0, 3) AND x > 50", "part > 1 OR x = 3"):
        (found,) = lake.sql(f"SELECT count(*), sum(x) FROM t WHERE {condition}").fetchall()
        rows = "(SELECT i AS x, i // 100 AS part FROM range(400) r(i) WHERE NOT (i % 2 = 0 AND i < 200))"
        assert [found] == duckdb.sql(f"SELECT count(*), sum(x) FROM {rows} WHERE {condition}").fetchall()


def test_deletion_vectors_are_let_go_with_the_last_statement_that_needs_them(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", duckdb.sql("SELECT range AS id FROM range(300_000)"))
    lake["t"].delete("id % 3 = 0", deletion_vectors=True)
    root, connection = lake["t"].storage.root, lake.connect()

    def held():
        filters._recent.clear()
        snapshot._cache.clear()
        gc.collect()
        return sum(key[0] == root for key in pinned._pins)

    assert connection.sql("SELECT count(*) FROM t").fetchall() == [(200_000,)]
    assert held() == 0
    reader = connection.sql("SELECT id FROM t WHERE id >= 0").to_arrow_reader(2048)
    rows = len(reader.read_next_batch())
    lake["t"].delete("id % 3 = 1", deletion_vectors=True)  # whose own statements are over
    assert held() == 1
    assert rows + sum(map(len, reader)) == 200_000
    assert held() == 0
    connection.execute("PREPARE again AS SELECT count(*) FROM t")
    assert held() == 0
    assert connection.execute("EXECUTE again").fetchall() == [(100_000,)]
    ((text,),) = connection.execute("SELECT lake_scan_sql(?, 1)", [root]).fetchall()  # which anyone may keep
    assert held() == 1
    assert connection.sql(f"SELECT count(*) FROM ({text})").fetchall() == [(200_000,)]

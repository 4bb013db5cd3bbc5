"""Delta tables through Spark itself: read, written, streamed, and the page of the guide. One session, few queries."""

import datetime as dt
import os
import re
import threading
from decimal import Decimal
from pathlib import Path

import deltalake
import duckdb
import ironlake
import polars
import pytest

pytest.importorskip("pyspark")

from pyspark.errors import PySparkException
from pyspark.sql.types import LongType, StructType

from ironlake.spark import source, writing
from ironlake.spark.partitions import map_partitions

pytestmark = pytest.mark.xdist_group("spark")
PAGE = Path(__file__).parents[3] / "docs" / "spark_tables.md"


@pytest.fixture(scope="module")
def session(spark):
    source.register(spark)
    return spark


@pytest.fixture
def lake(tmp_path):
    return ironlake.open(tmp_path / "lake")


def load(session, path, **options):
    return session.read.format("ironlake").options(**options).load(str(path))


def save(df, path, mode="append", **options):
    df.write.format("ironlake").mode(mode).options(**options).save(str(path))


def test_a_table_of_all_types_with_deleted_rows_and_renamed_columns(session, lake):
    rows = duckdb.sql(
        "SELECT i AS id, i % 3 AS k, 'n' || i AS s, [i::INTEGER, NULL] AS l, {'a': i, 'b c': [{'x': 's'}]} AS st, "
        "MAP {'k': i::DOUBLE} AS m, (i / 4)::DECIMAL(10, 2) AS n, DATE '1969-12-30' + i::INTEGER AS d, "
        "TIMESTAMP '1969-12-31 23:59:59.999999' + INTERVAL (i) MINUTE AS t, "
        "TIMESTAMPTZ '2024-01-01 10:00+02' + INTERVAL (i) HOUR AS z, (i / 7)::FLOAT AS f, "
        "CASE i % 3 WHEN 0 THEN NULL ELSE i % 2 = 0 END AS b, ('x' || i)::BLOB AS bl, i::TINYINT AS y FROM range(60) t(i)"
    )
    lake.write("t", rows, partition_by="k")
    lake["t"].rename_column("n", "price of it")
    lake["t"].drop_columns("y")
    lake["t"].delete("id % 10 = 3", deletion_vectors=True)
    lake["t"].add_columns({"later": "string"})
    lake.write("t", lake.sql("SELECT * REPLACE (id + 100 AS id, 'x' AS later) FROM t WHERE id < 3"), mode="append")
    found = load(session, lake.root / "t", partition_bytes=1000).orderBy("id").toArrow()
    expected = lake.sql("FROM t ORDER BY id").to_arrow_table()
    assert found.column_names == expected.column_names
    assert found.to_pylist() == expected.to_pylist()
    old = load(session, lake.root / "t", version=0, columns='["n","id"]', where="id > 57").collect()
    assert [tuple(row) for row in old] == [(Decimal("14.50"), 58), (Decimal("14.75"), 59)]


def test_each_use_of_a_data_frame_has_its_own_filter(session, lake):
    lake.write("t", duckdb.sql("SELECT i AS id, i % 3 AS k FROM range(30) t(i)"))
    df = load(session, lake.root / "t")
    assert (df.where("id = 5").count(), df.count()) == (1, 30)
    assert df.where("id = 5").union(df.where("id = 6")).orderBy("id").collect() == [(5, 2), (6, 0)]
    assert df.where("id = 5").join(df, "k").count() == 10
    session.conf.set("spark.sql.python.filterPushdown.enabled", "true")
    pushed = load(session, lake.root / "t", push_filters="true").where("id >= 5 AND id < 7 AND hash(id) != 0")
    assert pushed.collect() == [(5, 2), (6, 0)]


def test_what_spark_writes_others_read(session, lake):
    path = lake.root / "t"
    df = session.range(20).selectExpr(
        "id", "id % 2 AS k", "array(id, null) AS l", "timestamp'2024-01-01 10:00:00' AS z"
    )
    save(df, path, partition_by="k")
    lake["t"].delete("id = 3")
    save(df.selectExpr("k", "l", "id + 20 AS id", "z"), path)
    expected = [*range(3), *range(4, 40)]
    assert [id_ for (id_,) in lake.sql("SELECT id FROM t ORDER BY id").fetchall()] == expected
    assert sorted(deltalake.DeltaTable(path).to_pyarrow_table()["id"].to_pylist()) == expected
    frame = polars.read_delta(str(path)).sort("id")
    assert (frame["id"].to_list(), frame["l"][5].to_list()) == (expected, [6, None])
    assert frame["z"][0] == dt.datetime(2024, 1, 1, 10, tzinfo=dt.UTC)
    deltalake.write_deltalake(path, deltalake.DeltaTable(path).to_pyarrow_table().slice(0, 1), mode="append")
    assert load(session, path).count() == 40
    save(df.where("id < 4"), path, "overwrite", where="id < 5 AND k = 1 OR id < 3")
    assert lake.sql("SELECT count(*), max(id) FROM t WHERE id < 10").fetchall() == [(10, 9)]
    save(df, path, "overwrite")
    assert lake.sql("SELECT count(*), max(id) FROM t").fetchall() == [(20, 19)]


def test_rows_that_do_not_fit_change_nothing(session, lake):
    path = lake.root / "t"
    lake.write("t", duckdb.sql("SELECT i AS id, 2 * i AS double FROM range(10) t(i)"))
    lake["t"].add_constraint("small", "id < 15")
    for df, told in (
        (session.range(3).selectExpr("id", "'x' AS double"), "column 'double' is VARCHAR, not BIGINT"),
        (session.range(0, 20, 1, 1).selectExpr("id", "2 * id AS double"), "small.*does not hold for 5 rows"),
        (session.range(3).selectExpr("id", "INTERVAL '3' DAY AS double"), "'double'.*cannot store"),
    ):
        with pytest.raises(PySparkException, match=f"(?s){told}"):
            save(df, path)
    assert lake["t"].version == 1
    assert len(lake["t"].vacuum(retain_hours=0, force=True)) == 0
    with pytest.raises(PySparkException, match="SAVE_MODE"):
        session.range(1).write.format("ironlake").save(str(path))
    with pytest.raises(PySparkException, match="use CREATE TEMPORARY VIEW"):
        session.sql(f"CREATE TABLE in_catalog USING ironlake OPTIONS (path '{path}')")
    session.sql(f"CREATE TEMPORARY VIEW visits USING ironlake OPTIONS (path '{path}')")
    session.sql("INSERT INTO visits SELECT 14 AS id, 28 AS double")
    assert lake.sql("SELECT double FROM t WHERE id = 14").fetchall() == [(28,)]


def kill_once(mark):
    """Rows as they come, but the first worker that has seen some of them is killed."""

    def rows(batches):
        for batch in batches:
            yield batch
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            os.kill(os.getpid(), 9)

    return rows


def test_a_task_whose_worker_is_killed_is_written_once(session, lake, tmp_path):
    mark = str(tmp_path / "killed")
    schema = StructType().add("id", LongType())
    df = map_partitions(session.range(0, 200_000, 1, 2), schema, kill_once(mark))
    save(df, lake.root / "t")
    assert Path(mark).exists()
    assert lake.sql("SELECT count(*), count(DISTINCT id) FROM t").fetchall() == [(200_000, 200_000)]
    with pytest.raises(PySparkException, match="division by zero"):
        save(map_partitions(session.range(10), schema, lambda batches: 1 / 0), lake.root / "t")
    assert lake["t"].version == 0


def test_eight_writers_lose_nothing(session, lake):
    def append(number):
        try:
            writing.write(session.range(number * 10, number * 10 + 10, 1, 1), lake.root / "t", "append")
        except Exception as error:
            failed.append(error)

    failed = []
    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert lake["t"].version == 7
    assert lake.sql("SELECT count(*), count(DISTINCT id) FROM t").fetchall() == [(80, 80)]


def test_modes_of_our_own(session, lake):
    path = lake.root / "t"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        writing.write(session.range(3), path, "merge", on="id")
    writing.write(session.range(3).selectExpr("id", "id AS v"), path, partition_by="id")
    with pytest.raises(FileExistsError, match="the table exists"):
        writing.write(session.range(3), path)
    writing.write(session.range(3), path, "ignore")
    news = session.createDataFrame([(2, 20), (7, 70)], "id long, v long")
    done = writing.write(news, path, "merge", on="id")
    assert (done["rows_updated"], done["rows_inserted"], done["version"]) == (1, 1, 1)
    assert lake.sql("FROM t ORDER BY id").fetchall() == [(0, 0), (1, 1), (2, 20), (7, 70)]
    assert not [*path.glob("_ironlake*")]
    for arguments, told in (
        ({"mode": "upsert"}, "mode is 'upsert'; expected one of"),
        ({"mode": "merge"}, "on is not given"),
        ({"mode": "append", "where": "id = 3"}, "where is given with mode='append'"),
    ):
        with pytest.raises(ValueError, match=re.escape(told)):
            writing.write(news, path, **arguments)


def test_the_page_of_the_guide(session, tmp_path):
    from tests.run_page import run_python

    names = {"__name__": "page", "spark": session}
    for block in re.findall(r"^```py\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S):
        run_python(block.replace("museum", f"{tmp_path}/museum"), names)  # Spark's processes have another directory

"""What the data source does in Spark's Python processes, called without Spark: options, filters, tasks, offsets."""

import datetime as dt
import pickle
from dataclasses import asdict
from decimal import Decimal

import duckdb
import ironlake
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pyspark")

from pyspark.sql import datasource as filters
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadMaxBytes, ReadMaxFiles

from ironlake.lakehouse.snapshot import open_snapshot
from ironlake.spark.source.columns import arrow_schema, spark_schema
from ironlake.spark.source.commit import TableWriter
from ironlake.spark.source.datasource import IronlakeSource
from ironlake.spark.source.filters import condition
from ironlake.spark.source.options import Options
from ironlake.spark.source.scan import read, tasks
from ironlake.spark.source.streaming import Offset, TableStream


@pytest.fixture
def lake(tmp_path):
    return ironlake.open(tmp_path / "lake")


def numbers(start, stop):
    return duckdb.sql(f"SELECT i AS id, i % 3 AS k, 'n' || i AS name FROM range({start}, {stop}) t(i)")


def sent(value):
    """What another process gets."""
    return pickle.loads(pickle.dumps(value))


# ------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "there is no path; .*CREATE TEMPORARY VIEW"),
        ({"path": "x", "provider": "ironlake"}, "drops the options of tables in its catalog"),
        ({"path": "x", "colums": "id"}, "no option 'colums'; expected one of .*columns"),
        ({"path": "x", "version": "new"}, "the option version is 'new'; expected a whole number"),
        ({"path": "nothing"}, "does not exist"),
    ],
)
def test_options_that_are_wrong_are_told_in_one_sentence(given, told, lake):
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        IronlakeSource(given).schema()


def test_columns_that_the_table_lacks(lake):
    lake.write("t", numbers(0, 3))
    path = str(lake.root / "t")
    with pytest.raises(ValueError, match=r"columns names 'idd'; the columns are 'id', 'k', 'name'"):
        IronlakeSource({"path": path, "columns": "idd"}).schema()
    source = IronlakeSource({"path": path})
    with pytest.raises(ValueError, match="'id' of version 0 is BIGINT, not INTEGER"):
        source.reader(from_arrow_schema(pa.schema({"id": pa.int32()})))
    with pytest.raises(ValueError, match="version 0 has no column 'price'"):
        source.reader(from_arrow_schema(pa.schema({"price": pa.int32()})))
    with pytest.raises(ValueError, match="predicate"):
        IronlakeSource({"path": path, "where": "price > 3"}).reader(source.schema())


# ------------------------------------------------------------------------------------------------------------- filters

_ROWS = pa.table(
    {
        "i": pa.array([1, 2, -5, None, 2**62], pa.int64()),
        "f": pa.array([0.1, float("nan"), -0.0, None, float("inf")]),
        "s": pa.array(["a", "ab'c", "", None, "é"]),
        "b": pa.array([True, False, None, True, False]),
        "n": pa.array([Decimal("1.50"), Decimal("-2.25"), None, Decimal("0.00"), Decimal("99.99")], pa.decimal128(4, 2)),
        "d": pa.array([dt.date(2024, 1, 1), dt.date(1969, 12, 31), None, dt.date(9999, 12, 31), dt.date(1, 1, 1)]),
        "t": pa.array([dt.datetime(2024, 1, 1, 0, 0, 0, 1), None, dt.datetime(1960, 1, 1)] + [None] * 2, pa.timestamp("us")),
        "z": pa.array([dt.datetime(2024, 1, 1, 2), None, dt.datetime(1960, 1, 1)] + [None] * 2, pa.timestamp("us", "UTC")),
        "st": pa.array([{"x": 1}, {"x": None}, None, {"x": 7}, {"x": 2}], pa.struct({"x": pa.int32()})),
    }
)  # fmt: skip
_PATHS = [(name,) for name in _ROWS.column_names if name != "st"] + [("st", "x")]
_MEANING = {
    filters.EqualTo: lambda a, b: a == b,
    filters.GreaterThan: lambda a, b: a > b,
    filters.GreaterThanOrEqual: lambda a, b: a >= b,
    filters.LessThan: lambda a, b: a < b,
    filters.LessThanOrEqual: lambda a, b: a <= b,
    filters.StringStartsWith: lambda a, b: a.startswith(b),
    filters.StringEndsWith: lambda a, b: a.endswith(b),
    filters.StringContains: lambda a, b: b in a,
}


def _values(path):
    column = _ROWS[path[0]].to_pylist()
    return column if len(path) == 1 else [None if each is None else each[path[1]] for each in column]


def _ordered(value):
    """A value that compares as Spark's does: NaN is equal to itself and above all other numbers."""
    return (value != value, 0.0 if value != value else value) if isinstance(value, float) else value


def _meets(given, row):
    """Whether a filter holds for a row, by Spark's rules; None for unknown."""
    if isinstance(given, filters.Not):
        inner = _meets(given.child, row)
        return None if inner is None else not inner
    value = _values(given.attribute)[row]
    if isinstance(given, filters.IsNull | filters.IsNotNull):
        return (value is None) == isinstance(given, filters.IsNull)
    if isinstance(given, filters.EqualNullSafe):
        return value is not None and _ordered(value) == _ordered(given.value)
    if value is None:
        return None
    if isinstance(given, filters.In):
        return any(_ordered(value) == _ordered(each) for each in given.value)
    if isinstance(value, str):
        return _MEANING[type(given)](value.encode(), given.value.encode())
    return _MEANING[type(given)](_ordered(value), _ordered(given.value))


@st.composite
def _filters(draw):
    path = draw(st.sampled_from(_PATHS))
    value = draw(st.sampled_from([each for each in _values(path) if each is not None]))
    kinds = [kind for kind in _MEANING if isinstance(value, str) or not kind.__name__.startswith("String")]
    kind = draw(st.sampled_from([*kinds, filters.EqualNullSafe, filters.In, filters.IsNull, filters.IsNotNull]))
    if kind in (filters.IsNull, filters.IsNotNull):
        made = kind(path)
    else:
        made = kind(path, (value, value) if kind is filters.In else value)
    return filters.Not(made) if draw(st.booleans()) else made


@settings(max_examples=150, deadline=None)
@given(_filters())
def test_a_filter_is_true_for_the_rows_for_which_spark_says_so(made):
    text = condition(made, _ROWS.schema)
    assert text is not None
    rows = _ROWS.append_column("row", pa.array(range(5)))  # noqa: F841 - DuckDB finds it by its name
    found = duckdb.sql(f"SELECT row FROM rows WHERE {text} ORDER BY row").fetchall()
    assert [row for (row,) in found] == [row for row in range(5) if _meets(made, row)]


def test_what_has_no_exact_sql_stays_with_spark():
    for given_ in (
        filters.EqualTo(("nothing",), 1),
        filters.EqualTo(("i",), 1.5),
        filters.EqualTo(("st", "y"), 1),
        filters.Not(filters.EqualTo(("s",), b"a")),
        filters.EqualTo(("t",), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    ):
        assert condition(given_, _ROWS.schema) is None


# --------------------------------------------------------------------------------------------------------------- tasks


@pytest.mark.parametrize("parts", ["a row each", "a half of a file", "a file", "all"])
def test_tasks_have_each_row_once_and_in_order(lake, parts):
    for start in (0, 100, 200):
        lake.write("t", numbers(start, start + (100 if start else 40)), mode="append")
    lake["t"].delete("id % 7 = 1", deletion_vectors=True)
    snapshot = open_snapshot(lake.root / "t", None, "")
    schema = arrow_schema(spark_schema(snapshot.schema))
    sizes = snapshot.state.files["size"].to_pylist()
    bytes_each, number = {
        "a row each": (1, 240),
        "a half of a file": (-(-max(sizes) // 2), 6),
        "a file": (max(sizes), 3),
        "all": (None, 1),
    }[parts]
    planned = tasks(snapshot.state.files, bytes_each)
    assert len(planned) == number
    found = [batch for task in planned for batch in read(snapshot, sent(task), schema, "id < 250")]
    ids = pa.Table.from_batches(found, schema)["id"].to_pylist()
    assert ids == lake.table("t").filter("id < 250").select("id").to_arrow_table()["id"].to_pylist()


# -------------------------------------------------------------------------------------------------------------- writes


def batches(start, stop):
    return iter(numbers(start, stop).to_arrow_table().to_batches())


def writer(path, overwrite=False, **options):
    given = Options({"path": str(path), **options}, "df.write: ", "write")
    return sent(TableWriter(given, spark_schema(numbers(0, 1).to_arrow_table().schema), overwrite))


def count(lake):
    return lake.sql("SELECT count(*), count(DISTINCT id) FROM t").fetchall()[0]


@pytest.mark.parametrize("exists", [False, True])
def test_only_the_attempts_that_spark_commits_count(lake, exists):
    if exists:
        lake.write("t", numbers(100, 110))
    job = writer(lake.root / "t")
    job.write(batches(0, 10))  # its worker was killed before it could tell
    first, second, none = job.write(batches(0, 10)), job.write(batches(10, 20)), job.write(iter(()))
    sent(job).commit([sent(first), sent(second), sent(none)])
    assert count(lake) == (20 + 10 * exists, 20 + 10 * exists)
    assert len(lake["t"].vacuum(retain_hours=0, force=True)) == 1
    ids = lake.sql("SELECT id FROM t WHERE id < 100").fetchall()
    assert ids == [(each,) for each in range(20)]


def test_an_abort_leaves_nothing(lake):
    job = writer(lake.root / "t", partition_by="k")
    sent(job).abort([sent(job.write(batches(0, 10))), None])
    assert not [path for path in lake.root.rglob("*") if path.is_file()]


def test_two_that_create_a_table_by_appending(lake):
    jobs = [writer(lake.root / "t"), writer(lake.root / "t")]
    for job, start in zip(jobs, (0, 10), strict=True):
        job.commit([job.write(batches(start, start + 10))])
    assert count(lake) == (20, 20)
    late, ignored = writer(lake.root / "u", if_exists="error"), writer(lake.root / "u", if_exists="ignore")
    written, left_out = late.write(batches(0, 3)), ignored.write(batches(0, 3))
    lake.write("u", numbers(0, 1))
    ignored.commit([left_out])
    with pytest.raises(ironlake.lakehouse.ConflictError, match="another writer created the table"):
        late.commit([written])
    assert len(lake["u"].vacuum(retain_hours=0, force=True)) == 0
    assert lake.table("u").fetchall() == [(0, 0, "n0")]


def test_overwrites_that_meet(lake):
    lake.write("t", numbers(0, 10))
    jobs = [writer(lake.root / "t", overwrite=True), writer(lake.root / "t", overwrite=True)]
    parts = [job.write(batches(0, 5)) for job in jobs]
    jobs[0].commit([parts[0]])
    with pytest.raises(ironlake.lakehouse.ConflictError, match="version 1 .* changed the same files"):
        jobs[1].commit([parts[1]])
    assert count(lake) == (5, 5)


def test_rules_are_checked_by_each_task(lake):
    lake.write("t", numbers(0, 10))
    lake["t"].add_constraint("small", "id < 15")
    job = writer(lake.root / "t")
    good = job.write(batches(10, 12))
    with pytest.raises(ironlake.lakehouse.ConstraintError, match=r"small.* does not hold for 3 rows"):
        job.write(batches(12, 18))
    job.abort([good, None])
    assert len(lake["t"].vacuum(retain_hours=0, force=True)) == 0
    with pytest.raises(ValueError, match="where is given with"):
        writer(lake.root / "t", where="id < 3")
    replaced = writer(lake.root / "t", overwrite=True, where="id >= 8")
    with pytest.raises(ironlake.lakehouse.ConstraintError, match="predicate"):
        replaced.write(batches(7, 9))
    replaced.commit([replaced.write(batches(8, 14))])
    assert count(lake) == (14, 14)


# ------------------------------------------------------------------------------------------------------------- streams


def stream(lake, **options):
    given = Options({"path": str(lake.root / "t"), **options}, "spark.readStream: ", "stream")
    columns = IronlakeSource(given.given).schema()
    return TableStream(given, columns)


def told(source, start, limit=None):
    """The ids of the next batch, and the offset behind it."""
    end = source.latestOffset(start, limit or source.getDefaultReadLimit())
    planned = [sent(task) for task in source.partitions(start, end)]
    rows = [row for task in planned for batch in source.read(task) for row in batch.to_pylist()]
    return [row["id"] for row in rows], end


def test_a_stream_has_all_rows_and_then_those_that_are_added(lake):
    lake.write("t", numbers(0, 3))
    lake.write("t", numbers(3, 6), mode="append")
    lake["t"].delete("id = 4", deletion_vectors=True)
    source = stream(lake)
    ids, end = told(source, source.initialOffset())
    assert (ids, end) == ([0, 1, 2, 3, 5], asdict(Offset(3)))
    assert told(source, end) == ([], end)
    lake.write("t", numbers(6, 8), mode="append")
    lake.write("t", numbers(8, 9), mode="append")
    lake["t"].optimize()
    assert told(source, end) == ([6, 7, 8], asdict(Offset(6)))
    late = stream(lake, from_version="3", max_files_per_trigger="1")
    ids, end = told(late, late.initialOffset())
    assert (ids, end) == ([6, 7], asdict(Offset(4)))
    late.prepareForTriggerAvailableNow()
    lake.write("t", numbers(9, 10), mode="append")
    assert told(late, end, ReadAllAvailable()) == ([8], asdict(Offset(6)))
    assert told(late, asdict(Offset(6)), ReadAllAvailable()) == ([], asdict(Offset(6)))


@pytest.mark.parametrize("limit", [ReadMaxFiles(1), ReadMaxFiles(2), ReadMaxBytes(1), ReadMaxBytes(10**9)])
def test_a_stream_takes_no_more_files_at_a_time_than_it_may(lake, limit):
    lake.write("t", numbers(0, 9), partition_by="k")
    lake.write("t", numbers(9, 18), mode="append")
    source, seen = stream(lake), []
    position = source.initialOffset()
    for _ in range(10):
        ids, after = told(source, position, limit)
        seen.append(ids)
        if after == position:
            break
        position = after
    assert sorted(id_ for ids in seen for id_ in ids) == list(range(18))
    most = {ReadMaxFiles: getattr(limit, "max_files", 0), ReadMaxBytes: 1 if limit == ReadMaxBytes(1) else 6}
    assert max(map(len, seen)) == 3 * most[type(limit)]


def test_a_stream_breaks_off_where_rows_are_changed(lake):
    lake.write("t", numbers(0, 3))
    source = stream(lake)
    _, end = told(source, source.initialOffset())
    lake["t"].update({"name": "'new'"}, where="id = 1")
    with pytest.raises(ValueError, match=r"version 1 \(UPDATE\) changes or removes rows.*ignore_changes"):
        told(source, end)
    ids, _ = told(stream(lake, ignore_changes="true"), end)
    assert sorted(ids) == [0, 1, 2]  # the file that was written anew
    lake["t"].delete("id = 1", deletion_vectors=True)
    assert told(stream(lake, ignore_changes="true"), asdict(Offset(2)))[0] == []
    with pytest.raises(ValueError, match="change_feed is given without from_version"):
        stream(lake, change_feed="true")
    source = stream(lake, change_feed="true", from_version="1")
    (task, last) = source.partitions(source.initialOffset(), asdict(Offset(3)))
    rows = [row for each in (task, last) for batch in source.read(sent(each)) for row in batch.to_pylist()]
    kinds = [(row["id"], row["_change_type"], row["_commit_version"]) for row in rows if row["id"] == 1]
    assert sorted(kinds) == [(1, "delete", 1), (1, "delete", 2), (1, "insert", 1)]

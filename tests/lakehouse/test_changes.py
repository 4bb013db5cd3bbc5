"""The change data feed: what the commits say row by row, and what follows from their files."""

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import ironlake
from ironlake.lakehouse import Table

ROWS = "SELECT range::INT AS id, range % 3 AS part, 'n' || range AS name FROM range(12)"
COLUMNS = "_commit_version, _change_type, id, part, name"


@pytest.fixture
def lake(tmp_path):
    """A table in three partitions with a feed from version 1 on."""
    made = ironlake.open(tmp_path / "lake")
    made.write("t", duckdb.sql(ROWS), partition_by="part")
    made["t"].set_properties({"delta.enableChangeDataFeed": True})
    return made


def told(table, start, end=None, columns=COLUMNS):
    return table.changes(start, end).project(columns).order("ALL").fetchall()


def by_deltalake(table, start, end=None, columns=COLUMNS):
    feed = pa.table(DeltaTable(table.path).load_cdf(starting_version=start, ending_version=end).read_all())
    return duckdb.from_arrow(feed).project(columns).order("ALL").fetchall()


def replayed(table, start):
    """The rows of the newest version, from those of a version and the changes since."""
    was = duckdb.sql(f"FROM lake_scan('{table.path}', version => {start})").to_arrow_table()
    changes = table.changes(start + 1).to_arrow_table()
    columns = ", ".join(name for name in changes.column_names if name[0] != "_")
    query = f"SELECT {columns}, n FROM (SELECT {columns}, 1 AS n FROM was UNION ALL SELECT {columns}, "
    query += "CASE WHEN _change_type IN ('insert', 'update_postimage') THEN 1 ELSE -1 END AS n FROM changes)"
    found = duckdb.sql(f"SELECT {columns}, sum(n) AS n FROM ({query}) GROUP BY ALL HAVING sum(n) <> 0 ORDER BY ALL")
    assert len(was) + len(changes)
    return found.fetchall()


def newest(table):
    rows = duckdb.sql(f"SELECT *, count(*) AS n FROM lake_scan('{table.path}') GROUP BY ALL ORDER BY ALL")
    return rows.fetchall()


OPERATIONS = {
    "append": lambda lake: lake.write("t", duckdb.sql(ROWS).filter("id < 4"), mode="append"),
    "overwrite": lambda lake: lake.write("t", duckdb.sql(ROWS).filter("id > 4"), mode="overwrite"),
    "replace": lambda lake: lake.write(
        "t", duckdb.sql("SELECT 40 AS id, 1::BIGINT AS part, 'r' AS name"), mode="overwrite", where="part = 1"
    ),
    "delete": lambda lake: lake["t"].delete("id % 4 = 1", deletion_vectors=False),
    "mark": lambda lake: lake["t"].delete("id % 5 = 2", deletion_vectors=True),
    "purge": lambda lake: lake["t"].delete("part = 2", deletion_vectors=True),
    "update": lambda lake: lake["t"].update({"name": "name || '!'"}, "id % 3 = 0", deletion_vectors=False),
    "move": lambda lake: lake["t"].update({"part": "0"}, "id = 5 OR id = 7", deletion_vectors=True),
    "merge": lambda lake: (
        lake["t"]
        .merge(duckdb.sql("SELECT * FROM (VALUES (3, 0, 'm'), (90, 1, 'm')) t(id, part, name)"), "id")
        .when_matched_update()
        .when_not_matched_insert()
        .when_not_matched_by_source_delete("target.id = 6")
        .execute()
    ),
    "optimize": lambda lake: lake["t"].optimize(),
    "restore": lambda lake: lake["t"].restore(max(lake["t"].version - 2, 1)),
}


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=5), st.booleans())
def test_changes_lead_from_one_version_to_another(tmp_path_factory, names, feed):
    lake = ironlake.open(tmp_path_factory.mktemp("lake"))
    lake.write("t", duckdb.sql(ROWS), partition_by="part")
    lake["t"].set_properties({"delta.enableChangeDataFeed": feed, "note": "x"})
    for name in names:
        OPERATIONS[name](lake)
    for start in {0, max(lake["t"].version - 1, 0)}:
        if start < lake["t"].version:
            assert replayed(lake["t"], start) == newest(lake["t"])
    if feed and not {"mark", "purge", "move", "restore"} & set(names):  # deltalake overlooks vectors of whole files
        assert told(lake["t"], 1) == by_deltalake(lake["t"], 1)


def test_every_kind_of_change(lake):
    table = lake["t"]
    OPERATIONS["merge"](lake)
    table.delete("id = 9", deletion_vectors=True)
    table.delete("id IN (9, 10)", deletion_vectors=True)
    assert told(table, 2) == [
        (2, "delete", 6, 0, "n6"),
        (2, "insert", 90, 1, "m"),
        (2, "update_postimage", 3, 0, "m"),
        (2, "update_preimage", 3, 0, "n3"),
        (3, "delete", 9, 0, "n9"),
        (4, "delete", 10, 1, "n10"),
    ]
    assert told(table, 2) == by_deltalake(table, 2)
    ((low, high),) = table.changes(2).aggregate("min(_commit_timestamp), max(_commit_timestamp)").fetchall()
    assert low < high
    by_time = table.changes(from_timestamp=high.isoformat()).fetchall()
    assert by_time == table.changes(4).fetchall()
    assert table.changes(2, to_timestamp=low.isoformat()).count("*").fetchall() == [(4,)]
    assert table.changes(from_timestamp="2200-01-01").fetchall() == []
    in_sql = f"FROM delta_changes('{table.path}', 2, NULL) SELECT {COLUMNS} ORDER BY ALL"
    assert duckdb.sql(in_sql).fetchall() == told(table, 2)


def test_changes_without_a_feed_follow_from_the_files(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"id": range(6)}))
    lake["t"].delete("id = 2", deletion_vectors=True)
    lake["t"].delete("id IN (1, 4)", deletion_vectors=True)
    lake["t"].optimize()  # changes no row
    lake["t"].restore(1)
    lake["t"].delete()
    columns = "_commit_version, _change_type, id"
    assert told(lake["t"], 1, None, columns) == [
        (1, "delete", 2),
        (2, "delete", 1),
        (2, "delete", 4),
        *[(4, "delete", id_) for id_ in (0, 3, 5)],
        *[(4, "insert", id_) for id_ in (0, 1, 3, 4, 5)],
        *[(5, "delete", id_) for id_ in (0, 1, 3, 4, 5)],
    ]


def test_rows_come_back_with_their_vector(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"id": range(6)}))
    lake["t"].delete("id = 2", deletion_vectors=True)
    lake["t"].delete("id IN (1, 4)", deletion_vectors=True)
    lake["t"].restore(1)
    columns = "_commit_version, _change_type, id"
    assert told(lake["t"], 3, None, columns) == [(3, "insert", 1), (3, "insert", 4)]


def test_columns_of_the_last_version(lake):
    table = lake["t"]
    table.update({"name": "'x'"}, "id = 3")
    table.rename_column("name", "title")
    table.add_columns({"extra": pa.int32()})
    table.update({"title": "'y'", "extra": "7"}, "id = 4")
    columns = "_commit_version, _change_type, id, part, title, extra"
    assert told(table, 2, None, columns) == [
        (2, "update_postimage", 3, 0, "x", None),
        (2, "update_preimage", 3, 0, "n3", None),
        (5, "update_postimage", 4, 1, "y", 7),
        (5, "update_preimage", 4, 1, "n4", None),
    ]
    assert [row[-1] for row in told(table, 2, 2)] == ["x", "n3"]
    table.drop_columns("extra")
    with pytest.raises(
        ValueError, match=r"^Table.changes\('t'\): .* in version 5 there is a column 'extra', which is no"
    ):
        table.changes(5)
    assert told(table, 6, None, "id") == []


def test_columns_by_number(tmp_path):
    properties = {"delta.columnMapping.mode": "id", "delta.minReaderVersion": "2", "delta.minWriterVersion": "5"}
    write_deltalake(tmp_path / "t", pa.table({"id": range(4)}), configuration=properties)
    table = Table(tmp_path / "t")
    table.set_properties({"delta.enableChangeDataFeed": True})
    table.update({"id": "id + 10"}, "id = 1")
    assert told(table, 0, None, "_change_type, id") == [
        *[("insert", id_) for id_ in range(4)],
        ("update_postimage", 11),
        ("update_preimage", 1),
    ]


def test_a_column_of_another_type(lake):
    lake.write("t", pa.table({"id": ["a"], "part": [1], "name": ["b"]}), mode="overwrite")
    for start in (1, 2):  # version 2 deletes rows of the old type
        with pytest.raises(ValueError, match=f"in version {start or 1} .* 'id', which is INTEGER and became VARCHAR"):
            lake["t"].changes(start)
    assert len(told(lake["t"], 0, 1)) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "neither from_version nor from_timestamp is given"),
        ({"from_version": 1, "from_timestamp": "2020-01-01"}, "both from_version and from_timestamp are given"),
        ({"from_version": 9}, "from_version is 9, and the last version is 2"),
        ({"from_version": 2, "to_version": 1}, "from_version is 2, and the last version is 1"),
        ({"from_version": 0, "to_version": 7}, "has no version 7; available are 0 to 2"),
        ({"from_version": -1}, "version is -1; expected an integer from 0 on"),
        ({"from_timestamp": "noon"}, "timestamp is 'noon'; expected one such as"),
    ],
)
def test_ranges_that_are_none(lake, arguments, message):
    lake["t"].update({"name": "''"})
    with pytest.raises(ValueError, match=rf"^Table.changes\('t'\): .*{message}"):
        lake["t"].changes(**arguments)


def test_what_is_gone_is_told(lake):
    table = lake["t"]
    table.update({"name": "''"})
    table.checkpoint()
    table.delete("id = 1")
    for version in (0, 1, 2):
        (table.path / "_delta_log" / f"{version:020}.json").unlink()
    with pytest.raises(ValueError, match="has no version 1; available are 2 to 3"):
        table.changes(1)
    with pytest.raises(ValueError, match="the commit of version 2 is gone: changes are known from version 3 on"):
        table.changes(2)
    assert len(told(table, 3)) == 1
    for each in (table.path / "_change_data").rglob("*.parquet"):
        each.unlink()
    with pytest.raises(FileNotFoundError, match="the changes of version 3 need the file '_change_data.*which is gone"):
        table.changes(3)


def test_columns_that_the_feed_needs(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"_change_type": ["a"]}))
    with pytest.raises(ValueError, match="the table has a column '_change_type'; rename it"):
        lake["t"].changes(0)

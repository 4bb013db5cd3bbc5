"""Updating and merging rows, against DuckDB's own statements; rules that rows keep; the change data feed."""

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

import ironlake
from ironlake.lakehouse import ConflictError, ConstraintError
from ironlake.lakehouse.snapshot import open_snapshot
from ironlake.lakehouse.transaction import Transaction

ROWS = "SELECT range::INT AS id, range % 3 AS part, 'n' || range AS name FROM range(20)"
SOURCE = "SELECT * FROM (VALUES (2, 2, 'two'), (5, 2, 'five'), (30, 1, 'new')) source(id, part, name)"


@pytest.fixture
def lake(tmp_path):
    made = ironlake.open(tmp_path / "lake")
    made.write("t", duckdb.sql(ROWS), partition_by="part")
    return made


def rows(lake, name="t"):
    return lake.sql(f"FROM {name} ORDER BY ALL").fetchall()


def by_deltalake(lake, name="t"):
    table = DeltaTable(lake.root / name)
    columns = ", ".join(f'"{field.name}"' for field in table.schema().fields)
    found = pa.table(QueryBuilder().register("t", table).execute(f"SELECT {columns} FROM t").read_all())
    return duckdb.from_arrow(found).order("ALL").fetchall()


# ------------------------------------------------------------------------------------------------------------- update


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([{"name": "upper(name)"}, {"id": "id + 100", "name": "NULL"}, {"part": "(part + 1) % 3"}]),
            st.sampled_from([None, "id < 7", "part = 1", "name LIKE 'n1%'", "name IS NULL", "id > 5000"]),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_updates_are_those_of_duckdb(tmp_path_factory, updates):
    lake = ironlake.open(tmp_path_factory.mktemp("lake"))
    lake.write("t", duckdb.sql(ROWS), partition_by="part")
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t AS {ROWS}")
        for values, where, marking in updates:
            told = lake["t"].update(values, where, deletion_vectors=marking)
            sets = ", ".join(f"{name} = {value}" for name, value in values.items())
            (count,) = con.execute(f"UPDATE t SET {sets} WHERE {where or 'true'}").fetchone()
            assert told["rows_updated"] == count
        wanted = con.execute("FROM t ORDER BY ALL").fetchall()
    assert rows(lake) == wanted
    assert by_deltalake(lake) == wanted


@pytest.mark.parametrize(
    ("values", "where", "message"),
    [
        ({"nope": "1"}, None, r"^Table.update\('t'\): there is no column 'nope'; the columns are 'id', 'part', 'name'"),
        ({"id": "'a'"}, None, r"^Table.update\('t'\): .* a new value fails: .*Could not convert"),
        ({"id": "300000 * 300000"}, "id = 1", "fails: .*"),
        ({"name": "nope"}, None, "nope"),
        ({"id": "1"}, "nope = 2", "the predicate 'nope = 2' is not valid"),
    ],
)
def test_updates_that_are_none(lake, values, where, message):
    with pytest.raises(ValueError, match=message):
        lake["t"].update(values, where)
    assert lake["t"].version == 0


# -------------------------------------------------------------------------------------------------------------- merge

CLAUSES = {
    "update": ("when_matched_update", "WHEN MATCHED {} THEN UPDATE SET name = source.name", {"name": "source.name"}),
    "whole": ("when_matched_update", "WHEN MATCHED {} THEN UPDATE", None),
    "delete": ("when_matched_delete", "WHEN MATCHED {} THEN DELETE", ()),
    "insert": ("when_not_matched_insert", "WHEN NOT MATCHED {} THEN INSERT", None),
    "some": ("when_not_matched_insert", "WHEN NOT MATCHED {} THEN INSERT (id) VALUES (source.id)", {"id": "source.id"}),
    "others": (
        "when_not_matched_by_source_update",
        "WHEN NOT MATCHED BY SOURCE {} THEN UPDATE SET name = target.name || '!'",
        {"name": "target.name || '!'"},
    ),
    "purge": ("when_not_matched_by_source_delete", "WHEN NOT MATCHED BY SOURCE {} THEN DELETE", ()),
}
CONDITIONS = {
    "when_matched_update": [None, "target.part <> 1", "source.name > 's5'"],
    "when_matched_delete": [None, "target.id % 2 = 0"],
    "when_not_matched_insert": [None, "source.id > 22"],
    "when_not_matched_by_source_update": [None, "target.part = 2"],
    "when_not_matched_by_source_delete": [None, "target.id > 15"],
}


@st.composite
def clauses(draw):
    chosen = draw(st.lists(st.sampled_from(sorted(CLAUSES)), min_size=1, max_size=4))
    drawn, closed = [], set()
    for name in chosen:
        method = CLAUSES[name][0]
        found = method.rsplit("_", 1)[0]
        if found not in closed:
            condition = draw(st.sampled_from(CONDITIONS[method]))
            drawn.append((name, condition))
            closed |= set() if condition else {found}
    return drawn


@settings(max_examples=40, deadline=None)
@given(
    clauses(),
    st.sets(st.integers(0, 30), max_size=8),
    st.sampled_from(["id", "target.id = source.id", "source.id = target.id AND target.part < 2"]),
    st.booleans(),
)
def test_merges_are_those_of_duckdb(tmp_path_factory, chosen, keys, on, marking):
    lake = ironlake.open(tmp_path_factory.mktemp("lake"))
    lake.write("t", duckdb.sql(ROWS), partition_by="part")
    source = f"SELECT k::INT AS id, (k + 1) % 3 AS part, 's' || k AS name FROM unnest({sorted(keys)}::INT[]) u(k)"
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE target AS {ROWS}")
        said = []
        merge = lake["t"].merge(duckdb.sql(source), on)
        for name, condition in chosen:
            method, sql, values = CLAUSES[name]
            said.append(sql.format(f"AND {condition}" if condition else ""))
            getattr(merge, method)(*([] if values == () else [values]), condition=condition)
        match = "target.id = source.id" if on == "id" else on
        con.execute(f"MERGE INTO target USING ({source}) AS source ON ({match}) {' '.join(said)}")
        wanted = con.execute("FROM target ORDER BY ALL").fetchall()
    merge.execute(deletion_vectors=marking)
    assert rows(lake) == wanted
    assert by_deltalake(lake) == wanted


def test_only_files_with_a_key_are_read(tmp_path):
    lake = ironlake.open(tmp_path)
    for start in range(0, 100, 10):
        lake.write("t", duckdb.sql(f"SELECT range AS id, 0 AS v FROM range({start}, {start + 10})"), mode="append")
    told = lake["t"].merge(pa.table({"id": [3, 55], "v": [1, 1]}), on="id").when_matched_update().execute()
    assert (told["rows_updated"], told["files_removed"]) == (2, 2)
    missing = lake.root / "t" / open_snapshot(lake.root / "t", None, "").state.files["path"][0].as_py()
    missing.rename(missing.with_suffix(".away"))  # a file without such keys is not even opened
    told = lake["t"].merge(pa.table({"id": [95, 96], "v": [1, 1]}), on="id").when_matched_delete().execute()
    assert told["rows_deleted"] == 2


def test_rows_matched_several_times(lake):
    twice = pa.table({"id": [2, 2], "name": ["a", "b"]})
    with pytest.raises(ValueError, match=r"^Table.merge\('t'\): 1 row of the table is matched by several rows"):
        lake["t"].merge(twice, "id").when_matched_update().execute()
    assert lake["t"].version == 0
    assert lake["t"].merge(twice, "id").when_matched_delete().execute()["rows_deleted"] == 1


@pytest.mark.parametrize(
    ("on", "clause", "message"),
    [
        ("nope", "when_matched_update", "nope"),
        (["id", "q"], "when_matched_update", "on names 'q', but the columns of the table are 'id', 'part', 'name'"),
        ("id = 3", "when_matched_update", "mbiguous"),
        ("target.id =", "when_matched_update", "on is not valid"),
        ("id", None, r"there is no clause; expected one such as when_matched_update\(\)"),
    ],
)
def test_merges_that_are_none(lake, on, clause, message):
    merge = lake["t"].merge(duckdb.sql(SOURCE), on)
    if clause:
        getattr(merge, clause)()
    with pytest.raises(ValueError, match=rf"^Table.merge\('t'\): .*{message}"):
        merge.execute()
    assert lake["t"].version == 0


def test_clauses_out_of_reach(lake):
    merge = lake["t"].merge(duckdb.sql(SOURCE), "id").when_matched_delete("source.id = 2").when_matched_update()
    with pytest.raises(
        ValueError, match=r"^Table.merge\('t'\): a clause without a condition fits all such rows already"
    ):
        merge.when_matched_delete("source.id = 5")


def test_a_merge_into_a_table_from_itself(lake):
    lake["t"].merge(lake.sql("SELECT id, 'self' AS name FROM t WHERE id < 3"), "id").when_matched_update().execute()
    assert lake.sql("SELECT count(*) FROM t WHERE name = 'self'").fetchall() == [(3,)]


# ------------------------------------------------------------------------------------- overwriting a part, new columns


def test_rows_are_replaced_by_a_condition(lake):
    lake.write("t", duckdb.sql("SELECT 100 AS id, 1::BIGINT AS part, 'x' AS name"), mode="overwrite", where="part = 1")
    assert [row for row in rows(lake) if row[1] == 1] == [(100, 1, "x")]
    assert len(rows(lake)) == 14
    with pytest.raises(ConstraintError, match=r"^Lake.write\('t'\): the predicate 'id > 5' does not hold for 1 row"):
        lake.write("t", duckdb.sql("SELECT 1 AS id, 1::BIGINT AS part, 'x' AS name"), mode="overwrite", where="id > 5")
    with pytest.raises(ValueError, match=r"where is given with mode='append'"):
        lake.write("t", pa.table({"id": [1]}), mode="append", where="id > 5")
    assert (len(rows(lake)), lake["t"].version) == (14, 1)


def test_schemas_are_merged(lake):
    lake.write("t", duckdb.sql("SELECT 50 AS id, 1.5::DOUBLE AS extra"), mode="append", merge_schema=True)
    assert lake.sql("SELECT part, name, extra FROM t WHERE id = 50").fetchall() == [(None, None, 1.5)]
    assert lake.sql("SELECT count(*) FROM t WHERE extra IS NULL").fetchall() == [(20,)]
    with pytest.raises(ValueError, match="column 'extra' is VARCHAR, not DOUBLE"):
        lake.write("t", pa.table({"extra": ["a"]}), mode="append", merge_schema=True)
    with pytest.raises(ValueError, match="differ only by case"):
        lake.write("t", pa.table({"ID": [1]}), mode="append", merge_schema=True)
    assert by_deltalake(lake) == rows(lake)


# --------------------------------------------------------------------------------------------- columns and constraints


def test_columns_are_renamed_dropped_and_added(lake):
    table = lake["t"]
    table.rename_column("name", "title")
    table.rename_column("part", "shelf")
    table.add_columns({"tags": pa.list_(pa.struct({"a": pa.int32(), "b": pa.string()}))})
    lake.write(
        "t",
        duckdb.sql("SELECT 77::INT AS id, 1::BIGINT AS shelf, 'x' AS title, [{'a': 1, 'b': 'y'}] AS tags"),
        mode="append",
    )
    assert by_deltalake(lake) == rows(lake)
    assert rows(lake)[-1] == (77, 1, "x", [{"a": 1, "b": "y"}])
    assert lake.sql("SELECT title FROM t WHERE shelf = 2 AND id = 5").fetchall() == [("n5",)]
    table.drop_columns("title")
    table.add_columns({"title": pa.int64()})
    assert lake.sql("SELECT count(title) FROM t").fetchall() == [(0,)]  # the values of the former column stay away
    assert len(lake.table("t", version=0).fetchall()[0]) == 3
    table.update({"title": "id * 2"}, "id = 77")
    assert by_deltalake(lake) == rows(lake)
    table.delete("id < 70", deletion_vectors=True)
    assert by_deltalake(lake) == rows(lake) == [(77, 1, [{"a": 1, "b": "y"}], 154)]


def test_constraints(lake):
    table = lake["t"]
    table.add_constraint("small", "id < 1000")
    with pytest.raises(ConstraintError, match=r"^Table.update\('t'\): the constraint 'small' \(id < 1000\) does not"):
        table.update({"id": "id + 1000"}, "id < 3")
    with pytest.raises(ConstraintError, match="20 rows, such as") as raised:
        table.update({"id": "id + 1000"})
    assert str(raised.value).count("'id'") == 5
    source = pa.table({"id": pa.array([5000], pa.int32())})
    with pytest.raises(ConstraintError, match="'small'"):
        table.merge(source, "id").when_not_matched_insert().execute()
    assert table.version == 1
    assert {file.name for file in lake.root.rglob("*.parquet")} == {
        path.rsplit("/", 1)[-1] for path in open_snapshot(lake.root / "t", None, "").files
    }  # what was written for the commits that failed is gone
    with pytest.raises(Exception, match="failed validation check"):  # other writers see the rule
        write_deltalake(
            lake.root / "t", pa.table({"id": pa.array([5000], pa.int32()), "part": [1], "name": ["x"]}), mode="append"
        )
    table.drop_constraint("small")
    table.update({"id": "id + 1000"}, "id < 3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.add_constraint("big", "id > 15"), r"add_constraint\('t'\): the constraint 'big' .* for 16 rows"),
        (lambda t: t.add_constraint("a b", "id > 0"), "the name 'a b' of a constraint is not valid"),
        (lambda t: t.add_constraint("c", "nope > 0"), "the predicate 'nope > 0' is not valid"),
        (lambda t: t.add_constraint("fine", "id >= 0"), "the table has a constraint 'fine'"),
        (lambda t: t.drop_constraint("c"), "the table has no constraint 'c'; it has fine"),
        (lambda t: t.rename_column("id", "key"), r"the constraint 'fine' \(id >= 0\) needs the column 'id'"),
        (lambda t: t.rename_column("nope", "key"), "there is no column 'nope'"),
        (lambda t: t.rename_column("name", "PART"), "the table has a column 'PART'"),
        (lambda t: t.drop_columns("part"), "the table is partitioned by the column 'part'"),
        (lambda t: t.drop_columns("name", "id"), "the constraint 'fine'|no column would be left"),
        (lambda t: t.add_columns({"Name": pa.int64()}), "the table has a column 'name'"),
        (lambda t: t.add_columns({"u": pa.uint8()}), "cast it to int16"),
        (lambda t: t.set_properties({"delta.enableRowTracking": True}), "needs a feature that is not known here"),
        (lambda t: t.set_properties({"delta.constraints.x": "id > 3"}), "is a constraint; use add_constraint"),
        (lambda t: t.set_properties({"delta.columnMapping.mode": "id"}), "is 'none', and cannot become 'id'"),
    ],
)
def test_changes_of_the_table_that_are_none(lake, change, message):
    lake["t"].add_constraint("fine", "id >= 0")
    with pytest.raises((ValueError, TypeError), match=message):
        change(lake["t"])
    assert lake["t"].version == 1


def test_properties(lake):
    lake["t"].set_properties({"delta.appendOnly": True, "note": "kept"})
    with pytest.raises(ValueError, match="append-only"):
        lake["t"].update({"id": "1"})
    assert DeltaTable(lake.root / "t").metadata().configuration == {"delta.appendOnly": "true", "note": "kept"}
    lake["t"].set_properties({"delta.appendOnly": None})
    assert lake["t"].update({"id": "1"}, "id = 3")["rows_updated"] == 1


def test_generated_columns(tmp_path):
    lake = ironlake.open(tmp_path)
    from deltalake import Field, Schema
    from deltalake.schema import PrimitiveType

    computed = Field("double", PrimitiveType("long"), True, metadata={"delta.generationExpression": "x * 2"})
    DeltaTable.create(tmp_path / "t", Schema([Field("x", PrimitiveType("long"), True), computed]))
    lake.write("t", pa.table({"x": [1, 2]}), mode="append")
    lake.write("t", pa.table({"x": [3], "double": [6]}), mode="append")
    with pytest.raises(ConstraintError, match=r"the generated column 'double' \(x \* 2\) does not hold for 1 row"):
        lake.write("t", pa.table({"x": [3], "double": [7]}), mode="append")
    lake["t"].update({"x": "x + 10"}, "x = 2")
    assert rows(lake) == [(1, 2), (3, 6), (12, 24)]
    with pytest.raises(ConstraintError, match="needs the column 'x'"):
        lake["t"].rename_column("x", "y")


# ------------------------------------------------------------------------------------------------------ other writers


def test_a_constraint_meets_rows_of_another_writer(lake, monkeypatch):
    commit = Transaction.commit

    def late(self):
        monkeypatch.setattr(Transaction, "commit", commit)
        lake["t"].update({"id": "-1"}, "id = 3")
        return commit(self)

    monkeypatch.setattr(Transaction, "commit", late)
    with pytest.raises(ConflictError, match=r"^Table.add_constraint\('t'\): .* version 1 \(UPDATE\)"):
        lake["t"].add_constraint("positive", "id >= 0")


def test_the_change_data_feed(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", pa.table({"id": [1, 2, 3, 4], "v": [10, 20, 30, 40]}))
    lake["t"].set_properties({"delta.enableChangeDataFeed": True})
    lake["t"].update({"v": "v + 1"}, "id = 2")
    lake["t"].delete("id = 1")
    lake["t"].delete("id = 3", deletion_vectors=True)
    merge = lake["t"].merge(pa.table({"id": [2, 7], "v": [5, 8]}), on="id")
    merge.when_matched_update().when_not_matched_insert().when_not_matched_by_source_delete().execute()
    feed = pa.table(DeltaTable(tmp_path / "t").load_cdf(starting_version=2).read_all())
    columns = "_commit_version, _change_type, id, v"
    assert duckdb.from_arrow(feed).project(columns).order(columns).fetchall() == [
        (2, "update_postimage", 2, 21),
        (2, "update_preimage", 2, 20),
        (3, "delete", 1, 10),
        (4, "delete", 3, 30),
        (5, "delete", 4, 40),
        (5, "insert", 7, 8),
        (5, "update_postimage", 2, 5),
        (5, "update_preimage", 2, 21),
    ]

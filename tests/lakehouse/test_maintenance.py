"""Keeping tables in shape: checkpoints, files of a good size in a good order, old files, old versions, clones."""

import json
import os
import time

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

import ironlake
from ironlake.lakehouse import ConflictError, Table
from ironlake.lakehouse.optimize import optimize
from ironlake.lakehouse.snapshot import _cache, open_snapshot
from ironlake.lakehouse.transaction import Transaction

ROWS = "SELECT i AS id, i % 3 AS part, 'n' || i AS name, (hash(i) % 1000)::INT AS x, (hash(-i) % 1000)::INT AS y"


@pytest.fixture
def lake(tmp_path):
    """A table of seven files in three partitions, one file with a deletion vector, at version 3."""
    made = ironlake.open(tmp_path / "lake")
    made.write("t", duckdb.sql(f"{ROWS} FROM range(300) t(i)"), partition_by="part")
    made.write("t", duckdb.sql(f"{ROWS} FROM range(300, 330) t(i)"), mode="append")
    made.write("t", duckdb.sql(f"{ROWS} FROM range(330, 331) t(i)"), mode="append")
    made["t"].delete("id IN (4, 7)", deletion_vectors=True)
    return made


def rows(lake, name="t", **version):
    return lake.table(name, **version).order("ALL").fetchall()


def by_deltalake(path):
    table = DeltaTable(path)
    columns = ", ".join(f'"{field.name}"' for field in table.schema().fields)
    found = pa.table(QueryBuilder().register("t", table).execute(f"SELECT {columns} FROM t").read_all())
    return duckdb.from_arrow(found).order("ALL").fetchall()


# --------------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_stands_for_the_log_before(lake):
    wanted = rows(lake)
    table = lake["t"]
    table.add_constraint("positive", "x >= 0")
    assert table.checkpoint() == 4
    files = duckdb.sql(f"FROM delta_files('{table.path}')").fetchall()
    for version in range(5):
        (table.path / "_delta_log" / f"{version:020}.json").unlink()
    _cache.clear()
    assert rows(lake) == wanted == by_deltalake(table.path)
    assert duckdb.sql(f"FROM delta_files('{table.path}')").fetchall() == files
    told = json.loads((table.path / "_delta_log" / "_last_checkpoint").read_text())
    assert (told["version"], told["numOfAddFiles"]) == (4, 7)
    with pytest.raises(ValueError, match="positive"):
        lake.write("t", duckdb.sql("SELECT 1 AS id, 1 AS part, '' AS name, -1 AS x, 1 AS y"), mode="append")
    assert lake["t"].delete("id = 10")["version"] == 5
    assert len(rows(lake)) == len(wanted) - 1


def test_a_checkpoint_follows_a_checkpoint(lake):
    table = lake["t"]
    table.checkpoint()
    table.delete("id < 9")
    wanted = rows(lake)
    assert table.checkpoint() == 4
    _cache.clear()
    assert rows(lake) == wanted == by_deltalake(table.path)
    assert table.checkpoint() == 4  # nothing happens


def test_a_checkpoint_keeps_transactions_domains_and_young_tombstones(lake):
    table = lake["t"]
    with Transaction(open_snapshot(table.path, None, ""), "TEST", None) as change:
        change.actions.append({"txn": {"appId": "app", "version": 7, "lastUpdated": 1}})
        change.actions.append({"domainMetadata": {"domain": "d", "configuration": "{}", "removed": False}})
        change.actions.append({"domainMetadata": {"domain": "gone", "configuration": "{}", "removed": True}})
        change.commit()
    table.delete("part = 2")
    table.checkpoint()
    _cache.clear()
    state = open_snapshot(table.path, None, "").state
    assert (state.transactions, state.domains) == ({"app": 7}, {"d": "{}"})
    (file,) = (table.path / "_delta_log").glob("*.checkpoint.parquet")
    removed = duckdb.sql(f"SELECT count(*) FROM '{file}' WHERE remove.path IS NOT NULL").fetchall()
    assert removed == [(3,)]  # the partition's two files, and one that has a deletion vector since


def test_checkpoints_come_by_themselves(lake):
    lake["t"].set_properties({"delta.checkpointInterval": 3})
    for number in range(5):
        lake.write("t", duckdb.sql(f"{ROWS} FROM range({number}, {number + 1}) t(i)"), mode="append")
    found = sorted(file.name for file in (lake["t"].path / "_delta_log").glob("*.checkpoint.parquet"))
    assert found == ["00000000000000000006.checkpoint.parquet", "00000000000000000009.checkpoint.parquet"]


def test_a_commit_stands_without_its_checkpoint(lake):
    with pytest.warns(UserWarning, match="version 4 .* has no checkpoint"):
        lake["t"].set_properties({"delta.checkpointInterval": "soon"})
    assert lake["t"].version == 4


# ------------------------------------------------------------------------------------------------------------ optimize


def test_small_files_become_one_in_each_partition(lake):
    wanted = rows(lake)
    assert lake["t"].optimize() == {"version": 4, "files_removed": 7, "files_added": 3}
    assert rows(lake) == wanted == by_deltalake(lake["t"].path)
    order = [id_ for (id_,) in lake.sql("SELECT id FROM t WHERE part = 1").fetchall()]
    assert order == [id_ for id_ in range(331) if id_ % 3 == 1 and id_ not in (4, 7)]  # as they were written
    assert lake["t"].optimize() == {"version": 4, "files_removed": 0, "files_added": 0}
    _, *actions = map(json.loads, (lake["t"].path / "_delta_log" / f"{4:020}.json").read_text().splitlines())
    assert len(actions) == 10
    assert not any(entry["dataChange"] for action in actions for entry in action.values())


def test_rows_keep_their_order_between_files_with_and_without_vectors(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    for start in range(0, 50, 10):
        lake.write("t", duckdb.sql(f"SELECT range AS id FROM range({start}, {start + 10})"), mode="append")
    lake["t"].delete("id IN (12, 33)", deletion_vectors=True)
    assert lake["t"].optimize()["files_added"] == 1
    assert [id_ for (id_,) in lake.sql("FROM t").fetchall()] == [id_ for id_ in range(50) if id_ not in (12, 33)]


def test_only_files_of_a_condition_are_rewritten(lake):
    wanted = rows(lake)
    assert lake["t"].optimize(where="part = 0")["files_removed"] == 3
    assert lake["t"].optimize(where="part = 5") == {"version": 4, "files_removed": 0, "files_added": 0}
    assert rows(lake) == wanted


def test_files_that_are_full_stay(lake):
    assert lake["t"].optimize(file_bytes=1)["files_removed"] == 1  # it has a deletion vector


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-5, 5),
            st.none() | st.text("aé'\"\\ ", max_size=3),
            st.none() | st.floats(allow_nan=True, width=32),
            st.none() | st.decimals(-9, 9, places=2, allow_nan=False),
            st.none() | st.binary(max_size=2),
            st.none() | st.datetimes(timezones=st.none()),
        ),
        min_size=1,
    ),
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True),
    st.sampled_from(["hilbert", "morton"]),
)
def test_any_columns_can_give_the_order(tmp_path_factory, values, order, curve):
    lake = ironlake.open(tmp_path_factory.mktemp("lake"))
    types = [pa.int64(), pa.string(), pa.float32(), pa.decimal128(10, 2), pa.binary(), pa.timestamp("us")]
    columns = zip("abcdef", zip(*values, strict=True), types, strict=True)
    data = pa.table({name: pa.array(column, type_) for name, column, type_ in columns})
    lake.write("t", data)
    lake.write("t", data, mode="append")
    wanted = lake.sql("SELECT t::VARCHAR FROM t ORDER BY ALL").fetchall()
    assert lake["t"].optimize(order, curve=curve)["files_removed"] == 2
    assert lake.sql("SELECT t::VARCHAR FROM t ORDER BY ALL").fetchall() == wanted


@pytest.mark.parametrize("curve", ["hilbert", "morton"])
def test_files_in_the_order_of_a_curve_are_narrow_in_every_column(tmp_path, curve):
    lake = ironlake.open(tmp_path / "lake")
    lake.write("t", duckdb.sql(f"{ROWS} FROM range(2_000_000) t(i)"))

    def depths():
        found = duckdb.sql(f"FROM delta_clustering_depth('{lake['t'].path}', ['x', 'y'])").fetchall()
        return found[0][1], found[0][3], found[1][3]

    lake["t"].optimize("x", file_bytes=100_000)
    files, x, y = depths()
    assert files > 8
    assert x < 2.5  # values that are equal lie in two files
    assert y == files
    lake["t"].optimize(["x", "y"], file_bytes=100_000, curve=curve)
    files, x, y = depths()
    assert max(x, y) < 0.75 * files
    assert lake.sql("SELECT sum(id) FROM t").fetchall() == [(2_000_000 * 1_999_999 // 2,)]


def test_clustering_depth_of_known_files(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    for low, high in ((0, 10), (5, 15), (10, 20), (30, 40)):
        data = pa.table({"x": [low, high], "n": pa.array([None, None], pa.int64()), "p": ["a", "a"]})
        lake.write("t", data, mode="append", partition_by="p" if low == 0 else None)
    query = f"FROM delta_clustering_depth('{lake['t'].path}', ['x', 'n', 'p'])"
    # Where they begin: 0 is in one file, 5 in two, 10 in three, 30 in one.
    wanted = [("x", 4, 0, 1.75, 3), ("n", 4, 4, None, None), ("p", 4, 0, 4.0, 4)]
    assert duckdb.sql(query).fetchall() == wanted
    with pytest.raises(duckdb.Error, match="argument columns: there is no column 'z' with an order; expected some of"):
        duckdb.sql(query.replace("'x'", "'z'"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"order_by": "z"},
            "argument order_by: there is no column 'z'; the columns are 'id', 'part', 'name', 'x', 'y'",
        ),
        ({"order_by": "part"}, "argument order_by: the table is partitioned by 'part'"),
        ({"order_by": ["x"] * 8}, "argument order_by has 8 columns; expected 7 at most"),
        ({"curve": "peano"}, "argument curve is 'peano'; expected 'hilbert' or 'morton'"),
        ({"file_bytes": 0}, "argument file_bytes is 0; expected a number of bytes, from 1 on"),
        ({"where": "nope"}, "the predicate 'nope' is not valid"),
    ],
)
def test_bad_arguments_of_optimize(lake, arguments, message):
    with pytest.raises(ValueError, match=rf"^Table.optimize\('t'\): .*{message}"):
        lake["t"].optimize(**arguments)
    assert lake["t"].version == 3


def test_nested_columns_have_no_order(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    lake.write("t", pa.table({"x": [[1]]}))
    with pytest.raises(ValueError, match=r"'x' is a BIGINT\[\], which has no order"):
        lake["t"].optimize("x")


def test_appends_meanwhile_are_no_conflict_and_deletions_are(lake, monkeypatch):
    then = open_snapshot(lake["t"].storage, None, "")

    def old(path, version, where):
        return then if version is None else open_snapshot(path, version, where)

    lake.write("t", duckdb.sql(f"{ROWS} FROM range(400, 401) t(i)"), mode="append")
    wanted = rows(lake)
    monkeypatch.setattr("ironlake.lakehouse.optimize.open_snapshot", old)
    assert lake["t"].optimize()["version"] == 5
    assert rows(lake) == wanted
    files = set(lake["t"].path.rglob("*.parquet"))
    with pytest.raises(ConflictError, match="OPTIMIZE failed: version 5 .OPTIMIZE. changed the same files"):
        optimize(lake["t"].storage, None, None, "hilbert", 1 << 20, "")
    assert set(lake["t"].path.rglob("*.parquet")) == files
    assert rows(lake) == wanted


# -------------------------------------------------------------------------------------------------------------- vacuum


def age(*files, hours=200):
    for file in files:
        os.utime(file, (time.time() - hours * 3600,) * 2)


def data_files(table):
    return {file for file in table.path.rglob("*.*") if file.is_file() and "_delta_log" not in file.parts}


def test_vacuum_removes_what_no_version_of_the_last_time_needs(lake):
    table = lake["t"]
    old = data_files(table)
    age(*old)
    table.optimize()
    places = ("part=9/stray.parquet", "young.parquet", "_mine/x.parquet", "_change_data/c.parquet")
    stray, young, hidden, change = files = [table.path / place for place in places]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    age(stray, hidden, change)
    wanted = rows(lake)
    told = table.vacuum()
    # What the version before needs was needed until now.
    assert told["path"].to_pylist() == ["_change_data/c.parquet", "part=9/stray.parquet"]
    assert stray.exists()
    assert table.vacuum(dry_run=False).equals(told)
    assert [file.exists() for file in files] == [False, True, True, False]
    assert rows(lake, version=3) == wanted
    gone = {table.path / path for path in table.vacuum(0, dry_run=False, force=True)["path"].to_pylist()}
    assert gone == {*old, young}
    assert any(file.suffix == ".bin" for file in gone)
    assert rows(lake) == wanted == by_deltalake(table.path)
    with pytest.raises(
        FileNotFoundError, match="are gone: version 4 took it out of the table, which was vacuumed since"
    ):
        rows(lake, version=3)


def test_vacuum_keeps_files_whose_names_the_log_encodes(tmp_path):
    lake = ironlake.open(tmp_path / "lake")
    lake.write("t", pa.table({"x": [1, 2, 3], "p": ["a b", "ä/é", "100%"]}), partition_by="p")
    wanted = rows(lake)
    assert lake["t"].vacuum(0, dry_run=False, force=True).num_rows == 0
    assert rows(lake) == wanted


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        (1, "argument retain_hours is 1, and the table keeps files for 168 hours"),
        (-1, "argument retain_hours is -1; expected a number of hours, from 0 on"),
        (float("nan"), "argument retain_hours is nan"),
    ],
)
def test_vacuum_of_a_time_that_is_none_or_too_short(lake, hours, message):
    with pytest.raises(ValueError, match=rf"^Table.vacuum\('t'\): {message}"):
        lake["t"].vacuum(hours, dry_run=False)


def test_vacuum_keeps_files_as_long_as_the_table_says(lake):
    lake["t"].set_properties({"delta.deletedFileRetentionDuration": "interval 1 day 12 hours"})
    with pytest.raises(ValueError, match="the table keeps files for 36 hours"):
        lake["t"].vacuum(35, dry_run=False)
    assert lake["t"].vacuum(36, dry_run=False).num_rows == 0


# ------------------------------------------------------------------------------------------------- restore and clones


@pytest.mark.parametrize("version", range(4))
def test_restore_is_the_old_version(lake, version):
    table = lake["t"]
    wanted = rows(lake, version=version)
    table.rename_column("name", "title")
    table.optimize()
    table.update({"x": "x + 1"})
    assert table.restore(version)["version"] == 7
    assert rows(lake) == wanted == by_deltalake(table.path)
    assert lake.table("t").columns == ["id", "part", "name", "x", "y"]
    assert table.restore(version)["files_added"] == 0
    lake.write("t", duckdb.sql(f"{ROWS} FROM range(1) t(i)"), mode="append")
    assert len(rows(lake)) == len(wanted) + 1 == len(by_deltalake(table.path))


def test_restore_by_time(lake):
    then = time.time() - 100
    for version in range(2):
        os.utime(lake["t"].path / "_delta_log" / f"{version:020}.json", (then + version,) * 2)
    wanted = rows(lake, version=1)
    lake["t"].restore(timestamp=duckdb.sql(f"SELECT to_timestamp({then + 5})::VARCHAR").fetchall()[0][0])
    assert rows(lake) == wanted


def test_restores_that_cannot_be(lake):
    table = lake["t"]
    with pytest.raises(ValueError, match=r"^Table.restore\('t'\): expected either a version or a timestamp"):
        table.restore()
    with pytest.raises(ValueError, match="has no version 9; available are 0 to 3"):
        table.restore(9)
    table.optimize()
    table.vacuum(0, dry_run=False, force=True)
    with pytest.raises(FileNotFoundError, match=r"version 2 cannot be restored: 7 of its files are gone, such as "):
        table.restore(2)
    assert table.version == 4


@pytest.mark.parametrize("shallow", [True, False])
def test_clones_live_on_their_own(lake, tmp_path, shallow):
    wanted = rows(lake)
    made = lake["t"].clone(lake.root / "copy", shallow=shallow)
    assert isinstance(made, Table)
    assert made.version == 0
    assert len(data_files(made)) == (0 if shallow else 8)
    assert rows(lake, "copy") == wanted
    made.delete("id = 5", deletion_vectors=True)
    made.update({"x": "0"}, "part = 2")
    lake["t"].delete("id < 100")
    assert len(rows(lake, "copy")) == len(wanted) - 1
    again = lake["copy"].clone(tmp_path / "again", version=0)
    assert duckdb.sql(f"FROM lake_scan('{again.path}') ORDER BY ALL").fetchall() == wanted == by_deltalake(again.path)


def test_clones_of_old_versions_and_into_places_that_are_taken(lake, tmp_path):
    made = lake["t"].clone(tmp_path / "old", version=0)
    assert duckdb.sql(f"SELECT count(*) FROM lake_scan('{made.path}')").fetchall() == [(300,)]
    with pytest.raises(FileExistsError, match=r"^Table.clone\('t'\): .*old' exists"):
        lake["t"].clone(tmp_path / "old")
    assert made.version == 0

"""Deleting rows: by deletion vectors and by rewriting, beside other writers."""

import json
import threading

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

import ironlake
from ironlake.lakehouse import ConflictError
from ironlake.lakehouse.snapshot import open_snapshot
from ironlake.lakehouse.transaction import Transaction

ROWS = "SELECT range::INT AS id, range % 7 AS part, CASE WHEN range % 5 > 0 THEN 'name ' || range % 11 END AS name"
CONDITIONS = st.sampled_from(
    ["id < 30", "id % 3 = 1", "part = 2", "name IS NULL", "name > 'name 5'", "part IN (1, 5) AND id > 20", "id = 5000"]
)


@pytest.fixture
def lake(tmp_path):
    made = ironlake.open(tmp_path / "lake")
    made.write("t", duckdb.sql(f"{ROWS} FROM range(100)"), partition_by="part")
    return made


def ids(lake):
    return [row[0] for row in lake.sql("SELECT id FROM t ORDER BY id").fetchall()]


def by_deltalake(lake):
    table = DeltaTable(lake.root / "t")
    rows = pa.table(QueryBuilder().register("t", table).execute("SELECT id FROM t ORDER BY id").read_all())
    return rows["id"].to_pylist()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(CONDITIONS, st.sampled_from([True, False, None])), min_size=1, max_size=4))
def test_the_rows_that_are_left_are_those_for_which_no_condition_is_true(tmp_path_factory, deletions):
    lake = ironlake.open(tmp_path_factory.mktemp("lake"))
    lake.write("t", duckdb.sql(f"{ROWS} FROM range(100)"), partition_by="part")
    left = duckdb.sql(f"{ROWS} FROM range(100)")
    for condition, marking in deletions:
        before = len(left)
        left = left.filter(f"({condition}) IS NOT TRUE")
        told = lake["t"].delete(condition, deletion_vectors=marking)
        assert told["rows_deleted"] == before - len(left)
        assert told["version"] == lake["t"].version
    wanted = [row[0] for row in left.order("id").project("id").fetchall()]
    assert ids(lake) == wanted
    assert by_deltalake(lake) == wanted


def test_marked_files_stay_where_they_are(lake):
    files = open_snapshot(lake.root / "t", None, "").files
    told = lake["t"].delete("id BETWEEN 10 AND 12", deletion_vectors=True)
    assert told == {
        "version": 1,
        "rows_updated": 0,
        "rows_deleted": 3,
        "rows_inserted": 0,
        "files_marked": 3,
        "files_removed": 0,
        "files_added": 0,
    }
    assert sorted(open_snapshot(lake.root / "t", None, "").files) == sorted(files)
    assert len(list((lake.root / "t").glob("deletion_vector_*.bin"))) == 1
    assert len(ids(lake)) == 97
    assert len(lake.table("t", version=0).fetchall()) == 100  # earlier versions have them still


def test_a_file_without_rows_leaves_the_table(lake):
    lake["t"].delete("part = 3 AND id > 50", deletion_vectors=True)
    told = lake["t"].delete("part = 3")  # the table's property says how, from now on
    assert (told["files_marked"], told["files_removed"]) == (0, 1)
    assert len(open_snapshot(lake.root / "t", None, "").files) == 6


def test_the_log_says_what_was_done(lake):
    lake["t"].delete("part = 1 AND id > 50", deletion_vectors=True)
    commit = [json.loads(line) for line in (lake.root / "t/_delta_log" / f"{1:020}.json").read_text().splitlines()]
    kinds = [next(iter(action)) for action in commit]
    assert kinds == ["commitInfo", "metaData", "protocol", "remove", "add"]
    info, add = commit[0]["commitInfo"], commit[-1]["add"]
    assert (info["operation"], info["operationMetrics"]["numDeletedRows"]) == ("DELETE", "7")
    assert add["deletionVector"]["cardinality"] == 7
    stats = json.loads(add["stats"])
    assert (stats["numRecords"], stats["tightBounds"]) == (15, False)
    features = commit[2]["protocol"]["writerFeatures"]
    assert {"appendOnly", "invariants", "deletionVectors"} <= set(features)  # those that the number stood for stay


def test_rows_can_be_appended_behind_deleted_ones(lake):
    lake["t"].delete("id < 90", deletion_vectors=True)
    lake.write("t", duckdb.sql(f"{ROWS} FROM range(200, 203)"), mode="append")
    assert ids(lake) == [*range(90, 100), 200, 201, 202]


@pytest.mark.parametrize("marking", [True, False])
def test_nothing_found_is_no_version(lake, marking):
    told = lake["t"].delete("id > 1000", deletion_vectors=marking)
    assert (told["rows_deleted"], told["version"], lake["t"].version) == (0, 0, 0)


def test_paths_of_special_characters(tmp_path):
    lake = ironlake.open(tmp_path)
    words = ["a b", "ü/ö", "50%", "x=y", "q?", "#1"]
    rows = pa.table({"id": range(12), "word": words * 2})
    lake.write("t", rows, partition_by="word")
    lake["t"].delete("id = 3", deletion_vectors=True)
    lake["t"].delete("id = 4", deletion_vectors=False)
    assert ids(lake) == by_deltalake(lake) == [0, 1, 2, *range(5, 12)]


@pytest.mark.parametrize("mode", ["name", "id"])
def test_columns_that_are_mapped(tmp_path, mode):
    properties = {"delta.columnMapping.mode": mode, "delta.minReaderVersion": "2", "delta.minWriterVersion": "5"}
    write_deltalake(tmp_path / "t", pa.table({"id": range(10), "part": [1, 2] * 5}), configuration=properties)
    lake = ironlake.open(tmp_path)
    lake["t"].delete("part = 1 AND id > 3", deletion_vectors=True)
    assert ids(lake) == by_deltalake(lake) == [0, 1, 2, 3, 5, 7, 9]
    lake["t"].delete("id = 1", deletion_vectors=False)
    lake.write("t", pa.table({"id": [100], "part": [1]}), mode="append")
    assert ids(lake) == by_deltalake(lake) == [0, 2, 3, 5, 7, 9, 100]


# ------------------------------------------------------------------------------------------------------ other writers


def _change(lake, condition, file):
    snapshot = open_snapshot(lake.root / "t", None, "")
    change = Transaction(snapshot, "DELETE", condition)
    change.remove(file)
    return change


def test_appends_of_others_are_no_conflict(lake):
    change = _change(lake, "part = 0", 0)
    write_deltalake(lake.root / "t", duckdb.sql(f"{ROWS} FROM range(7, 8)").to_arrow_table(), mode="append")
    written = lake.root / "t/_delta_log" / f"{1:020}.json"
    if '"isBlindAppend"' not in written.read_text():  # a writer that does not tell: the rows may have been derived
        with pytest.raises(ConflictError, match="version 1 .*wrote rows that it should have seen"):
            change.commit()
        written.write_text(written.read_text().replace('{"commitInfo":{', '{"commitInfo":{"isBlindAppend":true,', 1))
    assert change.commit() == 2


def test_a_deletion_elsewhere_is_no_conflict(lake):
    change = _change(lake, "part = 0", 0)
    other = open_snapshot(lake.root / "t", None, "").partitions["part"].index("5")
    assert other != 0
    lake["t"].delete("part = 5 AND id > 10", deletion_vectors=True)
    with pytest.raises(ConflictError, match=r"version 1 \(DELETE\) changed the rules"):
        change.commit()  # the first deletion vector of a table changes its protocol
    change = _change(lake, "part = 0", 0)
    lake["t"].delete("part = 5 AND id < 10")
    assert change.commit() == 3


def test_the_same_rows_are_a_conflict(lake):
    lake["t"].delete("id = 99", deletion_vectors=True)
    place = open_snapshot(lake.root / "t", None, "").partitions["part"].index("0")
    change = _change(lake, "part = 0", place)
    lake["t"].delete("id = 7")
    before = ids(lake)
    with pytest.raises(ConflictError, match=r"DELETE failed: version 2 \(DELETE\) changed the same files; try again"):
        change.commit()
    assert ids(lake) == before


def test_writers_side_by_side_lose_nothing(lake):
    lake["t"].delete("id = 99", deletion_vectors=True)
    failures = []

    def work(part):
        try:
            for number in range(5):
                assert lake["t"].delete(f"part = {part} AND id = {part + 7 * number}")["rows_deleted"] == 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[part]) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert lake["t"].version == 21
    assert ids(lake) == [each for each in range(99) if each % 7 > 3 or each > 34]


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("marking", [True, False])
@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("nope = 3", r"Table.delete\('t'\): the predicate 'nope = 3' is not valid: .*The columns are 'id', 'part'"),
        ("id >", r"Table.delete\('t'\): the predicate 'id >' is not valid"),
        ("id = 'a'::INT", r"Table.delete\('t'\): the predicate .* fails: .*Could not convert"),
        ("name::INT = 3", r"Table.delete\('t'\): the predicate .* fails: .*Could not convert"),
        ("true; DROP TABLE t", r"Table.delete\('t'\): the predicate .* is not valid"),
    ],
)
def test_conditions_that_are_none(lake, condition, message, marking):
    with pytest.raises(ValueError, match=message):
        lake["t"].delete(condition, deletion_vectors=marking)
    assert lake["t"].version == 0


def test_tables_that_keep_their_rows(tmp_path):
    lake = ironlake.open(tmp_path)
    write_deltalake(tmp_path / "log", pa.table({"id": [1]}), configuration={"delta.appendOnly": "true"})
    with pytest.raises(ValueError, match=r"Table.delete\('log'\): the table is append-only"):
        lake["log"].delete(deletion_vectors=True)
    with pytest.raises(FileNotFoundError, match=r"Lake\('missing'\): "):
        lake["missing"].delete()


def test_a_failed_commit_leaves_no_files(lake, monkeypatch):
    before = sorted((lake.root / "t").rglob("*"))

    def overtaken(self):
        raise ConflictError("overtaken")

    monkeypatch.setattr(Transaction, "commit", overtaken)
    for marking in (True, False):
        with pytest.raises(ConflictError):
            lake["t"].delete("id = 3", deletion_vectors=marking)
    assert sorted((lake.root / "t").rglob("*")) == before


def test_many_rows_of_large_files(tmp_path):
    lake = ironlake.open(tmp_path)
    lake.write("t", duckdb.sql("SELECT range AS id FROM range(1_000_000)"))
    assert (
        lake["t"].delete("id % 2 = 0 OR id BETWEEN 300_000 AND 400_000", deletion_vectors=True)["rows_deleted"]
        == 550_000
    )
    left = lake.sql("SELECT id FROM t ORDER BY id").fetchnumpy()["id"]
    every = np.arange(1_000_000)
    assert np.array_equal(left, every[(every % 2 == 1) & ((every < 300_000) | (every > 400_000))])

"""What is wrong with a table, or with what is asked of it, is told in one sentence; the table stays as it was.

A row of `CASES` is a damage to a table, or none; what is then done; and the error.
"""

import json
import re
import warnings

import duckdb
import pyarrow as pa
import pytest

import ironlake
from ironlake.lakehouse import ConflictError, ConstraintError
from ironlake.lakehouse.snapshot import _cache, open_snapshot
from ironlake.lakehouse.storage import Disk


@pytest.fixture
def lake(tmp_path):
    """A table in two partitions, of versions 0 to 3, with a deletion vector of its own in version 2."""
    made = ironlake.open(tmp_path / "lake")
    made.write("t", duckdb.sql("SELECT range AS id, range % 2 AS part FROM range(10)"), partition_by="part")
    made.write("t", duckdb.sql("SELECT range AS id, range % 2 AS part FROM range(20, 22)"), mode="append")
    made["t"].delete("id = 4", deletion_vectors=True)
    made.write("t", duckdb.sql("SELECT 30 AS id, 1::BIGINT AS part"), mode="append")
    return made


def rows(lake):
    return lake.table("t").order("ALL").fetchall()


def log(lake, version):
    return lake.root / "t" / "_delta_log" / f"{version:020}.json"


def edit(lake, version, change):
    """Let a function change the actions of a commit."""
    actions = [json.loads(line) for line in log(lake, version).read_text().splitlines()]
    for action in actions:
        for kind, entry in action.items():
            change(kind, entry)
    log(lake, version).write_text("\n".join(map(json.dumps, actions)))


def remove_a_commit(lake):
    log(lake, 2).unlink()


def clean_up(lake):
    lake["t"].checkpoint()
    log(lake, 0).unlink()


def remove_a_file(lake):
    next((lake.root / "t" / "part=0").glob("*.parquet")).unlink()


def vacuumed(lake):
    lake["t"].delete("part = 1", deletion_vectors=False)
    lake["t"].vacuum(0, dry_run=False, force=True)


def vector(lake):
    (file,) = (lake.root / "t").glob("deletion_vector_*.bin")
    return file


def damage(at):
    """Change a byte of the deletion vector."""

    def change(lake):
        content = bytearray(vector(lake).read_bytes())
        content[at] ^= 0xFF
        vector(lake).write_bytes(content)

    return change


def wrong_cardinality(lake):
    def change(kind, entry):
        if kind == "add" and "deletionVector" in entry:
            entry["deletionVector"]["cardinality"] = 9

    edit(lake, 2, change)


def wrong_value(lake):
    def change(kind, entry):
        if kind == "add":
            entry["partitionValues"]["part"] = "three"

    edit(lake, 1, change)


def unknown_feature(lake):
    def change(kind, entry):
        if kind == "protocol":
            entry["readerFeatures"].append("timeMachine")

    edit(lake, 2, change)


def constrained(lake):
    lake["t"].add_constraint("small", "id < 100")


def dropped(lake):
    lake["t"].add_columns({"extra": pa.int32()})
    lake["t"].drop_columns("extra")


def write(lake, query, **options):
    lake.write("t", duckdb.sql(query), mode="append", **options)


def merge(lake):
    twice = pa.table({"id": [3, 3], "part": [1, 1]})
    lake["t"].merge(twice, "id").when_matched_update().execute()


def unsupported(type_):
    """Write a column of a type to a new table, from a stream that must not be touched."""

    def act(lake):
        def batches():
            raise AssertionError("the data was touched")
            yield

        lake.write("u", pa.RecordBatchReader.from_batches(pa.schema({"c": type_}), batches()))

    return act


def overtaken(lake):
    from ironlake.lakehouse.snapshot import open_snapshot
    from ironlake.lakehouse.transaction import Transaction

    with Transaction(open_snapshot(lake.root / "t", None, ""), "DELETE", "id = 8") as change:
        change.remove(0)
        lake["t"].delete("part = 0", deletion_vectors=False)
        change.commit()


def nothing(lake):
    pass


MISMATCH = "SELECT 'a' AS id, 1 AS other"
CASES = {
    "not a table": (nothing, lambda lake: lake_scan(lake.root), duckdb.Error, "is not a Delta table.*it holds the tables t"),
    "inside a table": (
        nothing, lambda lake: lake_scan(lake.root / "t" / "part=0"), duckdb.Error, "the table that encloses it is '.*/t'",
    ),
    "version in the future": (nothing, lambda lake: lake.table("t", 9), ValueError, r"has no version 9; available are 0 to 3"),
    "version cleaned up": (clean_up, lambda lake: lake.table("t", 1), ValueError, "has no version 1; available are 3 to 3"),
    "before the first commit": (
        nothing, lambda lake: lake.table("t", timestamp="2001-01-01"), ValueError, "has no version of 2001.*first commit",
    ),
    "gap": (remove_a_commit, rows, ValueError, "gap: the commit of version 2 is missing, version 3 needs it"),
    "missing file": (remove_a_file, rows, FileNotFoundError, "version 3 .*needs the data file .*which is gone: no later version"),
    "vacuumed file": (
        vacuumed, lambda lake: lake.table("t", 0), FileNotFoundError, "version 0 .*is gone: version 4 took it out .*vacuumed",
    ),
    "checksum": (damage(20), rows, ValueError, "deletion vector at 1 of .* is damaged: its checksum is wrong"),
    "size": (damage(4), rows, ValueError, "deletion vector at 1 of .* has not the size of its descriptor"),
    "format": (damage(0), rows, ValueError, "deletion vectors in .* are of an unknown format"),
    "cardinality": (wrong_cardinality, rows, ValueError, "has 1 rows, its descriptor says 9"),
    "unknown feature": (unknown_feature, rows, ValueError, "needs the reader feature 'timeMachine'; known are columnMapping"),
    "partition value": (wrong_value, rows, ValueError, "value 'three' of the partition column 'part', which is no BIGINT"),
    "schema": (
        nothing, lambda lake: write(lake, MISMATCH), ValueError,
        "missing column 'part'; unknown column 'other'; column 'id' is VARCHAR, not BIGINT",
    ),
    "constraint": (
        constrained, lambda lake: write(lake, "SELECT 200 + range AS id, 1 AS part FROM range(7)"), ConstraintError,
        r"the constraint 'small' \(id < 100\) does not hold for 7 rows, such as (\{'id': 20\d, 'part': 1\}(, )?){5}$",
    ),
    "conflict": (nothing, overtaken, ConflictError, r"DELETE failed: version 4 \(DELETE\) changed the same files; try again"),
    "vacuum": (
        nothing, lambda lake: lake["t"].vacuum(1, dry_run=False), ValueError, "retain_hours is 1, .* for 168 hours.*force=True",
    ),
    "several matches": (nothing, merge, ValueError, "1 row of the table is matched by several rows of the source, up to 2"),
    "names that differ by case": (
        nothing, lambda lake: lake.write("u", pa.table({"id": [1], "ID": [2]})), ValueError, "'id' and 'ID' differ only by case",
    ),
    "dropped column": (
        dropped, lambda lake: lake.table("t", where="extra = 1"), ValueError, "'extra = 1' is not valid.*columns are 'id', 'part'",
    ),
    "half float": (nothing, unsupported(pa.float16()), TypeError, r"'c' has type halffloat.*cast it to float32 \(FLOAT"),
    "unsigned": (nothing, unsupported(pa.uint8()), TypeError, r"'c' has type uint8.*cast it to int16 \(SMALLINT"),
    "time": (nothing, unsupported(pa.time64("us")), TypeError, r"'c' has type time64.*cast it to int64 \(microseconds\)"),
    "duration": (nothing, unsupported(pa.duration("us")), TypeError, r"'c' has type duration.*int64 \(microseconds\)"),
}  # fmt: skip


def lake_scan(path):
    duckdb.sql(f"FROM lake_scan('{path}')").fetchall()


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_told(lake, name):
    damaged, act, error, message = CASES[name]
    damaged(lake)
    _cache.clear()
    commits = sorted(log(lake, 0).parent.glob("*.json"))
    with pytest.raises(error) as told:
        act(lake)
    assert re.search(message, str(told.value)), str(told.value)
    assert "\n" not in str(told.value).split("LINE 1:")[0].strip()
    if name != "conflict":
        assert sorted(log(lake, 0).parent.glob("*.json")) == commits
    assert lake.tables() == ["t"]


@pytest.mark.parametrize("content", ["", "{", '{"version": 99}', '{"version": "x", "size": -1}', "[]"])
def test_a_damaged_hint_of_the_last_checkpoint_is_told_and_not_needed(lake, content):
    wanted = rows(lake)
    lake["t"].checkpoint()
    hint = lake.root / "t" / "_delta_log" / "_last_checkpoint"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _cache.clear()
        assert rows(lake) == wanted
    hint.write_text(content)
    _cache.clear()
    with pytest.warns(UserWarning, match="_last_checkpoint' names no checkpoint of the table"):
        assert rows(lake) == wanted


def test_a_commit_that_a_listing_left_out_is_looked_for_again(lake, monkeypatch):
    """A directory that is written to while it is read may show a later commit, and not the one before."""
    wanted, entries, listed = rows(lake), Disk.entries, []

    def some(self, path=""):
        found = entries(self, path)
        listed.append(path)
        return [entry for entry in found if entry.name != log(lake, 2).name] if len(listed) == 1 else found

    _cache.clear()
    table = lake["t"].storage
    _cache.clear()
    listed.clear()
    monkeypatch.setattr(Disk, "entries", some)
    assert open_snapshot(table, None, "").version == 3
    assert len(listed) == 2
    assert rows(lake) == wanted


def test_a_checkpoint_with_a_missing_part_is_left_out(lake):
    wanted = rows(lake)
    (lake.root / "t" / "_delta_log" / f"{3:020}.checkpoint.{1:010}.{2:010}.parquet").write_bytes(b"half")
    _cache.clear()
    assert rows(lake) == wanted

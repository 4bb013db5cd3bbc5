"""A writer that is killed at random moments of its commits: what it had been told is there, and nothing is torn.

    python tests/lakehouse/kill_writer.py KILLS SEED

What the commit of a version does follows from its number, so the rows of every version are known. After each kill the
new versions are read, by Ironlake and by deltalake; in the end all of them are, once more after a vacuum.
"""

import multiprocessing
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

import ironlake

#: What each writer needs; they are forked from a process that has it.
PRELOADED = ["ironlake", "duckdb", "deltalake", "pyarrow.fs", "pyarrow.parquet", "numba.core.runtime.nrt"]
PRELOADED += [f"ironlake.lakehouse.{name}" for name in ("checkpoint", "delete", "merge", "optimize", "write")]
#: Versions that make the table.
FIRST = 2


def chance(seed, version):
    return random.Random(f"{seed} {version}")


def plan(rows, seed, version):
    """What the commit of a version does: a kind and ids; rows is a dict of id to value."""
    dice = chance(seed, version)
    kind = dice.choice(["append", "delete", "mark", "update", "merge", "optimize"])
    if len(rows) < 10:
        kind = "append"
    elif len(rows) > 300:
        kind = "mark"
    new = list(range(1000 * version, 1000 * version + dice.randrange(1, 20)))
    return kind, new if kind == "append" else sorted(dice.sample(sorted(rows), len(rows) // 3)), new


def applied(rows, seed, version):
    """The rows after the commit of a version."""
    if version < FIRST:
        return dict.fromkeys(range(20), 0)
    kind, ids, new = plan(rows, seed, version)
    if kind in ("delete", "mark"):
        return {id_: value for id_, value in rows.items() if id_ not in set(ids)}
    if kind in ("update", "merge"):
        rows = {**rows, **{id_: rows[id_] + 1 for id_ in ids}}
    return rows if kind in ("update", "optimize") else {**rows, **dict.fromkeys(new, 0)}


def commit(lake, rows, seed, version):
    """Make a version; its number."""
    kind, ids, new = plan(rows, seed, version)
    table, condition = lake["t"], f"id IN ({', '.join(map(str, ids))})"
    if kind == "append":
        return lake.write("t", pa.table({"id": new, "v": [0] * len(new)}), mode="append")
    if kind in ("delete", "mark"):
        return table.delete(condition, deletion_vectors=kind == "mark")["version"]
    if kind == "update":
        return table.update({"v": "v + 1"}, condition, deletion_vectors=version % 2 == 0)["version"]
    if kind == "optimize":
        return table.optimize(order_by="id")["version"]
    source = pa.table({"id": ids + new, "v": [rows[id_] + 1 for id_ in ids] + [0] * len(new)})
    return table.merge(source, "id").when_matched_update().when_not_matched_insert().execute()["version"]


def write(root, seed, told):
    """Commit one version after the other, and tell of each."""
    lake = ironlake.open(root)
    newest = lake["t"].version
    rows = {}
    for version in range(newest + 1):
        rows = applied(rows, seed, version)
    told.send(newest)
    while True:
        newest += 1
        made = commit(lake, rows, seed, newest)
        assert made == newest, f"{made} was made in the place of {newest}"
        told.send(made)
        rows = applied(rows, seed, newest)


def check(path, version, rows):
    wanted = sorted(rows.items())
    found = duckdb.sql(f"SELECT id, v FROM lake_scan('{path}', version => {version}) ORDER BY ALL").fetchall()
    assert found == wanted, f"version {version} has the rows {found}, not {wanted}"
    table = QueryBuilder().register("t", DeltaTable(path, version=version))
    other = pa.table(table.execute("SELECT id, v FROM t ORDER BY id").read_all())
    assert list(zip(*other.to_pydict().values(), strict=True)) == wanted, f"deltalake reads version {version} otherwise"


def main(kills, seed):
    context, dice = multiprocessing.get_context("forkserver"), random.Random(seed)
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as root:
        lake, path = ironlake.open(root), Path(root, "t")
        lake.write("t", pa.table({"id": range(20), "v": [0] * 20}))
        lake["t"].set_properties({"delta.checkpointInterval": 5, "delta.enableDeletionVectors": True})
        pace = 0.5  # seconds that a commit takes
        versions, unheard = [applied({}, seed, version) for version in range(FIRST)], 0
        for number in range(kills):
            print(f"kill {number + 1} of {kills}, {len(versions)} versions", end="\r", file=sys.stderr)
            here, there = context.Pipe(duplex=False)
            writer = context.Process(target=write, args=(root, seed, there))
            writer.start()
            there.close()
            heard = here.recv()
            for _ in range(dice.randrange(3)):
                started = time.monotonic()
                heard = here.recv()
                pace = time.monotonic() - started
            writer.join(dice.uniform(0, 1.5 * pace))  # somewhere in the next commit, or the one after
            writer.kill()
            writer.join()
            assert writer.exitcode == -signal.SIGKILL, f"the writer ended by itself: {writer.exitcode}"
            try:
                while here.poll():
                    heard = here.recv()
            except EOFError:
                pass
            newest = lake["t"].version
            assert heard <= newest <= heard + 1, f"version {heard} was told, version {newest} is there"
            unheard += newest > heard
            for version in range(len(versions), newest + 1):
                versions.append(applied(versions[-1], seed, version))
                check(path, version, versions[version])
            old = dice.randrange(newest + 1)
            check(path, old, versions[old])
        for version, rows in enumerate(versions):
            check(path, version, rows)
        drafts = len([file for file in (path / "_delta_log").iterdir() if file.name.startswith(".")])
        removed = lake["t"].vacuum(retain_hours=0, dry_run=False, force=True).num_rows
        check(path, len(versions) - 1, versions[-1])
    print(
        f"{kills} kills, {len(versions)} versions, {unheard} of them made but not told, {drafts} drafts of commits and "
        f"{removed} old files left, 0 lost, 0 torn"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

"""Writers side by side: no commit is lost, and whoever reads meanwhile sees whole versions.

    python tests/lakehouse/many_writers.py WRITERS COMMITS SEED

Each writer appends batches of rows and deletes batches of its own. Every read is of one version, by Ironlake or by
deltalake; once all versions are known, its rows must be exactly those that the commits up to that version lead to.
"""

import multiprocessing
import random
import sys
import tempfile
from queue import Empty

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

import ironlake
from ironlake.lakehouse import ConflictError
from ironlake.lakehouse.scan import read
from ironlake.lakehouse.snapshot import open_snapshot

PRELOADED = ["ironlake", "duckdb", "deltalake", "pyarrow.fs", "pyarrow.parquet", "numba.core.runtime.nrt"]
PRELOADED += [f"ironlake.lakehouse.{name}" for name in ("checkpoint", "delete", "write", "scan")]
READERS = 2
BATCH_ROWS = 10
BATCHES = "SELECT writer, batch, count(*) AS rows FROM t GROUP BY ALL ORDER BY ALL"


def write(root, writer, commits, seed, told):
    """Commit, and tell of each: its version, the batch, and whether it came or went; then how many tries failed."""
    lake, dice, mine, failed = ironlake.open(root), random.Random(f"{seed} {writer}"), [], 0
    for number in range(commits):
        while True:
            try:
                if len(mine) > 1 and dice.random() < 0.4:
                    batch = mine[0]
                    condition = f"writer = {writer} AND batch = {batch}"
                    change = lake["t"].delete(condition, deletion_vectors=writer % 2 == 0)
                    assert change["rows_deleted"] == BATCH_ROWS
                    told.put((change["version"], (writer, mine.pop(0)), False))
                else:
                    rows = {"writer": [writer] * BATCH_ROWS, "batch": [number] * BATCH_ROWS, "row": range(BATCH_ROWS)}
                    version = lake.write("t", pa.table(rows), mode="append")
                    mine.append(number)
                    told.put((version, (writer, number), True))
                break
            except ConflictError:
                failed += 1
    told.put((None, failed, None))


def look(root, reader, stop, told):
    """Read the newest version again and again, and tell which it was and what it has."""
    path, seen = f"{root}/t", []
    while not stop.is_set() or not seen:
        if reader % 2:
            table = DeltaTable(path)
            version, t = (
                table.version(),
                pa.table(QueryBuilder().register("t", table).execute("SELECT * FROM t").read_all()),
            )
        else:
            snapshot = open_snapshot(path, None, "")
            version, t = snapshot.version, read(snapshot).read_all()
        assert t is not None
        seen.append((version, duckdb.sql(BATCHES).fetchall()))
    told.put(seen)


def heard(queue, processes):
    """What comes next; whoever should have said it and died is told."""
    while True:
        try:
            return queue.get(timeout=1)
        except Empty:
            assert not any(process.exitcode for process in processes), "a process failed"


def main(writers, commits, seed):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as root:
        lake = ironlake.open(root)
        lake.write("t", pa.table({"writer": [-1], "batch": [0], "row": [0]}))
        lake["t"].set_properties({"delta.enableDeletionVectors": True, "delta.checkpointInterval": 20})
        stop, told, read_ = context.Event(), context.Queue(), context.Queue()
        reading = [context.Process(target=look, args=(root, reader, stop, read_)) for reader in range(READERS)]
        writing = [context.Process(target=write, args=(root, each, commits, seed, told)) for each in range(writers)]
        for process in (*reading, *writing):
            process.start()
        news = [heard(told, [*reading, *writing]) for _ in range(writers * (commits + 1))]
        stop.set()
        reads = [read for _ in reading for read in heard(read_, reading)]
        for process in (*reading, *writing):
            process.join()
            assert process.exitcode == 0
        done = {version: (batch, came) for version, batch, came in news if version is not None}
        assert sorted(done) == list(range(2, 2 + writers * commits)), "a version is missing, or was told twice"
        versions = [{(-1, 0): 1}, {(-1, 0): 1}]
        for version in sorted(done):
            batch, came = done[version]
            rows = {**versions[-1], batch: BATCH_ROWS}
            if not came:
                del rows[batch]
            versions.append(rows)
        for version, rows in reads:
            wanted = [(*batch, count) for batch, count in sorted(versions[version].items())]
            assert rows == wanted, f"version {version} was read as {rows}, not {wanted}"
        assert lake["t"].version == len(versions) - 1
        assert lake.sql(BATCHES).fetchall() == [(*batch, count) for batch, count in sorted(versions[-1].items())]
    failed = sum(number for version, number, _ in news if version is None)
    print(
        f"{len(done)} commits by {writers} writers, {failed} conflicts told and tried again, {len(reads)} reads of "
        f"{len({version for version, _ in reads})} versions, 0 lost, 0 torn"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""The test tables of the Delta Lake project: those with expected rows must have them, the others must be refused.

    python tests/lakehouse/test_golden.py CHECKOUT

checks all of a checkout of https://github.com/delta-io/delta-kernel-rs; the tests check the small ones, which are in
`golden`.
"""

import io
import re
import sys
import tarfile
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import ironlake  # noqa: F401 - the functions

#: What is said of the tables that cannot be read: their logs are damaged, or name files that do not exist.
REFUSED = {
    "checkpoint": "needs the data file .* which (is|are) gone",
    "data-reader-absolute-paths-escaped-chars": "the log has no metaData action",
    "delete-re-add-same-file-different-transactions": "needs the data file .* which (is|are) gone",
    "deltalog-commit-info": "the log has no schema",
    "deltalog-invalid-protocol-version": "needs reader version 99",
    "deltalog-state-reconstruction-from-checkpoint-missing-metadata": "no metaData action",
    "deltalog-state-reconstruction-from-checkpoint-missing-protocol": "no protocol action",
    "deltalog-state-reconstruction-without-metadata": "no metaData action",
    "deltalog-state-reconstruction-without-protocol": "no protocol action",
    "hive": "not a Delta table",
    "log-replay-special-characters-b": "needs the data file .* which (is|are) gone",
    "no-delta-log-folder": "not a Delta table",
    "update-deleted-directory": "the log has no schema",
    "versions-not-contiguous": "the commit of version 1 is missing",
}
#: Tables without rows, for which nothing is expected.
EMPTY = {f"canonicalized-paths-{kind}" for kind in ("normal-a", "normal-b", "special-a", "special-b")}
#: Partition values that are timestamps of their writer's zone.
ZONES = {"data-reader-partition-values": "America/Los_Angeles"}


def check(archive: Path, folder: Path) -> None:
    """Unpack a table and read it; what is wrong is an AssertionError."""
    name = archive.name.removesuffix(".tar.zst")
    with pa.input_stream(str(archive), compression="zstd") as stream:
        content = io.BytesIO(stream.read())
    with tarfile.open(fileobj=content) as tar:
        tar.extractall(folder, filter="data")
    table = folder / name / "delta"
    scan = f"lake_scan('{table}', partition_timezone => '{ZONES.get(name, 'UTC')}')"
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        if name in REFUSED:
            try:
                con.execute(f"SELECT count(*) FROM {scan}").fetchall()
            except duckdb.Error as error:
                assert re.search(REFUSED[name], str(error)), f"{name}: {error}"  # noqa: PT017
                return
            raise AssertionError(f"{name} was read, and should not have been")
        found = con.sql(f"FROM {scan}")
        if name in EMPTY:
            assert len(found) == 0, f"{name} has rows"
            return
        expected = con.sql(f"FROM read_parquet('{folder / name / 'expected'}/**/*.parquet')")
        assert [each.lower() for each in found.columns] == [each.lower() for each in expected.columns], name
        columns = ", ".join(
            f'"{column}"::{type_} AS "{column}"' for column, type_ in zip(expected.columns, found.types, strict=True)
        )
        con.execute("CREATE TABLE found AS FROM found")
        con.execute(f"CREATE TABLE expected AS SELECT {columns} FROM expected")
        if name not in ZONES:
            con.execute(f"CREATE TABLE viewed AS FROM query(lake_view_sql('{table}'))")
            assert con.table("viewed").types == found.types, name
        viewed = "expected" if name in ZONES else "viewed"
        for one, other in (("found", "expected"), ("expected", "found"), ("expected", viewed), (viewed, "expected")):
            (count,) = con.sql(f"SELECT count(*) FROM (FROM {one} EXCEPT ALL FROM {other})").fetchall()[0]
            assert count == 0, f"{name}: {count} rows are {one} alone"


ARCHIVES = sorted((Path(__file__).parent / "golden").glob("*.tar.zst"))


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.name.removesuffix(".tar.zst"))
def test_golden_table(archive, tmp_path):
    check(archive, tmp_path)


def main() -> None:
    """Check the archives of a checkout."""
    archives = sorted(Path(sys.argv[1]).glob("kernel/tests/golden_data/*.tar.zst"))
    wrong = 0
    for archive in archives:
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(archive, Path(folder))
            except (AssertionError, duckdb.Error, tarfile.TarError) as error:
                wrong += 1
                print(f"{archive.name}: {error}")
    print(f"{len(archives) - wrong} of {len(archives)} tables are as expected")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

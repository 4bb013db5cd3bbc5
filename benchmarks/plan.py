"""Plan a scan of a Delta table whose log names very many files: time and memory, each case in a process of its own.

    pip install polars
    python benchmarks/plan.py [--files 300000] [--commits 300] [--repeat 3]

All but one of the files exist in the log alone; the query wants a hundred rows of the one that is there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from deltalake import write_deltalake
from rich.console import Console
from rich.table import Table

ROWS = 100

_START = """
import re, sys, time, duckdb
path, low = sys.argv[1], int(sys.argv[2])
{imports}
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()
def ask():
    start = time.perf_counter()
    assert {query} == 100
    return time.perf_counter() - start
first = ask()
print(first, min(ask() for _ in range(3)), peak() - before)
"""
_OURS = _START.format(
    imports="import ironlake, ironlake.lakehouse, numba, deltalake; con = duckdb.connect()",
    query="""con.sql(f"SELECT count(*) FROM query(lake_scan_sql('{path}', NULL, 'x BETWEEN {low} AND {low + 99}'))"""
    """ WHERE x BETWEEN {low} AND {low + 99}").fetchall()[0][0]""",
)
_POLARS = _START.format(
    imports="import polars, deltalake",
    query="polars.scan_delta(path).filter(polars.col('x').is_between(low, low + 99)).collect().height",
)
_DELTALAKE = _START.format(
    imports="import pyarrow as pa; from deltalake import DeltaTable, QueryBuilder",
    query="pa.table(QueryBuilder().register('t', DeltaTable(path)).execute("
    "f'SELECT count(*) AS n FROM t WHERE x BETWEEN {low} AND {low + 99}'))['n'][0].as_py()",
)
CASES = {"lake_scan_sql": _OURS, "Polars scan_delta": _POLARS, "deltalake QueryBuilder": _DELTALAKE}


def make(path: Path, files: int, commits: int) -> int:
    """A table that names so many files with statistics; gives the smallest value of the file that is there."""
    write_deltalake(path, pa.table({"x": pa.array([], pa.int64()), "y": pa.array([], pa.float64())}))
    share, chosen = files // commits, files // 2
    file = path / f"part-{chosen:08}.parquet"
    columns = {"x": pa.array(range(chosen * ROWS, chosen * ROWS + ROWS), pa.int64()), "y": pa.array([0.5] * ROWS)}
    pyarrow.parquet.write_table(pa.table(columns), file)
    for commit in range(commits):
        lines = []
        for number in range(commit * share, (commit + 1) * share):
            low, high = number * ROWS, number * ROWS + ROWS - 1
            stats = {
                "numRecords": ROWS, "minValues": {"x": low, "y": 0.01}, "maxValues": {"x": high, "y": 0.99},
                "nullCount": {"x": 0, "y": 0},
            }  # fmt: skip
            add = {
                "path": f"part-{number:08}.parquet", "partitionValues": {}, "size": file.stat().st_size,
                "modificationTime": 0, "dataChange": True, "stats": json.dumps(stats),
            }  # fmt: skip
            lines.append(json.dumps({"add": add}))
        (path / "_delta_log" / f"{commit + 1:020}.json").write_text("\n".join(lines) + "\n")
    return chosen * ROWS


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=300_000)
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=3)
    sizes, _ = parser.parse_known_args()
    told: dict[str, list[list[float]]] = {label: [] for label in CASES}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t")
        low = make(path, sizes.files, sizes.commits)
        for _ in range(sizes.repeat):
            for label, case in CASES.items():
                command = [sys.executable, "-c", case, str(path), str(low)]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                told[label].append([float(each) for each in output.split()])
    table = Table(title=f"a query of one file of {sizes.files:,}")
    for column in ("case", "first", "again", "memory", "time ratio"):
        table.add_column(column, justify="left" if column == "case" else "right")
    base = statistics.median(each[0] for each in told["lake_scan_sql"])
    for label, runs in told.items():
        first, again, memory = (statistics.median(column) for column in zip(*runs, strict=True))
        table.add_row(
            label, f"{first:.2f} s", f"{again * 1e3:.0f} ms", f"{memory / 1024:,.0f} MiB", f"{first / base:.1f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()

"""Merge a few rows into a large Delta table: time and peak memory, each case in a process of its own, in turns.

    python benchmarks/merge.py [--rows 8000000] [--files 8] [--source 1000] [--repeat 3]

Half of the rows of the source update, half are inserted; the keys to update are spread over all files.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

import ironlake

_START = """
import re, sys, time, duckdb, ironlake
from deltalake import DeltaTable
path, source = sys.argv[1:]
rows = duckdb.sql(f"FROM '{source}'").to_arrow_table()
start = time.perf_counter()
"""
_END = """
seconds = time.perf_counter() - start
print(seconds, re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""
_OURS = """
merge = ironlake.lakehouse.Table(path).merge(rows, on="id").when_matched_update().when_not_matched_insert()
merge.execute(deletion_vectors={})
"""
_THEIRS = """
merge = DeltaTable(path).merge(rows, "target.id = source.id", source_alias="source", target_alias="target")
merge.when_matched_update_all().when_not_matched_insert_all().execute()
"""
CASES = {"rewriting": _OURS.format(False), "deletion vectors": _OURS.format(True), "deltalake": _THEIRS}


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--source", type=int, default=1_000)
    parser.add_argument("--repeat", type=int, default=3)
    sizes, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        lake = ironlake.open(f"{folder}/lake")
        share = sizes.rows // sizes.files
        for file in range(sizes.files):
            rows = f"range({file * share}, {(file + 1) * share})"
            columns = "range AS id, random() AS x, random() AS y, 'name ' || range % 100000 AS name, range % 7 AS k"
            lake.write("t", duckdb.sql(f"SELECT {columns} FROM {rows}"), mode="append")
        step = 2 * sizes.rows // sizes.source
        columns = f"range * {step} AS id, 0.5::DOUBLE AS x, 0.5::DOUBLE AS y, 'new' AS name, 1::BIGINT AS k"
        duckdb.sql(f"SELECT {columns} FROM range({sizes.source})").write_parquet(f"{folder}/source.parquet")
        times: dict[str, list[float]] = {label: [] for label in CASES}
        memory: dict[str, list[float]] = {label: [] for label in CASES}
        for _ in range(sizes.repeat):
            for label, case in CASES.items():
                copy = Path(folder, "copy")
                shutil.copytree(lake.root / "t", copy)
                command = [sys.executable, "-c", _START + case + _END, str(copy), f"{folder}/source.parquet"]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                times[label].append(float(told[0]))
                memory[label].append(float(told[1]) / 1024)
                count = duckdb.sql(f"SELECT count(*) FROM lake_scan('{copy}')").fetchall()[0][0]
                assert count == sizes.rows + sizes.source // 2, count
                shutil.rmtree(copy)
    table = Table(title=f"merge {sizes.source:,} rows into {sizes.rows:,}")
    for column in ("case", "median", "time ratio", "peak memory"):
        table.add_column(column, justify="left" if column == "case" else "right")
    base = statistics.median(times["rewriting"])
    for label in CASES:
        median = statistics.median(times[label])
        table.add_row(label, f"{median:.2f} s", f"{median / base:.2f}", f"{max(memory[label]):,.0f} MiB")
    Console().print(table)


if __name__ == "__main__":
    main()

"""RDD programs: one text run by Ironlake, PySpark and pysparkling, beside Dask bags and bare loops where they have it.

Each engine runs in a process of its own, one after the other, with two tasks at a time. Reported are seconds, and CPU
seconds of all processes of the engine, of the second of two runs, without start-up, which is measured apart. Ratios are
of CPU seconds, which other programs on the machine change little. k-means, regression and PageRank are three iterations
over cached data. Run as ``python benchmarks/rdd.py --scale 0.1 [--engines ironlake,pyspark] [program ...]``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rdd_others import Bag, loops
from rdd_programs import PROGRAMS, cpu_seconds

ENGINES = ("ironlake", "pyspark", "pysparkling", "dask", "loop")


def context_of(engine: str) -> Any:
    """The context of an engine with two tasks at a time."""
    if engine == "pyspark":
        from pyspark import SparkConf, SparkContext

        conf = SparkConf().setAll([
            ("spark.ui.enabled", "false"), ("spark.driver.host", "127.0.0.1"),
            ("spark.driver.bindAddress", "127.0.0.1"),
            ("spark.ui.showConsoleProgress", "false"), ("spark.driver.memory", "2g"),
        ])  # fmt: skip
        context = SparkContext("local[2]", "benchmark", conf=conf)
        context.setLogLevel("OFF")
        return context
    if engine == "pysparkling":
        import pysparkling

        return pysparkling.Context()
    from ironlake.rdd import SparkContext as Context

    return Context("local[2]", "benchmark")


def measure(engine: str, names: list[str], scale: float) -> None:
    """Run programs on one engine; a line of JSON for each, and first the start-up."""
    started, before = time.perf_counter(), 0.0
    context = Bag() if engine == "dask" else None if engine == "loop" else context_of(engine)
    if context is not None and engine != "dask":
        context.parallelize([1, 2, 3], 2).count()
    taken = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - before}
    print(json.dumps({"program": "start-up", **taken}), flush=True)
    for name in names:
        try:
            run = loops(name, scale) if engine == "loop" else PROGRAMS[name](context, scale)
            if run is None:
                continue
            run()
            started, before = time.perf_counter(), cpu_seconds()
            result = run()
            taken = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - before}
        except AttributeError as error:
            print(json.dumps({"program": name, "error": str(error)}), flush=True)
            continue
        print(json.dumps({"program": name, **taken, "result": repr(result)}), flush=True)
    if engine in ("ironlake", "pyspark"):
        context.stop()


def main() -> None:
    """Run engines in turn and print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--scale", type=float, default=1.0, help="part of the sizes that the programs name")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--only", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.only:
        measure(told.only, told.programs, told.scale)
        return
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for engine in told.engines.split(","):
        command = [sys.executable, __file__, "--only", engine, "--scale", str(told.scale), *told.programs]
        found[engine] = {}
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(Path(__file__).parent)},
        ) as running:
            assert running.stdout is not None
            for text in running.stdout:
                if text.startswith("{"):
                    line = json.loads(text)
                    found[engine][line["program"]] = line
                    print(engine, text, end="", file=sys.stderr, flush=True)
    show(found, told.scale)


def show(found: dict[str, dict[str, dict[str, Any]]], scale: float) -> None:
    """Print seconds of each engine, and how often Ironlake's fit into them."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"seconds / CPU seconds at scale {scale}, and how many times Ironlake's CPU seconds")
    table.add_column("program")
    for engine in found:
        table.add_column(engine, justify="right")
    for name in ["start-up", *PROGRAMS]:
        base = found.get("ironlake", {}).get(name, {}).get("cpu")
        cells = []
        for engine in found:
            line = found[engine].get(name, {})
            ratio = f" ({line['cpu'] / base:.1f}x)" if "cpu" in line and base else ""
            cells.append(f"{line['seconds']:.2f} / {line['cpu']:.2f}{ratio}" if "cpu" in line else "")
        if any(cells):
            table.add_row(name, *cells)
    Console(width=140).print(table)
    for name in PROGRAMS:
        results = {engine: line[name]["result"] for engine, line in found.items() if "result" in line.get(name, {})}
        if len(set(results.values())) > 1:
            print(f"{name}: results differ: {results}")


if __name__ == "__main__":
    main()

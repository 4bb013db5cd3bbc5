"""Time alternatives in one run: they take turns, so that a machine that slows down slows all of them.

Reported are medians and, since absolute times depend on the machine, ratios to the first case. Each run is also
appended to a Delta table of measurements, ``benchmark_runs``, in the lake of ``--lake DIR``.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
from rich.console import Console
from rich.table import Table

import ironlake


@dataclass
class Benchmark:
    """Cases of one measurement.

    Attributes
    ----------
    name : of the measurement.
    rows : processed by each case, for the rate; 0 where a rate makes no sense.
    cases : label -> what to time; the first one is what the others are compared with.
    """

    name: str
    rows: int = 0
    cases: dict[str, Callable[[], object]] = field(default_factory=dict)

    def run(self, repeat: int = 7) -> dict[str, float]:
        """Time every case ``repeat`` times, in turns, after one untimed turn; gives label -> median seconds."""
        times: dict[str, list[float]] = {label: [] for label in self.cases}
        for turn in range(repeat + 1):
            for label, case in self.cases.items():
                start = time.perf_counter()
                case()
                if turn:
                    times[label].append(time.perf_counter() - start)
        medians = {label: statistics.median(taken) for label, taken in times.items()}
        self.show(medians, times)
        self.log(medians, repeat)
        return medians

    def show(self, medians: dict[str, float], times: dict[str, list[float]]) -> None:
        """Print the table of this measurement."""
        base = next(iter(medians.values()))
        table = Table(title=self.name)
        for column in ("case", "median", "min", "max", "rows/s", "time ratio"):
            table.add_column(column, justify="left" if column == "case" else "right")
        for label, median in medians.items():
            rate = f"{self.rows / median / 1e6:.1f} M" if self.rows else ""
            spread = [f"{seconds * 1e3:.1f} ms" for seconds in (median, min(times[label]), max(times[label]))]
            table.add_row(label, *spread, rate, f"{median / base:.2f}")
        Console().print(table)

    def log(self, medians: dict[str, float], repeat: int) -> None:
        """Append the medians to the trace table ``benchmark_runs``."""
        now = datetime.datetime.now(datetime.UTC)
        base = next(iter(medians.values()))
        rows = [
            {
                "time": now, "benchmark": self.name, "case": label, "median_seconds": median, "ratio": median / base,
                "rows": self.rows, "repeats": repeat, "machine": platform.machine(), "version": ironlake.__version__,
            }
            for label, median in medians.items()
        ]  # fmt: skip
        lake = ironlake.open(lake_folder())
        lake.write("benchmark_runs", pa.Table.from_pylist(rows), mode="append")


def lake_folder() -> str:
    """The folder of the lake that measurements go to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lake", default="benchmark-lake")
    return str(parser.parse_known_args()[0].lake)

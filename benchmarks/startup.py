"""What Ironlake costs before the first row: importing it, opening a database, and the first use of a function.

    python benchmarks/startup.py

Every measurement is a process of its own. ``cold`` starts with an empty cache of compiled functions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Benchmark

AGGREGATE = """
import math, duckdb, ironlake
@ironlake.aggregate
class geo_mean:
    "Geometric mean of positive numbers."
    log_sum: float
    n: int
    def update(self, x: float):
        self.log_sum += math.log(x)
        self.n += 1
    def merge(self, other):
        self.log_sum += other.log_sum
        self.n += other.n
    def finish(self) -> float:
        return math.exp(self.log_sum / self.n)
con = duckdb.connect()
con.sql("SELECT geo_mean(x) FROM range(1, 10) t(x)").fetchall()
"""
LOGISTIC = """
import duckdb, ironlake
con = duckdb.connect()
con.sql("SELECT logistic_fit(x > 3, [x]::FLOAT[], {'step_size': 0.1}) FROM range(9) t(x)").fetchall()
"""


def main() -> None:
    """Run the measurements."""
    with tempfile.TemporaryDirectory() as folder:
        programs = {
            "a.py": "import duckdb, numba",
            "b.py": "import duckdb, numba, ironlake",
            "c.py": "import duckdb, numba, ironlake\nduckdb.connect()",
            "d.py": AGGREGATE,
            "e.py": LOGISTIC,
        }
        for name, program in programs.items():
            Path(folder, name).write_text(program)
        cache = str(Path(folder, "cache"))

        def process(name: str, cold: bool = False) -> None:
            if cold:
                shutil.rmtree(cache, ignore_errors=True)
            environment = {**os.environ, "IRONLAKE_CACHE_DIR": cache}
            subprocess.run([sys.executable, str(Path(folder, name))], env=environment, check=True)

        cases = {
            "import duckdb, numba": lambda: process("a.py"),
            "... and ironlake": lambda: process("b.py"),
            "... and open a database": lambda: process("c.py"),
            "... and use a user's aggregate, cached": lambda: process("d.py"),
            "... and use logistic_fit, cached": lambda: process("e.py"),
        }
        Benchmark("start, cached", 0, cases).run(5)
        cases = {
            "import duckdb, numba": lambda: process("a.py"),
            "use a user's aggregate, cold": lambda: process("d.py", cold=True),
            "use logistic_fit, cold": lambda: process("e.py", cold=True),
        }
        Benchmark("start, cold", 0, cases).run(2)


if __name__ == "__main__":
    main()

"""Two aggregates of one's own: a count of distinct values, and a weighted sample.

python examples/sketches.py
"""

import math

import duckdb
import numpy as np

import ironlake
from ironlake.udf.engine.sqltypes import UTINYINT


@ironlake.aggregate
class distinct_estimate:
    """HyperLogLog with 1,024 registers: an estimate of the number of different values, within some 3 %."""

    registers: list[UTINYINT]

    def init(self):
        self.registers.resize(1024)

    def update(self, x: int):
        h = np.uint64(x) * np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ (h >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        h ^= h >> np.uint64(32)
        register, rest, rank = np.int64(h & np.uint64(1023)), h >> np.uint64(10), 1
        while rest & np.uint64(1) == 0 and rank < 54:
            rest, rank = rest >> np.uint64(1), rank + 1
        self.registers[register] = max(self.registers[register], rank)

    def merge(self, other):
        self.registers[:] = np.maximum(self.registers[:], other.registers[:])

    def finish(self) -> float:
        zeros = np.sum(self.registers[:] == 0)
        if zeros > 25:
            return 1024 * math.log(1024 / zeros)
        return 0.7213 / (1 + 1.079 / 1024) * 1024**2 / np.sum(2.0 ** -self.registers[:].astype(np.float64))


@ironlake.aggregate
class weighted_sample:
    """A sample of ``size`` values, drawn with probabilities that grow with their weights."""

    keys: list[float]
    values: list[float]

    def init(self, size: int = 5):
        if size < 1:
            raise ValueError("option size must be at least 1, got", size)

    def update(self, value: float, weight: float, random: float):
        self.offer(value, math.log(random) / weight)

    def offer(self, value, key):
        if len(self.keys) < self.size:
            self.keys.append(key)
            self.values.append(value)
        else:
            worst = np.argmin(self.keys[:])
            if key > self.keys[worst]:
                self.keys[worst], self.values[worst] = key, value

    def merge(self, other):
        for i in range(len(other.keys)):
            self.offer(other.values[i], other.keys[i])

    def finish(self) -> list[float]:
        return self.values[:]


con = duckdb.connect()
con.sql("CREATE TABLE t AS SELECT i % 3 AS k, (i * i) % 60000 AS x FROM range(1000000) t(i)")
con.sql("SELECT k, distinct_estimate(x) AS estimate, count(DISTINCT x) AS exact FROM t GROUP BY k ORDER BY k").show()
con.sql("SELECT k, weighted_sample(x, 1 + x, random(), {'size': 3}) AS sample FROM t GROUP BY k ORDER BY k").show()

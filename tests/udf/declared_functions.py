"""The functions that the engine's tests share; each distinct signature is compiled once."""

import math
import statistics
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from ironlake.udf.engine import Database, aggregate, relation, scalar, table
from ironlake.udf.engine.sqltypes import FLOAT, UTINYINT, Annotated, parse

#: Of the table functions: fuzzed calls ask for any number.
MOST_ROWS = 1_000_000


def sql(text: str) -> Any:
    """An annotation from SQL text."""
    return Annotated[Any, parse(text)]


# ------------------------------------------------------------------------------------------- a user's own aggregates


@aggregate
class geo_mean:
    logs: float
    n: int

    def update(self, x: float):
        self.logs += math.log(x)
        self.n += 1

    def merge(self, other):
        self.logs += other.logs
        self.n += other.n

    def finish(self) -> float:
        return math.exp(self.logs / self.n)


@aggregate
class weighted_sample:
    """Efraimidis and Spirakis: the k rows with the largest log(u) / weight, u from a hash of the row's id."""

    keys: list[float]
    ids: list[int]
    k: int

    def init(self, k: int = 3):
        self.k = k

    def update(self, id: int, weight: float):
        u = ((id * 2654435761) % 4294967296 + 0.5) / 4294967296
        self.add(id, math.log(u) / weight)

    def add(self, id, key):
        if len(self.keys) < self.k:
            self.keys.append(key)
            self.ids.append(id)
            return
        worst = np.argmin(self.keys[:])
        if self.k > 0 and key > self.keys[worst]:
            self.keys[worst], self.ids[worst] = key, id

    def merge(self, other):
        for i in range(len(other.ids)):
            self.add(other.ids[i], other.keys[i])

    def finish(self) -> list[int]:
        return np.sort(self.ids[:])


@aggregate
class hyper_log_log:
    registers: list[UTINYINT]

    def init(self):
        self.registers.resize(1024)

    def update(self, x: int):
        h = np.uint64(x) * np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ (h >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        h ^= h >> np.uint64(32)
        slot, rest, rank = np.int64(h & np.uint64(1023)), h >> np.uint64(10), 1
        while rest & np.uint64(1) == 0 and rank < 54:
            rest, rank = rest >> np.uint64(1), rank + 1
        self.registers[slot] = max(self.registers[slot], rank)

    def merge(self, other):
        self.registers[:] = np.maximum(self.registers[:], other.registers[:])

    def finish(self) -> float:
        zeros = np.sum(self.registers[:] == 0)
        if zeros > 25:
            return 1024 * math.log(1024 / zeros)
        return 0.7213 / (1 + 1.079 / 1024) * 1024**2 / np.sum(2.0 ** -self.registers[:].astype(np.float64))


# ------------------------------------------------------------------------------------------------------ state, options


@aggregate
class collect:
    """All values in order of arrival, through every operation of a growable array."""

    values: list[float]

    def update(self, x: float):
        self.values.append(x)

    def merge(self, other):
        self.values.extend(other.values)

    def finish(self) -> list[float]:
        return self.values[:]


@aggregate
class array_operations:
    """Exercise a growable array; ``operation`` says how."""

    values: list[float]
    small: list[UTINYINT]
    operation: int

    def init(self, operation: int = 0, at: int = 0):
        self.operation = operation
        self.values.resize(4)
        self.at = at

    at: int

    def update(self, x: float):
        if self.operation == 0:  # negative index, slices
            self.values[-1] = x
            self.values[1:3] = self.values[:2] + x
        elif self.operation == 1:  # out of bounds or not, for reading
            self.values[0] = self.values[self.at]
        elif self.operation == 2:  # out of bounds or not, for writing
            self.values[self.at] = x
        elif self.operation == 3:
            self.values.resize(self.at)
        elif self.operation == 4:  # shrink and grow again: zeros come back
            self.values[:] = 7.0
            self.values.resize(1)
            self.values.resize(self.at)
        elif self.operation == 5:  # bytes wrap as NumPy's do
            self.small.append(self.at)
            self.values[0] = self.small[-1]
        elif self.operation == 6:  # an array is extended by itself
            self.values.extend(self.values)
        elif self.operation == 7:  # and by a view of itself
            self.values[0] = x
            for _ in range(self.at):
                self.values.extend(self.values[:])

    def merge(self, other):
        self.values.extend(other.values)

    def finish(self) -> list[float]:
        return self.values[:]


@aggregate
class scalar_attributes:
    n: int
    started: bool
    lowest: float = math.inf
    count_from: int = 100
    flag: bool = True
    small: UTINYINT = 250
    single: FLOAT = 0.5

    step = 2  # a constant of the class
    names = ("a", "b")

    def update(self, x: float):
        self.started = True
        self.lowest = min(self.lowest, x)
        self.count_from += self.step
        self.bump()

    def bump(self):
        self.n += 1

    def total(self, weight):
        return weight * self.n + len(self.names)

    def merge(self, other):
        self.lowest = min(self.lowest, other.lowest)
        self.n += other.n
        self.count_from += other.count_from - 100

    def finish(self) -> str:
        return (
            str(self.n)
            + " "
            + str(self.count_from)
            + " "
            + str(int(self.lowest))
            + " "
            + str(self.total(10))
            + (" flag" if self.flag else "")
            + (" started" if self.started else "")
        )


class OptionEcho(NamedTuple):
    k: int
    scale: float
    on: bool
    mode: str
    rate: float | None
    limit: int | None
    weights: list[float]


@aggregate(empty=True)
class echo_options:
    """Give back the options."""

    k: int
    scale: float
    on: bool
    mode: int
    rate: float
    limit: int
    weights: list[float]

    def init(
        self,
        k: int = 3,
        scale: float = 1,
        on: bool = True,
        mode: Literal["fast", "slow"] = "fast",
        rate: float | Literal["auto"] = "auto",
        limit: int | None = None,
        weights: list[float] = (1.0, 2.0),
    ):
        self.k, self.scale, self.on = k, scale, on
        self.mode = 1 if mode == "slow" else 0
        self.rate = -1.0 if rate is None else rate
        self.limit = -1 if limit is None else limit
        self.weights.extend(weights)

    def update(self, x: float):
        pass

    def merge(self, other):
        pass

    def finish(self) -> OptionEcho:
        return OptionEcho(
            self.k,
            self.scale,
            self.on,
            "slow" if self.mode == 1 else "fast",
            None if self.rate == -1.0 else self.rate,
            None if self.limit == -1 else self.limit,
            self.weights[:],
        )


class Counts(NamedTuple):
    rows: int
    nulls: int


@aggregate(nulls=True, empty=True)
class count_nulls:
    rows: int
    missing: int

    def update(self, x: float, weight: float = 1.0):
        self.rows += 1
        if x is None or weight is None:
            self.missing += 1

    def merge(self, other):
        self.rows += other.rows
        self.missing += other.missing

    def finish(self) -> Counts:
        return Counts(self.rows, self.missing)


@aggregate
class weighted_total:
    """An optional column, and a count of the rows that were skipped for a NULL."""

    value: float
    lost: int

    def skipped(self):
        self.lost += 1

    def update(self, x: float, weight: float = 10.0):
        self.value += x * weight

    def merge(self, other):
        self.value += other.value
        self.lost += other.lost

    def finish(self) -> Annotated[Any, parse("STRUCT(value DOUBLE, lost BIGINT)")]:
        return self.value, self.lost


class Origin(NamedTuple):
    name: str
    at: float
    steps: list[float]


@aggregate
class moved_from:
    """A STRUCT among the options, and a column behind them."""

    value: float

    def init(self, origin: Origin | None = None, scale: float = 1.0):
        if origin is not None:
            self.value = 1000.0 * len(origin.steps) + origin.at + (0.5 if origin.name == "half" else 0.0)

    def update(self, x: float, weight: float = 1.0):
        self.value += self.scale * x * weight

    def merge(self, other):
        self.value += other.value

    def finish(self) -> float:
        return self.value


@aggregate
class failing:
    """Fail in update, merge or finish, with arrays allocated."""

    values: list[float]
    more: list[int]
    where: int

    def init(self, where: int = 0):
        self.where = where
        self.more.resize(3)
        if where == 4:
            raise ValueError("init failed on purpose")

    def update(self, x: float):
        self.values.append(x)
        if self.where == 1 and x == 5:
            raise ValueError("update failed on purpose at", x)

    def merge(self, other):
        if self.where == 2:
            raise ValueError("merge failed on purpose")
        self.values.extend(other.values)

    def finish(self) -> float:
        if self.where == 3:
            raise ValueError("finish failed on purpose with", len(self.values))
        return len(self.values)


# --------------------------------------------------------------------------------------------------------------- scalars


@scalar
def add_one(x: float) -> float:
    return x + 1


@scalar(nulls=True)
def or_minus_one(x: float) -> float:
    return -1.0 if x is None else x


@scalar
def positive_or_null(x: float) -> float | None:
    return x if x > 0 else None


@scalar
def refuse_negative(x: float) -> float:
    if x < 0:
        raise ValueError("argument x must not be negative, got", x)
    return math.sqrt(x)


@scalar
def repeat_text(text: str, times: int) -> str:
    if times > 1_000_000:
        raise ValueError("argument times must be at most 1000000, got", times)
    return text * times


@scalar(form="numpy")
def scaled(x: float, *, by: float = 2.0, shift: list[float] = (0.0,), how: Literal["up", "down"] = "up") -> float:
    return x * by + sum(shift) if how == "up" else x / by + sum(shift)


@scalar(form="arrow", nulls=True)
def describe_arrow(x: Any) -> str:
    return pa.array([str(value) for value in x.to_pylist()])


@scalar(form="numpy")
def misbehave(x: float, how: str) -> float:
    how = how[0]
    if how == "short":
        return x[:-1]
    if how == "text":
        return ["a"] * len(x)
    if how == "matrix":
        return np.zeros((len(x), 2))
    if how == "raise":
        raise KeyError("no such thing")
    if how == "exit":
        raise SystemExit("out")
    return x


# ------------------------------------------------------------------------------------------------------------- relations


class Slope(NamedTuple):
    slope: float
    intercept: float
    residuals: list[float]


@relation
def fit_line(x: float, y: float, *, digits: int = 6) -> Slope:
    """A straight line through the points."""
    xs, ys = x.to_numpy(zero_copy_only=False), y.to_numpy(zero_copy_only=False)
    slope, intercept = statistics.linear_regression(xs, ys)
    residuals = ys - (slope * xs + intercept)
    return Slope(round(slope, digits), round(intercept, digits), np.round(residuals, digits).tolist())


@relation
def rows_as_text(x: float, s: str, l: list[int], *, sep: str = ";") -> str:
    """The rows of a group, sorted, as one text."""
    return sep.join(sorted(map(str, zip(x.to_pylist(), s.to_pylist(), l.to_pylist(), strict=True))))


@relation
def relation_fails(x: float, how: str) -> float:
    how = how[0].as_py()
    if how == "exit":
        raise SystemExit("out")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "type":
        return "text"
    raise RuntimeError("the body failed on purpose")


# ---------------------------------------------------------------------------------------------------------------- tables

generator_log: list[str] = []


@table
def squares(start: int, stop: int = 5, step: int = 1):
    if step != 0 and (stop - start) / step > MOST_ROWS:
        raise ValueError("that is more rows than a test needs")
    numbers = np.arange(start, stop, step, dtype=np.int64)
    return pa.table({"i": numbers, "square": numbers * numbers})


@table
def batches(n: int = 10, rows: int = 2048, fail_at: int = -1):
    if rows > MOST_ROWS:
        raise ValueError("that is more rows than a test needs")
    generator_log.append("open")
    try:
        for at in range(n):
            if at == fail_at:
                raise RuntimeError("the generator failed on purpose")
            generator_log.append(str(at))
            yield pa.record_batch({"batch": np.full(rows, at), "row": np.arange(rows)})
    finally:
        generator_log.append("close")


@table
def reader_of(n: int = 3):
    schema = pa.schema([("i", pa.int64())])
    return pa.RecordBatchReader.from_batches(schema, (pa.record_batch({"i": [at]}, schema=schema) for at in range(n)))


@table
def run_query(database: Database, query: str = "SELECT 42 AS x"):
    return database.query(query)


@table
def returned(what: str = "nothing"):
    things = {
        "nothing": None,
        "number": 3,
        "zero rows": pa.table({"i": pa.array([], pa.int64()), "s": pa.array([], pa.string())}),
        "zero columns": pa.table({}),
        "duplicate": pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]),
        "half": pa.table({"h": np.arange(3).astype(np.float16)}),
    }
    return things[what]


held: dict[str, pa.Table] = {}


@table
def held_table(name: str):
    """An Arrow table that a test put into ``held``."""
    return held[name]


def declare_source(source: str) -> None:
    """Declare functions from source text, as a cell of a notebook does."""
    exec(source, {"aggregate": aggregate, "relation": relation, "scalar": scalar, "table": table, "np": np, "pa": pa})

"""Functions that take and give every SQL type, for the tests of types and the property tests."""

from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from declared_functions import sql
from ironlake.udf.engine import aggregate, relation, scalar
from ironlake.udf.engine.sqltypes import (
    BLOB,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    HUGEINT,
    INTEGER,
    SMALLINT,
    TIMESTAMP,
    TIMESTAMPTZ,
    TINYINT,
    UBIGINT,
    UHUGEINT,
    UINTEGER,
    USMALLINT,
    UTINYINT,
    Vector,
)


class Flat(NamedTuple):
    """A value of each flat type."""

    boolean: BOOLEAN
    tinyint: TINYINT
    smallint: SMALLINT
    integer: INTEGER
    bigint: int
    utinyint: UTINYINT
    usmallint: USMALLINT
    uinteger: UINTEGER
    ubigint: UBIGINT
    hugeint: HUGEINT
    uhugeint: UHUGEINT
    float: FLOAT
    double: DOUBLE
    varchar: str
    blob: BLOB
    date: DATE
    timestamp: TIMESTAMP
    timestamptz: TIMESTAMPTZ


class Point(NamedTuple):
    x: FLOAT
    label: str


class Nested(NamedTuple):
    """Lists, arrays and structs in each other."""

    doubles: list[float]
    array: sql("FLOAT[3]")
    flags: list[bool]
    texts: list[str]
    blobs: list[BLOB]
    matrix: list[list[INTEGER]]
    pairs: sql("INTEGER[2][]")
    point: Point
    points: list[Point]


@scalar
def same_flat(value: Flat) -> Flat:
    """A STRUCT of every flat type, read and written by compiled code."""
    return value


@scalar
def same_nested(value: Nested) -> Nested:
    """Nested values, read and written by compiled code."""
    return value


@scalar(nulls=True)
def pack(
    boolean: BOOLEAN, tinyint: TINYINT, smallint: SMALLINT, integer: INTEGER, bigint: int, utinyint: UTINYINT,
    usmallint: USMALLINT, uinteger: UINTEGER, ubigint: UBIGINT, hugeint: HUGEINT, uhugeint: UHUGEINT, float: FLOAT,
    double: float, varchar: str, blob: BLOB, date: DATE, timestamp: TIMESTAMP, timestamptz: TIMESTAMPTZ,
) -> Flat:  # fmt: skip
    """Columns of every flat type, NULLs among them, as a STRUCT."""
    return (
        boolean, tinyint, smallint, integer, bigint, utinyint, usmallint, uinteger, ubigint, hugeint, uhugeint, float,
        double, varchar, blob, date, timestamp, timestamptz,
    )  # fmt: skip


@scalar(nulls=True)
def pack_lists(numbers: list[float], array: sql("FLOAT[3]"), texts: list[str], point: Point) -> sql(
    'STRUCT(numbers DOUBLE[], "array" FLOAT[3], texts VARCHAR[], point STRUCT(x FLOAT, label VARCHAR))'
):
    """Columns of nested types, NULLs among them, as a STRUCT."""
    return numbers, array, texts, point


@scalar
def as_doubles(values: Vector) -> list[float]:
    """One body for every column of features."""
    return values


class Extremes(NamedTuple):
    any_true: bool
    least_tinyint: TINYINT
    last_smallint: SMALLINT
    last_integer: INTEGER
    most_bigint: int
    last_utinyint: UTINYINT
    last_usmallint: USMALLINT
    last_uinteger: UINTEGER
    most_ubigint: UBIGINT
    last_hugeint: HUGEINT
    most_uhugeint: UHUGEINT
    last_float: FLOAT
    last_double: float
    longest: str
    blob: BLOB
    last_date: DATE
    last_timestamp: TIMESTAMP
    last_timestamptz: TIMESTAMPTZ


@aggregate
class extremes:
    """Arguments, state and result of every flat type; ``last`` is right for a group of one row or equal rows."""

    any_true: bool
    least_tinyint: TINYINT = 127
    last_smallint: SMALLINT
    last_integer: INTEGER
    most_bigint: int = -(2**63)
    last_utinyint: UTINYINT
    last_usmallint: USMALLINT
    last_uinteger: UINTEGER
    most_ubigint: UBIGINT
    last_hugeint: int
    most_uhugeint: UBIGINT
    last_float: FLOAT
    last_double: float
    length: int = -1
    blob: list[UTINYINT]
    last_date: DATE
    last_timestamp: TIMESTAMP
    last_timestamptz: TIMESTAMPTZ

    def update(
        self, boolean: BOOLEAN, tinyint: TINYINT, smallint: SMALLINT, integer: INTEGER, bigint: int,
        utinyint: UTINYINT, usmallint: USMALLINT, uinteger: UINTEGER, ubigint: UBIGINT, hugeint: HUGEINT,
        uhugeint: UHUGEINT, float: FLOAT, double: float, varchar: str, blob: BLOB, date: DATE, timestamp: TIMESTAMP,
        timestamptz: TIMESTAMPTZ,
    ):  # fmt: skip
        self.any_true = self.any_true or boolean
        self.least_tinyint = min(self.least_tinyint, tinyint)
        self.last_smallint, self.last_integer = smallint, integer
        self.most_bigint = max(self.most_bigint, bigint)
        self.last_utinyint, self.last_usmallint, self.last_uinteger = utinyint, usmallint, uinteger
        self.most_ubigint = max(self.most_ubigint, ubigint)
        self.last_hugeint = hugeint
        self.most_uhugeint = max(self.most_uhugeint, uhugeint)
        self.last_float, self.last_double = float, double
        self.length = max(self.length, len(varchar))
        if len(blob) > len(self.blob):
            self.blob.resize(0)
            self.blob.extend(blob)
        self.last_date, self.last_timestamp, self.last_timestamptz = date, timestamp, timestamptz

    def merge(self, other):
        self.any_true = self.any_true or other.any_true
        self.least_tinyint = min(self.least_tinyint, other.least_tinyint)
        self.most_bigint = max(self.most_bigint, other.most_bigint)
        self.most_ubigint = max(self.most_ubigint, other.most_ubigint)
        self.most_uhugeint = max(self.most_uhugeint, other.most_uhugeint)
        self.length = max(self.length, other.length)
        if len(other.blob) > len(self.blob):
            self.blob.resize(0)
            self.blob.extend(other.blob)

    def finish(self) -> Extremes:
        return (
            self.any_true, self.least_tinyint, self.last_smallint, self.last_integer, self.most_bigint,
            self.last_utinyint, self.last_usmallint, self.last_uinteger, self.most_ubigint, self.last_hugeint,
            self.most_uhugeint, self.last_float, self.last_double, "ł" * self.length, self.blob[:], self.last_date,
            self.last_timestamp, self.last_timestamptz,
        )  # fmt: skip


class Digest(NamedTuple):
    rows: int
    numbers: float
    characters: int
    elements: int
    matrix: int
    points: float
    lengths: list[int]


@aggregate
class digest:
    """Sums over everything inside the rows; exact, in any order, for numbers that are multiples of 1/8."""

    rows: int
    numbers: float
    characters: int
    elements: int
    matrix: int
    points: float
    lengths: list[int]

    def update(
        self, x: float, text: str, numbers: list[float], matrix: list[list[INTEGER]], points: list[Point]
    ):  # fmt: skip
        self.rows += 1
        self.numbers += (0.0 if np.isnan(x) else x) + numbers.sum()
        for character in text:
            self.characters += ord(character)
        self.elements += len(numbers)
        for row in range(len(matrix)):
            self.matrix += (row + 1) * matrix[row].sum()
        for at in range(len(points)):
            self.points += points[at].x * len(points[at].label)
        self.count(len(text), 1)

    def count(self, length, rows):
        if length >= len(self.lengths):
            self.lengths.resize(length + 1)
        self.lengths[length] += rows

    def merge(self, other):
        self.rows += other.rows
        self.numbers += other.numbers
        self.characters += other.characters
        self.elements += other.elements
        self.matrix += other.matrix
        self.points += other.points
        for length in range(len(other.lengths)):
            self.count(length, other.lengths[length])

    def finish(self) -> Digest:
        return Digest(
            self.rows, self.numbers, self.characters, self.elements, self.matrix, self.points, self.lengths[:]
        )


@relation
def rows_back(row: int, flat: Flat, nested: Nested) -> list[sql("STRUCT(row BIGINT, flat VARCHAR, nested VARCHAR)")]:
    """The rows of a group, in the order of ``row``, as Python shows them."""
    order = pc.sort_indices(row)
    columns = (column.take(order).to_pylist() for column in (row, flat, nested))
    return [{"row": r, "flat": repr(f), "nested": repr(n)} for r, f, n in zip(*columns, strict=True)]


examples: dict[int, dict | None] = {}


@relation
def example(key: int) -> Nested:
    """A value of every nested type, or None, that a test put into ``examples``."""
    return examples[key[0].as_py()]


@scalar(form="arrow", nulls=True)
def same_arrow(value: Nested) -> Nested:
    """Every nested type through Arrow and back."""
    return value

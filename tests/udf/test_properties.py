"""Random tables through every kind of function: equal to plain Python, and nothing stays allocated."""

import datetime
import math
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from declared_functions import held
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typed_functions import Flat, Nested

from ironlake.udf import engine

# -------------------------------------------------------------------------------------------------------------- tables

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
EIGHTHS = st.integers(-800, 800).map(lambda n: n / 8)  # sums of these are exact in any order
DAYS = st.dates(datetime.date(1, 1, 1))
INSTANTS = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))
POINTS = st.fixed_dictionaries({"x": EIGHTHS, "label": TEXTS})


def integers(bits, signed=True):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


def floats(width):
    return st.floats(width=width)


FLAT = {
    "boolean": (pa.bool_(), st.booleans()),
    "tinyint": (pa.int8(), integers(8)),
    "smallint": (pa.int16(), integers(16)),
    "integer": (pa.int32(), integers(32)),
    "bigint": (pa.int64(), integers(64)),
    "utinyint": (pa.uint8(), integers(8, False)),
    "usmallint": (pa.uint16(), integers(16, False)),
    "uinteger": (pa.uint32(), integers(32, False)),
    "ubigint": (pa.uint64(), integers(64, False)),
    "hugeint": (pa.int64(), integers(64)),
    "uhugeint": (pa.uint64(), integers(64, False)),
    "float": (pa.float32(), floats(32)),
    "double": (pa.float64(), floats(64)),
    "varchar": (pa.string(), TEXTS),
    "blob": (pa.binary(), st.binary(max_size=30)),
    "date": (pa.date32(), DAYS),
    "timestamp": (pa.timestamp("us"), INSTANTS),
    "timestamptz": (pa.timestamp("us", "UTC"), INSTANTS),
}
POINT = pa.struct([("x", pa.float32()), ("label", pa.string())])
NESTED = {
    "doubles": (pa.list_(pa.float64()), st.lists(floats(64), max_size=5)),
    "array": (pa.list_(pa.float32(), 3), st.lists(floats(32), min_size=3, max_size=3)),
    "flags": (pa.list_(pa.bool_()), st.lists(st.booleans(), max_size=5)),
    "texts": (pa.list_(pa.string()), st.lists(TEXTS, max_size=4)),
    "blobs": (pa.list_(pa.binary()), st.lists(st.binary(max_size=15), max_size=4)),
    "matrix": (pa.list_(pa.list_(pa.int32())), st.lists(st.lists(integers(32), max_size=3), max_size=3)),
    "pairs": (pa.list_(pa.list_(pa.int32(), 2)), st.lists(st.lists(integers(32), min_size=2, max_size=2), max_size=3)),
    "point": (POINT, POINTS),
    "points": (pa.list_(POINT), st.lists(POINTS, max_size=3)),
}
SUMMED = {
    "k": (pa.int64(), st.integers(0, 3)),
    "x": (pa.float64(), EIGHTHS | st.just(math.nan)),
    "t": (pa.string(), TEXTS),
    "numbers": (pa.list_(pa.float64()), st.lists(EIGHTHS, max_size=5)),
    "matrix": (pa.list_(pa.list_(pa.int32())), st.lists(st.lists(integers(16), max_size=3), max_size=3)),
    "points": (pa.list_(POINT), st.lists(POINTS, max_size=3)),
}


@st.composite
def tables(draw, columns, max_rows=60, nulls=True):
    """An Arrow table with a few rows of drawn values, NULLs among them."""
    rows = draw(st.integers(0, max_rows))
    data = {
        name: pa.array(draw(st.lists(values | st.none() if nulls else values, min_size=rows, max_size=rows)), type_)
        for name, (type_, values) in columns.items()
    }
    return pa.table(data)


def large_table(seed, rows):
    """A table with the columns of ``SUMMED`` made by NumPy: NULLs, NaN, empty and ragged lists."""
    random = np.random.default_rng(seed)

    def nulls(share=0.05):
        return random.random(rows) < share

    def ragged(values_of, most):
        lengths = random.integers(0, most, rows)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets, mask=np.append(nulls(), False)), values_of(offsets[-1]))

    def eighths(count):
        return np.where(random.random(count) < 0.5, 0, random.integers(-800, 800, count)) / 8

    def texts(count):
        words = pa.array(["", "a", "été", "😀", "twelve bytes", "more than twelve bytes"])
        return words.take(pa.array(random.integers(0, 6, count)))

    x = np.where(nulls(), np.nan, eighths(rows))
    return pa.table(
        {
            "k": random.integers(0, 1 + rows // 50, rows),
            "x": pa.array(x, mask=nulls(), from_pandas=False),
            "t": pc.if_else(pa.array(nulls()), None, texts(rows)),
            "numbers": ragged(lambda n: pa.array(eighths(n)), 9),
            "matrix": ragged(lambda n: pa.array([list(range(i % 4)) for i in range(n)], pa.list_(pa.int32())), 3),
            "points": ragged(
                lambda n: pa.StructArray.from_arrays(
                    [pa.array(eighths(n).astype(np.float32)), texts(n)], ["x", "label"]
                ),
                3,
            ),
        }
    )


@pytest.fixture
def query(threaded):
    """Run a query on a table ``t``; what the query allocated must be gone behind it."""

    def run(table, sql):
        before = engine.live_arrays()
        threaded.register("t", pa.Table.from_batches(table.to_batches(max_chunksize=10000), table.schema))
        result = threaded.sql(sql).to_arrow_table()
        threaded.unregister("t")
        assert engine.live_arrays() == before
        return result

    return run


def plain(value):
    """A value that compares equal to its like: NaN is equal to NaN, 0.0 is not -0.0."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return repr(value) if isinstance(value, float) else value


# ------------------------------------------------------------------------------------------------------------- scalars

CASTS = {"hugeint": "::HUGEINT", "uhugeint": "::UHUGEINT"}
FLAT_ARGUMENTS = ", ".join(f'"{name}"{CASTS.get(name, "")}' for name in FLAT)


@settings(max_examples=10)
@given(tables(FLAT))
def test_compiled_scalars(query, table):
    huge = "struct_update(v, hugeint := v.hugeint::BIGINT, uhugeint := v.uhugeint::UBIGINT)"
    got = query(table, f"SELECT {huge} AS v FROM (SELECT pack({FLAT_ARGUMENTS}) AS v FROM t)")
    assert plain(got.column("v").to_pylist()) == plain(table.to_pylist())


@settings(max_examples=10)
@given(tables(NESTED, nulls=False))
def test_nested_scalars(query, table):
    fields = ", ".join(f'"{name}" := "{name}"' for name in NESTED)
    got = query(
        table,
        f"SELECT same_nested(v) AS compiled, same_arrow(v) AS arrow FROM (SELECT struct_pack({fields}) AS v FROM t)",
    )
    assert plain(got.column("compiled").to_pylist()) == plain(table.to_pylist())
    assert plain(got.column("arrow").to_pylist()) == plain(table.to_pylist())


@settings(max_examples=10)
@given(tables({"x": (pa.float64(), floats(64)), "t": (pa.string(), TEXTS), "n": (pa.int64(), st.integers(0, 5))}))
def test_scalars_of_every_form(query, table):
    got = query(
        table,
        "SELECT add_one(x) AS a, or_minus_one(x) AS b, positive_or_null(x) AS c, scaled(x, {'by': 4}) AS d, repeat_text(t, n) AS e FROM t",
    )
    want = [
        {
            "a": None if x is None else x + 1,
            "b": -1.0 if x is None else x,
            "c": x if x is not None and x > 0 else None,
            "d": None if x is None else x * 4 + 0.0,
            "e": None if t is None or n is None else t * n,
        }
        for x, t, n in zip(*(table.column(name).to_pylist() for name in "xtn"), strict=True)
    ]
    assert plain(got.to_pylist()) == plain(want)


# ---------------------------------------------------------------------------------------------------------- aggregates


def digest_of(rows):
    """What the aggregate ``digest`` says of rows, in plain Python."""
    seen = [row for row in rows if all(row[name] is not None for name in SUMMED if name != "k")]
    if not seen:
        return None
    lengths = [0] * (1 + max(len(row["t"]) for row in seen))
    for row in seen:
        lengths[len(row["t"])] += 1
    return {
        "rows": len(seen),
        "numbers": sum(sum(row["numbers"]) + (0 if math.isnan(row["x"]) else row["x"]) for row in seen) + 0.0,
        "characters": sum(ord(character) for row in seen for character in row["t"]),
        "elements": sum(len(row["numbers"]) for row in seen),
        "matrix": sum((at + 1) * sum(inner) for row in seen for at, inner in enumerate(row["matrix"])),
        "points": sum(point["x"] * len(point["label"]) for row in seen for point in row["points"]) + 0.0,
        "lengths": lengths,
    }


DIGEST = "digest(x, t, numbers, matrix, points)"


@settings(max_examples=10)
@given(tables(SUMMED))
def test_aggregates(query, table):
    rows = table.to_pylist()
    assert query(table, f"SELECT {DIGEST} AS d FROM t").to_pylist() == [{"d": digest_of(rows)}]
    assert_groups(query, table, rows)


def assert_groups(query, table, rows):
    groups = defaultdict(list)
    for row in rows:
        groups[row["k"]].append(row)
    got = query(table, f"SELECT k, {DIGEST} AS d FROM t GROUP BY k").to_pylist()
    assert {row["k"]: row["d"] for row in got} == {k: digest_of(group) for k, group in groups.items()}


@settings(max_examples=10)
@given(tables(SUMMED, max_rows=12))
def test_windows(query, table):
    rows = table.to_pylist()
    got = query(
        table.append_column("row", pa.array(range(len(rows)), pa.int64())),
        f"SELECT row, {DIGEST} OVER (ORDER BY row ROWS 2 PRECEDING) AS d FROM t ORDER BY row",
    )
    assert [row["d"] for row in got.to_pylist()] == [
        digest_of(rows[max(0, at - 2) : at + 1]) for at in range(len(rows))
    ]


@pytest.mark.parametrize(("seed", "rows"), [(1, 2047), (2, 2048), (3, 2049), (4, 30000), (5, 100000)])
def test_large_tables(query, seed, rows):
    table = large_table(seed, rows)
    python = table.to_pylist()
    assert query(table, f"SELECT {DIGEST} AS d FROM t").to_pylist() == [{"d": digest_of(python)}]
    assert_groups(query, table, python)
    got = query(table, "SELECT add_one(x) AS a, or_minus_one(x) AS b, scaled(x) AS c, as_doubles(numbers) AS l FROM t")
    x = table.column("x")
    assert same_but_nan(got.column("a"), pc.add(x, 1))
    assert same_but_nan(got.column("b"), pc.fill_null(x, -1.0))
    assert same_but_nan(got.column("c"), pc.multiply(x, 2))
    assert got.column("l").equals(table.column("numbers"))


def same_but_nan(one, other):
    """Whether two columns are equal, NaN being equal to NaN."""
    return pc.fill_null(one, math.inf).to_numpy().tobytes() == pc.fill_null(other, math.inf).to_numpy().tobytes()


# ------------------------------------------------------------------------------------------------- relations and tables


@settings(max_examples=10)
@given(tables({**FLAT, **NESTED}, max_rows=20))
def test_relations(query, table):
    """All types, NULLs at the top and inside, as the body sees them."""
    table = table.append_column("row", pa.array(range(len(table)), pa.int64()))
    flat = ", ".join(f'"{name}" := "{name}"{CASTS.get(name, "")}' for name in FLAT)
    nested = ", ".join(f'"{name}" := "{name}"' for name in NESTED)
    got = query(
        table, f"SELECT unnest(rows_back(row, struct_pack({flat}), struct_pack({nested})), recursive := true) FROM t"
    )
    want = [
        {"flat": {name: row[name] for name in FLAT}, "nested": {name: row[name] for name in NESTED}}
        for row in table.to_pylist()
    ]
    assert [row["row"] for row in got.to_pylist()] == list(range(len(table)))
    for mine, theirs in zip(got.to_pylist(), want, strict=True):
        assert mine["nested"] == repr(theirs["nested"])
        assert mine["flat"].replace("Decimal('", "").replace("')", "") == repr(theirs["flat"]).replace("')", "")


@settings(max_examples=10)
@given(tables({**FLAT, **NESTED}, max_rows=40))
@example(large_table(6, 300000))
def test_tables(query, table):
    held["property"] = table
    got = query(table, "FROM held_table('property')")
    assert got.num_rows == table.num_rows
    if len(table) < 1000:
        assert plain(got.to_pylist()) == plain(table.to_pylist())
    else:
        assert all(
            got.column(name).combine_chunks().equals(table.column(name).combine_chunks())
            for name in ("k", "t", "matrix", "points")
        )


def test_the_columns_are_those_of_the_functions():
    assert (tuple(FLAT), tuple(NESTED)) == (Flat._fields, Nested._fields)

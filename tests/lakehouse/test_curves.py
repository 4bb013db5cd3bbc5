"""Curves that fill space."""

import itertools

import duckdb
import ironlake  # noqa: F401  - declares the functions
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def con():
    with duckdb.connect() as connection:
        yield connection


def places(con, function, points, bits):
    con.register("points", pa.table({"i": range(len(points)), "x": [[int(x) for x in point] for point in points]}))
    return [place for (place,) in con.execute(f"SELECT {function}(x, {bits}) FROM points ORDER BY i").fetchall()]


@pytest.mark.parametrize(("count", "bits"), [(1, 5), (2, 1), (2, 5), (3, 3), (4, 2), (5, 2)])
def test_a_hilbert_curve_visits_every_point_in_steps_of_one(con, count, bits):
    points = np.array(list(itertools.product(range(1 << bits), repeat=count)))
    found = np.array(places(con, "hilbert_index", points, bits))
    assert sorted(found) == list(range(len(points)))
    steps = np.abs(np.diff(points[np.argsort(found)], axis=0)).sum(axis=1)
    assert (steps == 1).all()


@given(st.data())
def test_a_morton_curve_takes_bits_in_turns(con, data):
    count = data.draw(st.integers(1, 9))
    bits = data.draw(st.integers(1, 63 // count))
    point = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=count, max_size=count))
    texts = [format(x, f"0{bits}b") for x in point]
    want = int("".join("".join(turn) for turn in zip(*texts, strict=True)), 2)
    assert places(con, "morton_index", [point], bits) == [want]


@given(st.lists(st.integers(0, 2**20 - 1), min_size=2, max_size=2))
def test_a_hilbert_curve_of_more_bits_refines_one_of_fewer(con, point):
    """The square that a point lies in has the place of the coarser curve, if both have an even number of bits."""
    fine, coarse = (places(con, "hilbert_index", [[x >> shift for x in point]], 20 - shift) for shift in (0, 4))
    assert fine[0] >> 8 == coarse[0]


@pytest.mark.parametrize("function", ["hilbert_index", "morton_index"])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("[]::BIGINT[], 2", "argument bits is 2 for 0 coordinates"),
        ("[1, 2], 32", "argument bits is 32 for 2 coordinates; together they must have 1 to 63 bits"),
        ("[1, 2], 0", "argument bits is 0"),
        ("[4, 0], 2", "argument x has a coordinate 4 and must have numbers of 2 bits"),
        ("[-1, 0], 2", "argument x has a coordinate -1"),
    ],
)
def test_bad_points(con, function, call, message):
    with pytest.raises(duckdb.InvalidInputException, match=message.replace("[", r"\[")):
        con.execute(f"SELECT {function}({call})")
    assert con.execute(f"SELECT {function}(NULL::BIGINT[], 2)").fetchall() == [(None,)]

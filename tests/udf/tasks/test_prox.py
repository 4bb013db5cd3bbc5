"""The proximal operators against what defines them: no other point is better, and they never move points apart."""

import duckdb
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

import ironlake.udf.tasks.prox as prox

KINDS = ("l1", "l2_squared", "l2", "non_negative", "box", "simplex")
PENALTIES = {
    "l1": lambda w: np.abs(w).sum(),
    "l2_squared": lambda w: w @ w / 2,
    "l2": lambda w: np.sqrt(w @ w),
    "non_negative": lambda w: 0.0,
    "box": lambda w: 0.0,
    "simplex": lambda w: 0.0,
}
numbers = st.floats(-50, 50, allow_subnormal=False)
vectors = st.lists(numbers, min_size=1, max_size=6)


@pytest.fixture(scope="module")
def db():
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def call(db, v, kind, tau=1.0, lower=-1.0, upper=1.0):
    query = "SELECT prox($1::DOUBLE[], $2, $3::DOUBLE, $4::DOUBLE, $5::DOUBLE)"
    return np.array(db.execute(query, [list(v), kind, tau, lower, upper]).fetchall()[0][0])


def allowed(w, kind):
    """The nearest allowed point, the slow and obvious way."""
    if kind == "non_negative":
        return np.maximum(w, 0)
    if kind == "box":
        return np.clip(w, -1, 1)
    if kind == "simplex":
        w = np.abs(w)
        return w / w.sum() if w.sum() else np.full(len(w), 1 / len(w))
    return w


@pytest.mark.parametrize(
    ("call_", "expected"),
    [
        ("project_simplex([0.5, 0.3, -0.2, 1.1])", [0.2, 0, 0, 0.8]),
        ("project_simplex([2, 1, 0.1])", [1, 0, 0]),
        ("project_simplex([7])", [1]),
        ("project_simplex([-3, -3])", [0.5, 0.5]),
        ("project_simplex([1e300, 1e300, 0])", [0.5, 0.5, 0]),
        ("project_simplex([1e17, 1e17 - 64])", [1, 0]),
        ("prox([3, -0.5, -2], 'l1', 1)", [2, 0, -1]),
        ("prox([3, -2], 'l2_squared', 3)", [0.75, -0.5]),
        ("prox([3, -4], 'l2', 1)", [2.4, -3.2]),
        ("prox([3, -4], 'l2', 6)", [0, 0]),
        ("prox([3e200, -4e200], 'l2', 1e200)", [2.4e200, -3.2e200]),
        ("prox([0, 0], 'l2', 0)", [0, 0]),
        ("prox([3, -4], 'non_negative', 9)", [3, 0]),
        ("prox([3, -4, 0.5], 'box', 9)", [1, 0, 0.5]),
        ("prox([3, -4, 0.5], 'box', 0, -2, 2)", [2, -2, 0.5]),
        ("prox([3, -4], 'box', 1, '-inf', 2)", [2, -4]),
        ("prox([0.5, 0.3, -0.2, 1.1], 'simplex', 5)", [0.2, 0, 0, 0.8]),
        ("prox([]::DOUBLE[], 'l1', 1)", []),
        ("prox([]::DOUBLE[], 'l2', 1)", []),
        ("prox([3, NULL], 'l1', NULL)", None),
        ("prox(NULL::DOUBLE[], 'l1', 1)", None),
        ("prox([3], NULL, 1)", None),
        ("project_simplex(NULL::DOUBLE[])", None),
    ],
)
def test_known_values(db, call_, expected):
    (value,) = db.execute(f"SELECT {call_}").fetchall()[0]
    assert value == (expected if expected is None else pytest.approx(expected, rel=1e-14, abs=1e-16))
    assert "-0.0" not in str(value)


@pytest.mark.parametrize("type_", ["FLOAT[]", "INTEGER[]", "DECIMAL(5, 1)[]", "DOUBLE[2]", "FLOAT[2]"])
def test_vectors_however_stored(db, type_):
    query = f"SELECT prox([3, -2]::{type_}, 'l1', 0.5), project_simplex([3, -2]::{type_})"
    assert db.execute(query).fetchall() == [([2.5, -1.5], [1.0, 0.0])]


@pytest.mark.parametrize("kind", KINDS)
@given(v=vectors, tau=st.floats(0, 20), seed=st.integers(0, 10**6))
def test_no_other_point_is_better(db, kind, v, tau, seed):
    v, random = np.array(v), np.random.default_rng(seed)

    def objective(w):
        return tau * PENALTIES[kind](w) + (w - v) @ (w - v) / 2

    w = call(db, v, kind, tau)
    assert np.allclose(w, allowed(w, kind), atol=1e-12)
    best = objective(w)
    for size in (1e-4, 1e-2, 1, 10):
        for _ in range(20):
            assert objective(allowed(w + size * random.standard_normal(len(v)), kind)) >= best - 1e-9 * (1 + best)


@pytest.mark.parametrize("kind", KINDS)
@given(
    pair=st.integers(1, 6).flatmap(lambda n: st.tuples(*[st.lists(numbers, min_size=n, max_size=n)] * 2)),
    tau=st.floats(0, 20),
)
def test_firmly_non_expansive(db, kind, pair, tau):
    a, b = np.array(pair[0]), np.array(pair[1])
    moved = call(db, a, kind, tau) - call(db, b, kind, tau)
    assert moved @ moved <= moved @ (a - b) + 1e-9


@given(v=vectors)
def test_simplex_against_scipy(db, v):
    v = np.array(v)
    theta = scipy.optimize.brentq(
        lambda theta: np.maximum(v - theta, 0).sum() - 1, v.min() - 2, v.max() + 1, xtol=1e-13
    )
    (got,) = db.execute("SELECT project_simplex($1::DOUBLE[])", [v.tolist()]).fetchall()[0]
    assert got == pytest.approx(np.maximum(v - theta, 0), abs=1e-11)
    assert sum(got) == pytest.approx(1, abs=1e-14)
    again = db.execute("SELECT project_simplex($1::DOUBLE[])", [got]).fetchall()[0][0]
    assert again == pytest.approx(got, abs=1e-15)


def test_operators_for_training():
    """As Python, since only other compiled code calls them."""
    assert prox.soft_threshold.py_func(-3.0, 1.0) == -2
    assert prox.shrink.py_func(3.0, 2.0) == 1
    assert prox.clamp.py_func(3.0, 0.0, 2.0) == 2
    assert prox.norm_factor.py_func(np.array([3.0, 4.0]), 1.0) == pytest.approx(0.8)
    assert prox.nearest_on_simplex.py_func(np.array([2.0, 1.0, 0.1])).tolist() == [1, 0, 0]


def test_many_rows(con):
    query = """
        SELECT count(*), max(abs(list_sum(w) - 1)), min(list_min(w))
        FROM (SELECT project_simplex([sin(i), cos(i), sin(2 * i) * 3, i / 1e5]) AS w FROM range(100000) t(i))
    """
    count, error, smallest = con.execute(query).fetchall()[0]
    assert (count, smallest) == (100000, 0)
    assert error < 1e-14


def test_python_face():
    assert prox.project_simplex([2.0, 1.0, 0.1]) == [1, 0, 0]


@pytest.mark.parametrize(
    ("call_", "message"),
    [
        ("prox([1], 'l3', 1)", "prox: argument kind must be 'l1', 'l2_squared', 'l2', 'non_negative', 'box' or 'simplex'; a row has l3"),
        ("prox([1], 'l1', -1)", "prox: argument tau must be at least 0 and finite; a row has -1"),
        ("prox([1], 'l1', 'nan')", "prox: argument tau must be at least 0 and finite; a row has nan"),
        ("prox([1], 'l1', 'inf')", "argument tau must be at least 0 and finite; a row has inf"),
        ("prox([1, 'nan'::DOUBLE], 'l1', 1)", "argument v must be finite numbers; a row has nan at position 2"),
        ("prox([1, NULL], 'l1', 1)", "argument v has a NULL at position 2 of 2"),
        ("prox([1], 'box', 1, 2, 1)", "argument lower must not be above upper; a row has 2.0 and 1.0"),
        ("prox([1], 'box', 1, 'nan', 1)", "argument lower must not be above upper; a row has nan and 1.0"),
        ("prox([]::DOUBLE[], 'simplex', 1)", "argument v must have at least 1 number"),
        ("project_simplex([]::DOUBLE[])", "project_simplex: argument v must have at least 1 number"),
        ("project_simplex(['-inf'::DOUBLE])", "project_simplex: argument v must be finite numbers; a row has -inf at position 1"),
    ],
)  # fmt: skip
def test_bad_input(db, call_, message):
    with pytest.raises(duckdb.Error, match=message):
        db.execute(f"SELECT {call_}").fetchall()

"""Portfolios against the check value, enumeration of active sets, SLSQP, and the conditions that a minimum meets."""

import itertools

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

import ironlake.udf.tasks.portfolio as portfolio

CHECK = "[-0.08, -0.06, -0.10], [[0.10, 0.02, 0.01], [0.02, 0.08, 0.03], [0.01, 0.03, 0.12]]"


@pytest.fixture(scope="module")
def db():
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def solve(db, p, sigma, aversion=1.0, long_only=True):
    query = "SELECT portfolio_weights($1::DOUBLE[], $2::DOUBLE[][], $3::DOUBLE, $4)"
    return db.execute(query, [p.tolist(), sigma.tolist(), aversion, long_only]).fetchall()[0][0]


def objective(p, sigma, w, aversion=1.0):
    return p @ w + aversion * (w @ sigma @ w)


def enumerated(p, sigma, aversion):
    """The least objective over the minima of all sets of free assets that are inside the simplex."""
    best, size = np.inf, len(p)
    for count in range(1, size + 1):
        for free in map(list, itertools.combinations(range(size), count)):
            kkt = np.ones((count + 1, count + 1))
            kkt[:count, :count] = 2 * aversion * sigma[np.ix_(free, free)]
            kkt[count, count] = 0
            w = np.linalg.lstsq(kkt, np.append(-p[free], 1), rcond=1e-12)[0][:count]
            if w.min() >= -1e-12 and abs(w.sum() - 1) < 1e-9:
                best = min(best, objective(p[free], sigma[np.ix_(free, free)], w, aversion))
    return best


def sample(seed, size, rank):
    """A random cost and covariance of a rank."""
    random = np.random.default_rng(seed)
    root = random.standard_normal((size, rank)) * random.uniform(0.1, 3, (size, 1))
    return random.standard_normal(size), root @ root.T


def returns_table(con, returns, keys=None):
    rows = pa.FixedSizeListArray.from_arrays(pa.array(returns.ravel()), returns.shape[1]).cast(pa.list_(pa.float64()))
    con.register("rows", pa.table({"k": np.zeros(len(rows), int) if keys is None else keys, "r": rows}))


# ---------------------------------------------------------------------------------------------------------- the minimum


def test_check_value(db):
    for call in (f"portfolio_weights({CHECK})", f"portfolio_weights({CHECK}, 1, false)"):
        (got,) = db.execute(f"SELECT {call}").fetchall()[0]
        assert got["weights"] == pytest.approx([7 / 18, 4 / 18, 7 / 18], rel=1e-14)
        assert got["objective"] == pytest.approx(-0.0344444444444444, rel=1e-14)
        assert got["expected_return"] == pytest.approx(0.0833333333333333)
        assert got["variance"] == pytest.approx(0.0488888888888889)
        assert (got["task"], got["n"]) == ("portfolio", None)


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 6),
    rank=st.integers(0, 6),
    aversion=st.sampled_from([0.0, 0.1, 1.0, 50.0]),
)
def test_against_all_active_sets(db, seed, size, rank, aversion):
    p, sigma = sample(seed, size, rank)
    got = solve(db, p, sigma, aversion)
    w = np.array(got["weights"])
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1, abs=1e-12)
    scale = abs(p).max() + aversion * abs(sigma).max()
    assert got["objective"] == pytest.approx(objective(p, sigma, w, aversion), abs=1e-13 * scale)
    vertices = [objective(p, sigma, unit, aversion) for unit in np.eye(size)]  # where singular systems may miss them
    want = min(enumerated(p, sigma, aversion), *vertices) if rank >= size and aversion else min(vertices)
    if rank >= size and aversion:
        assert got["objective"] == pytest.approx(want, abs=1e-10 * scale)
    else:
        assert got["objective"] <= want + 1e-10 * scale
    slopes = p + 2 * aversion * sigma @ w
    assert w @ slopes - slopes.min() <= 1e-11 * scale  # an upper bound of the distance from the minimum


@pytest.mark.parametrize("seed", range(4))
def test_against_slsqp(db, seed):
    p, sigma = sample(seed, 6, 6)
    found = scipy.optimize.minimize(
        lambda w: objective(p, sigma, w), np.full(6, 1 / 6), jac=lambda w: p + 2 * sigma @ w, bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, tol=1e-14,
    )  # fmt: skip
    assert solve(db, p, sigma)["weights"] == pytest.approx(found.x, abs=1e-5)
    assert solve(db, p, sigma)["objective"] <= found.fun + 1e-12


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 6),
    rank=st.integers(0, 6),
    aversion=st.sampled_from([0.0, 1.0, 50.0]),
    long_only=st.booleans(),
)
def test_between_bounds_no_pair_of_assets_gains(db, seed, size, rank, aversion, long_only):
    p, sigma = sample(seed, size, rank)
    random = np.random.default_rng(seed)
    inside = random.dirichlet(np.ones(size))
    lower = inside - random.choice([0, 0.1, 0.5], size)
    upper = inside + random.choice([0, 0.1, 0.5], size)
    query = "SELECT portfolio_weights($1::DOUBLE[], $2::DOUBLE[][], $3, $4, $5::DOUBLE[], $6::DOUBLE[])"
    values = [p.tolist(), sigma.tolist(), aversion, long_only, lower.tolist(), upper.tolist()]
    (got,) = db.execute(query, values).fetchall()[0]
    w, scale = np.array(got["weights"]), abs(p).max() + aversion * abs(sigma).max()
    least = np.maximum(lower, 0) if long_only else lower
    assert (w >= least).all()
    assert (w <= upper).all()
    assert w.sum() == pytest.approx(1, abs=1e-12)
    slopes = p + 2 * aversion * sigma @ w
    gains, falls = slopes[w < upper - 1e-12], slopes[w > least + 1e-12]
    if len(gains) and len(falls):
        assert falls.max() - gains.min() <= 1e-10 * scale


def test_one_bound_for_all(db):
    query = "SELECT portfolio_optimize(r, {'upper': [0.4], 'lower': [0.1]}) FROM rows"
    returns_table(db, np.random.default_rng(8).standard_normal((100, 4)) * [0.1, 0.2, 0.3, 0.4] + [0, 0.1, 0.2, 0.9])
    w = np.array(db.execute(query).fetchall()[0][0]["weights"])
    assert (w.min(), w.max()) == (0.1, 0.4)
    assert w.sum() == pytest.approx(1)


def test_bounds_of_some_assets_alone(db):
    """Without a bound of its own an asset takes what the others leave, below 0 as well."""
    call = f"portfolio_weights({CHECK}, 1, false, ['-inf'::DOUBLE, 0.9, 0.9], ['inf'::DOUBLE, 1, 0.9])"
    (got,) = db.execute(f"SELECT {call}").fetchall()[0]
    assert got["weights"] == pytest.approx([-0.8, 0.9, 0.9])


@given(seed=st.integers(0, 10**6), size=st.integers(1, 6), aversion=st.sampled_from([0.1, 1.0, 50.0]))
def test_free_weights_solve_the_linear_system(db, seed, size, aversion):
    p, sigma = sample(seed, size, size + 2)
    kkt = np.ones((size + 1, size + 1))
    kkt[:size, :size], kkt[size, size] = 2 * aversion * sigma, 0
    want = np.linalg.solve(kkt, np.append(-p, 1))[:size]
    got = solve(db, p, sigma, aversion, False)
    assert got["weights"] == pytest.approx(want, rel=1e-6, abs=1e-8)
    assert got["objective"] <= solve(db, p, sigma, aversion)["objective"] + 1e-10


@pytest.mark.parametrize(("assets", "rows"), [(150, 400), (150, 20), (60, 2)])
def test_many_assets(db, assets, rows):
    random = np.random.default_rng(assets + rows)
    returns = random.standard_normal((rows, assets)) * random.uniform(0.01, 1, assets) + 0.05
    p, sigma = -returns.mean(0), np.cov(returns.T)
    exact = solve(db, p, sigma)
    w = np.array(exact["weights"])
    slopes = p + 2 * sigma @ w
    assert w @ slopes - slopes.min() < 1e-11
    assert w.sum() == pytest.approx(1)
    returns_table(db, returns)
    (steps,) = db.execute("SELECT portfolio_optimize(r, {'method': 'sgd', 'risk_aversion': 1}) FROM rows").fetchall()[0]
    assert steps["objective"] == pytest.approx(exact["objective"], abs=1e-5)


def test_assets_of_very_different_size(db):
    """An asset of huge variance does not blur the choice among the others."""
    p, sigma = np.array([-1e-4, -2e-4, -5.0]), np.diag([1e-4, 2e-4, 1e12])
    small = solve(db, p[:2], sigma[:2, :2])["weights"]
    assert solve(db, p, sigma)["weights"] == pytest.approx([*small, 0], abs=1e-11)


def test_equal_assets_share(db):
    """Copies of an asset change nothing but which of them is held."""
    p, sigma = sample(3, 3, 3)
    twice = [0, 1, 2, 0, 1, 2]
    got = solve(db, p[twice], sigma[np.ix_(twice, twice)])
    single = solve(db, p, sigma)
    assert got["objective"] == pytest.approx(single["objective"], rel=1e-12)
    assert np.add(got["weights"][:3], got["weights"][3:]) == pytest.approx(single["weights"], abs=1e-9)


# -------------------------------------------------------------------------------------------------------- rows of returns


@pytest.mark.parametrize("rows", [2, 3, 50, 3000])
def test_moments_of_returns(threaded, rows):
    random = np.random.default_rng(rows)
    returns = random.standard_normal((rows, 4)) * [0.1, 0.2, 0.3, 0.4] + [0.01, 0.02, 0.05, 1e-3]
    returns_table(threaded, returns)
    (got,) = threaded.execute("SELECT portfolio_optimize(r, {'risk_aversion': 2.5}) FROM rows").fetchall()[0]
    p, sigma, w = -returns.mean(0), np.cov(returns.T), np.array(got["weights"])
    assert (got["task"], got["n"]) == ("portfolio", rows)
    assert got["objective"] == pytest.approx(objective(p, sigma, w, 2.5), abs=1e-12)
    assert got["expected_return"] == pytest.approx(-p @ w, abs=1e-14)
    assert got["variance"] == pytest.approx(w @ sigma @ w, rel=1e-9, abs=1e-14)
    slopes = p + 5 * sigma @ w
    assert w @ slopes - slopes.min() < 1e-12


def test_offsets_cost_no_digits(db):
    """Returns written as prices near 1e6: two passes in NumPy and one pass here agree."""
    returns = np.random.default_rng(1).standard_normal((500, 3)) + 1e6
    returns_table(db, returns)
    (got,) = db.execute("SELECT portfolio_optimize(r, {'risk_aversion': 1}) FROM rows").fetchall()[0]
    w = np.array(got["weights"])
    assert got["variance"] == pytest.approx(w @ np.cov(returns.T) @ w, rel=1e-8)


def test_groups_and_options(con):
    random = np.random.default_rng(5)
    returns = random.standard_normal((3000, 3)) * 0.1 + 0.01
    keys = np.arange(3000) % 3
    returns_table(con, returns, keys)
    query = "SELECT k, portfolio_optimize(r, {'risk_aversion': k + 1}) FROM rows GROUP BY k ORDER BY k"
    for key, got in con.execute(query).fetchall():
        mine = returns[keys == key]
        want = enumerated(-mine.mean(0), np.cov(mine.T), key + 1)
        assert got["objective"] == pytest.approx(want, abs=1e-12)
        assert got["n"] == 1000


def test_methods_agree(db):
    random = np.random.default_rng(6)
    returns_table(db, random.standard_normal((200, 5)) * 0.1 + random.uniform(0, 0.05, 5))
    query = "SELECT portfolio_optimize(r, {'risk_aversion': 2, 'method': 'sgd', 'tolerance': 1e-9}), portfolio_optimize(r, {'risk_aversion': 2}), portfolio_optimize(r, {'risk_aversion': 2, 'long_only': false}) FROM rows"
    steps, exact, free = db.execute(query).fetchall()[0]
    assert steps["objective"] == pytest.approx(exact["objective"], abs=1e-9)
    assert steps["weights"] == pytest.approx(exact["weights"], abs=1e-3)
    assert free["objective"] <= exact["objective"]
    assert sum(free["weights"]) == pytest.approx(1)


def test_without_rows(con):
    query = "SELECT portfolio_optimize(r, {'risk_aversion': 1}) FROM (VALUES (1, [1.0, 2.0]), (2, NULL)) t(k, r)"
    assert con.execute(query).fetchall() == [(None,)]
    assert con.execute(f"{query} WHERE k = 2").fetchall() == [(None,)]
    assert con.execute(f"{query} WHERE k = 3").fetchall() == [(None,)]
    assert con.execute(
        f"SELECT portfolio_weights(NULL::DOUBLE[], [[1]]), portfolio_weights({CHECK}, NULL, true)"
    ).fetchall() == [(None, None)]


def test_python_face():
    assert portfolio.portfolio_weights([-1.0], [[2.0]], 1.0, True)["objective"] == 1


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("[-1, -2], [[1, 2], [2, 1]], 1, true", "argument sigma must have no negative eigenvalue, as a covariance has none; it has -(1.0|0.99999999999)"),
        ("[-1, -2], [[1, 2], [3, 1]], 1, true", "argument sigma must be symmetric; row 2 has 3.0 where column 2 has 2.0"),
        ("[-1, -2], [[1, 2], [3]], 1, true", "argument sigma must be a matrix of 2 x 2 as p has; a row has 1"),
        ("[-1, -2], [[1]], 1, true", "argument sigma must be a matrix of 2 x 2 as p has; its rows are 1"),
        ("[-1, -2], [[1, NULL], [0, 1]], 1, true", "sigma has a NULL at position 2 of 2"),
        ("[-1, -2], [[1, 'nan'::DOUBLE], [0, 1]], 1, true", "argument sigma must be numbers up to 1e150; it has nan in row 1 column 2"),
        ("[-1, 'inf'::DOUBLE], [[1, 0], [0, 1]], 1, true", "argument p must be numbers up to 1e150; a row has inf at position 2"),
        ("[]::DOUBLE[], []::DOUBLE[][], 1, true", "argument p must have at least 1 number; a row has none"),
        ("[-1], [[1]], -1, true", "risk_aversion must be at least 0 and finite, got -1"),
        ("[-1], [[1]], 'nan', true", "risk_aversion must be at least 0 and finite, got nan"),
        ("[-1, -2], [[1, 0], [0, 1]], 0, false", "without long_only there is no single best portfolio, .* risk_aversion above 0"),
        ("[-1, -2], [[-1e-9, 0], [0, 1]], 1, true", "argument sigma must have no negative eigenvalue, .*; it has -[19]"),
        ("[-1, -2], [[1e150, 0], [0, 1e150]], 1e200, true", "the objective is beyond what DOUBLE holds"),
        ("[-1, -2], [[1, 0], [0, 1]], 1, true, [0.6]", "no portfolio is within the bounds: the weights must add up to 1, but can only to between 1.2 and inf"),
        ("[-1, -2], [[1, 0], [0, 1]], 1, true, [], [0.4]", "no portfolio is within the bounds: the weights must add up to 1, but can only to between 0.0 and 0.8"),
        ("[-1, -2], [[1, 0], [0, 1]], 1, true, [0, 0.5], [1, 0.4]", "no portfolio is within the bounds: asset 2 must be at least 0.5 and at most 0.4"),
        ("[-1, -2], [[1, 0], [0, 1]], 1, true, [0, 0, 0]", "option lower must be one bound for each of the 2 assets, or one for all, got 3"),
        ("[-1, -2], [[1, 0], [0, 1]], 1, true, [], ['nan'::DOUBLE]", "option upper must be numbers, got nan"),
        ("[-1, -2], [[0, 0], [0, 0]], 1, false, ['-inf'::DOUBLE]", "without long_only there is no single best portfolio"),
        ("[-1, -2], [[1, 1], [1, 1]], 1, false", "without long_only there is no single best portfolio"),
    ],
)  # fmt: skip
def test_bad_moments(db, arguments, message):
    with pytest.raises(duckdb.Error, match=f"portfolio_weights: .*{message}"):
        db.execute(f"SELECT portfolio_weights({arguments})").fetchall()


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ("([1, 2]), ([1])", "'risk_aversion': 1", "argument returns must have the same length in all rows, got 2 and 1"),
        ("([1, 'nan'::DOUBLE])", "'risk_aversion': 1", "argument returns must be numbers up to 1e150; a row has nan at position 2"),
        ("([1, NULL])", "'risk_aversion': 1", "argument returns has a NULL at position 2 of 2"),
        ("([]::DOUBLE[])", "'risk_aversion': 1", "argument returns must have 1 to 4094 numbers; a row has 0"),
        ("([1]), ([2])", "'risk_aversion': -1", "option risk_aversion must be at least 0 and finite, got -1"),
        ("([1]), ([2])", "'epochs': 0", "option epochs must be at least 1, got 0"),
        ("([1]), ([2])", "'tolerance': 0", "option tolerance must be between 0 and 1, got 0"),
        ("([1]), ([2])", "'method': 'sgd', 'long_only': false", "option method 'sgd' needs long_only true; expected 'exact'"),
        ("([1]), ([2])", "'method': 'sgd', 'upper': [1]", "option method 'sgd' takes no bounds; expected 'exact'"),
        ("([1]), ([2])", "'method': 'igd'", "option 'method' is 'igd'"),
        ("([1]), ([2])", "'risk': 1", "unknown option 'risk'"),
        ("([1, 5]), ([3, 7])", "'long_only': false", "without long_only there is no single best portfolio"),
        ("([1, 5]), ([3, 4]), ([9, 8])", "'method': 'sgd', 'epochs': 1, 'tolerance': 1e-12", "method 'sgd' has not settled; raise option tolerance, take 'exact', or raise option epochs from 1"),
    ],
)  # fmt: skip
def test_bad_returns(db, rows, options, message):
    with pytest.raises(duckdb.Error, match=f"portfolio_optimize: .*{message}|{message}"):
        db.execute(f"SELECT portfolio_optimize(r::DOUBLE[], {{{options}}}) FROM (VALUES {rows}) t(r)").fetchall()

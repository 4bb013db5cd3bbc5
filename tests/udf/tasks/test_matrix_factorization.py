"""Matrix factorisation: steps against the formulas and the numerical gradient, recovery, determinism, prediction."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ironlake.udf.tasks.matrix_factorization  # noqa: F401 - declares the functions
from ironlake.udf.tasks.matrix_factorization_kernels import Factors, arrange, blocks_for, choose_step, descend, train

CUSTOMERS = (
    "(VALUES ('bob', 'tea', 2), ('bob', 'gin', 5), ('eve', 'tea', 4), ('eve', 'rum', 1), ('kim', 'gin', 3)) t(u, i, r)"
)


def low_rank(count, users, items, rank, noise=0.0, seed=1):
    """Ratings of a random matrix of a rank, biases and a mean of 3 included."""
    random = np.random.default_rng(seed)
    left = random.standard_normal((users, rank)) / rank**0.25
    right = random.standard_normal((items, rank)) / rank**0.25
    user, item = random.integers(0, users, count), random.integers(0, items, count)
    level = 3 + 0.5 * random.standard_normal(users)[user] + 0.5 * random.standard_normal(items)[item]
    rating = level + (left[user] * right[item]).sum(1) + noise * random.standard_normal(count)
    return pa.table({"u": user, "i": item, "r": rating})


def fit(con, table, options="{}"):
    """The model of a table of ratings."""
    con.register("ratings", table)
    return con.execute(f"SELECT matrix_factorization_fit(u, i, r, {options}) FROM ratings").fetchall()[0][0]


def positions(keys, wanted):
    """Where keys stand in a model."""
    places = {key: place for place, key in enumerate(keys)}
    return np.array([places[str(key)] for key in wanted])


def predicted(model, users, items):
    """The formula of the prediction, in NumPy."""
    user, item = positions(model["users"], users), positions(model["items"], items)
    left, right = np.array(model["user_factors"])[user], np.array(model["item_factors"])[item]
    products = (left * right).sum(1)
    if not model["user_bias"]:
        return products
    return model["mean"] + np.array(model["user_bias"])[user] + np.array(model["item_bias"])[item] + products


def rows(random, users, items, rank, biases, mu=0.0):
    """Random factors in the layout of the kernel."""
    left, right = (random.standard_normal((n, rank + 4)).astype(np.float32) for n in (users, items))
    left[:, rank + 2 :] = right[:, rank + 2 :] = 0
    left[:, rank + 1] = right[:, rank] = biases
    if not biases:
        left[:, rank] = right[:, rank + 1] = 0
    penalties = (np.full(n, mu, np.float32) for n in (users, items))
    return Factors(left, right, *penalties, rank, np.float32(biases))


# -------------------------------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize("biases", [False, True])
def test_one_step_by_hand(biases):
    random = np.random.default_rng(0)
    factors = rows(random, 1, 1, 3, biases, 0.1)
    L, b = factors.users[0, :3].astype(float), float(factors.users[0, 3])
    R, c = factors.items[0, :3].astype(float), float(factors.items[0, 4])
    ratings = arrange(np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([2.0]), (1, 1), random)
    total = descend(ratings, factors, 0, 1, 0.05)
    e = L @ R + b + c - 2
    assert total == pytest.approx(e * e, rel=1e-5)
    assert factors.users[0, :3] == pytest.approx(L - 0.05 * (e * R + 0.1 * L), rel=1e-5)
    assert factors.items[0, :3] == pytest.approx(R - 0.05 * (e * L + 0.1 * R), rel=1e-5)
    if biases:
        assert factors.users[0, 3:5] == pytest.approx([b - 0.05 * (e + 0.1 * b), 1], rel=1e-5)
        assert factors.items[0, 3:5] == pytest.approx([1, c - 0.05 * (e + 0.1 * c)], rel=1e-5)
    else:
        assert not factors.users[0, 3:].any()
        assert not factors.items[0, 3:].any()


@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_step_is_half_the_numerical_gradient(seed, rank, biases):
    random = np.random.default_rng(seed)
    factors, rating, mu, small = rows(random, 1, 1, rank, biases, 0.3), random.standard_normal(), 0.3, 1e-3
    given = np.concatenate([factors.users[0], factors.items[0]]).astype(float)
    width = len(factors.users[0])
    free = np.ones(2 * width, bool)
    free[[rank + 1, width + rank]] = False  # the ones
    free[rank + 2 : width] = free[width + rank + 2 :] = False  # padding
    if not biases:
        free[[rank, width + rank + 1]] = False

    def objective(at):
        return (at[:width] @ at[width:] - rating) ** 2 + mu * (at[free] @ at[free])

    slope = [(objective(given + unit) - objective(given - unit)) / (2 * small) for unit in small * np.eye(2 * width)]
    step = 1 / 64
    ratings = arrange(np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([rating]), (1, 1), random)
    descend(ratings, factors, 0, 1, step)
    moved = (given - np.concatenate([factors.users[0], factors.items[0]])) / step
    assert moved == pytest.approx(np.where(free, slope, 0) / 2, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("regularization", ["global", "weighted"])
def test_descent_reaches_a_minimum_of_the_objective(one, regularization):
    """At the end the full gradient of the objective is nearly zero: what is minimised is what the documentation says."""
    table = low_rank(600, 12, 10, 2, noise=0.3)
    course = "'step_size': 0.05, 'decay': 0.995, 'epochs': 1500, 'tolerance': 0"
    model = fit(one, table, f"{{'rank': 2, 'l2': 0.2, 'regularization': '{regularization}', {course}}}")
    users, items, ratings = (table[name].to_numpy() for name in "uir")
    errors = predicted(model, users, items) - ratings
    user, item = positions(model["users"], users), positions(model["items"], items)
    L, R = np.array(model["user_factors"]), np.array(model["item_factors"])
    degree = np.bincount(user) if regularization == "global" else np.ones(len(L))
    slope = 0.2 * degree[:, None] * L
    np.add.at(slope, user, errors[:, None] * R[item])
    assert abs(slope).max() < 0.02
    bias_slope = np.bincount(user, errors) + 0.2 * degree * np.array(model["user_bias"])
    assert abs(bias_slope).max() < 0.02


# ------------------------------------------------------------------------------------------------------------- blocks


@given(st.integers(0, 10**6), st.integers(1, 3000), st.integers(1, 200), st.integers(1, 200))
def test_blocks_hold_every_rating_once(seed, count, users, items):
    random = np.random.default_rng(seed)
    user, item = (random.integers(0, n, count).astype(np.int32) for n in (users, items))
    values = random.standard_normal(count)
    ratings = arrange(user, item, values, (users, items), np.random.default_rng(seed))
    got = sorted(zip(ratings.users, ratings.items, ratings.values, strict=True))
    assert got == sorted(zip(user, item, values, strict=True))
    height = 2 * -(-items // (2 * ratings.blocks))
    for block in range(ratings.blocks**2):
        part = slice(*ratings.ends[block : block + 2])
        assert (ratings.users[part] // ratings.width == block // ratings.blocks).all()
        assert (ratings.items[part] // height == block % ratings.blocks).all()
    order = random.permutation(count)
    again = arrange(user[order], item[order], values[order], (users, items), np.random.default_rng(seed))
    for one, other in zip(ratings, again, strict=True):
        assert np.array_equal(one, other)


def test_number_of_blocks():
    assert blocks_for(1, 1, 1) == 1
    assert blocks_for(10**6, 10**4, 20) == 1
    assert blocks_for(10**6, 6040, 3952) == 16
    assert blocks_for(10**12, 10**9, 10**9) == 64


# ----------------------------------------------------------------------------------------------------------- training


def test_recovers_a_noiseless_matrix(one):
    table = low_rank(40_000, 300, 200, 3)
    model = fit(one, table, "{'rank': 3, 'l2': 0, 'epochs': 60, 'tolerance': 0}")
    assert model["rmse"] < 1e-5
    part, rest = table.slice(0, 36_000), table.slice(36_000)
    model = fit(one, part, "{'rank': 3, 'l2': 0.001, 'epochs': 60}")
    errors = predicted(model, rest["u"].to_pylist(), rest["i"].to_pylist()) - rest["r"].to_numpy()
    assert np.sqrt(np.mean(errors**2)) < 0.05


def test_defaults_come_close_to_the_noise(con):
    model = fit(con, low_rank(100_000, 600, 400, 5, noise=0.5), "{'rank': 5}")
    assert 0.45 < model["rmse"] < 0.5
    assert model["epochs"] == len(model["loss_history"]) <= 20
    assert model["loss_history"][-1] < model["loss_history"][0] / 2


@pytest.mark.parametrize("biases", ["true", "false"])
def test_the_same_model_on_any_threads(biases):
    table = low_rank(40_000, 200, 150, 3, noise=0.3)
    assert blocks_for(40_000, 200, 150) > 2
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    models = []
    for database in (1, 2):
        with duckdb.connect(config={"threads": database}) as con:
            for threads, rows_ in ((1, table), (2, shuffled), (4, table), (0, table)):
                options = f"{{'rank': 3, 'epochs': 4, 'threads': {threads}, 'biases': {biases}}}"
                models.append(fit(con, rows_, options))
    assert all(model == models[0] for model in models)


def test_the_seed_matters(one):
    table = low_rank(500, 20, 15, 2)
    first, other = (fit(one, table, f"{{'rank': 2, 'seed': {seed}}}") for seed in (1, 2))
    assert first["user_factors"] != other["user_factors"]
    assert first == fit(one, table, "{'rank': 2, 'seed': 1}")


def test_given_step_size_and_decay(one):
    model = fit(one, low_rank(500, 20, 15, 2), "{'rank': 2, 'step_size': 0.02, 'decay': 0.5, 'epochs': 3}")
    assert model["step_size"] == pytest.approx(0.005)
    assert model["epochs"] == 3
    assert (model["converged"], model["stop_reason"]) == (False, "epochs")


def test_convergence_is_reported(one):
    model = fit(one, low_rank(500, 20, 15, 2), "{'rank': 2, 'l2': 0.1, 'epochs': 500, 'tolerance': 0.01}")
    assert model["epochs"] < 500
    assert (model["converged"], model["stop_reason"]) == (True, "tolerance")


def test_automatic_step_is_near_the_best():
    random = np.random.default_rng(0)
    table = low_rank(20_000, 200, 150, 3, noise=0.2)
    user, item = (table[name].to_numpy().astype(np.int32) for name in "ui")
    ratings = arrange(user, item, table["r"].to_numpy() - 3, (200, 150), random)

    def fresh():
        factors = rows(np.random.default_rng(1), 200, 150, 3, True, 0.02)
        factors.users[:, :4] *= 0.1
        factors.items[:, [0, 1, 2, 4]] *= 0.1
        return factors

    def result(step):
        try:
            return train(ratings, fresh(), step, 0.9, 5, 0.0, 1, np.random.default_rng(2)).rmse
        except ValueError:
            return np.inf

    best = min(result(2.0**-k) for k in range(12))
    assert result(choose_step(ratings, fresh())) < 1.3 * best
    assert train(ratings, fresh(), None, 0.9, 5, 0.0, 1, np.random.default_rng(2)).rmse < 1.2 * best


# --------------------------------------------------------------------------------------------------------- edge cases


def test_result_type(one):
    query = f"SELECT typeof(matrix_factorization_fit(u, i, r)) FROM {CUSTOMERS}"
    assert one.execute(query).fetchall()[0][0] == (
        "STRUCT(task VARCHAR, users VARCHAR[], items VARCHAR[], user_factors FLOAT[][], item_factors FLOAT[][], "
        "user_bias FLOAT[], item_bias FLOAT[], mean DOUBLE, rank INTEGER, rmse DOUBLE, n BIGINT, epochs INTEGER, "
        "converged BOOLEAN, stop_reason VARCHAR, loss_history DOUBLE[], step_size DOUBLE)"
    )


def test_shapes_and_order(one):
    model = one.execute(f"SELECT matrix_factorization_fit(u, i, r, {{'rank': 3}}) FROM {CUSTOMERS}").fetchall()[0][0]
    assert model["task"] == "matrix_factorization"
    assert (model["users"], model["items"]) == (["bob", "eve", "kim"], ["gin", "rum", "tea"])
    assert np.shape(model["user_factors"]) == np.shape(model["item_factors"]) == (3, 3)
    assert len(model["user_bias"]) == len(model["item_bias"]) == model["rank"] == 3
    assert (model["mean"], model["n"]) == (3.0, 5)


def test_without_biases(one):
    model = fit(one, low_rank(500, 20, 15, 2), "{'rank': 2, 'biases': false}")
    assert model["user_bias"] == model["item_bias"] == []
    assert model["mean"] == pytest.approx(low_rank(500, 20, 15, 2)["r"].to_numpy().mean())


def test_text_and_integer_keys_agree(one):
    table = low_rank(300, 15, 12, 2)
    text = pa.table({"u": table["u"].cast(pa.string()), "i": table["i"].cast(pa.string()), "r": table["r"]})
    mixed = pa.table({"u": table["u"].cast(pa.string()), "i": table["i"], "r": table["r"]})
    model = fit(one, table, "{'rank': 2}")
    assert model == fit(one, text, "{'rank': 2}") == fit(one, mixed, "{'rank': 2}")


def test_keys_of_any_text(one):
    keys = ["", "ä", "日本", "a\nb", "a" * 100, "-7"]
    table = pa.table({"u": keys, "i": keys[::-1], "r": [1.0, 2, 3, 4, 5, 6]})
    model = fit(one, table)
    assert model["users"] == model["items"] == sorted(keys, key=str.encode)
    one.register("ratings", table)
    one.execute("CREATE TABLE m AS SELECT matrix_factorization_fit(u, i, r) AS m FROM ratings")
    got = one.execute("SELECT predict_rating(m, u, i) FROM ratings, m").fetchall()
    assert [row[0] for row in got] == pytest.approx(predicted(model, keys, keys[::-1]), rel=1e-5)


def test_repeated_ratings_all_count(one):
    rows_ = "(VALUES (1, 1, 2.0), (1, 1, 4.0), (1, 1, 3.0))"
    model = one.execute(
        f"SELECT matrix_factorization_fit(u, i, r, {{'epochs': 200}}) FROM {rows_} t(u, i, r)"
    ).fetchall()[0][0]
    assert (model["n"], model["users"], model["items"]) == (3, ["1"], ["1"])
    assert predicted(model, [1], [1])[0] == pytest.approx(3, abs=0.1)
    assert model["rmse"] == pytest.approx(np.sqrt(2 / 3), rel=0.02)


@pytest.mark.parametrize("options", ["{}", "{'l2': 0, 'biases': false, 'tolerance': 0, 'epochs': 500}"])
@pytest.mark.parametrize(
    "query", ["(SELECT 0 AS u, 0 AS i, 3 AS r)", "(SELECT j % 5 AS u, j % 3 AS i, 3 AS r FROM range(30) t(j))"]
)
def test_nothing_to_learn(one, query, options):
    """A single rating, and ratings that are all the same, train without a complaint."""
    model = one.execute(f"SELECT matrix_factorization_fit(u, i, r, {options}) FROM {query}").fetchall()[0][0]
    assert model["rmse"] < 0.01


def test_one_user_and_one_item(one):
    user = one.execute("SELECT matrix_factorization_fit(1, j, j, {'epochs': 300}) FROM range(5) t(j)").fetchall()[0][0]
    item = one.execute("SELECT matrix_factorization_fit(j, 1, j, {'epochs': 300}) FROM range(5) t(j)").fetchall()[0][0]
    assert (len(user["users"]), len(user["items"]), len(item["users"]), len(item["items"])) == (1, 5, 5, 1)
    assert max(user["rmse"], item["rmse"]) < 0.2


def test_no_rows(con):
    fit_ = "matrix_factorization_fit(u, i, r, {'on_null': 'skip'})"
    assert con.execute(f"SELECT {fit_} FROM {CUSTOMERS} WHERE false").fetchall() == [(None,)]
    assert con.execute(f"SELECT {fit_} FROM (SELECT 1 AS u, 2 AS i, NULL::DOUBLE AS r)").fetchall() == [(None,)]


def test_nulls(con):
    rows_ = "(VALUES ('a', 'x', 1.0), ('a', 'y', 2.0), (NULL, 'x', 7), ('b', NULL, 7), ('b', 'x', NULL)) t(u, i, r)"
    skipped = con.execute(f"SELECT matrix_factorization_fit(u, i, r, {{'on_null': 'skip'}}) FROM {rows_}").fetchall()
    assert (skipped[0][0]["users"], skipped[0][0]["n"]) == (["a"], 2)
    clean = con.execute(f"SELECT matrix_factorization_fit(u, i, r) FROM {rows_} WHERE r < 7").fetchall()
    assert skipped == clean
    for name, condition in (("user", "u IS NULL"), ("item", "i IS NULL"), ("rating", "r IS NULL")):
        with pytest.raises(duckdb.InvalidInputException, match=f"argument {name} is NULL in a row"):
            con.execute(f"SELECT matrix_factorization_fit(u, i, r) FROM {rows_} WHERE {condition}").fetchall()


def test_group_by(threaded):
    table = low_rank(4000, 20, 15, 2)
    threaded.register("ratings", table)
    call = "matrix_factorization_fit(u, i, r, {'rank': 2, 'epochs': 5})"
    grouped = threaded.execute(f"SELECT u % 4 AS k, {call} FROM ratings GROUP BY k ORDER BY k").fetchall()
    for key, model in grouped:
        assert model == threaded.execute(f"SELECT {call} FROM ratings WHERE u % 4 = {key}").fetchall()[0][0]


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("value", ["'NaN'", "'Infinity'", "'-Infinity'", "1e39"])
def test_ratings_that_are_no_numbers(con, value):
    with pytest.raises(duckdb.InvalidInputException, match="argument rating has the value .*; expected finite numbers"):
        con.execute(f"SELECT matrix_factorization_fit(1, 2, {value}::DOUBLE)").fetchall()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{'rank': 0}", "option rank must be between 1 and 4096, got 0"),
        ("{'rank': 5000}", "option rank must be between 1 and 4096, got 5000"),
        ("{'l2': -1}", "option l2 must be at least 0 and finite, got -1"),
        ("{'l2': 'NaN'::DOUBLE}", "option l2 must be at least 0 and finite, got nan"),
        ("{'step_size': 0}", "option step_size must be above 0 and finite, or 'auto'; got 0"),
        ("{'step_size': 'best'}", "step_size"),
        ("{'decay': 0}", "option decay must be above 0 and at most 1, got 0"),
        ("{'decay': 1.5}", "option decay must be above 0 and at most 1, got 1.5"),
        ("{'epochs': 0}", "option epochs must be at least 1, got 0"),
        ("{'tolerance': -1}", "option tolerance must be at least 0 and finite, got -1"),
        ("{'init_scale': 0}", "option init_scale must be above 0 and finite, got 0"),
        ("{'seed': -1}", "option seed must be at least 0, got -1"),
        ("{'threads': -1}", "option threads must be at least 0, got -1"),
        ("{'regularization': 'none'}", "regularization"),
        ("{'on_null': 'ignore'}", "on_null"),
        ("{'ranks': 3}", "rank"),
        ("{'step_size': 10}", "training diverged with step_size 10; try 1.25 or 'auto'"),
        ("{'l2': 1e30}", "training diverged with any step; expected a smaller l2, init_scale or ratings"),
    ],
)
def test_bad_options(one, options, message):
    with pytest.raises(duckdb.Error) as caught:
        one.execute(
            f"SELECT matrix_factorization_fit(j % 20, j % 7, 3 * sin(j), {options}) FROM range(140) t(j)"
        ).fetchall()
    assert "matrix_factorization_fit" in str(caught.value)
    assert message in str(caught.value)


# --------------------------------------------------------------------------------------------------------- prediction


@pytest.fixture
def shop(con):
    """A database with a model in a table."""
    con.execute(f"CREATE TABLE ratings AS FROM {CUSTOMERS}")
    con.execute("CREATE TABLE shop AS SELECT matrix_factorization_fit(u, i, r, {'rank': 2}) AS m FROM ratings")
    return con


@pytest.mark.parametrize("biases", ["true", "false"])
def test_prediction_is_the_formula(con, biases):
    table = low_rank(5000, 40, 30, 3, noise=0.2)
    options = f"{{'rank': 3, 'biases': {biases}}}"
    model = fit(con, table, options)
    con.execute(f"CREATE TABLE m AS SELECT matrix_factorization_fit(u, i, r, {options}) AS m FROM ratings")
    for cast in ("BIGINT", "VARCHAR", "INTEGER"):
        got = con.execute(f"SELECT u, i, predict_rating(m, u::{cast}, i::{cast}) FROM ratings, m").fetchall()
        users, items, ratings = zip(*got, strict=True)
        assert ratings == pytest.approx(predicted(model, users, items), rel=1e-4, abs=1e-5)
    rmse = con.execute("SELECT sqrt(avg((r - predict_rating(m, u, i)) ** 2)), any_value(m.rmse) FROM ratings, m")
    got, want = rmse.fetchall()[0]
    assert got == pytest.approx(want, rel=1e-5)


def test_a_model_outlives_its_database(tmp_path):
    file, query = tmp_path / "shop.db", "SELECT u, i, predict_rating(m, u, i) FROM ratings, shop ORDER BY ALL"
    with duckdb.connect(file) as con:
        con.execute(f"CREATE TABLE ratings AS FROM {CUSTOMERS}")
        con.execute("CREATE TABLE shop AS SELECT matrix_factorization_fit(u, i, r) AS m FROM ratings")
        before = con.execute(query).fetchall()
    with duckdb.connect(file) as con:
        assert con.execute(query).fetchall() == before


def test_cold_start(shop):
    model = shop.execute("SELECT m FROM shop").fetchall()[0][0]
    got = shop.execute("""SELECT predict_rating(m, 'zoe', 'tea'), predict_rating(m, 'bob', 'pop'),
        predict_rating(m, 'zoe', 'tea', 'mean'), predict_rating(m, 'bob', 'pop', 'mean'),
        predict_rating(m, 'zoe', 'pop', 'mean'), predict_rating(m, 'zoe', 'pop', 'null') FROM shop""").fetchall()[0]
    tea, bob = model["item_bias"][2], model["user_bias"][0]
    assert got[:2] == (None, None)
    assert got[2:5] == pytest.approx((3 + tea, 3 + bob, 3), rel=1e-6)
    assert got[5] is None


def test_cold_start_without_biases(con):
    fit_ = "matrix_factorization_fit(u, i, r, {'biases': false})"
    query = f"SELECT predict_rating(m, 'zoe', 'tea', 'mean') FROM (SELECT {fit_} AS m FROM {CUSTOMERS})"
    assert con.execute(query).fetchall() == [(3.0,)]


def test_predictions_of_nulls(shop):
    query = "SELECT predict_rating(NULL, 'bob', 'tea'), predict_rating(m, NULL, 'tea'), recommend(m, NULL, 1) FROM shop"
    assert shop.execute(query).fetchall() == [(None, None, None)]


def test_a_model_for_each_row(con):
    con.register("ratings", low_rank(2000, 20, 15, 2))
    con.execute("""CREATE TABLE models AS SELECT u % 4 AS k, matrix_factorization_fit(u, i, r, {'rank': 2}) AS m
        FROM ratings GROUP BY k""")
    got = con.execute("""SELECT k, any_value(m.rmse), sqrt(avg((r - predict_rating(m, u, i)) ** 2))
        FROM ratings JOIN models ON u % 4 = k GROUP BY k""").fetchall()
    assert len(got) == 4
    for _, want, rmse in got:
        assert rmse == pytest.approx(want, rel=1e-5)


def test_recommendations_are_the_best_predictions(con):
    con.register("ratings", low_rank(5000, 40, 30, 3, noise=0.2))
    con.execute("CREATE TABLE m AS SELECT matrix_factorization_fit(u, i, r, {'rank': 3}) AS m FROM ratings")
    got = con.execute(
        "SELECT recommend(m, 7, 5), len(recommend(m, 7, 100)), recommend(m, 7, 0), recommend(m, 99, 5) FROM m"
    )
    best, every, none, unknown = got.fetchall()[0]
    want = con.execute("""SELECT i::VARCHAR, predict_rating(m, 7, i) AS score FROM range(30) t(i), m
        ORDER BY score DESC LIMIT 5""").fetchall()
    assert [row["item"] for row in best] == [item for item, _ in want]
    assert [row["score"] for row in best] == pytest.approx([score for _, score in want], rel=1e-5)
    assert (every, none, unknown) == (30, [], None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("predict_rating({**m, 'task': 'logistic'}, 'bob', 'tea')", "argument model must be a model of matrix_fact"),
        (
            "recommend({**m, 'task': 'logistic'}, 'bob', 1)",
            "argument model must be a model of matrix_factorization_fit",
        ),
        ("predict_rating({**m, 'users': ['a']}, 'bob', 'tea')", "argument model has 1 users, but not as many rows"),
        ("predict_rating({**m, 'item_bias': [0.5]}, 'bob', 'tea')", "argument model has 3 items, but not as many rows"),
        (
            "predict_rating({**m, 'item_factors': [[1], [1], [1]]}, 'bob', 'tea')",
            "argument model has rows of 2 and of 1",
        ),
        ("predict_rating(m, 'bob', 'tea', 'zero')", "argument cold_start must be 'null' or 'mean', got zero"),
        ("recommend(m, 'bob', -1)", "argument k must be at least 0, got -1"),
    ],
)
def test_bad_predictions(shop, call, message):
    fields = [name for name, *_ in shop.execute("SELECT unnest(m) FROM shop").description]
    if "{**m" in call:
        name, value = call.split("{**m, '")[1].split("': ", 1)
        value = value[: value.index("}")]
        copied = ", ".join(f"{field} := {value if field == name else f'm.{field}'}" for field in fields)
        call = call[: call.index("{")] + f"struct_pack({copied})" + call[call.index("}") + 1 :]
    with pytest.raises(duckdb.Error) as caught:
        shop.execute(f"SELECT {call} FROM shop").fetchall()
    assert message in str(caught.value)

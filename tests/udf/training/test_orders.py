"""The orders in which rows are visited, and the published comparison of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ironlake
from ironlake.udf.training.orders import Visits
from ironlake.udf.training.rows import Rows
from ironlake.udf.training.settings import Settings
from ironlake.udf.training.trainer import Trainer

ROWS = 200_000


def visited(visits, window_rows):
    return list(visits.epoch(window_rows))


@given(
    order=st.sampled_from(["stored", "shuffle_once", "shuffle_always", "block_shuffle"]),
    rows=st.integers(1, 300),
    buffer_rows=st.integers(1, 400),
    block_rows=st.integers(1, 50),
    window=st.integers(1, 400),
    seed=st.integers(0, 5),
)
def test_every_row_is_visited_once(order, rows, buffer_rows, block_rows, window, seed):
    visits = Visits(order, rows, buffer_rows, block_rows, seed)
    for _ in range(2):
        windows = visited(visits, window)
        assert np.sort(np.concatenate(windows)).tolist() == list(range(rows))
        if order == "block_shuffle":
            assert max(map(len, windows)) <= max(min(buffer_rows, rows), min(block_rows, rows))
        else:
            assert max(map(len, windows)) <= window


@given(rows=st.integers(2, 300), buffer_rows=st.integers(1, 299), window=st.integers(1, 100), seed=st.integers(0, 5))
def test_a_multiplexed_reservoir(rows, buffer_rows, window, seed):
    """Rows that fall out of the reservoir, and those that stay, are all rows; the next epoch visits both kinds."""
    size = min(buffer_rows, rows - 1)
    visits = Visits("mrs", rows, size, 1, seed)
    dropped = np.concatenate(visited(visits, window))
    assert len(dropped) == rows - size
    reservoir = sorted(set(range(rows)) - set(dropped.tolist()))
    assert len(reservoir) == size
    both = np.concatenate(visited(visits, window))
    assert len(both) == 2 * (rows - size)
    assert set(both[1::2].tolist()) <= set(reservoir)
    assert len(set(both[::2].tolist())) == rows - size


def test_blocks_stay_together_in_a_small_buffer():
    windows = visited(Visits("block_shuffle", 1000, 100, 10, 0), 10_000)
    assert all(len(set((window // 10).tolist())) == 10 for window in windows)
    assert [window.min() for window in windows] != sorted(window.min() for window in windows)


def test_the_same_seed_gives_the_same_order():
    def epochs(seed):
        visits = Visits("shuffle_always", 100, 10, 10, seed)
        return [np.concatenate(visited(visits, 30)).tolist() for _ in range(2)]

    assert epochs(1) == epochs(1) != epochs(2)
    assert epochs(1)[0] != epochs(1)[1]


# ------------------------------------------------------------------------------------------------ the published figures


@pytest.fixture(scope="module")
def sorted_by_label():
    """Data set D1: a logistic model of 28 features; the first 200,000 rows, positives first."""
    random = np.random.default_rng(7)
    features = random.standard_normal((1_000_000, 28)).astype(np.float32)
    weights = random.standard_normal(28)
    labels = random.random(1_000_000) < 1 / (1 + np.exp(-(0.7 * features @ weights + 0.3)))
    features, labels = features[:ROWS], labels[:ROWS]
    order = np.argsort(~labels, kind="stable")
    return features[order], labels[order]


def losses(data, order, threads=1, **settings):
    """Mean loss over all rows after each of eight epochs."""
    features, labels = data
    matrix = np.empty((ROWS, 30), np.float32)
    matrix[:, 0], matrix[:, 1], matrix[:, 2:] = labels, 1, features
    chosen = Settings(
        order=order, threads=threads, parallel="average", epochs=8, step_size=0.05, step_rule="exponential", decay=0.7,
        tolerance=None, **settings,
    )  # fmt: skip
    found = []
    for epoch in Trainer("logistic", Rows(matrix, False, 1e9), chosen).epochs():
        score = features @ np.array(epoch.model.coefficients, np.float32) + epoch.model.intercept
        found.append(np.logaddexp(0, np.where(labels, -score, score)).mean(dtype=np.float64))
    return found


@pytest.mark.parametrize(
    ("order", "threads", "published"),
    [
        ("stored", 1, [3.206, 2.998, 2.801, 2.602, 2.401, 2.198, 1.996, 1.794]),
        ("shuffle_once", 1, [0.34480, 0.33424, 0.32731, 0.32224, 0.31811, 0.31472, 0.31219, 0.31054]),
        ("shuffle_always", 1, [0.34480, 0.34216, 0.32391, 0.31574, 0.31569, 0.31313, 0.31210, 0.30863]),
        ("shuffle_once", 8, [0.31426, 0.31144, 0.30992, 0.30903, 0.30846, 0.30807, 0.30780, 0.30762]),
    ],
)
def test_orders_as_published(sorted_by_label, order, threads, published):
    assert losses(sorted_by_label, order, threads) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize(
    ("order", "buffer_rows", "block_rows", "published"),
    [
        ("mrs", 2000, 1, [1.711, 0.404, 0.393, 0.382, 0.396, 0.367, 0.379, 0.383]),
        ("mrs", 20_000, 1, [0.813, 0.373, 0.381, 0.357, 0.360, 0.360, 0.365, 0.362]),
        ("block_shuffle", 20_000, 1000, [0.375, 0.329, 0.424, 0.321, 0.329, 0.319, 0.324, 0.323]),
        ("block_shuffle", 20_000, 100, [0.3447, 0.3385, 0.3222, 0.3191, 0.3142, 0.3137, 0.3122, 0.3122]),
    ],
)
def test_buffered_orders_have_the_published_shape(sorted_by_label, order, buffer_rows, block_rows, published):
    found = losses(sorted_by_label, order, buffer_rows=buffer_rows, block_rows=block_rows)
    assert found == pytest.approx(published, rel=0.3)


@pytest.mark.parametrize(
    ("step_size", "half", "fixed_point"), [(0.01, 500, -0.9869448128012754), (0.001, 1000, -0.46231387762)]
)
def test_clustered_rows_have_the_published_fixed_point(step_size, half, fixed_point):
    """CA-TX: half of the rows pull to 1, then half to -1; a pass ends near the last."""
    model = ca_tx(half, step_size=step_size, step_rule="constant", epochs=60)[-1]
    assert model == pytest.approx(fixed_point, abs=1e-5)


def test_clustered_rows_with_a_diminishing_step_as_published():
    start = ironlake.udf.tasks.model.LinearModel("least_squares", [1.0], 0.0, [], 1, 1, False, "", 0.0, [], 0, False)
    found = ca_tx(500, step_size=0.1, step_rule="inverse", epochs=400, init=start)
    published = {0: -1.0, 9: -0.98695, 49: -0.46376, 399: -0.06298}
    assert [found[epoch] for epoch in published] == pytest.approx(list(published.values()), abs=1e-4)


def test_shuffled_rows_of_the_same_kind_reach_the_optimum_as_published():
    start = ironlake.udf.tasks.model.LinearModel("least_squares", [1.0], 0.0, [], 1, 1, False, "", 0.0, [], 0, False)
    settings = {"step_size": 0.1, "step_rule": "inverse", "epochs": 400, "init": start}
    always, once = (np.array(ca_tx(500, order=order, **settings)) for order in ("shuffle_always", "shuffle_once"))
    assert np.flatnonzero(np.abs(always) < 1e-3)[0] == 37
    assert once[-1] == pytest.approx(-0.0015, abs=2e-4)


def ca_tx(half, order="stored", **settings):
    matrix = np.ones((2 * half, 3), np.float32)
    matrix[half:, 0] = -1
    chosen = Settings(order=order, threads=1, fit_intercept=False, tolerance=None, **settings)
    epochs = Trainer("least_squares", Rows(matrix, False, 1e9), chosen).epochs()
    return [epoch.model.coefficients[0] for epoch in epochs]

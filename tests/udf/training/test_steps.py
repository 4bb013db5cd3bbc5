"""Step-size rules and ways to share a model, against plain loops over the rows."""

import math

import numpy as np
import pytest

import ironlake  # noqa: F401
from ironlake.udf.tasks.model import LinearModel
from ironlake.udf.training import DivergenceError
from ironlake.udf.training.rows import Rows
from ironlake.udf.training.settings import Settings
from ironlake.udf.training.trainer import Trainer


def some_rows(count=300, width=5, seed=0):
    """Labels of two classes, weights and features, with a scale of its own for each feature."""
    random = np.random.default_rng(seed)
    matrix = np.empty((count, width + 2), np.float32)
    matrix[:, 2:] = random.standard_normal((count, width)) * 2.0 ** np.arange(width)
    matrix[:, 0] = random.random(count) < 1 / (1 + np.exp(-matrix[:, 2:].sum(axis=1)))
    matrix[:, 1] = random.uniform(0.5, 2, count)
    return matrix


def trained(matrix, task="logistic", **settings):
    chosen = Settings(**{"threads": 1, "order": "stored", "tolerance": None, **settings})
    return list(Trainer(task, Rows(matrix.copy(), False, 1e9), chosen).epochs())


def by_hand(matrix, rate, epochs=3, l1=0.0, l2=0.0):
    """Logistic regression, a row at a time; ``rate(epoch, t, gradient)`` gives a step size for each weight."""
    weights, intercept, t = np.zeros(matrix.shape[1] - 2), 0.0, 0
    for epoch in range(epochs):
        for label, weight, *features in matrix.astype(np.float64):
            t += 1
            y, x = (1 if label > 0 else -1), np.array(features)
            slope = -weight * y / (1 + math.exp(y * (weights @ x + intercept)))
            rates = np.broadcast_to(rate(epoch, t, np.append(slope * x, slope)), len(x) + 1)
            weights = weights - rates[:-1] * slope * x
            intercept -= rates[-1] * slope
            weights = np.sign(weights) * np.maximum(np.abs(weights) - rates[:-1] * l1, 0) / (1 + rates[:-1] * l2)
    return weights, intercept


def same(epochs, expected):
    model = epochs[-1].model
    assert [*model.coefficients, model.intercept] == pytest.approx([*expected[0], expected[1]], rel=2e-4, abs=2e-5)


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (0.01, 0), (0, 0.1), (0.01, 0.1)])
@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"step_rule": "constant", "step_size": 0.01}, lambda e, t, g: 0.01),
        ({"step_rule": "exponential", "step_size": 0.02, "decay": 0.5}, lambda e, t, g: 0.02 * 0.5**e),
        ({"step_rule": "inverse", "step_size": 0.02}, lambda e, t, g: 0.02 / (e + 1)),
        ({"step_rule": "invscaling", "step_size": 0.05}, lambda e, t, g: 0.05 / t**0.5),
        ({"step_rule": "invscaling", "step_size": 0.05, "power": 0.25}, lambda e, t, g: 0.05 / t**0.25),
    ],
)
def test_rules_of_the_number_of_the_step(settings, rate, l1, l2):
    matrix = some_rows()
    same(trained(matrix, epochs=3, l1=l1, l2=l2, **settings), by_hand(matrix, rate, l1=l1, l2=l2))


def test_bottous_rule():
    """As in scikit-learn: t0 from the typical weight sqrt(1 / sqrt(l2)); the loss's slope there is below 1."""
    matrix, l2 = some_rows(), 0.5
    first = 1 / (math.sqrt(1 / math.sqrt(l2)) * l2)
    same(
        trained(matrix, epochs=3, step_rule="optimal", l2=l2),
        by_hand(matrix, lambda e, t, g: 1 / (l2 * (first + t - 1)), l2=l2),
    )


def test_adagrad():
    matrix, squares = some_rows(), np.zeros(6)

    def rate(epoch, t, gradient):
        squares[:] += gradient**2
        return 0.1 / np.sqrt(squares + 1e-30)

    same(trained(matrix, epochs=3, step_rule="adagrad", step_size=0.1), by_hand(matrix, rate))


def test_vowpal_wabbits_rule_does_not_depend_on_units():
    matrix = some_rows()
    scaled = matrix.copy()
    scaled[:, 2:] *= 2.0 ** np.array([10, -7, 3, 0, -2])
    plain, other = (trained(each, epochs=3, step_rule="vw", step_size=0.5)[-1] for each in (matrix, scaled))
    assert other.loss == pytest.approx(plain.loss, rel=1e-5)
    assert other.model.intercept == pytest.approx(plain.model.intercept, rel=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_an_automatic_step_is_near_the_optimum_in_three_passes_in_any_units(seed):
    from scipy.optimize import minimize

    random = np.random.default_rng(seed)
    width = int(random.integers(1, 40))
    features = np.column_stack([random.standard_normal((20_000, width)), np.ones(20_000)])
    y = np.where(random.random(20_000) < 1 / (1 + np.exp(-features @ random.standard_normal(width + 1))), 1, -1)

    def objective(w):
        score = y * (features @ w)
        return np.logaddexp(0, -score).mean(), -(features.T @ (y / (1 + np.exp(score)))) / len(y)

    best = minimize(objective, np.zeros(width + 1), jac=True, method="L-BFGS-B").fun
    units = np.append(10.0 ** random.uniform(-2, 2, width), 1)
    matrix = np.column_stack([y > 0, np.ones(20_000), features[:, :-1] * units[:-1]]).astype(np.float32)
    model = trained(matrix, epochs=3, order="block_shuffle", threads=2)[-1].model
    score = y * (features @ (np.append(model.coefficients, model.intercept) * units))
    assert np.logaddexp(0, -score).mean() < best * 1.01


# -------------------------------------------------------------------------------------------------------------- sharing


@pytest.mark.parametrize("parallel", ["nolock", "aig", "lock"])
def test_one_thread_shares_with_nobody(parallel):
    matrix, settings = some_rows(), {"step_rule": "constant", "step_size": 0.01, "epochs": 3}
    alone = trained(matrix, **settings)[-1].model
    shared = trained(matrix, parallel=parallel, **settings)[-1].model
    assert shared.coefficients == pytest.approx(alone.coefficients, rel=1e-5)
    assert shared.intercept == pytest.approx(alone.intercept, rel=1e-5)


@pytest.mark.parametrize("parallel", ["average", "nolock", "aig", "lock"])
def test_threads_that_share_a_model_reach_the_optimum(parallel):
    matrix = some_rows(20_000, width=3)
    alone = trained(matrix, epochs=10, order="shuffle_always")[-1]
    shared = trained(matrix, epochs=10, order="shuffle_always", threads=4, parallel=parallel)[-1]
    assert shared.loss == pytest.approx(alone.loss, rel=0.1)
    assert shared.model.coefficients == pytest.approx(alone.model.coefficients, rel=0.3, abs=0.1)


@pytest.mark.parametrize("parallel", ["aig", "lock"])
def test_no_step_is_lost(parallel):
    """Every row adds the same to its weight, whatever the others do: slopes of the absolute error are -1."""
    matrix = np.ones((40_000, 3), np.float32)
    matrix[:, 0] = 1e6
    epoch = trained(
        matrix, "quantile", epochs=1, threads=4, parallel=parallel, step_rule="constant", step_size=0.5,
        fit_intercept=False,
    )[-1]  # fmt: skip
    assert epoch.model.coefficients == [40_000 * 0.5 * 0.5]


def test_threads_average_by_their_rows():
    matrix = some_rows(301)
    settings = {"step_rule": "constant", "step_size": 0.01, "epochs": 1}
    parts = [trained(part, **settings)[-1].model for part in np.array_split(matrix, 4)]
    counts = [len(part) for part in np.array_split(matrix, 4)]
    expected = np.average([model.coefficients for model in parts], axis=0, weights=counts)
    model = trained(matrix, threads=4, **settings)[-1].model
    assert model.coefficients == pytest.approx(expected.tolist(), rel=1e-5)


# --------------------------------------------------------------------------------------------- beginning, and the end


def test_weights_are_like_repeated_rows_and_classes_can_weigh():
    matrix = some_rows(50)
    matrix[:, 1] = 2
    settings = {"step_rule": "constant", "step_size": 0.001, "epochs": 1}
    weighted = trained(matrix, **settings)[-1]
    matrix[:, 1] = 1
    by_class = trained(matrix, class_weight=(2, 2), **settings)[-1]
    assert by_class.model.coefficients == weighted.model.coefficients
    assert trained(matrix, class_weight=(1, 5), **settings)[-1].model.intercept > weighted.model.intercept


def test_training_goes_on_from_a_model():
    matrix = some_rows()
    settings = {"step_rule": "constant", "step_size": 0.01}
    half = trained(matrix, epochs=2, **settings)[-1].model
    whole = trained(matrix, epochs=4, **settings)[-1]
    again = trained(matrix, epochs=2, init=half, **settings)[-1]
    assert again.model.coefficients == pytest.approx(whole.model.coefficients, rel=1e-5)
    assert again.model.step == half.step + 600 or again.step == half.step + 600


def test_reasons_to_stop():
    matrix = some_rows(2000)
    assert trained(matrix, epochs=3)[-1].stop_reason == "epochs"
    stopped = trained(matrix, epochs=50, tolerance=0.01)
    assert stopped[-1].stop_reason == "tolerance"
    assert stopped[-1].model.converged
    assert all(epoch.stop_reason == "" for epoch in stopped[:-1])
    assert trained(matrix, target_loss=0.6)[-1].stop_reason == "target_loss"
    assert trained(matrix, epochs=500, gradient_norm=1e-2)[-1].stop_reason == "gradient_norm"
    held = trained(matrix, epochs=500, validation_fraction=0.3, patience=2)
    assert held[-1].stop_reason == "patience"
    assert min(epoch.val_loss for epoch in held) == held[-3].val_loss
    assert held[-1].rows == held[0].model.n < 2000


def test_gradient_and_loss_of_rows_held_out_are_those_of_the_model():
    matrix, l2 = some_rows(2000), 0.05
    epoch = trained(
        matrix, epochs=2, l2=l2, step_rule="constant", step_size=0.001, gradient_norm=0.0, validation_fraction=0.25,
    )[-1]  # fmt: skip
    held_out = np.random.default_rng(0).random(2000) < 0.25
    weights = np.array(epoch.model.coefficients)
    y = np.where(matrix[:, 0] > 0, 1, -1)
    score = matrix[:, 2:] @ weights + epoch.model.intercept
    losses = np.logaddexp(0, -y * score)
    assert epoch.val_loss == pytest.approx(np.average(losses[held_out], weights=matrix[held_out, 1]), rel=1e-5)
    slopes = (matrix[:, 1] * -y / (1 + np.exp(y * score)))[~held_out, None]
    gradient = (slopes * np.column_stack([matrix[:, 2:], np.ones(2000)])[~held_out]).sum(axis=0)
    gradient /= matrix[~held_out, 1].sum()
    gradient[:-1] += l2 * weights
    assert epoch.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-4)


def test_a_step_that_is_too_long_is_halved():
    matrix = np.ones((1000, 3), np.float32)
    matrix[:, 2] = np.random.default_rng(0).standard_normal(1000) * 3
    settings = {"task": "least_squares", "step_rule": "constant", "step_size": 1.0, "epochs": 3, "fit_intercept": False}
    epochs = trained(matrix, **settings)
    assert epochs[0].step_size < 0.5
    assert math.isfinite(epochs[-1].loss)
    with pytest.raises(DivergenceError, match=r"training diverged in epoch 1 with step_size 1; try 0.125"):
        trained(matrix, on_divergence="error", **settings)
    with pytest.raises(DivergenceError, match=r"with step_size 31.25; try"):
        trained(matrix, **{**settings, "step_size": 1000.0})


def test_one_class_gives_a_model_that_says_so():
    matrix = some_rows(20)
    matrix[:, 0] = 1
    model = trained(matrix)[-1].model
    assert model.degenerate
    assert (set(model.coefficients), model.intercept) == ({0.0}, 16.0)


def test_penalties_are_on_the_weights_of_the_features_as_they_are():
    matrix = some_rows(4000)
    model = trained(matrix, epochs=30, l2=0.05, order="shuffle_once")[-1].model
    y = np.where(matrix[:, 0] > 0, 1, -1)
    slopes = matrix[:, 1] * -y / (1 + np.exp(y * (matrix[:, 2:] @ np.array(model.coefficients) + model.intercept)))
    gradient = matrix[:, 2:].T @ slopes / matrix[:, 1].sum() + 0.05 * np.array(model.coefficients)
    assert np.abs(gradient).max() < 0.02


def test_without_an_intercept_there_is_none():
    matrix = some_rows(2000)
    matrix[:, 2:] += 3
    model = trained(matrix, epochs=5, fit_intercept=False)[-1].model
    assert model.intercept == 0


def test_parameters_of_a_loss():
    matrix = some_rows(500)
    low, high = (
        trained(matrix, "quantile", epochs=20, parameters={"quantile": each})[-1].model.intercept for each in (0.1, 0.9)
    )
    assert low < high


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0; expected at least 1"),
        ({"l2": -1}, "l2 is -1; expected at least 0"),
        ({"threads": 0}, "threads is 0; expected at least 1"),
        ({"order": "shuffled"}, "order is 'shuffled'; did you mean 'shuffle"),
        ({"parallel": "hogwild"}, "parallel is 'hogwild'; the valid ones are"),
        ({"step_rule": "constnt"}, "step_rule is 'constnt'; did you mean 'constant'"),
        ({"step_size": -1.0}, "step_size is -1.0; expected a number above 0"),
        ({"decay": 1.5}, "decay is 1.5; expected"),
        ({"validation_fraction": 1}, "validation_fraction is 1; expected"),
        ({"validation_fraction": 1e-9}, "leaves no rows on one side"),
        ({"step_rule": "optimal"}, "needs l2 above 0"),
        ({"class_weight": (1, 2, 3)}, "class_weight must be"),
        ({"parameters": {"delta": 1}}, "the loss of logistic has no parameter 'delta'"),
        ({"task": "logstic"}, "model is 'logstic'; did you mean 'logistic'"),
        ({"task": "poisson", "matrix": -np.ones((2, 3), np.float32)}, "a row has the weight -1; expected at least 0"),
        ({"task": "poisson", "matrix": np.array([[-1, 1, 1]], np.float32)}, "a row has the label -1; poisson counts"),
        ({"matrix": np.array([[3, 1, 1]], np.float32)}, "labels must be .*; the rows have 3"),
        ({"matrix": np.empty((0, 3), np.float32)}, "there are no rows"),
        (
            {"init": LinearModel("svm", [1.0], 0, [], 1, 1, True, "", 0, [], 1, False)},
            "init is a model of the task 'svm'",
        ),
        (
            {"init": LinearModel("logistic", [1.0], 0, [], 1, 1, True, "", 0, [], 1, False)},
            "the rows have 5 features, the model in init has 1",
        ),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        trained(**{"matrix": some_rows(20), **settings})

"""What Vowpal Wabbit and scikit-learn print, as rows of training_runs."""

import contextlib
import io

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

VW = """using no cache
Reading datafile = train.vw
average  since         example        example        current        current        current
loss     last          counter         weight          label        predict       features
0.693147 0.693147            1            1.0        -1.0000         0.0000             29
0.650000 0.606853            2            2.0         1.0000        -0.1000             29
0.500000 0.350000            4            4.0        unknown          1:0.3             29 h

finished run
number of examples = 4
average loss = 0.500000
"""
DATA = np.random.default_rng(0).normal(size=(200, 3))


def printed(*models):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        for model in models:
            model.fit(DATA, DATA[:, 0] > 0)
    return text.getvalue()


def test_vw(load):
    assert load("training_runs", VW, "vw", name="day1.log") == [
        {"run_id": "day1", "epoch": 1, "step": 1, "rows": 1, "loss": 0.693147},
        {"run_id": "day1", "epoch": 2, "step": 2, "rows": 1, "loss": 0.606853},
        {"run_id": "day1", "epoch": 3, "step": 4, "rows": 2, "val_loss": 0.35},
    ]


def test_a_line_of_vw_that_breaks_off(load):
    text = VW[: VW.index("0.0000             29")]
    with pytest.raises(ValueError, match="line 5: this is no whole line of progress: 0.693147 0.693147 .* 1.0"):
        load("training_runs", text, "vw")


def test_sklearn_epochs(load):
    model = SGDClassifier(verbose=1, max_iter=4, tol=None, random_state=0)
    text = printed(model)
    rows = load("training_runs", "other output\n" + text, "sklearn")
    assert [(row["run_id"], row["epoch"], row["step"], row["rows"]) for row in rows] == [
        ("run", epoch, 200 * epoch, 200) for epoch in range(1, 5)
    ]
    assert all(f"Avg. loss: {row['loss']:f}" in text and row["seconds"] >= 0 for row in rows)
    twice = load("training_runs", text * 2, "sklearn")
    assert [row["run_id"] for row in twice] == ["run#1"] * 4 + ["run#2"] * 4
    assert [row["rows"] for row in twice] == [200] * 8


def test_sklearn_iterations(load):
    text = printed(MLPClassifier([4], verbose=True, max_iter=50, tol=1, n_iter_no_change=2, random_state=0))
    rows = load("training_runs", text, "sklearn", columns={"val_loss": "1 - validation_score"})
    assert all(f"Iteration {row['epoch']}, loss = {row['loss']:.8f}" in text for row in rows)
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row.get("stop_reason") for row in rows] == [None] * (len(rows) - 1) + ["tolerance"]


def test_an_epoch_without_loss(load):
    with pytest.raises(ValueError, match="line 1: epoch 1 has no loss"):
        load("training_runs", "-- Epoch 1\nNorm: 1.0, NNZs: 3, Bi", "sklearn")

"""Losses and the slopes derived from them, against the same formulas in 60 decimal digits."""

import math
import re
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ironlake
from ironlake.udf.engine.declaration import DeclarationError
from ironlake.udf.tasks.linear import LinearTask
from ironlake.udf.tasks.loss import derive


def plain(loss):
    """The derived step in ordinary Python: (score, label) -> loss, slope."""

    def sigmoid(value):
        return 1 / (1 + math.exp(-value)) if value > 0 else math.exp(value) / (1 + math.exp(value))

    def softplus(value):
        return max(value, 0.0) + math.log1p(math.exp(-abs(value)))

    scope = {"math": math, "sigmoid": sigmoid, "softplus": softplus, "exp_of_negative": math.exp, "float32": float}
    scope["sign"] = lambda value: math.copysign(1, value) if value else 0.0
    exec(loss.source(), scope)

    def step(score, label, *parameters):
        addend, factor, slope = scope["step"](score, label, *parameters)
        return addend + math.log(factor), slope

    return step


DECIMAL = {
    "exp": lambda u: u.exp(), "log": lambda u: u.ln(), "sqrt": lambda u: u.sqrt(), "abs": abs, "max": max, "min": min,
    "log1p": lambda u: (1 + u).ln(), "expm1": lambda u: u.exp() - 1, "sigmoid": lambda u: 1 / (1 + (-u).exp()),
    "softplus": lambda u: (1 + u.exp()).ln(), "cosh": lambda u: (u.exp() + (-u).exp()) / 2, "square": lambda u: u * u,
    "tanh": lambda u: (u.exp() - (-u).exp()) / (u.exp() + (-u).exp()), "logaddexp": lambda a, b: (a.exp() + b.exp()).ln(),
}  # fmt: skip


def exact(text, score, label):
    """Value and slope of a formula by arithmetic in 1,000 digits."""
    with localcontext() as context:
        context.prec = 1000
        step = Decimal(10) ** -300
        text = re.sub(r"(?<![\w.])(\d+(\.\d+)?)", r"Decimal('\1')", text)

        def value(at):
            scope = {
                **DECIMAL,
                "s": at,
                "y": Decimal(label),
                "dot": lambda w, x: at,
                "w": None,
                "x": None,
                "b": 0,
                "Decimal": Decimal,
            }
            return Decimal(eval(text, scope))

        at = Decimal(score)
        return float(value(at)), float((value(at + step) - value(at - step)) / (2 * step))


SMOOTH = [
    "log(1 + exp(-y * dot(w, x)))",
    "log(exp(-y * dot(w, x)) + 1)",
    "log1p(exp(-y * dot(w, x)))",
    "-log(1 / (1 + exp(-y * dot(w, x))))",
    "-log(sigmoid(y * dot(w, x)))",
    "-log(exp(y * dot(w, x)) / (1 + exp(y * dot(w, x))))",
    "-log(1 - sigmoid(-y * dot(w, x)))",
    "softplus(-y * (dot(w, x) + b))",
    "log(exp(dot(w, x)) + exp(-dot(w, x))) - y * dot(w, x)",
    "logaddexp(0 * y, -y * dot(w, x))",
    "log(cosh(dot(w, x) - y))",
    "sqrt(1 + (dot(w, x) - y) ** 2) - 1",
    "square(dot(w, x) - y) / 2",
    "(dot(w, x) - y) ** 2 / (1 + (dot(w, x) - y) ** 2)",
    "log(1 + ((dot(w, x) - y) / 2) ** 2)",
    "1 - sigmoid(y * dot(w, x))",
    "2 * log(1 + exp(-y * dot(w, x))) + 3 * softplus(dot(w, x))",
]


@pytest.mark.parametrize("text", SMOOTH)
@pytest.mark.parametrize("label", [1, -1])
@pytest.mark.parametrize("score", [0.0, 0.37, -2.5, 20.0, -40.0, 100.0, 1000.0, -1000.0])
def test_formulas_are_stable_at_any_margin(text, score, label):
    value, slope = plain(derive(text, "t"))(score, label)
    want_value, want_slope = exact(text, score, label)
    assert value == pytest.approx(want_value, rel=1e-9, abs=1e-12)
    assert slope == pytest.approx(want_slope, rel=1e-9, abs=1e-12)


LOSSES = {
    "logistic": lambda s, y: np.logaddexp(0, -y * s), "svm": lambda s, y: max(0, 1 - y * s),
    "squared_hinge": lambda s, y: max(0, 1 - y * s) ** 2,
    "modified_huber": lambda s, y: max(0, 1 - y * s) ** 2 if y * s >= -1 else -4 * y * s,
    "least_squares": lambda s, y: (s - y) ** 2 / 2,
    "huber": lambda s, y: (s - y) ** 2 / 2 if abs(s - y) <= 1 else abs(s - y) - 0.5,
    "quantile": lambda s, y: abs(s - y) / 2, "epsilon_insensitive": lambda s, y: max(0, abs(s - y) - 0.1),
    "poisson": lambda s, y: math.exp(s) - y * s,
}  # fmt: skip
DEFAULTS = {"huber": (1.0,), "quantile": (0.5,), "epsilon_insensitive": (0.1,)}


@pytest.mark.parametrize("name", LOSSES)
def test_the_numerical_gradient_of_every_task(name):
    """The compiled step, where the loss is smooth."""
    body = ironlake.functions[f"{name}_fit"].declaration.body
    assert issubclass(body, LinearTask)
    assert body.task == name
    step, loss = body.step.__globals__["derived"], LOSSES[name]
    random = np.random.default_rng(5)
    for score, label in zip(random.normal(0, 2, 200), random.choice([1.0, -1.0], 200), strict=True):
        score, label = float(np.float32(score)), abs(label) * 2 if name == "poisson" else label
        addend, factor, slope = step(np.float32(score), np.float32(label), *DEFAULTS.get(name, ()))
        h = 1e-6
        numerical = (loss(score + h, label) - loss(score - h, label)) / (2 * h)
        assert addend + math.log(factor) == pytest.approx(loss(score, label), rel=1e-6, abs=1e-6)
        assert slope == pytest.approx(numerical, rel=1e-5, abs=1e-6)


@st.composite
def formulas(draw, depth=4):
    """Smooth formulas of the score that stay finite."""
    if depth == 0:
        return draw(st.sampled_from(["dot(w, x)", "dot(w, x)", "y", "0.5", "2"]))
    form = draw(st.sampled_from(["{} + {}", "{} - {}", "{} * {}", "{} / (2 + {} ** 2)", "f"]))
    if form == "f":
        name = draw(st.sampled_from(["tanh", "sigmoid", "softplus", "square", "log(1 + exp", "sqrt(1 + square"]))
        return f"{name}({draw(formulas(depth - 1))})" + ")" * name.count("(")
    return "(" + form.format(draw(formulas(depth - 1)), draw(formulas(depth - 1))) + ")"


@given(formulas(), st.integers(-3, 3), st.sampled_from([-1, 1]))
def test_random_formulas(text, score, label):
    value, slope = plain(derive(f"({text}) + dot(w, x)", "t"))(float(score), label)
    want_value, want_slope = exact(f"({text}) + dot(w, x)", score, label)
    assert value == pytest.approx(want_value, rel=1e-7, abs=1e-9)
    assert slope == pytest.approx(want_slope, rel=1e-6, abs=1e-8)


def test_functions_with_assignments_branches_and_constants():
    edge = 0.25

    def loss(score, label, *, scale=2.0):
        """A docstring."""
        margin = label * score / scale
        if margin > 1 and score != 0:
            return 0
        if margin < -edge:
            return -math.pi * margin
        return (1 - margin) ** 2

    step = plain(derive(loss, "t"))
    for score in (-3.0, -0.4, 0.0, 1.0, 5.0):
        value, slope = step(score, 1.0, 2.0)
        assert value == pytest.approx(float(loss(score, 1.0)))
        h = 1e-7
        assert slope == pytest.approx((loss(score + h, 1.0) - loss(score - h, 1.0)) / (2 * h), abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("floor(dot(w, x))", r"task t: the loss contains 'floor\(dot\(w, x\)\)', which cannot be differentiated; a loss is"),
        ("y * 2", r"task t: the loss does not depend on the score dot\(w, x\)"),
        ("log(1 + exp(-y * dot(w, x))", r"task t: the loss 'log\(1 \+ exp\(-y \* dot\(w, x\)\)' is not a formula: "),
        ("dot(w, w)", r"the score of a row is dot\(w, x\)"),
        ("dot(w, x) * k", r"the loss contains 'k', a name it does not know; it may use b, label, score, y and numbers"),
        ("[dot(w, x)]", r"contains '\[dot\(w, x\)\]', which cannot be differentiated"),
        ("dot(w, x) % 2", r"contains 'dot\(w, x\) % 2', which cannot be differentiated"),
        (lambda score: score, r"a loss is a def of \(score, label\)|the source"),
    ],
)  # fmt: skip
def test_what_is_no_loss(loss, message):
    with pytest.raises(DeclarationError, match=message):
        ironlake.task(loss, name="t")


def test_a_loss_that_forgets_to_return():
    def loss(score, label):  # noqa: RET503
        if score > 0:
            return label * score

    with pytest.raises(DeclarationError, match="does not return a value on every way through it"):
        derive(loss, "t")


def test_a_text_needs_a_name_and_a_number_a_default():
    with pytest.raises(DeclarationError, match="a loss given as text needs a name"):
        ironlake.task("dot(w, x) * y")

    def loss(score, label, *, k):
        return k * score * label

    with pytest.raises(DeclarationError, match="the number 'k' of the loss needs a default"):
        ironlake.task(loss)
    with pytest.raises(DeclarationError, match="labels must be 'binary', 'real' or 'count', got 'text'"):
        ironlake.task(loss, labels="text")

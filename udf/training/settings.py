"""How to train: every choice there is, with its default, and what makes no sense."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ironlake.udf.engine import extension
from ironlake.udf.engine.declaration import closest

from ..tasks.model import BINARY, LinearModel
from ..tasks.task import TASKS, Task
from .orders import Order
from .steps import Rule

Parallel = Literal["auto", "average", "nolock", "aig", "lock"]


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    epochs : most passes over the rows.
    step_size : of the first step; by default it is found on a sample of the rows.
    step_rule : how it goes on. ``'auto'``: it falls with the root of the number of steps, on standardised features,
        and the weights are averaged over the steps; ``'constant'``; ``'exponential'``: times ``decay`` per epoch;
        ``'inverse'``: divided by the number of the epoch; ``'invscaling'``: divided by ``t ** power`` at step ``t``;
        ``'optimal'``: Bottou's ``1 / (l2 (t + t0))``; ``'adagrad'``: divided by the root of each weight's squared
        gradients; ``'vw'``: that, in units of each feature's size, as Vowpal Wabbit does.
    decay : factor of ``'exponential'``.
    power : of ``'invscaling'``.
    l1, l2 : weights of the penalties ``l1 |w|`` and ``l2 |w|^2 / 2`` on each row's loss, not on the intercept.
    fit_intercept : whether the model has an intercept.
    standardize : whether to train on features with mean 0 and deviation 1; the model is one of the features as they
        are. Said explicitly, penalties are on the weights of the standardised features. By default only
        ``step_rule='auto'`` standardises.
    order : in which an epoch visits the rows. ``'stored'``: as they come; ``'shuffle_once'``: the same permutation in
        every epoch; ``'shuffle_always'``: another in each; ``'block_shuffle'``: blocks of neighbours in random order,
        shuffled inside a buffer of blocks (CorgiPile); ``'mrs'``: multiplexed reservoir sampling.
    block_rows : rows of a block of ``'block_shuffle'``; by default 64 kB of them.
    buffer_rows : rows of its buffer, and of the reservoir of ``'mrs'``; by default ``buffer_mb`` of them.
    buffer_mb : megabytes of rows that are held in memory; more than that lie in a temporary file.
    parallel : ``'average'``: each thread trains a model on its share of the rows, models are averaged after each
        epoch; ``'nolock'``: threads share a model and write without coordination (Hogwild); ``'aig'``: by an atomic
        instruction per weight; ``'lock'``: one step at a time. ``'auto'`` averages up to 1,000 features, and shares
        beyond.
    threads : how many; by default one per core. On several, only ``'average'`` gives the same model in every run.
    tolerance : stop after an epoch that lowers loss and penalties by less than this fraction; None, or NULL: never.
    target_loss : stop at a mean loss of at most this.
    gradient_norm : stop when the gradient of the objective is no longer than this; costs a pass per epoch.
    validation_fraction : portion of the rows to hold out; their loss is reported.
    patience : stop after so many epochs in which the loss of the rows held out did not fall.
    on_divergence : ``'halve'`` the step size and do the epoch again, up to five times, or raise an ``'error'``.
    class_weight : weights of the negative and the positive class.
    init : a model of the same task to go on from.
    seed : of shuffles, samples and the split.
    parameters : further numbers of the loss by name, such as the ``delta`` of ``huber``.
    """

    epochs: int = 10
    step_size: float | None = None
    step_rule: Rule = "auto"
    decay: float = 0.9
    power: float = 0.5
    l1: float = 0.0
    l2: float = 0.0
    fit_intercept: bool = True
    standardize: bool | None = None
    order: Order = "block_shuffle"
    block_rows: int | None = None
    buffer_rows: int | None = None
    buffer_mb: float = 256.0
    parallel: Parallel = "auto"
    threads: int | None = None
    tolerance: float | None = 1e-3
    target_loss: float | None = None
    gradient_norm: float | None = None
    validation_fraction: float = 0.0
    patience: int = 3
    on_divergence: Literal["halve", "error"] = "halve"
    class_weight: tuple[float, float] | None = None
    init: LinearModel | None = None
    seed: int = 0
    parameters: dict[str, float] | None = None


def find_task(name: str) -> Task:
    """The declared task of a name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in TASKS and f"{name}_fit" in extension.declarations:
        raise ValueError(
            f"model is {name!r}, which train does not fit; expected {', '.join(map(repr, TASKS))}, or for this one the "
            f"SQL aggregate {name}_fit, which makes several passes too, over rows in memory"
        )
    if name not in TASKS:
        raise ValueError(f"model is {name!r}{closest(name, TASKS)}")
    return TASKS[name]


def check(task: Task, settings: Settings) -> None:
    """Refuse settings that make no sense.

    Raises
    ------
    ValueError
        Naming the setting, and what is expected.
    """
    s = settings
    for name, low, value in (
        ("epochs", 1, s.epochs), ("l1", 0, s.l1), ("l2", 0, s.l2), ("threads", 1, s.threads), ("seed", 0, s.seed),
        ("block_rows", 1, s.block_rows), ("buffer_rows", 1, s.buffer_rows), ("patience", 1, s.patience),
    ):  # fmt: skip
        if value is not None and not low <= value < math.inf:
            raise ValueError(f"{name} is {value}; expected at least {low}")
    for name, choice, choices in (
        ("order", s.order, get_args(Order)), ("parallel", s.parallel, get_args(Parallel)),
        ("step_rule", s.step_rule, get_args(Rule)), ("on_divergence", s.on_divergence, ("halve", "error")),
    ):  # fmt: skip
        if choice not in choices:
            raise ValueError(f"{name} is {choice!r}{closest(str(choice), choices)}")
    if s.step_size is not None and not 0 < s.step_size < math.inf:
        raise ValueError(f"step_size is {s.step_size}; expected a number above 0")
    if not 0 < s.decay <= 1:
        raise ValueError(f"decay is {s.decay}; expected a number above 0 and at most 1")
    if not 0 <= s.validation_fraction < 1:
        raise ValueError(f"validation_fraction is {s.validation_fraction}; expected a number from 0 on, below 1")
    if s.step_rule == "optimal" and s.l2 <= 0:
        raise ValueError("step_rule 'optimal' needs l2 above 0: its step size follows from it")
    if s.class_weight is not None and (task.labels != BINARY or len(s.class_weight) != 2):
        raise ValueError("class_weight must be [weight of negatives, of positives], for two classes")
    for name in s.parameters or ():
        if name not in task.defaults:
            raise ValueError(f"the loss of {task.name} has no parameter {name!r}{closest(name, task.defaults)}")

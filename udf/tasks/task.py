"""A task is its loss; the aggregate that trains on it is made here.

``@task`` turns the loss of a row, as a function of the score ``w.x + b`` and the label, into an aggregate
``<name>_fit(label, features[, options])``: the gradient step is derived (see `loss`), everything else is common to all
tasks (see `linear`).
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from ironlake.udf.engine import aggregate
from ironlake.udf.engine.aggregates import declare
from ironlake.udf.engine.declaration import DeclarationError
from ironlake.udf.engine.sqltypes import Vector

from .linear import LinearTask
from .loss import Loss, derive
from .model import BINARY, COUNT, REAL, StartModel
from .sparse import Sparse, SparseTask
from .vectors import REORDER


class Task(NamedTuple):
    """What was declared.

    Attributes
    ----------
    name : of the task.
    labels : kind of its labels, as in `model`.
    loss : the loss of a row and its derivative.
    defaults : the further numbers of the loss.
    """

    name: str
    labels: int
    loss: Loss
    defaults: dict[str, float]


#: name -> task, in order of declaration.
TASKS: dict[str, Task] = {}

_LABELS = {"binary": BINARY, "real": REAL, "count": COUNT}
_LABEL_WORDS = {
    "binary": "the class of a row: true or false, 1 or 0, 1 or -1. The loss sees +1 or -1.",
    "real": "a number.",
    "count": "a number that is at least 0.",
}
_DOCUMENTATION = """{summary}

Every thread trains a model on its rows; the models are averaged by their numbers of rows. With one thread and an
ordered input the result is exactly that of the sequential algorithm.

Parameters
----------
label : {label}
features : a row of numbers, the same length in all rows of a group: a list or an array of FLOAT or DOUBLE.
sample_weight : how much a row counts: its loss is multiplied by it. It stands behind the options.
{parameters}l1, l2 : weights of the penalties ``l1 |w|`` and ``l2 |w|^2 / 2`` on each row's loss, not on the intercept.
fit_intercept : whether the model has an intercept.
epochs : passes over the rows; with more than one, the group's rows are kept in memory.
step_size : of the gradient steps; ``'auto'`` tries powers of two on the first 2,000 rows, standardised by them, lets
    the best fall with the square root of the number of steps, and averages the weights over the steps. A number
    stays constant in an epoch, and the features as they are.
decay : factor on a constant step size from epoch to epoch.
standardize : train on features with mean 0 and deviation 1, as the first 2,000 rows have them; penalties are then on
    the weights of these. The model is one of the features as they are, in any case.
tolerance : stop after an epoch that lowers the loss, penalties included, by less than this fraction.
class_weight : weights of the negative and the positive class, as in ``[1, 5]``; for two classes only.
init : a model of the same task to go on from.
buffer_mb : most memory for kept rows, in megabytes per group and thread.
on_null : ``'skip'`` rows with a NULL label or NULL features, or refuse them with an ``'error'``.

Returns
-------
STRUCT
    The model, see `LinearModel`; NULL for a group without rows. `predict` takes it.

Raises
------
InvalidInputException
    If a label is not of that kind, rows differ in length, a feature is NULL, NaN or infinite, the steps diverge, or
    the kept rows outgrow ``buffer_mb``.

References
----------
{references}

Examples
--------
{examples}
"""
_SPARSE_DOCUMENTATION = """Rows with sparse features: ``MAP {'name': 1.0}``, or ``{'indices': [3], 'values': [1.0]}``.

The names of a MAP are hashed to ``hash_bits`` bits; the indices, from 0 on, are places in ``coefficients``, whose first
one is 1. Each feature has a step size of its own, which does not depend on its unit. The options are ``l1``, ``l2``,
``fit_intercept``, ``epochs``, ``step_size``, ``hash_bits``, ``class_weight``, ``tolerance``, ``buffer_mb`` and
``on_null``, as above.
"""
_BISMARCK = "Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3."
_EXAMPLE_LABELS = {"binary": "i % 3 = 0", "real": "sin(i)", "count": "abs(5 * sin(i))"}


def task(
    loss: Callable[..., Any] | str | None = None,
    *,
    name: str | None = None,
    labels: Literal["binary", "real", "count"] = "binary",
) -> Any:
    """Declare a training aggregate by the loss of a row alone.

    Parameters
    ----------
    loss : a function of (score, label), further numbers keyword-only with a default, which become options; or text
        such as ``log(1 + exp(-y * dot(w, x)))``, in which ``dot(w, x)`` is the score and ``y`` the label.
    name : of the task; the function's own by default. The aggregate is called ``<name>_fit``.
    labels : ``'binary'``: two classes, the loss sees +1 or -1; ``'real'``: any numbers; ``'count'``: numbers from 0 on.

    Returns
    -------
    The Python face of the aggregate ``<name>_fit(label, features[, options])``.

    Raises
    ------
    DeclarationError
        If the loss is not a formula that can be differentiated.

    Examples
    --------
    >>> @task(labels="real")
    ... def cauchy(score, label, *, width: float = 1.0):
    ...     return log(1 + ((score - label) / width) ** 2)
    """
    if loss is None:
        return lambda loss: task(loss, name=name, labels=labels)
    if labels not in _LABELS:
        raise DeclarationError(f"task: labels must be 'binary', 'real' or 'count', got {labels!r}")
    if name is None and isinstance(loss, str):
        raise DeclarationError("task: a loss given as text needs a name, as in task('abs(y - dot(w, x))', name='lad')")
    label = name or loss.__name__  # type: ignore[union-attr]
    derived = derive(loss, label)
    defaults = {} if isinstance(loss, str) else _defaults(loss, label)
    TASKS[label] = Task(label, _LABELS[labels], derived, defaults)
    documentation = _documentation(loss, label, labels, derived.parameters)
    module = getattr(loss, "__module__", "__main__")
    dense, sparse = (
        _class(TASKS[label], base, documented, module)
        for base, documented in ((LinearTask, documentation), (SparseTask, _SPARSE_DOCUMENTATION))
    )
    sparse_rows = declare(sparse, name=f"{label}_fit")
    return aggregate(name=f"{label}_fit", fastmath=REORDER, boundscheck=False, others=[sparse_rows])(dense)


def _class(task: Task, base: type, documentation: str, module: str) -> type:
    """The aggregate of a task on dense or on sparse rows: the base with the loss of the task."""
    options = _options if base is LinearTask else _sparse_options
    names = "".join(f", self.{parameter}" for parameter in task.loss.parameters)
    own = "".join(f", {parameter}" for parameter in task.loss.parameters)
    common = list(inspect.signature(options).parameters)
    prepared = ", ".join(inspect.signature(base.prepare).parameters).removeprefix("self, ")  # type: ignore[attr-defined]
    scope: dict[str, Any] = {"derived": task.loss.compiled()}
    exec(
        f"def step(self, score, label):\n    return derived(score, label{names})\n"
        f"def init(self, {', '.join(common)}{own}):\n    self.prepare({prepared})\n",
        scope,
    )
    scope["init"].__annotations__ = {**options.__annotations__, **dict.fromkeys(task.defaults, float)}
    scope["init"].__defaults__ = (*(options.__defaults__ or ()), *task.defaults.values())
    scope["init"].__globals__.update(Literal=Literal, StartModel=StartModel)
    kind = "class" if task.labels == BINARY else "number"
    members = {
        "task": task.name,
        "labels": task.labels,
        "step": scope["step"],
        "init": scope["init"],
        "update": _UPDATES[kind, base],
        "__doc__": documentation,
        "__module__": module,
    }
    return type(f"{task.name}_fit", (base,), members)


def _options(
    l1: float = 0.0,
    l2: float = 0.0,
    fit_intercept: bool = True,
    epochs: int = 1,
    step_size: float | Literal["auto"] = "auto",
    decay: float = 0.9,
    standardize: bool = False,
    class_weight: list[float] = [],  # noqa: B006
    init: StartModel | None = None,
    tolerance: float = 1e-3,
    buffer_mb: float = 256.0,
    on_null: Literal["error", "skip"] = "error",
) -> None:
    """The options of every task."""


def _sparse_options(
    l1: float = 0.0,
    l2: float = 0.0,
    fit_intercept: bool = True,
    epochs: int = 1,
    step_size: float | Literal["auto"] = "auto",
    hash_bits: int = 18,
    class_weight: list[float] = [],  # noqa: B006
    tolerance: float = 1e-3,
    buffer_mb: float = 256.0,
    on_null: Literal["error", "skip"] = "error",
) -> None:
    """The options of every task on sparse rows."""


def _update_class(self: Any, label: bool | float, features: Vector, sample_weight: float = 1.0) -> None:
    self.learn(label, features, sample_weight)


def _update_number(self: Any, label: float, features: Vector, sample_weight: float = 1.0) -> None:
    self.learn(label, features, sample_weight)


def _update_sparse_class(self: Any, label: bool | float, features: Sparse, sample_weight: float = 1.0) -> None:
    self.learn(label, features, sample_weight)


def _update_sparse_number(self: Any, label: float, features: Sparse, sample_weight: float = 1.0) -> None:
    self.learn(label, features, sample_weight)


_UPDATES = {
    ("class", LinearTask): _update_class,
    ("number", LinearTask): _update_number,
    ("class", SparseTask): _update_sparse_class,
    ("number", SparseTask): _update_sparse_number,
}


def _defaults(loss: Callable[..., Any], name: str) -> dict[str, float]:
    """The further numbers of a loss, with their defaults."""
    found = {}
    for parameter in inspect.signature(loss).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        if not isinstance(parameter.default, int | float) or parameter.name in inspect.signature(_options).parameters:
            raise DeclarationError(
                f"task {name}: the number {parameter.name!r} of the loss needs a default, and a name of its own"
            )
        found[parameter.name] = float(parameter.default)
    return found


def _documentation(loss: Callable[..., Any] | str, name: str, labels: str, parameters: tuple[str, ...]) -> str:
    """The docstring of the aggregate: what the loss says of itself, and what is common."""
    text = f"Train a linear model on the loss ``{loss}``." if isinstance(loss, str) else inspect.getdoc(loss) or ""
    parts = re.split(r"^(\w+)\n-{3,}\n", text, flags=re.M)
    sections = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    own = sections.get("Parameters", "\n".join(f"{parameter} : a number of the loss." for parameter in parameters))
    call = f"{name}_fit({_EXAMPLE_LABELS[labels]}, [sin(i), cos(i)], {{'epochs': 5}})"
    example = f"SELECT {call} AS model FROM range(1000) t(i);"
    return _DOCUMENTATION.format(
        summary=parts[0].strip() or f"Train a linear model on the loss of the task {name}.",
        label=_LABEL_WORDS[labels],
        parameters=textwrap.dedent(own) + "\n" if own else "",
        references=sections.get("References", _BISMARCK),
        examples=sections.get("Examples", example),
    )

"""Rows made ready: labels checked, rows held out, features standardised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tasks.epochs import HEAD
from ..tasks.linear import UNEVEN
from ..tasks.model import BINARY, COUNT
from ..tasks.task import Task
from .rows import Rows

#: A feature whose deviation is smaller than this, beside its mean, is constant.
_CONSTANT = 1e-6
#: Wrong labels that are looked at for a message.
_SHOWN = 1000


def check_labels(task: Task, rows: Rows, class_weight: tuple[float, float] | None) -> list[float]:
    """Check labels and weights, make two classes +1 and -1, weigh them; gives the labels there were of two classes."""
    found: set[float] = set()
    for piece in rows.pieces():
        if (piece[:, 1] < 0).any():
            raise ValueError(f"a row has the weight {piece[:, 1].min():g}; expected at least 0")
        if task.labels == COUNT and (piece[:, 0] < 0).any():
            raise ValueError(f"a row has the label {piece[:, 0].min():g}; {task.name} counts from 0 on")
        if task.labels != BINARY:
            continue
        usual = {value for value in (-1.0, 0.0, 1.0) if (piece[:, 0] == value).any()}
        others = piece[~np.isin(piece[:, 0], [-1, 0, 1]), 0]
        found |= usual | set(np.unique(others[:_SHOWN]).tolist())
        if not (found <= {0.0, 1.0} or found <= {-1.0, 1.0}):
            some = ", ".join(f"{value:g}" for value in sorted(found)[:5])
            raise ValueError(f"labels must be true or false, 1 or 0, or 1 or -1; the rows have {some}")
        positive = piece[:, 0] > 0
        piece[:, 0] = np.where(positive, 1, -1)
        if class_weight is not None:
            piece[:, 1] *= np.where(positive, class_weight[1], class_weight[0])
    return sorted(found)


def split(rows: Rows, fraction: float, seed: int) -> tuple[Rows, Rows | None]:
    """Rows to train on, in their order, and rows held out."""
    if fraction == 0:
        return rows, None
    held_out = np.random.default_rng(seed).random(len(rows)) < fraction
    if held_out.all() or not held_out.any():
        raise ValueError(f"validation_fraction {fraction:g} of {len(rows)} rows leaves no rows on one side")
    return rows.take(np.flatnonzero(~held_out)), rows.take(np.flatnonzero(held_out))


def moments(rows: Rows, centred: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The means of the features, and the inverses of their deviations, by the weights of the rows.

    A feature that is constant is divided by its size. Features are ``centred`` only where an intercept can take up what
    that changes; else the means are 0, and the deviations those from 0.
    """
    first = rows.matrix[0, HEAD:].astype(np.float64)
    mass, total, square = 0.0, np.zeros(rows.width), np.zeros(rows.width)
    for piece in rows.pieces():
        apart, weights = piece[:, HEAD:] - first, piece[:, 1].astype(np.float64)
        mass += weights.sum()
        total += weights @ apart
        square += weights @ np.square(apart, out=apart)
    mass = mass or 1.0
    mean = total / mass
    deviation = np.sqrt(np.maximum(square / mass - mean**2, 0))
    mean += first
    if not centred:
        deviation, mean = np.hypot(deviation, mean), np.zeros_like(mean)
    constant = deviation <= _CONSTANT * np.abs(mean)
    deviation[constant] = np.where(mean[constant] == 0, 1, np.abs(mean[constant]))
    return mean, 1 / deviation


def warning_of_scales(rows: Rows) -> str:
    """What to tell where the sizes of the features differ so much that no one step size suits all of them."""
    piece = next(iter(rows.pieces()))
    squares = np.square(piece[:, HEAD:], dtype=np.float64).mean(axis=0)
    largest = int(np.argmax(squares))
    smallest = int(np.argmin(np.where(squares > 0, squares, np.inf)))
    if not squares[largest] > UNEVEN * squares[smallest] > 0:
        return ""
    return (
        f"feature {largest + 1} is of size {math.sqrt(squares[largest]):.3g}, feature {smallest + 1} of size "
        f"{math.sqrt(squares[smallest]):.3g}, and one step size cannot suit both; expected standardize = true, or the "
        "step_rule 'auto' or 'vw'"
    )


def standardize(rows: Rows, held_out: Rows | None, centred: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Give features mean 0 and deviation 1, in place; returns the means and the inverses of the deviations."""
    mean, inverse = moments(rows, centred)
    for each in (rows, held_out):
        for piece in each.pieces() if each else ():
            piece[:, HEAD:] = (piece[:, HEAD:] - mean) * inverse
    return mean, inverse

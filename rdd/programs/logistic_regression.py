"""Logistic regression by gradient descent over an RDD of points.

Source: Zaharia and others: Resilient Distributed Datasets, NSDI (2012), section 3.2.1.
"""

from __future__ import annotations

import math
import random
from typing import Any


def logistic_regression(
    points: Any,
    iterations: int = 10,
    step_size: float = 1.0,
    start: list[float] | None = None,
    seed: int = 42,
    fused: bool = False,
) -> list[float]:
    """Fit weights that tell two classes apart: ``w -= step_size * sum of x * (1 / (1 + exp(-y * w.x)) - 1) * y``.

    Parameters
    ----------
    points : RDD of (y, x)
        The class, -1 or 1, and the features, numbers of one count; best cached.
    iterations : int
        Passes over the points.
    step_size : float
        What the gradient is multiplied with; it is a sum over the points, not a mean.
    start : list of float, optional
        The weights to begin with; random between -1 and 1 otherwise.
    seed : int
        Of the random weights.
    fused : bool
        Turn each partition into a matrix once, and let compiled code run over it. The sums are the same but for the
        order in which they are added.

    Returns
    -------
    list of float
        The weights.

    Raises
    ------
    ValueError
        There is no point, or `start` has another count of numbers than the points.

    Examples
    --------
    >>> points = sc.parallelize([(1, (1.0, 2.0)), (-1, (-1.0, -1.0)), (1, (2.0, 1.0))])
    >>> w = logistic_regression(points, start=[0.0, 0.0])
    >>> w[0] > 0 and w[1] > 0
    True
    """
    width = len(points.first()[1])
    w = _first_weights(width, start, seed)
    if fused:
        return _fused(points, w, iterations, step_size)

    for _ in range(iterations):
        weights = tuple(w)

        def gradient(point: Any, w: tuple[float, ...] = weights) -> list[float]:
            y, x = point
            margin = y * sum(a * b for a, b in zip(w, x, strict=True))
            scale = (logistic(margin) - 1) * y
            return [each * scale for each in x]

        total = points.map(gradient).reduce(lambda a, b: [left + right for left, right in zip(a, b, strict=True)])
        w = [weight - step_size * part for weight, part in zip(w, total, strict=True)]
    return w


def logistic(margin: float) -> float:
    """``1 / (1 + exp(-margin))``, also where the power is too large for a float."""
    if margin < 0:
        power = math.exp(margin)
        return power / (1 + power)
    return 1 / (1 + math.exp(-margin))


def _first_weights(width: int, start: list[float] | None, seed: int) -> list[float]:
    if start is None:
        draw = random.Random(seed).uniform
        return [draw(-1, 1) for _ in range(width)]
    if len(start) != width:
        raise ValueError(f"logistic_regression: start has {len(start)} numbers; expected {width}, as the points have")
    return [float(weight) for weight in start]


def _fused(points: Any, w: list[float], iterations: int, step_size: float) -> list[float]:
    """The same over matrices."""
    import numpy as np

    from .kernels import logistic_gradient

    matrices = points.mapPartitions(_matrix).cache()
    try:
        weights = np.array(w)
        for _ in range(iterations):
            gradients = matrices.map(lambda part, w=weights: logistic_gradient(part[0], part[1], w))
            weights = weights - step_size * gradients.reduce(lambda a, b: a + b)
        return weights.tolist()  # type: ignore[no-any-return]
    finally:
        matrices.unpersist()


def _matrix(points: Any) -> Any:
    """The classes and the features of a partition as arrays; nothing if it is empty."""
    import numpy as np

    pairs = list(points)
    if pairs:
        yield np.array([y for y, _ in pairs], np.float64), np.array([x for _, x in pairs], np.float64)

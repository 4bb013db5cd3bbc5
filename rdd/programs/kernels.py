"""Compiled passes over the matrix of a partition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def logistic_gradient(y: Any, x: Any, w: Any) -> Any:
    """The gradient of the logistic loss, summed over points.

    Parameters
    ----------
    y : (points,) the classes, -1 or 1.
    x : (points, features)
    w : (features,)
    """
    gradient = np.zeros(len(w))
    for row in range(len(y)):
        margin = 0.0
        for column in range(len(w)):
            margin += w[column] * x[row, column]
        scale = (1 / (1 + math.exp(-y[row] * margin)) - 1) * y[row]
        for column in range(len(w)):
            gradient[column] += x[row, column] * scale
    return gradient


@njit(cache=True, nogil=True, error_model="numpy")
def sums_by_centre(x: Any, centres: Any) -> Any:
    """For each centre the sum of the points that are closest to it, and in the last column how many they are.

    Parameters
    ----------
    x : (points, features)
    centres : (k, features)
    """
    k, width = centres.shape
    sums = np.zeros((k, width + 1))
    for row in range(len(x)):
        best, least = 0, np.inf
        for centre in range(k):
            distance = 0.0
            for column in range(width):
                distance += (x[row, column] - centres[centre, column]) ** 2
            if distance < least:
                best, least = centre, distance
        for column in range(width):
            sums[best, column] += x[row, column]
        sums[best, width] += 1
    return sums

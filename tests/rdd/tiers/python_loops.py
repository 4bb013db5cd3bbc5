"""Generated loops without Numba, so that many can be tried in little time."""

import math

import numpy as np


def loop_in_python(source):
    """A generated loop without Numba: NumPy's numbers have the same width and the same overflow."""
    surroundings = {"jit": lambda function: function, "math": math, "np": np, "BIG": 1 << 53, "power": _power}
    exec(source, surroundings)
    return surroundings["loop"]


def _power(base, exponent):
    return np.float64(math.pow(base, exponent))

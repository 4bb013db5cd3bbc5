"""What the numbers given to a function must be; a number, or a column of them."""

from __future__ import annotations

from typing import Any

import numpy as np


def above_zero(**arguments: Any) -> None:
    """Refuse numbers that are not above 0, and NaN.

    Raises
    ------
    ValueError
        With the name of the argument and the value.
    """
    for name, value in arguments.items():
        _refuse(name, value, np.asarray(value) > 0, "above 0")


def at_least(least: float, **arguments: Any) -> None:
    """Refuse numbers below a bound, and NaN.

    Raises
    ------
    ValueError
        With the name of the argument and the value.
    """
    for name, value in arguments.items():
        _refuse(name, value, np.asarray(value) >= least, f"at least {least}")


def fraction(**arguments: Any) -> None:
    """Refuse what is not above 0 and at most 1, such as an efficiency.

    Raises
    ------
    ValueError
        With the name of the argument and the value.
    """
    for name, value in arguments.items():
        _refuse(name, value, (np.asarray(value) > 0) & (np.asarray(value) <= 1), "above 0 and at most 1")


def _refuse(name: str, value: Any, right: Any, expected: str) -> None:
    wrong = ~np.atleast_1d(right & np.isfinite(value))
    if wrong.any():
        raise ValueError(f"argument {name} must be {expected}, got {np.atleast_1d(value)[wrong][0]}")

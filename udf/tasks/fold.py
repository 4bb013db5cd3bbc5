"""Folds for cross-validation, from a key of the row alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ironlake.udf.engine import scalar

_FIRST, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@njit
def _mixed(code: Any) -> Any:
    """A hash of 64 bits in which every bit changes about half of all (SplitMix64)."""
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))


@njit
def _fold(code: Any, folds: int, seed: int) -> int:
    if folds < 1:
        raise ValueError("argument folds must be at least 1, got", folds)
    salt = _mixed(np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15))
    return np.int64(_mixed(code ^ salt) % np.uint64(folds))


@scalar
def fold(key: int, folds: int, seed: int = 0) -> int:
    """The fold of a row in cross-validation: the same for the same key, in every query and on every machine.

    Parameters
    ----------
    key : of the row; rows with one key, say those of a customer, come into one fold.
    folds : how many there are.
    seed : another one gives another division.

    Returns
    -------
    BIGINT
        From 0 to ``folds - 1``; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If there are less than one folds.

    References
    ----------
    Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, figure 15 (the hash).

    Examples
    --------
    WITH rows AS (SELECT fold(i, 5) AS fold, sin(i) > 0 AS y, [sin(i), cos(i)] AS x FROM range(1000) t(i)),
         models AS (SELECT held_out, logistic_fit(y, x) AS m FROM rows, range(5) f(held_out) WHERE fold <> held_out
                    GROUP BY held_out)
    SELECT fold, binary_metrics(y, predict_proba(m, x)).roc_auc FROM rows JOIN models ON fold = held_out GROUP BY fold;
    """
    return _fold(np.uint64(key), folds, seed)


@scalar(name="fold", overload=True)
def fold_of_text(key: str, folds: int, seed: int = 0) -> int:
    """The same for keys that are text.

    Examples
    --------
    SELECT fold('customer ' || i, 5) AS fold, count(*) AS n FROM range(1000) t(i) GROUP BY fold ORDER BY fold;
    """
    code = _FIRST
    for letter in key:
        code = (code ^ np.uint64(ord(letter))) * _PRIME
    return _fold(code, folds, seed)

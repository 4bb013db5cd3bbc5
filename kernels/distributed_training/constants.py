"""The constants of the step-time model: what they are, between which bounds, and the values that are shipped.

The shipped values are what `training_model_fit` finds for the published step times of Megatron-LM on A100s (tables 1
and 2 of the SC 2021 paper, table 5 of arXiv 2205.05198); nothing of vTrain's measurements went into them.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ironlake.udf.engine import table
from ironlake.udf.engine.declaration import closest

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = Path(__file__).with_name("step_time_constants.csv")


@functools.cache
def _rows() -> list[dict[str, Any]]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = {"name", "unit", "meaning"}
    return [{name: text if name in texts else float(text) for name, text in row.items()} for row in rows]


NAMES = tuple(row["name"] for row in _rows())
#: The constants as compiled code sees them.
CONSTANTS = np.dtype([(name, np.float64) for name in NAMES])


def column(name: str) -> np.ndarray[Any, Any]:
    """The ``value``, ``low``, ``high`` or ``prior`` of each constant."""
    return np.array([row[name] for row in _rows()])


def record(values: Any) -> np.ndarray[Any, Any]:
    """Values of the constants in their order, as a record."""
    constants = np.zeros(1, CONSTANTS)
    constants[0] = tuple(values)
    return constants


def constants_of(calibration: Any) -> np.ndarray[Any, Any]:
    """The constants of a calibration: what `training_model_fit` returned, a STRUCT of constants, or None.

    Raises
    ------
    ValueError
        If a name is unknown or a value outside its bounds.
    """
    values = dict(zip(NAMES, column("value"), strict=True))
    if calibration is not None:
        if not isinstance(calibration, Mapping):
            raise ValueError(
                f"argument calibration must be a STRUCT, such as training_model_fit gives, got {calibration!r}"
            )
        given = calibration.get("constants", calibration)
        values |= {name: bounded(name, value) for name, value in given.items()}
    return record(values.values())


def bounded(name: str, values: Any) -> Any:
    """A value of a constant, or values in which NaN stands for the shipped one.

    Raises
    ------
    ValueError
        If there is no such constant, or a value is outside its bounds.
    """
    if name not in NAMES:
        raise ValueError(f"argument calibration has {name!r}{closest(name, NAMES)}")
    low, high = (column(bound)[NAMES.index(name)] for bound in ("low", "high"))
    try:
        wrong = (np.atleast_1d(values) < low) | (np.atleast_1d(values) > high)
    except TypeError:
        raise ValueError(f"argument calibration: {name} must be a number, got {values!r}") from None
    if wrong.any():
        raise ValueError(
            f"argument calibration: {name} must be between {low:g} and {high:g}, got {np.atleast_1d(values)[wrong][0]}"
        )
    return values


@table
def step_time_constants() -> pa.Table:
    """Tell the constants of the step-time model: their values, and the bounds between which they are physical.

    The values are those that `training_model_fit` finds for the published step times of Megatron-LM; a calibration of
    your own overrides them, wholly or in part.

    Returns
    -------
    TABLE
        ``name`` VARCHAR, ``value``, ``low``, ``high``, ``prior`` (what a fit without data has) DOUBLE, ``unit``,
        ``meaning`` VARCHAR.

    References
    ----------
    Narayanan and others: Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM, SC (2021);
    Korthikanti and others: Reducing Activation Recomputation in Large Transformer Models, arXiv 2205.05198 (2022).

    Examples
    --------
    SELECT name, value, unit, meaning FROM step_time_constants();
    """
    import pyarrow as pa

    return pa.Table.from_pylist(_rows())

"""Arrow columns of labels and features as NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


def numbers_of(column: pa.Array, name: str) -> np.ndarray[Any, Any]:
    """A column of numbers or booleans without NULLs.

    Raises
    ------
    ValueError
        If it is of another type.
    """
    import pyarrow as pa

    if pa.types.is_boolean(column.type) or pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ValueError(f"the column {name!r} holds {column.type}; expected numbers")
    array: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return array


def matrix_of(column: pa.Array, name: str) -> np.ndarray[Any, Any]:
    """A column of lists or arrays of numbers, or of numbers, as a matrix with a row for each.

    Raises
    ------
    ValueError
        If it is of another type, lists differ in length, or one has a NULL inside.
    """
    import pyarrow as pa

    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return numbers_of(column, name).reshape(-1, 1)
    kind = column.type
    if pa.types.is_map(kind) or pa.types.is_struct(kind):
        raise ValueError(
            f"the column {name!r} holds sparse rows, {kind}; expected a list or an array of numbers, or instead an "
            "aggregate that takes sparse rows, such as logistic_fit(label, features, {'epochs': 10})"
        )
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise ValueError(f"the column {name!r} holds {kind}; expected a list or an array of numbers, or a number")
    values = column.flatten()
    if values.null_count:
        raise ValueError(f"the column {name!r} has a list with a NULL inside; filter such rows, or use coalesce")
    if not pa.types.is_fixed_size_list(kind):
        lengths = np.diff(column.offsets.to_numpy())
        if (lengths != lengths[0]).any():
            other = lengths[lengths != lengths[0]][0]
            raise ValueError(f"a row has {other} features, the rows before it have {lengths[0]}")
    return numbers_of(values, name).reshape(len(column), -1)

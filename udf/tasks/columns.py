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


def holes_of(column: pa.Array) -> np.ndarray[Any, Any]:
    """Which rows of a column are NULL, or a list with a NULL inside."""
    import pyarrow as pa

    holes: np.ndarray[Any, Any] = column.is_null().to_numpy(zero_copy_only=False)
    fixed = pa.types.is_fixed_size_list(column.type)
    if not (fixed or pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return holes
    lists = column.drop_null()
    values = lists.flatten()
    if values.null_count:
        ends = np.arange(len(lists) + 1) * column.type.list_size if fixed else lists.offsets.to_numpy()
        before = np.append(0, np.cumsum(values.is_null().to_numpy(zero_copy_only=False)))[ends - ends[0]]
        holes = holes.copy()
        holes[np.flatnonzero(~holes)] = before[1:] > before[:-1]
    return holes


def matrix_of(column: pa.Array, name: str) -> np.ndarray[Any, Any]:
    """A column of lists or arrays of numbers, or of numbers, without holes, as a matrix with a row for each.

    Raises
    ------
    ValueError
        If it is of another type, or lists differ in length.
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
    if not pa.types.is_fixed_size_list(kind):
        lengths = np.diff(column.offsets.to_numpy())
        if (lengths != lengths[0]).any():
            other = lengths[lengths != lengths[0]][0]
            raise ValueError(f"a row has {other} features, the rows before it have {lengths[0]}")
    return numbers_of(values, name).reshape(len(column), -1)

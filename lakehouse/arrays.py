"""Columns of Arrow as NumPy arrays, sharing their memory where they can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]


def array_of(column: pa.Array, name: str) -> Array:
    """A column as an array whose first axis are the rows.

    Lists of one length become further axes. Decimals become float64; texts, bytes, structs and maps Python objects. A
    NULL is NaN among floats, NaT among dates and times, and None among objects.

    Parameters
    ----------
    column : pyarrow.Array
        The column.
    name : str
        What error messages call it.

    Raises
    ------
    ValueError
        Whole numbers or booleans have a NULL, or lists differ in length or have NULLs in their place.
    """
    import pyarrow as pa
    import pyarrow.types as is_

    type_ = column.type
    if is_.is_list(type_) or is_.is_large_list(type_) or is_.is_fixed_size_list(type_):
        return _lists(column, name)
    if is_.is_decimal(type_):
        column = column.cast(pa.float64())
    elif (is_.is_integer(type_) or is_.is_boolean(type_)) and column.null_count:
        raise ValueError(
            f"the column {name!r} has {column.null_count} NULLs, for which arrays of {type_} have no value; filter "
            "them, use coalesce, or cast the column to DOUBLE"
        )
    array: Array = column.to_numpy(zero_copy_only=False)
    return array


def _lists(column: pa.Array, name: str) -> Array:
    """Lists of one length as rows."""
    import pyarrow.types as is_

    if column.null_count:
        raise ValueError(
            f"the column {name!r} has {column.null_count} NULLs in the place of lists; filter them, or pass "
            "format='arrow'"
        )
    if is_.is_fixed_size_list(column.type):
        width = column.type.list_size
    else:
        lengths = np.diff(column.offsets.to_numpy())
        width = int(lengths[0]) if len(lengths) else 0
        if (lengths != width).any():
            other = int(lengths[lengths != width][0])
            raise ValueError(unequal(name, width, other))
    values = array_of(column.flatten(), name)
    return values.reshape(len(column), width, *values.shape[1:])


def unequal(name: str, width: int, other: int) -> str:
    """What an error says of lists that differ in length."""
    return (
        f"the column {name!r} has lists of {width} and of {other} elements, which are no array; make them equal, or "
        "pass format='arrow'"
    )

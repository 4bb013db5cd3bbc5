"""The compiled function that scans ask about each row of a file with a deletion vector."""

import numpy as np
from numba import types

from ironlake.udf.engine import scalar
from ironlake.udf.engine.memory import external, load

_pinned = external("ironlake_pinned", types.int64, 1)


@scalar
def lake_row_kept(vector: int, row: int) -> bool:
    """Tell whether a row of a data file is not deleted; scans of tables with deletion vectors ask for each row.

    Parameters
    ----------
    vector : the number under which the scan keeps the deleted rows of a file.
    row : the row's place in the file, from 0 on.

    Returns
    -------
    BOOLEAN
        False for a deleted row; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If there is no such number.

    References
    ----------
    Delta transaction log protocol, "Deletion Vectors", https://github.com/delta-io/delta/blob/master/PROTOCOL.md

    Examples
    --------
    SELECT lake_row_kept(NULL, 0) AS kept;
    """
    bits = _pinned(vector)
    if bits == 0:
        raise ValueError("argument vector is", vector, "and must be a number that a scan was given")
    if row < 0 or row >= load(bits, np.int64):
        return True
    return (load(bits + 8 + (row >> 3), np.uint8) >> np.uint8(row & 7)) & np.uint8(1) == 0

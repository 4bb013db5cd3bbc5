"""Curves that fill space: the place of a point on a Hilbert curve and on a Morton (Z-order) curve.

Points that are close on the curve are close in space, so that files of rows in the order of a curve have narrow bounds
in every column. Steps of a Hilbert curve are of length one; those of a Morton curve jump.

Sources: Skilling: Programming the Hilbert curve, AIP Conference Proceedings 707 (2004); Morton: A computer oriented
geodetic data base, IBM (1966).
"""

import numpy as np

from ironlake.udf.engine import scalar


@scalar
def morton_index(x: list[int], bits: int) -> int:
    """The place of a point on a Morton curve: the bits of its coordinates in turns, the first one's foremost.

    Parameters
    ----------
    x : the coordinates, from 0 to 2^bits - 1, at least one.
    bits : of a coordinate; all together there may be 63.

    Returns
    -------
    BIGINT
        From 0 on; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If there are no coordinates or too many bits, or a coordinate does not fit into them.

    References
    ----------
    Morton: A computer oriented geodetic data base, IBM (1966).

    Examples
    --------
    SELECT morton_index([1, 2], 2) AS place;
    """
    if len(x) == 0 or bits < 1 or bits * len(x) > 63:
        raise ValueError("argument bits is", bits, "for", len(x), "coordinates; together they must have 1 to 63 bits")
    place = 0
    for axis in range(len(x)):
        if x[axis] < 0 or x[axis] >> bits != 0:
            raise ValueError("argument x has a coordinate", x[axis], "and must have numbers of", bits, "bits")
    for bit in range(bits - 1, -1, -1):
        for axis in range(len(x)):
            place = (place << 1) | ((x[axis] >> bit) & 1)
    return place


@scalar
def hilbert_index(x: list[int], bits: int) -> int:
    """The place of a point on a Hilbert curve, which goes through all points of a cube in steps of length one.

    Parameters
    ----------
    x : the coordinates, from 0 to 2^bits - 1, at least one.
    bits : of a coordinate; all together there may be 63.

    Returns
    -------
    BIGINT
        From 0 on; NULL if an argument is NULL.

    Raises
    ------
    InvalidInputException
        If there are no coordinates or too many bits, or a coordinate does not fit into them.

    References
    ----------
    Skilling: Programming the Hilbert curve, AIP Conference Proceedings 707 (2004).

    Examples
    --------
    SELECT hilbert_index([1, 2], 2) AS place;
    """
    count = len(x)
    if count == 0 or bits < 1 or bits * count > 63:
        raise ValueError("argument bits is", bits, "for", count, "coordinates; together they must have 1 to 63 bits")
    axes = np.empty(count, np.int64)
    for axis in range(count):
        if x[axis] < 0 or x[axis] >> bits != 0:
            raise ValueError("argument x has a coordinate", x[axis], "and must have numbers of", bits, "bits")
        axes[axis] = x[axis]
    # From the largest cubes to the smallest: undo the turns and reflections of each.
    bit = 1 << (bits - 1)
    while bit > 1:
        low = bit - 1
        for axis in range(count):
            if axes[axis] & bit:
                axes[0] ^= low
            else:
                swapped = (axes[0] ^ axes[axis]) & low
                axes[0] ^= swapped
                axes[axis] ^= swapped
        bit >>= 1
    # Gray code.
    for axis in range(1, count):
        axes[axis] ^= axes[axis - 1]
    flips = 0
    bit = 1 << (bits - 1)
    while bit > 1:
        if axes[count - 1] & bit:
            flips ^= bit - 1
        bit >>= 1
    place = 0
    for level in range(bits - 1, -1, -1):
        for axis in range(count):
            place = (place << 1) | (((axes[axis] ^ flips) >> level) & 1)
    return place

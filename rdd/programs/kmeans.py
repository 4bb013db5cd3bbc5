"""k-means over an RDD of points: Lloyd's algorithm.

Source: Lloyd: Least squares quantization in PCM, IEEE Trans. Information Theory 28 (1982); one of the two programs that
Zaharia and others: Resilient Distributed Datasets, NSDI (2012), measure in section 6.1.
"""

from __future__ import annotations

from typing import Any


def kmeans(
    points: Any,
    k: int,
    iterations: int = 10,
    centres: list[Any] | None = None,
    seed: int = 42,
    fused: bool = False,
) -> list[tuple[float, ...]]:
    """Find k centres, each the mean of the points that are closer to it than to any other.

    Parameters
    ----------
    points : RDD of sequences of float
        The points; best cached.
    k : int
        How many centres.
    iterations : int
        How often centres are moved to the mean of their points.
    centres : list of sequences of float, optional
        The centres to begin with; k points drawn without replacement otherwise.
    seed : int
        Of the draw.
    fused : bool
        Turn each partition into a matrix once, and let compiled code run over it. The sums are the same but for the
        order in which they are added.

    Returns
    -------
    list of tuple of float
        The centres. One that no point is closest to stays where it is; of centres at the same distance the first
        counts.

    Raises
    ------
    ValueError
        There are fewer than k points, or `centres` are not k.

    Examples
    --------
    >>> points = sc.parallelize([(0.0, 0.0), (0.0, 1.0), (9.0, 9.0), (9.0, 8.0)])
    >>> kmeans(points, 2, centres=[(0, 0), (9, 9)])
    [(0.0, 0.5), (9.0, 8.5)]
    """
    found = points.takeSample(False, k, seed) if centres is None else centres
    if len(found) != k:
        raise ValueError(f"kmeans: there are {len(found)} {'points' if centres is None else 'centres'}; expected {k}")
    current = [tuple(float(x) for x in centre) for centre in found]
    if fused:
        return _fused(points, current, iterations)

    for _ in range(iterations):
        assigned = points.map(lambda point, centres=current: (closest(point, centres), (tuple(point), 1)))
        sums = assigned.reduceByKey(lambda a, b: (tuple(x + y for x, y in zip(a[0], b[0], strict=True)), a[1] + b[1]))
        for index, (total, count) in sums.collect():
            current[index] = tuple(float(x) / count for x in total)
    return current


def closest(point: Any, centres: list[tuple[float, ...]]) -> int:
    """The place of the centre that is closest to a point."""
    best, least = 0, float("inf")
    for index, centre in enumerate(centres):
        distance = sum((a - b) ** 2 for a, b in zip(point, centre, strict=True))
        if distance < least:
            best, least = index, distance
    return best


def _fused(points: Any, centres: list[tuple[float, ...]], iterations: int) -> list[tuple[float, ...]]:
    """The same over matrices."""
    import numpy as np

    from .kernels import sums_by_centre

    matrices = points.mapPartitions(_matrix).cache()
    try:
        current = np.array(centres)
        for _ in range(iterations):
            sums = matrices.map(lambda x, centres=current: sums_by_centre(x, centres)).reduce(lambda a, b: a + b)
            reached = sums[:, -1] > 0
            current = current.copy()
            current[reached] = sums[reached, :-1] / sums[reached, -1:]
        return [tuple(centre) for centre in current.tolist()]
    finally:
        matrices.unpersist()


def _matrix(points: Any) -> Any:
    """The points of a partition as a matrix; nothing if it is empty."""
    import numpy as np

    rows = list(points)
    if rows:
        yield np.array(rows, np.float64)

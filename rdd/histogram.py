"""Counts of elements between bounds."""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .rdd import RDD


def histogram(rdd: RDD, buckets: int | list[Any] | tuple[Any, ...]) -> tuple[Any, list[int]]:
    """The bounds and the number of elements of each bucket; see `RDD.histogram`."""
    if isinstance(buckets, int):
        if buckets < 1:
            raise ValueError("number of buckets must be >= 1")
        bounds: Any = _even(rdd, buckets)
    elif isinstance(buckets, list | tuple):
        bounds = _checked(buckets)
    else:
        raise TypeError("buckets should be a list or tuple or number(int or long)")
    return bounds, _counted(rdd, bounds)


def _even(rdd: RDD, count: int) -> list[Any]:
    """Bounds of buckets of one width, from the least to the largest element."""

    def usable(element: Any) -> bool:
        return element is not None and not (isinstance(element, float) and math.isnan(element))

    def extremes(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
        return min(one[0], other[0]), max(one[1], other[1])

    try:
        low, high = rdd.filter(usable).map(lambda element: (element, element)).reduce(extremes)
    except ValueError as error:
        if "empty" in str(error):
            raise ValueError("can not generate buckets from empty RDD") from None
        raise
    if low == high or count == 1:
        return [low, high]
    try:
        width = (high - low) / count
    except TypeError:
        raise TypeError("Can not generate buckets with non-number in RDD") from None
    if math.isinf(width):
        raise ValueError("Can not generate buckets with infinite value")
    width = int(width) if int(width) == width and isinstance(low, int) else width
    return [*(low + place * width for place in range(count)), high]


def _checked(buckets: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    if len(buckets) < 2:
        raise ValueError("buckets should have more than one value")
    if any(bound is None or (isinstance(bound, float) and math.isnan(bound)) for bound in buckets):
        raise ValueError("can not have None or NaN in buckets")
    if sorted(buckets) != list(buckets):
        raise ValueError("buckets should be sorted")
    if len(set(buckets)) != len(buckets):
        raise ValueError("buckets should not contain duplicated values")
    if any(type(bound) is not type(buckets[0]) for bound in buckets) and not all(
        isinstance(bound, int | float) for bound in buckets
    ):
        raise TypeError("buckets should have the same type")
    return buckets


def _counted(rdd: RDD, bounds: Any) -> list[int]:
    last = len(bounds) - 2

    def counted(elements: Iterator[Any]) -> list[list[int]]:
        counts = [0] * (last + 1)
        for element in elements:
            if element is None or (isinstance(element, float) and math.isnan(element)):
                continue
            if not bounds[0] <= element <= bounds[-1]:
                continue
            counts[min(bisect_right(bounds, element) - 1, last)] += 1
        return [counts]

    parts = rdd.context.runJob(rdd, counted)
    return functools.reduce(
        lambda one, other: [a + b for a, b in zip(one, other, strict=True)], parts, [0] * (last + 1)
    )

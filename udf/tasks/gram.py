"""Means and co-moments of rows ``(x, y)`` in one pass: all that least squares needs to know of them.

For rows ``z = (x_1, ..., x_k, y)`` with the mean ``m`` the co-moments are ``C = sum (z - m)(z - m)^T``. Rows come in
blocks, centred on the mean ``p`` of the ``n`` rows before them, so that large offsets do not cost digits. With the
block's sum ``s`` and products ``Q`` of the centred rows, ``N`` rows in all have

    m = p + s / N        C = C_before + Q - s s^T / N

and two disjoint sets of rows with ``d = m_b - m_a`` (Chan, Golub, LeVeque, 1979)

    m = m_a + d n_b / (n_a + n_b)        C = C_a + C_b + d d^T n_a n_b / (n_a + n_b).

A waiting row is stored as ``(x - p, y - p_y, 1)``, padded with zeros to whole vectors of eight numbers: the products
of its last number with the others are ``s``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ironlake.udf.engine.memory import address_of
from ironlake.udf.engine.sqltypes import INTEGER

from .vectors import LANES, padded

#: Most features of a model: their co-moments take 128 MiB.
MOST_FEATURES = 4094
#: A block has a quarter of the rows before it, within these bounds: small groups keep small blocks.
_SMALLEST_BLOCK, _LARGEST_BLOCK = 8, 64
_FIRST_ROWS = 4
#: A column whose deviations are this small beside its mean is constant: they are rounding errors.
_CONSTANT = 1e-13

_DOUBLE, _INDEX = ir.DoubleType(), ir.IntType(64)
_BLOCK = ir.VectorType(_DOUBLE, LANES)
#: Rows of the co-moments that a tile has; times eight numbers each, they stay in registers.
TILE_ROWS = 4
_FREE = ("contract", "nsz")


@intrinsic
def add_tile(typingctx: Any, products: Any, rows: Any, count: Any, stride: Any, i: Any, j: Any) -> Any:
    """Add the products of columns ``i ... i + 3`` and ``j ... j + 7`` of rows to the matrix of products, by address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        products, rows, count, stride, i, j = args

        def pointer(base: Any, row: Any, column: Any, kind: Any) -> Any:
            index = builder.add(builder.mul(row, stride), column)
            address = builder.add(base, builder.mul(index, ir.Constant(_INDEX, 8)))
            return builder.inttoptr(address, kind.as_pointer())

        lines = [builder.add(i, ir.Constant(_INDEX, line)) for line in range(TILE_ROWS)]
        places = [pointer(products, line, j, _BLOCK) for line in lines]
        totals = [cgutils.alloca_once_value(builder, builder.load(place, align=8)) for place in places]
        splat = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        with cgutils.for_range(builder, count) as loop:
            block = builder.load(pointer(rows, loop.index, j, _BLOCK), align=8)
            for line, total in zip(lines, totals, strict=True):
                number = builder.load(pointer(rows, loop.index, line, _DOUBLE))
                one = builder.insert_element(ir.Constant(_BLOCK, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
                product = builder.fmul(builder.shuffle_vector(one, one, splat), block, flags=_FREE)
                builder.store(builder.fadd(builder.load(total), product, flags=_FREE), total)
        for place, total in zip(places, totals, strict=True):
            builder.store(builder.load(total), place, align=8)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen


@njit
def _add_block(means: Any, products: Any, n: int, rows: Any, count: int, width: int) -> None:
    """Add waiting rows to the means and the lower triangle of the co-moments of ``n`` rows before them."""
    stride, ones, total = len(means), width + 1, n + count
    for i in range(0, width + 2, TILE_ROWS):
        for j in range(0, i + TILE_ROWS, LANES):
            add_tile(address_of(products), address_of(rows), count, stride, i, j)
    sums = products[ones * stride : (ones + 1) * stride]
    for i in range(width + 1):
        share = sums[i] / total
        means[i] += share
        line = products[i * stride : (i + 1) * stride]
        for j in range(i + 1):
            line[j] -= share * sums[j]
        if not line[i] < math.inf:
            _refuse(i, width)
    sums[:] = 0.0


@njit
def _refuse(column: int, width: int) -> None:
    """Say which column has a number that cannot be squared."""
    if column == width:
        raise ValueError("the label of a row is NaN, infinite or above 1e150; filter such rows")
    raise ValueError("feature", column + 1, "of a row is NaN, infinite or above 1e150; filter such rows")


@njit
def _join(means: Any, products: Any, n: int, other_means: Any, other_products: Any, other_n: int, width: int) -> None:
    """Add the means and co-moments of other rows."""
    stride, share = len(means), other_n / (n + other_n)
    apart = other_means - means
    for i in range(width + 1):
        means[i] += share * apart[i]
        for j in range(i + 1):
            products[i * stride + j] += other_products[i * stride + j] + n * share * apart[i] * apart[j]


@njit
def _centre(row: Any, means: Any, features: Any) -> None:
    for index in range(len(features)):
        row[index] = features[index] - means[index]


@njit
def second_moments(means: Any, products: Any, n: int, width: int, centred: bool) -> Any:
    """Mean products of the features with each other (a matrix), of the features with the label, of the label.

    ``centred`` takes them about the means, else about 0. A constant column has none about its mean.
    """
    stride = len(means)
    matrix = np.empty((width + 1, width + 1))
    for i in range(width + 1):
        for j in range(i + 1):
            offset = 0.0 if centred else means[i] * means[j]
            matrix[i, j] = matrix[j, i] = products[i * stride + j] / n + offset
    for i in range(width + 1):
        if not matrix[i, i] > (_CONSTANT * means[i]) ** 2:
            matrix[i, :] = matrix[:, i] = 0.0
    return matrix[:width, :width].copy(), matrix[width, :width].copy(), matrix[width, width]


class CoMoments:
    """State and behaviour of an aggregate over rows ``(label, features)`` that is about their second moments."""

    means: list[float]  # of the n rows; of the first row as long as there are none
    products: list[float]  # the lower triangle of a square matrix with padded lines; empty as long as n is 0
    rows: list[float]  # that wait
    n: int
    pending: INTEGER  # rows that wait
    room: INTEGER = _SMALLEST_BLOCK
    width: INTEGER = -1  # features

    def learn(self, label, features):
        """Take in a row."""
        width = len(features)
        if self.width != width:
            self.open(width)
            self.means[:width] = features
            self.means[width] = label
        row, means = self.next_row(), self.means[:]
        _centre(row, means, features)
        row[width] = label - means[width]

    def open(self, width):
        """Fix the number of features; later rows must have as many."""
        if self.width >= 0:
            raise ValueError("a row has", width, "features, the rows before it have", self.width)
        if width > MOST_FEATURES:
            raise ValueError(
                "a row has", width, "features; exact fits take", MOST_FEATURES, "at most, least_squares_fit any number"
            )
        self.width = width
        self.means.resize(padded(width + 2))

    def next_row(self):
        """Room for one more waiting row, to be written over."""
        if self.pending == self.room:
            self.flush()
        stride, start = len(self.means), self.pending * len(self.means)
        if start == len(self.rows):
            self.rows.resize(min(max(2 * self.pending, _FIRST_ROWS), self.room) * stride)
        self.pending += 1
        row = self.rows[start : start + stride]
        row[self.width + 1] = 1.0
        return row

    def flush(self):
        """Add the waiting rows to the co-moments."""
        if len(self.products) == 0:
            self.products.resize(len(self.means) ** 2)
        _add_block(self.means[:], self.products[:], self.n, self.rows[:], self.pending, self.width)
        self.n += self.pending
        self.pending = 0
        self.room = min(max(self.n // 4, _SMALLEST_BLOCK), _LARGEST_BLOCK)

    def merge(self, other):
        if other.width < 0:
            return
        width = np.int64(other.width)
        if self.width != width:
            if self.width >= 0:
                raise ValueError("rows differ in length: some have", self.width, "features, others", width)
            self.open(width)
            self.means[:] = other.means[:]
        if other.n > 0:
            self.flush()
            _join(self.means[:], self.products[:], self.n, other.means[:], other.products[:], other.n, width)
            self.n += other.n
        stride = len(self.means)
        for index in range(other.pending):
            row, means, other_means = self.next_row(), self.means[:], other.means[:]
            waiting = other.rows[index * stride : (index + 1) * stride]
            for column in range(width + 1):
                row[column] = waiting[column] + (other_means[column] - means[column])

    def moments(self):
        """Means and co-moments of all rows, those that wait too, and their number; the state stays as it is."""
        means, stride = self.means[:].copy(), len(self.means)
        products = self.products[:].copy() if self.n > 0 else np.zeros(stride * stride)
        if self.pending > 0:
            _add_block(means, products, self.n, self.rows[:], np.int64(self.pending), np.int64(self.width))
        return means, products, self.n + self.pending

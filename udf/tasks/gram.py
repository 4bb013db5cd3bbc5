"""Means and co-moments of rows ``(x, y)`` in one pass: all that least squares needs to know of them.

For rows ``z = (x_1, ..., x_k, y)`` of weight ``v`` with the mean ``m`` the co-moments are
``C = sum v (z - m)(z - m)^T``. Rows come in blocks, centred on the mean ``p`` of the rows before them, so that large
offsets do not cost digits. With the block's weighted sum ``s`` and products ``Q`` of the centred rows, rows of the
mass ``N = sum v`` in all have

    m = p + s / N        C = C_before + Q - s s^T / N

and two disjoint sets of rows with ``d = m_b - m_a`` (Chan, Golub, LeVeque, 1979)

    m = m_a + d N_b / (N_a + N_b)        C = C_a + C_b + d d^T N_a N_b / (N_a + N_b).

A waiting row is stored as ``(x - p, y - p_y, 1)`` times the root of its weight, padded with zeros to whole vectors of
eight numbers: the products of its last number with the others are ``s``, that with itself is the weight.
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
def _add_block(means: Any, products: Any, mass: float, rows: Any, count: int, width: int) -> float:
    """Add waiting rows to the means and the lower triangle of the co-moments of rows before them; gives the mass."""
    stride, ones = len(means), width + 1
    for i in range(0, width + 2, TILE_ROWS):
        for j in range(0, i + TILE_ROWS, LANES):
            add_tile(address_of(products), address_of(rows), count, stride, i, j)
    sums = products[ones * stride : (ones + 1) * stride]
    mass += sums[ones]
    for i in range(width + 1):
        share = sums[i] / mass if mass > 0 else 0.0
        means[i] += share
        line = products[i * stride : (i + 1) * stride]
        for j in range(i + 1):
            line[j] -= share * sums[j]
        if not line[i] < math.inf:
            _refuse(i, width)
    sums[:] = 0.0
    return mass


@njit
def _refuse(column: int, width: int) -> None:
    """Say which column has a number that cannot be squared."""
    if column == width:
        raise ValueError("the label of a row is NaN, infinite or above 1e150; filter such rows")
    raise ValueError(
        "feature", column + 1, "of a row is NaN, infinite or above 1e150; filter such rows, or use"
        " coalesce(nullif(x, 'nan'), 0)"
    )  # fmt: skip


@njit
def _join(
    means: Any, products: Any, mass: float, other_means: Any, other_products: Any, other_mass: float, width: int
) -> None:  # fmt: skip
    """Add the means and co-moments of other rows."""
    stride, share = len(means), other_mass / (mass + other_mass) if other_mass > 0 else 0.0
    apart = other_means - means
    for i in range(width + 1):
        means[i] += share * apart[i]
        for j in range(i + 1):
            products[i * stride + j] += other_products[i * stride + j] + mass * share * apart[i] * apart[j]


@njit
def _centre(row: Any, means: Any, features: Any) -> None:
    for index in range(len(features)):
        row[index] = features[index] - means[index]


@njit
def second_moments(means: Any, products: Any, mass: float, width: int, centred: bool) -> Any:
    """Mean products of the features with each other (a matrix), of the features with the label, of the label.

    ``centred`` takes them about the means, else about 0. A constant column has none about its mean.
    """
    stride = len(means)
    matrix = np.empty((width + 1, width + 1))
    for i in range(width + 1):
        for j in range(i + 1):
            offset = 0.0 if centred else means[i] * means[j]
            matrix[i, j] = matrix[j, i] = products[i * stride + j] / mass + offset
    for i in range(width + 1):
        if not matrix[i, i] > (_CONSTANT * means[i]) ** 2:
            matrix[i, :] = matrix[:, i] = 0.0
    return matrix[:width, :width].copy(), matrix[width, :width].copy(), matrix[width, width]


class CoMoments:
    """State and behaviour of an aggregate over rows ``(label, features)`` that is about their second moments."""

    means: list[float]  # of the rows; of the first row as long as there are none
    products: list[float]  # the lower triangle of a square matrix with padded lines; empty as long as n is 0
    rows: list[float]  # that wait
    n: int  # rows that do not wait
    mass: float  # sum of their weights
    pending: INTEGER  # rows that wait
    room: INTEGER = _SMALLEST_BLOCK
    width: INTEGER = -1  # features

    def learn(self, label, features, weight):
        """Take in a row."""
        width = len(features)
        if self.width != width:
            self.open(width)
            self.means[:width] = features
            self.means[width] = label
        row, means = self.next_row(), self.means[:]
        _centre(row, means, features)
        row[width] = label - means[width]
        row[width + 1] = 1.0
        if weight != 1:
            root = math.sqrt(weight)
            for index in range(width + 2):
                row[index] *= root

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
        return self.rows[start : start + stride]

    def flush(self):
        """Add the waiting rows to the co-moments."""
        if len(self.products) == 0:
            self.products.resize(len(self.means) ** 2)
        self.mass = _add_block(self.means[:], self.products[:], self.mass, self.rows[:], self.pending, self.width)
        self.n += self.pending
        self.pending = 0
        self.room = min(max(self.n // 4, _SMALLEST_BLOCK), _LARGEST_BLOCK)

    def merge(self, other):
        self.merge_moments(other)

    def merge_moments(self, other):
        """Take in the rows of another state."""
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
            _join(self.means[:], self.products[:], self.mass, other.means[:], other.products[:], other.mass, width)
            self.n += other.n
            self.mass += other.mass
        stride = len(self.means)
        for index in range(other.pending):
            row, means, other_means = self.next_row(), self.means[:], other.means[:]
            waiting = other.rows[index * stride : (index + 1) * stride]
            root = row[width + 1] = waiting[width + 1]
            for column in range(width + 1):
                row[column] = waiting[column] + root * (other_means[column] - means[column])

    def moments(self):
        """Means and co-moments of all rows, those that wait too, and their mass; the state stays as it is."""
        means, stride, mass = self.means[:].copy(), len(self.means), self.mass
        products = self.products[:].copy() if self.n > 0 else np.zeros(stride * stride)
        if self.pending > 0:
            mass = _add_block(means, products, mass, self.rows[:], np.int64(self.pending), np.int64(self.width))
        return means, products, mass

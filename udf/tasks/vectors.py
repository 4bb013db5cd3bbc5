"""Dot product and scaled addition on float32 rows, eight numbers at a time, for the inner loops of training.

LLVM's own vectoriser spends more on a row of some dozen features than the row itself costs: it guards each loop
against overlapping arrays and short counts. Here weights are padded with zeros to whole blocks and never overlap
features, so a row is a few vector instructions and one masked load. Rows of other types take the plain loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ironlake.udf.engine.memory import address_of, view

#: Floating-point freedoms that leave NaN and infinity alone. With them ``x - x``, by which `math.isfinite` tells, may
#: become 0 for any ``x``; what is finite is told by comparison.
REORDER = frozenset({"reassoc", "contract", "nsz", "arcp"})
LANES = 8
_FLOAT, _INDEX = ir.FloatType(), ir.IntType(64)
_BLOCK = ir.VectorType(_FLOAT, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_ZERO = ir.Constant(_BLOCK, [0.0] * LANES)
_FREE = ("contract", "reassoc", "nsz")


@njit
def padded(length: int) -> int:
    """The length of a weight array for so many features: whole blocks."""
    return (length + LANES - 1) // LANES * LANES


class _Rows:
    """Emits loads and stores of blocks of eight numbers."""

    def __init__(self, builder: Any, weights: Any, features: Any, count: Any) -> None:
        self.builder, self.weights, self.features, self.count = builder, weights, features, count
        self.whole = builder.lshr(count, ir.Constant(_INDEX, 3))
        self.rest = builder.and_(count, ir.Constant(_INDEX, LANES - 1))

    def _pointer(self, base: Any, block: Any) -> Any:
        offset = self.builder.mul(block, ir.Constant(_INDEX, LANES * 4))
        return self.builder.inttoptr(self.builder.add(base, offset), _BLOCK.as_pointer())

    def weight(self, block: Any) -> Any:
        return self.builder.load(self._pointer(self.weights, block), align=4)

    def store(self, block: Any, value: Any) -> None:
        self.builder.store(value, self._pointer(self.weights, block), align=4)

    def feature(self, block: Any) -> Any:
        return self.builder.load(self._pointer(self.features, block), align=4)

    def last_feature(self) -> Any:
        """The incomplete last block, zeros behind its end."""
        builder = self.builder
        lanes = ir.Constant(ir.VectorType(_INDEX, LANES), list(range(LANES)))
        one = builder.insert_element(ir.Constant(lanes.type, ir.Undefined), self.rest, ir.Constant(ir.IntType(32), 0))
        rest = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))
        mask = builder.icmp_unsigned("<", lanes, rest)
        pointer = self._pointer(self.features, self.whole)
        function_type = ir.FunctionType(_BLOCK, [pointer.type, ir.IntType(32), _MASK, _BLOCK])
        load = cgutils.get_or_insert_function(builder.module, function_type, "llvm.masked.load.v8f32.p0")
        return builder.call(load, [pointer, ir.Constant(ir.IntType(32), 4), mask, _ZERO])

    def multiply_add(self, left: Any, right: Any, total: Any) -> Any:
        product = self.builder.fmul(left, right, flags=_FREE)
        return self.builder.fadd(product, total, flags=_FREE)


@intrinsic
def _dot_blocks(typingctx: Any, weights: Any, features: Any, count: Any) -> Any:
    """The dot product of padded weights and features, by address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = _Rows(builder, *args)
        totals = [cgutils.alloca_once_value(builder, _ZERO) for _ in range(4)]

        def add(total: Any, block: Any) -> None:
            builder.store(rows.multiply_add(rows.weight(block), rows.feature(block), builder.load(total)), total)

        four = ir.Constant(_INDEX, 4)
        main = builder.and_(rows.whole, ir.Constant(_INDEX, -4))
        with cgutils.for_range_slice(builder, ir.Constant(_INDEX, 0), main, four) as (start, _):
            for position, total in enumerate(totals):
                add(total, builder.add(start, ir.Constant(_INDEX, position)))
        for position in range(3):
            block = builder.add(main, ir.Constant(_INDEX, position))
            with builder.if_then(builder.icmp_unsigned("<", block, rows.whole)):
                add(totals[position], block)
        with builder.if_then(builder.icmp_unsigned("!=", rows.rest, ir.Constant(_INDEX, 0))):
            weight = rows.weight(rows.whole)
            builder.store(rows.multiply_add(weight, rows.last_feature(), builder.load(totals[3])), totals[3])
        halves = [builder.fadd(builder.load(totals[at]), builder.load(totals[at + 1]), flags=_FREE) for at in (0, 2)]
        total = builder.fadd(*halves, flags=_FREE)
        reduce_type = ir.FunctionType(_FLOAT, [_FLOAT, _BLOCK])
        reduce = cgutils.get_or_insert_function(builder.module, reduce_type, "llvm.vector.reduce.fadd.v8f32")
        return builder.call(reduce, [ir.Constant(_FLOAT, 0.0), total], fastmath=_FREE)

    return types.float32(types.int64, types.int64, types.int64), codegen


@intrinsic
def _add_blocks(typingctx: Any, weights: Any, features: Any, count: Any, scale: Any) -> Any:
    """Add scaled features to padded weights, by address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = _Rows(builder, *args[:3])
        one = builder.insert_element(ir.Constant(_BLOCK, ir.Undefined), args[3], ir.Constant(ir.IntType(32), 0))
        scale = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))
        with cgutils.for_range(builder, rows.whole) as loop:
            block = loop.index
            rows.store(block, rows.multiply_add(scale, rows.feature(block), rows.weight(block)))
        with builder.if_then(builder.icmp_unsigned("!=", rows.rest, ir.Constant(_INDEX, 0))):
            rows.store(rows.whole, rows.multiply_add(scale, rows.last_feature(), rows.weight(rows.whole)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.float32), codegen


def dot(weights: Any, features: Any) -> float:
    """``sum(weights[i] * features[i])`` over the features; the weights are padded (see `padded`)."""
    return float(np.dot(np.asarray(weights)[: len(features)], features))


@overload(dot, inline="always", strict=False)
def _dot(weights: Any, features: Any) -> Any:
    if features.dtype == types.float32 and features.layout == "C":
        return lambda weights, features: _dot_blocks(address_of(weights), address_of(features), len(features))
    return lambda weights, features: _plain_dot(weights, features)


@njit(fastmath={"contract", "reassoc", "nsz"})
def _plain_dot(weights: Any, features: Any) -> Any:
    total = np.float32(0)
    for index in range(len(features)):
        total += weights[index] * np.float32(features[index])
    return total


def add_scaled(weights: Any, features: Any, scale: Any) -> None:
    """``weights += scale * features``; the weights are padded (see `padded`)."""
    weights[: len(features)] += np.float32(scale) * np.asarray(features, np.float32)


@overload(add_scaled, inline="always", strict=False)
def _add_scaled(weights: Any, features: Any, scale: Any) -> Any:
    if features.dtype == types.float32 and features.layout == "C":
        return lambda weights, features, scale: _add_blocks(
            address_of(weights), address_of(features), len(features), np.float32(scale)
        )
    return lambda weights, features, scale: _plain_add_scaled(weights, features, np.float32(scale))


@njit
def _plain_add_scaled(weights: Any, features: Any, scale: Any) -> None:
    for index in range(len(features)):
        weights[index] += scale * np.float32(features[index])


def float32_row(features: Any, scratch: Any) -> Any:
    """A row of features as float32: itself, or a copy in a growable array of the state."""
    raise TypeError("float32_row is for compiled code")


@overload(float32_row, inline="always", strict=False)
def _float32_row(features: Any, scratch: Any) -> Any:
    if features.dtype == types.float32 and features.layout == "C":
        return lambda features, scratch: features
    return lambda features, scratch: _copied(features, scratch)


@njit
def _copied(features: Any, scratch: Any) -> Any:
    count = len(features)
    if len(scratch) < count:
        scratch.resize(padded(count))
    row = scratch[:]
    for index in range(count):
        row[index] = features[index]
    return view(address_of(row), count, np.float32)


@njit(inline="always")
def row_view(rows: Any, start: int, width: int) -> Any:
    """The features of a kept row."""
    return view(address_of(rows) + 4 * start, width, np.float32)


@njit(fastmath={"contract", "reassoc", "nsz"}, boundscheck=False)
def standardized(features: Any, row: Any, model: Any, room: int) -> Any:
    """Features less their means, times the inverses of their scales, written to ``row``; and the square of its length.

    The model has the inverses and the means behind two other parts (see `start`).
    """
    count, square = len(features), np.float32(0)
    for index in range(count):
        value = (features[index] - model[3 * room + index]) * model[2 * room + index]
        row[index] = value
        square += value * value
    return view(address_of(row), count, np.float32), square


@intrinsic
def _bits_of_float32(typingctx: Any, value: Any) -> Any:
    """The bit pattern of a float32."""
    word = ir.IntType(32)
    return types.int32(types.float32), lambda context, builder, signature, args: builder.bitcast(args[0], word)


def _sigmoid_cubics() -> np.ndarray:
    """Cubic Taylor polynomials of the logistic function around -16, -16 + 1/32, ..., 16, a row of float32 each."""
    centres = np.arange(-512, 513) / 32
    value = 1 / (1 + np.exp(-centres))
    slope = value * (1 - value)
    bend = slope * (1 - 2 * value)
    twist = bend * (1 - 2 * value) - 2 * slope * slope
    return np.stack([value, slope, bend / 2, twist / 6], axis=1).astype(np.float32)


_CUBICS = _sigmoid_cubics()
_ROUND = np.float32(12582912.0)  # 1.5 * 2^23: adding it rounds to an integer in the low bits
_FIRST = int(_ROUND.view(np.int32)) - 512
_STEPS, _WIDTH, _LIMIT = np.float32(32), np.float32(1 / 32), np.float32(16)


@njit(fastmath=False)  # a caller's freedom to reorder sums would undo the rounding
def sigmoid(score: float) -> float:
    """``1 / (1 + exp(-score))`` within 1e-7, by a cubic from a table: each row's step waits for it.

    Beyond 16 on either side it is the value at 16.
    """
    clamped = score if score > -_LIMIT else -_LIMIT  # NaN as well: it must not choose the row of the table
    clamped = clamped if clamped < _LIMIT else _LIMIT
    rounded = clamped * _STEPS + _ROUND
    row = _bits_of_float32(rounded) - _FIRST
    rest = clamped - (rounded - _ROUND) * _WIDTH
    cubic = _CUBICS[row]
    return (cubic[0] + rest * cubic[1]) + (rest * rest) * (cubic[2] + rest * cubic[3])


@intrinsic
def _as_float(typingctx: Any, bits: Any) -> Any:
    """The float64 of a bit pattern."""
    double = ir.DoubleType()
    return types.float64(types.int64), lambda context, builder, signature, args: builder.bitcast(args[0], double)


@intrinsic
def _as_bits(typingctx: Any, value: Any) -> Any:
    """The bit pattern of a float64."""
    return types.int64(types.float64), lambda context, builder, signature, args: builder.bitcast(args[0], _INDEX)


_SHIFT = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer in the low bits


@njit(fastmath=False)  # as above
def exp_of_negative(value: float) -> float:
    """``exp(value)`` for ``value <= 0`` within 6e-9 of relative error.

    ``exp(x) = 2^k exp(r)`` with ``|r| <= ln 2 / 2``, and ``exp(r)`` by its Taylor polynomial of degree 7.
    """
    clamped = max(value, -700.0)
    shifted = clamped * 1.4426950408889634 + _SHIFT
    rest = clamped - (shifted - _SHIFT) * 0.6931471805599453
    square = rest * rest
    low = (1 + rest) + square * (0.5 + rest * 0.16666666666666666)
    high = (0.041666666666666664 + rest * 0.008333333333333333) + square * (
        0.001388888888888889 + rest * 0.0001984126984126984
    )
    return _as_float(_as_bits(low + square * square * high) + (_as_bits(shifted) << 52))

"""The inner loops: gradient steps over rows in a given order, and the loss and gradient of a model, in machine code.

A model is one float32 array of padded parts (see `vectors.padded`): the weights; and behind them, as the step-size
rule wants it, their average over the steps, or the sum of squared gradients and the largest size of each feature. The
intercept and its average are float64. What a thread counts for itself is in an array of its own, so threads may share
a model:

``own``      the rows of a model belong to one thread, models are averaged later
``nolock``   all write without coordination (Hogwild)
``aig``      every weight is added to by an atomic instruction (atomic incremental gradient)
``lock``     one step at a time

References
----------
Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.4 (sharing);
Duchi, Hazan, Singer: Adaptive Subgradient Methods, JMLR 12 (2011), figure 1 (``adagrad``); Ross, Mineiro, Langford:
Normalized Online Learning, UAI 2013, algorithm 2 (``vw``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_double, c_int64
from typing import Any, Literal

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from ironlake.udf.engine import machine
from ironlake.udf.engine.memory import prefetch_to_read, view, writable_view

from ..tasks.epochs import AVERAGED, HEAD, add_difference, shrink
from ..tasks.task import Task
from ..tasks.vectors import REORDER, add_scaled, dot, padded

Sharing = Literal["own", "nolock", "aig", "lock"]
#: What a thread counts: steps taken, sum of losses, and for ``vw`` the sum of normalised squares of features.
TAKEN, LOSS, NORMAL = range(3)
OWN = 3
#: Settings of a pass; the numbers of the loss follow.
FIRST, OFFSET, SLOPE, POWER, L1, L2, INTERCEPT, AVERAGING = range(8)
SETTINGS = 8
#: Parts of a model.
PARTS = {"auto": 2, "adagrad": 2, "vw": 3}
_FULL = 1e250
_TINY = 1e-30
#: Rows in shuffled order come from anywhere: they are asked for so many rows, and at most so many bytes, ahead.
_AHEAD, _MOST_AHEAD = 6, 512


@intrinsic
def _add_atomically(typingctx: Any, address: Any, value: Any) -> Any:
    """Add to the number of the same type at an address in one indivisible step."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.atomic_rmw("fadd", builder.inttoptr(args[0], args[1].type.as_pointer()), args[1], "monotonic")
        return context.get_dummy_value()

    return types.void(types.int64, value), codegen


@intrinsic
def _swap(typingctx: Any, address: Any, value: Any) -> Any:
    """Put an integer at an address and give the one that was there, in one indivisible step."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("xchg", pointer, args[1], "acq_rel")

    return types.int64(types.int64, types.int64), codegen


@njit
def _prefetch_row(address: int, size: int) -> None:
    for line in range(0, size + 63, 64):
        prefetch_to_read(address + line)


@njit
def _add_each(model: int, features: Any, scale: float) -> None:
    for index in range(len(features)):
        _add_atomically(model + 4 * index, np.float32(scale * features[index]))


@njit(fastmath=set(REORDER))
def _adagrad(weights: Any, squares: Any, features: Any, slope: float, rate: float) -> None:
    """Divide each weight's step by the root of the sum of its squared gradients."""
    for index in range(len(features)):
        gradient = np.float32(slope) * features[index]
        squares[index] += gradient * gradient
        weights[index] -= np.float32(rate) * gradient / math.sqrt(squares[index] + np.float32(_TINY))


@njit(fastmath=set(REORDER))
def _notice(weights: Any, sizes: Any, features: Any) -> float:
    """Shrink the weights of features that are larger than any before; gives the normalised square of the row."""
    total = np.float32(0)
    for index in range(len(features)):
        size = abs(features[index])
        if size > sizes[index]:
            weights[index] *= sizes[index] / size
            sizes[index] = size
        if size > 0:
            total += (size / sizes[index]) ** 2
    return total


@njit(fastmath=set(REORDER))
def _normalized(weights: Any, squares: Any, sizes: Any, features: Any, slope: float, rate: float) -> None:
    """The step of ``adagrad`` in units of each feature's largest size."""
    for index in range(len(features)):
        gradient = np.float32(slope) * features[index]
        if gradient != 0:
            squares[index] += gradient * gradient
            weights[index] -= np.float32(rate) * gradient / (sizes[index] * math.sqrt(squares[index]))


def _descent(row_loss: Any, sharing: str, rule: str) -> Callable[..., int]:
    """Gradient steps of rows; gives how many were taken before a score that is not finite."""
    atomic, locking, adagrad, vw = sharing == "aig", sharing == "lock", rule == "adagrad", rule == "vw"
    parts = PARTS.get(rule, 1)

    def descend(
        rows: int, stride: int, index: int, count: int, model: int, intercepts: int, own: int, settings: int, lock: int,
        scales: int,
    ) -> int:  # fmt: skip
        width = stride - HEAD
        room = padded(width)
        weights = writable_view(model, parts * room, np.float32)
        none = weights[:0]
        inverses = view(scales, width if scales != 0 else 0, np.float32)
        squares = weights[room : 2 * room] if adagrad or vw else none
        sizes = weights[2 * room : 3 * room] if vw else none
        order, shared = view(index, count, np.int64), writable_view(intercepts, 3, np.float64)
        mine, given = writable_view(own, OWN, np.float64), view(settings, SETTINGS, np.float64)
        first, offset, slope_of_rate, power = given[FIRST], given[OFFSET], given[SLOPE], given[POWER]
        l1, l2, averaging = given[L1], given[L2], given[AVERAGING] > 0
        loss, product, taken, normal, rate = 0.0, 1.0, mine[TAKEN], mine[NORMAL], first
        done = count
        for at in range(count):
            start = order[at] * stride
            head = view(rows + 4 * start, HEAD, np.float32)
            features = view(rows + 4 * (start + HEAD), width, np.float32)
            if at + _AHEAD < count:
                _prefetch_row(rows + 4 * order[at + _AHEAD] * stride, min(4 * stride, _MOST_AHEAD))
            taken += 1
            if power != 0:
                base = offset + slope_of_rate * taken
                rate = first / math.sqrt(base) if power == 0.5 else first * base**-power
            if locking:
                while _swap(lock, 1) != 0:
                    pass
            if vw:
                normal += _notice(weights, sizes, features)
            score = dot(weights, features) + np.float32(shared[0])
            addend, factor, slope = row_loss(score, head[0], settings)
            if not abs(score) < math.inf:
                done = at
                if locking:
                    _swap(lock, 0)
                break
            if head[1] != 1:
                addend, factor, slope = head[1] * (addend + math.log(factor)), 1.0, head[1] * slope
            if adagrad:
                _adagrad(weights, squares, features, slope, rate)
                shared[2] += slope * slope
                change = -rate * slope / math.sqrt(shared[2] + _TINY)
            elif vw:
                scaled = rate * math.sqrt(taken / max(normal, _TINY))
                _normalized(weights, squares, sizes, features, slope, scaled)
                shared[2] += slope * slope
                change = -scaled * slope / math.sqrt(shared[2] + _TINY)
            else:
                change = -np.float32(rate) * np.float32(slope)
                if atomic:
                    _add_each(model, features, change)
                else:
                    add_scaled(weights, features, change)
            if given[INTERCEPT] > 0:
                if atomic:
                    _add_atomically(intercepts, np.float64(change))
                else:
                    shared[0] += change
            if l1 > 0 or l2 > 0:
                shrink(weights, inverses, width, rate, l1, l2)
            if averaging and np.int64(taken) % AVERAGED == 0:
                share = 2 / (1 + taken / AVERAGED)
                add_difference(weights, room, np.float32(share))
                shared[1] += share * (shared[0] - shared[1])
            if locking:
                _swap(lock, 0)
            loss += addend
            product *= factor
            if product > _FULL:
                loss += math.log(product)
                product = 1.0
        mine[LOSS] += loss + math.log(product)
        mine[TAKEN], mine[NORMAL] = taken, normal
        return done

    return descend


def _assessment(row_loss: Any) -> Callable[..., float]:
    """The sum of the losses of rows, and the gradient of that sum by the weights and the intercept."""

    def assess(
        rows: int, stride: int, start: int, stop: int, model: int, intercept: float, gradient: int, settings: int
    ) -> float:
        width = stride - HEAD
        weights, loss = view(model, padded(width), np.float32), 0.0
        sums = writable_view(gradient, width + 1 if gradient != 0 else 0, np.float64)
        for row in range(start, stop):
            head = view(rows + 4 * row * stride, HEAD, np.float32)
            features = view(rows + 4 * (row * stride + HEAD), width, np.float32)
            addend, factor, slope = row_loss(dot(weights, features) + np.float32(intercept), head[0], settings)
            loss += head[1] * (addend + math.log(factor))
            if gradient != 0:
                slope *= head[1]
                for index in range(width):
                    sums[index] += slope * features[index]
                sums[width] += slope
        return loss

    return assess


def _row_loss(task: Task) -> Any:
    """``(addend, factor, slope)`` of a row, with the numbers of the loss read from the settings."""
    numbers = "".join(f", given[{SETTINGS + index}]" for index in range(len(task.defaults)))
    scope = {"step": task.loss.compiled(), "view": view, "float64": np.float64}
    exec(
        f"def row_loss(score, label, settings):\n"
        f"    given = view(settings, {SETTINGS + len(task.defaults)}, float64)\n"
        f"    return step(score, label{numbers})\n",
        scope,
    )
    return njit(scope["row_loss"])


_NUMBER = c_int64
_DESCEND = CFUNCTYPE(c_int64, *[_NUMBER] * 10)
_ASSESS = CFUNCTYPE(c_double, *[_NUMBER] * 5, c_double, _NUMBER, _NUMBER)


#: Loops that are in this process already.
_loaded: dict[bytes, dict[str, int]] = {}


class Kernels:
    """The compiled loops of a task; calls leave Python to the other threads.

    Attributes
    ----------
    parts : how many padded parts a model has.
    """

    def __init__(self, task: Task, sharing: Sharing, rule: str) -> None:
        family = rule if rule in ("adagrad", "vw") else "auto"
        self.parts = PARTS[family]
        key = machine.fingerprint(
            "training",
            task.loss.source(),
            tuple(task.defaults),
            sharing,
            family,
            _descent,
            _assessment,
            _row_loss.__code__,
        )

        def build() -> dict[str, tuple[Callable[..., Any], str]]:
            row_loss = _row_loss(task)
            flags: Any = {"fastmath": set(REORDER)}
            descend = njit(_descent(row_loss, sharing, family), **flags)
            assess = njit(_assessment(row_loss), **flags)
            return {
                "descend": (_ten(descend), "int64(" + ", ".join(["int64"] * 10) + ")"),
                "assess": (_eight(assess), "float64(int64, int64, int64, int64, int64, float64, int64, int64)"),
            }

        addresses = _loaded.get(key) if key is not None else None
        if addresses is None:
            addresses = machine.compile_functions(build, key, f"training of {task.name}")
        if key is not None:
            _loaded[key] = addresses
        self.descend: Callable[..., int] = _DESCEND(addresses["descend"])
        self.assess: Callable[..., float] = _ASSESS(addresses["assess"])


def _ten(function: Any) -> Any:
    return lambda a, b, c, d, e, f, g, h, i, j: function(a, b, c, d, e, f, g, h, i, j)


def _eight(function: Any) -> Any:
    return lambda a, b, c, d, e, f, g, h: function(a, b, c, d, e, f, g, h)


def address(array: np.ndarray[Any, Any]) -> int:
    """Where an array's numbers are."""
    assert array.flags.c_contiguous
    return int(array.ctypes.data)

"""Low-rank matrix factorisation by stochastic gradient descent over blocks of ratings.

A rating ``y`` of item ``j`` by user ``i`` is predicted as ``m + b_i + c_j + L_i . R_j``. With the error ``e`` of the
prediction, a step of size ``a`` on that rating is

    L_i -= a (e R_j + mu L_i)        R_j -= a (e L_i + mu R_j)        (both with the old rows)
    b_i -= a (e + mu b_i)            c_j -= a (e + mu c_j)

(Bismarck, SIGMOD 2012, section 3.2), half the gradient of ``e^2 + mu (|L_i|^2 + |R_j|^2 + b_i^2 + c_j^2)``.

Biases need no code of their own: the row of a user is ``(L_i, b_i, 1)``, that of an item ``(R_j, 1, c_j)``, so that
their product holds both biases and the step on rows is the step on biases; the ones are put back after it. Rows are
padded with zeros to whole vector registers, and steps leave these zeros as they are.

Threads follow Gemulla and others (KDD 2011): users and items are cut into equally many ranges, the ratings into the
blocks of the grid. Blocks on a diagonal share neither users nor items: threads work on them at once without seeing each
other, and the result is the one of a single thread, bit by bit. The rows that a block needs fit in a processor's cache.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .vectors import REORDER

#: Float32 numbers in the vector register that rows are padded to, and bytes of a cache line.
_LANES, _LINE = 8, 64
#: A block has at least so many ratings on average, a range of users or items at least so many rows.
_BLOCK_RATINGS, _BLOCK_ROWS = 2048, 16
#: Most ranges: threads beyond find no block.
_MOST_BLOCKS = 64
#: The automatic step size starts as the best of 2^k / (1 + size of the ratings), for k from the first down to the last.
_LARGEST_TRIAL, _SMALLEST_TRIAL = 1, -24
#: A trial is so many passes over the ratings of one in so many users.
_TRIAL_PASSES, _TRIAL_SHARE = 4, 8
#: What multiplies the automatic step size after an epoch in which the loss fell, and one in which it did not.
_FASTER, _SLOWER = 1.05, 0.5
#: Epochs in a row that change the loss little before training ends: the step size is halved between them, so that what
#: a large step cannot improve is not taken for the optimum.
_CALM_EPOCHS = 2
#: An epoch is undone that more than doubles the objective and adds more than rounding, this share of its start, to it.
_ASTRAY, _ROUNDING = 2, 1e-6
#: Epochs in a row that may be undone because the automatic step size is too large.
_MOST_UNDONE = 30


# ------------------------------------------------------------------------------------------------ ratings and factors


class Ratings(NamedTuple):
    """Ratings sorted by block, in random order inside a block.

    Attributes
    ----------
    users, items : int32 row of the user and the item of every rating.
    values : float32.
    ends : where blocks begin and end: block ``(p, q)`` is ``ends[p * blocks + q] : ends[p * blocks + q + 1]``.
    blocks : ranges of users, and of items.
    width : users in a range.
    """

    users: Any
    items: Any
    values: Any
    ends: Any
    blocks: int
    width: int


class Factors(NamedTuple):
    """The model while it is trained.

    Attributes
    ----------
    users, items : float32 rows, ``(L_i, b_i, 1)`` and ``(R_j, 1, c_j)``, and zeros up to whole registers.
    user_penalty, item_penalty : float32 mu for every row.
    rank : length of ``L_i`` and ``R_j``.
    one : 1.0; 0.0 without biases, which then stay 0.
    """

    users: Any
    items: Any
    user_penalty: Any
    item_penalty: Any
    rank: int
    one: Any

    def copy(self, users: int | None = None) -> Factors:
        """The same numbers in memory of their own, of the first so many users."""
        return self._replace(users=_copied(self.users[:users]), items=_copied(self.items))

    def sound(self) -> bool:
        """Whether all numbers are finite."""
        return bool(np.isfinite(self.users).all() and np.isfinite(self.items).all())


def arrange(users: Any, items: Any, values: Any, shape: tuple[int, int], random: np.random.Generator) -> Ratings:
    """Sort ratings into blocks, in an order that depends on the ratings and ``random`` alone, not on how they came.

    Parameters
    ----------
    users, items : int32 row of the user and the item of every rating.
    values : the ratings.
    shape : numbers of users and of items.
    random : source of the order inside a block.
    """
    count = len(values)
    order = _stable_order(items, np.arange(count), shape[1])
    order = _stable_order(users, order, shape[0])
    users, items, values = users[order], items[order], values[order]
    _sort_repeated(users, items, values)
    blocks = blocks_for(count, *shape)
    width, height = _range_width(shape[0], blocks), _range_width(shape[1], blocks)
    block = (users // width * blocks + items // height).astype(np.int32)
    order = _stable_order(block, random.permutation(count), blocks * blocks)
    ends = np.concatenate([[0], np.cumsum(np.bincount(block, minlength=blocks * blocks))])
    return Ratings(users[order], items[order], values[order], ends, blocks, width)


def blocks_for(ratings: int, users: int, items: int) -> int:
    """Into how many ranges users and items are cut: a power of two that does not depend on the number of threads."""
    most = min((ratings / _BLOCK_RATINGS) ** 0.5, users / _BLOCK_ROWS, items / _BLOCK_ROWS, _MOST_BLOCKS)
    return 1 << max(0, int(np.log2(max(most, 1))))


def _range_width(rows: int, blocks: int) -> int:
    """Rows in a range; an even number, as two rows of eight numbers fill a cache line, which no two threads share."""
    return 2 * -(-rows // (2 * blocks))


@njit(nogil=True, cache=True)
def _stable_order(keys: Any, order: Any, buckets: int) -> Any:
    """A counting sort: ``order`` by ``keys[order]``, which are below ``buckets``."""
    places = np.zeros(buckets + 1, np.int64)
    for key in keys:
        places[key + 1] += 1
    places = np.cumsum(places)
    result = np.empty_like(order)
    for row in order:
        result[places[keys[row]]] = row
        places[keys[row]] += 1
    return result


@njit(nogil=True, cache=True)
def _sort_repeated(users: Any, items: Any, values: Any) -> None:
    """Sort the ratings that one user gave to one item, which stand together, by their values."""
    start = 0
    for stop in range(1, len(values) + 1):
        if stop == len(values) or users[stop] != users[start] or items[stop] != items[start]:
            if stop - start > 1:
                values[start:stop].sort()
            start = stop


def start_rows(count: int, rank: int, scale: float, ones_at: int, random: np.random.Generator) -> Any:
    """Rows to start from: normal factors of standard deviation ``scale``, no bias; ones at ``ones_at``, if not 0."""
    rows = _aligned(count, -(-(rank + 2) // _LANES) * _LANES)
    rows[:, :rank] = scale * random.standard_normal((count, rank), np.float32)
    if ones_at:
        rows[:, ones_at] = 1
    return rows


def _aligned(count: int, width: int) -> Any:
    """Zeros that begin with a cache line."""
    spare = np.zeros(count * width + _LINE // 4, np.float32)
    first = -spare.ctypes.data % _LINE // 4
    return spare[first : first + count * width].reshape(count, width)


def _copied(rows: Any) -> Any:
    copy = _aligned(*rows.shape)
    copy[:] = rows
    return copy


# ---------------------------------------------------------------------------------------------------------- the steps


@njit(nogil=True, cache=True, fastmath=set(REORDER))
def descend(ratings: Any, factors: Any, start: int, stop: int, step: float) -> float:
    """The gradient steps of a range of ratings; gives the sum of the squared errors, each taken before its step."""
    users, items = factors.users, factors.items
    step, width, rank, total = np.float32(step), users.shape[1], factors.rank, 0.0
    for at in range(start, stop):
        user, item = ratings.users[at], ratings.items[at]
        left, right = users[user], items[item]
        error = -ratings.values[at]
        for index in range(width):
            error += left[index] * right[index]
        total += np.float64(error) * np.float64(error)
        slope = step * error
        keep_left = np.float32(1) - step * factors.user_penalty[user]
        keep_right = np.float32(1) - step * factors.item_penalty[item]
        for index in range(width):
            old_left, old_right = left[index], right[index]
            left[index] = keep_left * old_left - slope * old_right
            right[index] = keep_right * old_right - slope * old_left
        left[rank + 1] = right[rank] = factors.one
    return total


@njit(nogil=True, cache=True)
def sweep(ratings: Any, factors: Any, step: float, losses: Any, diagonal: int, workers: int, worker: int) -> None:
    """One worker's share of the blocks on a diagonal; the squared errors of a block go to its place in ``losses``."""
    for row in range(worker, ratings.blocks, workers):
        block = row * ratings.blocks + (row + diagonal) % ratings.blocks
        losses[block] = descend(ratings, factors, ratings.ends[block], ratings.ends[block + 1], step)


# ----------------------------------------------------------------------------------------------------------- training


class Course(NamedTuple):
    """How training went.

    Attributes
    ----------
    losses : mean squared error of every epoch, each rating's taken before the step on it.
    rmse : root mean square error at the end.
    converged : whether the tolerance was reached.
    step : size of the last epoch's steps.
    """

    losses: list[float]
    rmse: float
    converged: bool
    step: float


def train(
    ratings: Ratings,
    factors: Factors,
    step_size: float | None,
    decay: float,
    epochs: int,
    tolerance: float,
    threads: int,
    random: np.random.Generator,
) -> Course:
    """Descend until the loss settles, from a given step size that decays, or (None) an automatic one.

    The automatic one is the bold driver of Gemulla and others, section 4: it grows while the loss falls and is halved
    where it does not; an epoch that went far astray is undone.

    Raises
    ------
    ValueError
        If training diverges.
    """
    workers = min(threads or os.cpu_count() or 1, ratings.blocks)
    with ThreadPoolExecutor(workers) as pool:
        in_parallel = map if workers == 1 else pool.map

        def epoch(step: float) -> float:
            return _epoch(ratings, factors, random.permutation(ratings.blocks), step, workers, in_parallel)

        weights = _penalty_weights(ratings, factors)
        step = choose_step(ratings, factors) if step_size is None else step_size
        start = previous = epoch(0.0) + _penalty(factors, weights)
        used, calm, undone = step, 0, 0
        losses: list[float] = []
        while len(losses) < epochs and calm < _CALM_EPOCHS:
            before, used = factors.copy() if step_size is None else None, step
            loss = epoch(step)
            objective = loss + _penalty(factors, weights)
            sound = math.isfinite(objective) and factors.sound()
            if before is not None and not (sound and objective <= _ASTRAY * previous + _ROUNDING * start):
                if undone == _MOST_UNDONE:
                    raise ValueError("training diverged with any step; expected a smaller l2, init_scale or ratings")
                factors.users[:], factors.items[:] = before.users, before.items
                step, undone = step * _SLOWER, undone + 1
                previous = epoch(0.0) + _penalty(factors, weights)  # the last epoch may have left more than it saw
                continue
            if not sound:
                raise ValueError(f"training diverged with step_size {step:g}; try {step / 8:g} or 'auto'")
            losses.append(loss)
            undone = 0
            if len(losses) > 1:
                calm = calm + 1 if abs(previous - objective) <= tolerance * previous else 0
            if step_size is not None:
                step *= decay
            elif len(losses) > 1:
                step *= _FASTER if previous - objective > tolerance * previous else _SLOWER
            previous = objective
        return Course(losses, math.sqrt(epoch(0.0)), calm == _CALM_EPOCHS, used)


def _penalty_weights(ratings: Ratings, factors: Factors) -> tuple[Any, Any]:
    """What the square of every row counts in the mean objective: a row is penalised in the step on each rating."""
    count = len(ratings.values)
    user_degrees = np.bincount(ratings.users, minlength=len(factors.users))
    item_degrees = np.bincount(ratings.items, minlength=len(factors.items))
    return factors.user_penalty * user_degrees / count, factors.item_penalty * item_degrees / count


def _penalty(factors: Factors, weights: tuple[Any, Any]) -> float:
    """The penalty's part of the mean objective; the ones in rows are not penalised."""
    total = 0.0
    for rows, weight in zip((factors.users, factors.items), weights, strict=True):
        total += float(weight @ (np.einsum("ij,ij->i", rows, rows) - factors.one))
    return total


def _epoch(
    ratings: Ratings, factors: Factors, diagonals: Any, step: float, workers: int, in_parallel: Callable[..., Any]
) -> float:
    """A pass over all ratings, one diagonal of blocks after the other; gives the mean squared error."""
    losses = np.empty(ratings.blocks**2)
    for diagonal in diagonals:
        share = functools.partial(sweep, ratings, factors, step, losses, diagonal, workers)
        list(in_parallel(share, range(workers)))  # waits for the workers
    return float(losses.sum() / len(ratings.values))


def choose_step(ratings: Ratings, factors: Factors) -> float:
    """The largest power of two, over the size of the ratings, after which the next smaller one does worse.

    What counts is the loss in each of a few passes over the ratings of some users, before each step, and after them.
    """
    ranges = max(1, ratings.blocks // _TRIAL_SHARE)
    stop = ratings.ends[ranges * ratings.blocks]
    unit = 1 / (1 + float(np.sqrt(np.mean(np.square(ratings.values, dtype=np.float64)))))
    best, chosen = math.inf, unit * 2.0**_SMALLEST_TRIAL
    for exponent in range(_LARGEST_TRIAL, _SMALLEST_TRIAL - 1, -1):
        step, tried = unit * 2.0**exponent, factors.copy(ranges * ratings.width)
        passes = [descend(ratings, tried, 0, stop, size) for size in [step] * _TRIAL_PASSES + [0.0]]
        loss = sum(passes) if tried.sound() else math.inf
        if math.isfinite(best) and not loss < best:
            break
        if loss < best:
            best, chosen = loss, step
    return chosen

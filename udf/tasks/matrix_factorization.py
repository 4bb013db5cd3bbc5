"""Low-rank matrix factorisation of ratings: the model, and training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ironlake.udf.engine import relation
from ironlake.udf.engine.sqltypes import FLOAT, INTEGER

from .matrix_factorization_kernels import Factors, arrange, start_rows, train

if TYPE_CHECKING:
    import pyarrow as pa

_FLOAT_MAX = float(np.finfo(np.float32).max)
#: Numbers that a LIST can hold.
_LONGEST = 2**31 - 1


class MatrixFactorization(NamedTuple):
    """A trained factorisation as a SQL STRUCT; ``unnest(users)`` and ``unnest(user_factors)`` side by side make rows.

    Attributes
    ----------
    task : ``matrix_factorization``.
    users, items : the keys as text, in the order of their bytes, which is that of ``ORDER BY``.
    user_factors, item_factors : ``rank`` numbers for every key.
    user_bias, item_bias : one number for every key; empty without biases.
    mean : of the ratings.
    rank : length of a row of factors.
    rmse : root mean square error of the ratings under the final model.
    n : ratings seen.
    epochs : passes over them.
    converged : whether the tolerance was reached.
    stop_reason : ``tolerance`` or ``epochs``.
    loss_history : mean squared error of every epoch, each rating's taken before the step on it.
    step_size : of the last epoch.
    """

    task: str
    users: list[str]
    items: list[str]
    user_factors: list[list[FLOAT]]
    item_factors: list[list[FLOAT]]
    user_bias: list[FLOAT]
    item_bias: list[FLOAT]
    mean: float
    rank: INTEGER
    rmse: float
    n: int
    epochs: INTEGER
    converged: bool
    stop_reason: str
    loss_history: list[float]
    step_size: float


@relation
def matrix_factorization_fit(
    user: int | str,
    item: int | str,
    rating: float,
    *,
    rank: int = 20,
    l2: float = 0.02,
    biases: bool = True,
    regularization: Literal["global", "weighted"] = "global",
    step_size: float | Literal["auto"] = "auto",
    decay: float = 0.9,
    epochs: int = 20,
    tolerance: float = 1e-3,
    init_scale: float = 0.1,
    seed: int = 0,
    on_null: Literal["error", "skip"] = "error",
    threads: int = 0,
) -> MatrixFactorization | None:
    """Find factors of users and items whose products are the ratings, by stochastic gradient descent.

    Minimised is the sum over the ratings of ``e^2 + mu (|L_i|^2 + |R_j|^2 + b_i^2 + c_j^2)`` with the error ``e`` of
    the prediction ``m + b_i + c_j + L_i . R_j``, or ``L_i . R_j`` without biases. The step on a rating is ``step_size``
    times half the gradient: ``L_i -= a (e R_j + mu L_i)``, and so on.

    Parameters
    ----------
    user, item : keys, whole numbers or text.
    rating : a number; several ratings of an item by a user all count. Training starts from factors that suit numbers of
        a size near 1, as stars are: divide large ones.
    rank : numbers in a row of factors.
    l2 : the weight ``mu`` of the penalty.
    biases : whether the mean and a bias of every user and item belong to the model.
    regularization : ``'global'``: ``mu`` counts for every rating, so that rows with many ratings are held down by each
        of them; ``'weighted'``: ``mu`` is divided by the number of ratings of the row, and every row counts once.
    step_size : of the first epoch; ``'auto'`` tries powers of two on an eighth of the users, then grows the step by 5 %
        after an epoch in which the objective fell by more than the tolerance, and halves it after any other.
    decay : multiplies a given step size after every epoch; the automatic one is not decayed.
    epochs : most passes over the ratings.
    tolerance : training ends when two epochs in a row change the objective by at most this share of it.
    init_scale : standard deviation of the factors at the start.
    seed : of the factors at the start and the order of the ratings.
    on_null : whether a row with a NULL is an error or left out.
    threads : to train with; 0 for one per core. The result does not depend on it.

    Returns
    -------
    STRUCT
        The model: ``users`` and ``items`` (their keys as text), ``user_factors``, ``item_factors``, ``user_bias``,
        ``item_bias``, ``mean``, ``rank``, ``rmse`` and the course of the training. The same rows in another order give
        the same model. No rows give NULL.

    Raises
    ------
    InvalidInputException
        If a rating is NaN or infinite, a row has a NULL, an option is out of range, or training diverges.

    References
    ----------
    Feng, Kumar, Recht, Re: Towards a Unified Architecture for in-RDBMS Analytics, SIGMOD 2012, section 3.
    Gemulla, Nijkamp, Haas, Sismanis: Large-Scale Matrix Factorization with Distributed Stochastic Gradient Descent,
    KDD 2011: the blocks that threads work on, and the bold driver.

    Examples
    --------
    SELECT matrix_factorization_fit(i % 20, i % 7, 3 + sin(i % 20) * cos(i % 7), {'rank': 2}) AS model
    FROM range(100) t(i);
    """
    _check_options(rank, l2, step_size, decay, epochs, tolerance, init_scale, seed, threads)
    user, item, values = _kept(user, item, rating, on_null)
    if len(values) == 0:
        return None
    users, user_codes = _encoded(user)
    items, item_codes = _encoded(item)
    random = np.random.default_rng(seed)
    user_rows = random.permutation(len(users)).astype(np.int32)
    item_rows = random.permutation(len(items)).astype(np.int32)
    shape = len(users), len(items)
    ratings = arrange(user_rows[user_codes], item_rows[item_codes], values, shape, random)
    mean = float(ratings.values.mean())
    ratings = ratings._replace(values=(ratings.values - (mean if biases else 0)).astype(np.float32))
    factors = Factors(
        start_rows(shape[0], rank, init_scale, rank + 1 if biases else 0, random),
        start_rows(shape[1], rank, init_scale, rank if biases else 0, random),
        _penalty(l2, ratings.users, shape[0], regularization),
        _penalty(l2, ratings.items, shape[1], regularization),
        rank,
        np.float32(biases),
    )
    start = None if isinstance(step_size, str) else float(step_size)
    course = train(ratings, factors, start, decay, epochs, tolerance, threads, random)
    left, right = factors.users[user_rows], factors.items[item_rows]
    return MatrixFactorization(
        task="matrix_factorization",
        users=_list(users),
        items=_list(items),
        user_factors=_list(_rows(left[:, :rank])),
        item_factors=_list(_rows(right[:, :rank])),
        user_bias=left[:, rank] if biases else [],
        item_bias=right[:, rank + 1] if biases else [],
        mean=mean,
        rank=rank,
        rmse=course.rmse,
        n=len(values),
        epochs=len(course.losses),
        converged=course.converged,
        stop_reason="tolerance" if course.converged else "epochs",
        loss_history=course.losses,
        step_size=course.step,
    )


def _check_options(
    rank: int,
    l2: float,
    step_size: float | str,
    decay: float,
    epochs: int,
    tolerance: float,
    init_scale: float,
    seed: int,
    threads: int,
) -> None:
    if not 1 <= rank <= 4096:
        raise ValueError(f"option rank must be between 1 and 4096, got {rank}")
    if not 0 <= l2 < math.inf:
        raise ValueError(f"option l2 must be at least 0 and finite, got {l2}")
    if not isinstance(step_size, str) and not 0 < step_size < math.inf:
        raise ValueError(f"option step_size must be above 0 and finite, or 'auto'; got {step_size}")
    if not 0 < decay <= 1:
        raise ValueError(f"option decay must be above 0 and at most 1, got {decay}")
    if epochs < 1:
        raise ValueError(f"option epochs must be at least 1, got {epochs}")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"option tolerance must be at least 0 and finite, got {tolerance}")
    if not 0 < init_scale < math.inf:
        raise ValueError(f"option init_scale must be above 0 and finite, got {init_scale}")
    if seed < 0:
        raise ValueError(f"option seed must be at least 0, got {seed}")
    if threads < 0:
        raise ValueError(f"option threads must be at least 0, got {threads}")


def _kept(user: pa.Array, item: pa.Array, rating: pa.Array, on_null: str) -> tuple[pa.Array, pa.Array, Any]:
    """The rows without NULLs, the ratings as a NumPy array."""
    import pyarrow as pa

    if user.null_count or item.null_count or rating.null_count:
        if on_null == "error":
            name = "user" if user.null_count else "item" if item.null_count else "rating"
            raise ValueError(f"argument {name} is NULL in a row; filter such rows, or pass {{'on_null': 'skip'}}")
        rows = pa.table([user, item, rating], ["user", "item", "rating"]).drop_null().combine_chunks()
        user, item, rating = (column.combine_chunks() for column in rows.columns)
    values = rating.to_numpy()
    wrong = ~(np.abs(values) <= _FLOAT_MAX)
    if wrong.any():
        raise ValueError(f"argument rating has the value {values[wrong][0]}; expected finite numbers of FLOAT's range")
    return user, item, values


def _encoded(keys: pa.Array) -> tuple[pa.Array, Any]:
    """The distinct keys as sorted text, and the place among them of every row's key."""
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = keys.dictionary_encode()
    texts = encoded.dictionary.cast(pa.string())
    order = pc.sort_indices(texts)
    places = np.empty(len(order), np.int32)
    places[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    return texts.take(order), places[encoded.indices.to_numpy()]


def _penalty(l2: float, rows: Any, count: int, regularization: str) -> Any:
    """The weight ``mu`` of every row in the step on one rating."""
    weight = l2 / np.bincount(rows, minlength=count) if regularization == "weighted" else np.full(count, l2)
    return weight.astype(np.float32)


def _rows(factors: Any) -> pa.Array:
    """A matrix as an Arrow array of its rows."""
    import pyarrow as pa

    count, rank = factors.shape
    if count * rank > _LONGEST:
        raise ValueError(f"option rank is {rank}, too large for a list of {count} rows of factors")
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * rank), pa.array(factors.ravel()))


def _list(values: pa.Array) -> Any:
    """An Arrow array as one LIST, for Python objects would take longer than an epoch."""
    import pyarrow as pa

    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)[0]

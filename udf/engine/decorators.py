"""The public decorators: what they are given becomes a SQL function and is replaced by its Python face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import aggregates, extension, relations, scalars, tables
from .declaration import Declaration
from .faces import face


def _decorator(declare: Callable[..., Declaration], documentation: str) -> Callable[..., Any]:
    def decorator(body: Any = None, /, *, others: Sequence[Declaration] = (), **settings: Any) -> Any:
        def apply(body: Any) -> Callable[..., Any]:
            declaration = declare(body, **settings)
            for other in others:
                declaration.add(other)
            function = face(declaration)
            extension.add(declaration, function)
            return function

        return apply if body is None else apply(body)

    decorator.__doc__ = documentation
    decorator.__wrapped__ = declare  # type: ignore[attr-defined]
    return decorator


aggregate: Callable[..., Any] = _decorator(
    aggregates.declare,
    """Declare an aggregate function: a class with typed state and update, merge and finish methods.

    The annotated attributes are the state of a group (numbers start at 0, ``list[float]`` is a growable array).
    ``update(self, x: float)`` takes in a row, ``merge(self, other)`` the state of another thread, and
    ``finish(self) -> float`` gives the result without changing the state. An ``init(self, k: int = 10)`` takes the
    options, a constant STRUCT after the column arguments: ``f(x, {'k': 3})``. Numba compiles the class when a query
    first uses it. See `ironlake.udf.engine.aggregates.declare` for the settings, and for making what ``others`` takes:
    declarations for other argument types.

    Examples
    --------
    >>> @aggregate
    ... class total:
    ...     value: float
    ...     def update(self, x: float): self.value += x
    ...     def merge(self, other): self.value += other.value
    ...     def finish(self) -> float: return self.value
    """,
)
scalar: Callable[..., Any] = _decorator(
    scalars.declare,
    """Declare a scalar function: compiled row by row, or Python over NumPy or Arrow columns.

    See `ironlake.udf.engine.scalars.declare` for the settings.

    Examples
    --------
    >>> @scalar
    ... def relu(x: float) -> float:
    ...     return max(x, 0.0)
    """,
)
relation: Callable[..., Any] = _decorator(
    relations.declare,
    """Declare a relation function: all rows of a group as Arrow columns into plain Python, one value out.

    See `ironlake.udf.engine.relations.declare` for the settings.

    Examples
    --------
    >>> @relation
    ... def slope(x: float, y: float) -> float:
    ...     return float(np.polyfit(x.to_numpy(), y.to_numpy(), 1)[0])
    """,
)
table: Callable[..., Any] = _decorator(
    tables.declare,
    """Declare a table function: constants in, a table or a stream of record batches out.

    See `ironlake.udf.engine.tables.declare` for the settings.

    Examples
    --------
    >>> @table
    ... def squares(n: int = 3) -> "TABLE":
    ...     return pa.table({"i": range(n), "square": [i * i for i in range(n)]})
    """,
)

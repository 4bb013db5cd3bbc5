"""``ironlake.spark.functions``: every declared function as a function of columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.sql import Column
from pyspark.sql.udf import UserDefinedFunction

from ironlake.udf.engine import declarations
from ironlake.udf.engine.declaration import Declaration, closest

from . import aggregates, scalars, tables
from .binding import bind


class Functions:
    """All declared functions, as attributes.

    ``functions.logistic_fit("label", "features", epochs=5)`` is a column, made as `ironlake.logistic_fit` is called:
    arguments are columns, names of columns (texts), or other values, which are then the same for all rows; options are
    keywords. ``functions.train(query)`` of a table function is a DataFrame.
    """

    def __getattr__(self, name: str) -> Any:
        for declaration in declarations.values():
            if declaration.kind == "scalar" and name.startswith(declaration.name):
                for known, type_ in scalars.results(declaration):
                    if known == name:
                        return _function(declaration, scalars.called(declaration, type_))
            elif declaration.name == name:
                return (
                    tables.called(declaration)
                    if declaration.kind == "table"
                    else _function(declaration, aggregates.called(declaration))
                )
        raise AttributeError(f"ironlake.spark.functions has no function {name!r}{closest(name, declarations)}")

    def __dir__(self) -> list[str]:
        return sorted(declarations)


functions = Functions()


def _function(declaration: Declaration, make: Callable[[list[str]], UserDefinedFunction]) -> Any:
    def function(*arguments: Any, **named: Any) -> Column:
        known, columns = bind(declaration, arguments, named)
        return make(known)(*columns)

    function.__name__ = function.__qualname__ = declaration.name
    function.__doc__ = f"{declaration.signature}\n\n{declaration.documentation.text}"
    return function

"""How the arguments of a call in Python become columns and SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F  # noqa: N812 - as everyone calls it

from ironlake.udf.engine.declaration import Declaration

from . import worker


def bind(declaration: Declaration, arguments: Sequence[Any], named: dict[str, Any]) -> tuple[list[str], list[Column]]:
    """The arguments of a call as SQL of the workers' database, and the columns that stand in it as a0, a1 and so on.

    Raises
    ------
    TypeError
        An argument is unknown, missing, one too many, or an option is a column.
    """
    if len(arguments) > len(declaration.parameters):
        raise TypeError(
            f"{declaration.name} takes {len(declaration.parameters)} column arguments, got {len(arguments)}; options "
            "are keywords"
        )
    columns: list[Column] = []

    def term(value: Any) -> str:
        if not isinstance(value, Column | str):
            return worker.literal(value)
        columns.append(F.col(value) if isinstance(value, str) else value)
        return worker.column_names(len(columns))[-1]

    options = {option.name for option in declaration.options}
    for name, value in named.items():
        if name in options and isinstance(value, Column):
            raise TypeError(f"{declaration.name}: option {name!r} must be a value, got a column")
    by_position = [term(value) for value in arguments]
    by_name = {name: term(value) for name, value in named.items() if name not in options}
    given = {name: worker.literal(value) for name, value in named.items() if name in options}
    required = [parameter for parameter in declaration.parameters if parameter.required]
    for parameter in required[len(by_position) :]:
        if parameter.name not in by_name:
            raise TypeError(f"{declaration.name}: argument {parameter.name!r} is missing")
    return worker.terms(declaration, by_position, by_name, given), columns

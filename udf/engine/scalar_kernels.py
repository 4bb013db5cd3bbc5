"""The compiled callback of a row-wise scalar function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from numba import njit

from .declaration import Declaration
from .memory import chunk_size, guarded
from .readers import reader, row_reader
from .sqltypes import SqlType
from .writers import writer


def kernel(declaration: Declaration, arguments: tuple[SqlType, ...]) -> tuple[Callable[..., None], str]:
    """The callback as a Python function for Numba, with its signature."""
    settings = declaration.settings
    names = [parameter.name for parameter in declaration.parameters]
    readers = [reader(type_, f"argument {name}") for type_, name in zip(arguments, names, strict=False)]
    open_columns, has_null, read_row = row_reader(readers, nulls=settings["nulls"])
    body = njit(declaration.body, **declaration.jit_flags)
    open_result, write = writer(cast(SqlType, declaration.result))
    skip_nulls = not settings["nulls"]

    @njit
    def scalar_chunk(chunk: int, result: int) -> None:
        columns, place = open_columns(chunk), open_result(result)
        for row in range(chunk_size(chunk)):
            if skip_nulls and has_null(columns, row):
                write(place, row, None)
            else:
                write(place, row, body(*read_row(columns, row)))

    def scalar_callback(address: Any, info: Any, chunk: Any, result: Any) -> None:
        guarded(scalar_chunk, (chunk, result), address, info)

    return scalar_callback, "void(int64, int64, int64, int64)"

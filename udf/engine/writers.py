"""How compiled code writes results into DuckDB vectors: for each SQL type a *writer*, composed as types are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.core import errors
from numba.extending import overload

from . import memory
from .memory import (
    STORAGE,
    address_of,
    copy_bytes,
    list_child,
    list_reserve,
    list_set_size,
    list_size,
    load,
    store,
    struct_child,
    text_address,
    unwrap,
    vector_data,
    vector_ensure_validity,
    vector_validity,
)
from .sqltypes import SqlType
from .strings import encode, write_array, write_bytes


class Writer(NamedTuple):
    """Compiled functions that write one SQL type: ``open(vector)`` a batch, ``write(place, row, value)`` a row."""

    open: Callable[..., Any]
    write: Callable[..., Any]


@functools.cache
def writer(type_: SqlType) -> Writer:
    """Compiled functions that write a SQL type; a ``None`` becomes NULL."""
    open_, write = _value_writer(type_)
    set_null = _null_writer(type_)

    def write_value(place: Any, row: int, value: Any) -> None:
        raise TypeError("for compiled code")

    @overload(write_value, strict=False)
    def _write_value(place: Any, row: Any, value: Any) -> Any:
        if isinstance(value, types.NoneType):
            return lambda place, row, value: set_null(place[0], row)
        if isinstance(value, types.Optional):

            def write_optional(place: Any, row: int, value: Any) -> None:
                if value is None:
                    set_null(place[0], row)
                else:
                    write(place, row, unwrap(value))

            return write_optional
        if not _fits(value, type_):
            raise errors.TypingError(f"the result is declared {type_}, the code gives {_in_words(value)}")
        return lambda place, row, value: write(place, row, value)

    return Writer(open_, njit(lambda place, row, value: write_value(place, row, value), inline="always"))


def _fits(value: types.Type, type_: SqlType) -> bool:
    """Whether values of a Numba type can be written as a SQL type; what nested types hold is checked one by one."""
    if type_.name == "VARCHAR":
        return isinstance(value, types.UnicodeType | types.StringLiteral)
    if type_.name == "BLOB":
        return isinstance(value, types.Array | types.Bytes | types.ByteArray | types.List)
    if type_.name in ("LIST", "ARRAY"):
        return not isinstance(value, types.Number | types.Boolean | types.UnicodeType | types.StringLiteral)
    if type_.name == "STRUCT":
        return isinstance(value, types.BaseTuple) and len(value) == len(type_.fields)
    if type_.name in ("FLOAT", "DOUBLE", "BOOLEAN"):
        return isinstance(value, types.Integer | types.Float | types.Boolean)
    return isinstance(value, types.Integer | types.Boolean)


def _in_words(value: types.Type) -> str:
    if isinstance(value, types.BaseTuple):
        return f"{len(value)} values"
    if isinstance(value, types.Literal):
        return repr(value.literal_value)
    return "text" if isinstance(value, types.UnicodeType) else str(value)


@njit
def mark_null(vector: int, row: int) -> None:
    """Clear a row's bit in a vector's validity mask."""
    vector_ensure_validity(vector)
    word = vector_validity(vector) + ((row >> 6) << 3)
    store(word, load(word, np.uint64) & ~(np.uint64(1) << np.uint64(row & 63)), np.uint64)


def _null_writer(type_: SqlType) -> Any:
    """Mark a row as NULL, in a STRUCT with all its fields."""
    if type_.name == "STRUCT":
        scope: dict[str, Any] = {"struct_child": struct_child, "mark_null": mark_null}
        for index, (_, child) in enumerate(type_.fields):
            scope[f"null{index}"] = _null_writer(child)
        body = "".join(f"    null{i}(struct_child(vector, {i}), row)\n" for i in range(len(type_.fields)))
        exec(f"def set_null(vector, row):\n    mark_null(vector, row)\n{body}", scope)
        return njit(scope["set_null"])
    return _mark_null_list if type_.name == "LIST" else mark_null


@njit
def _mark_null_list(vector: int, row: int) -> None:
    mark_null(vector, row)
    store(vector_data(vector) + row * 16, 0, np.int64)
    store(vector_data(vector) + row * 16 + 8, 0, np.int64)


@njit
def _open_result(vector: int) -> tuple[int, int]:
    return vector, vector_data(vector)


@njit
def _open_nested(vector: int) -> tuple[int, int]:
    return vector, 0


def _value_writer(type_: SqlType) -> Writer:
    if type_.name in STORAGE:
        return _flat_writer(type_)
    if type_.name in ("HUGEINT", "UHUGEINT"):
        signed = type_.name == "HUGEINT"

        @njit
        def write_huge(place: Any, row: int, value: int) -> None:
            if value < 0 and not signed:
                raise OverflowError("the result", value, "does not fit into UHUGEINT")
            store(place[1] + row * 16, np.int64(value), np.int64)
            store(place[1] + row * 16 + 8, np.int64(-1) if value < 0 else np.int64(0), np.int64)

        return Writer(_open_result, write_huge)
    if type_.name == "VARCHAR":

        @njit
        def write_text(place: Any, row: int, value: str) -> None:
            if value._is_ascii:
                write_bytes(place[0], place[1], row, text_address(value), len(value))
            else:
                write_array(place[0], place[1], row, encode(value))

        return Writer(_open_result, write_text)
    if type_.name == "BLOB":

        @njit
        def write_blob(place: Any, row: int, value: np.ndarray) -> None:
            raw = np.empty(len(value), np.uint8)
            for index in range(len(value)):
                raw[index] = value[index]
            write_array(place[0], place[1], row, raw)

        return Writer(_open_result, write_blob)
    if type_.name in ("LIST", "ARRAY"):
        return _sequence_writer(type_)
    if type_.name == "STRUCT":
        return _struct_writer(type_)
    raise TypeError(f"compiled functions cannot return {type_}")


def _flat_writer(type_: SqlType) -> Writer:
    storage = STORAGE[type_.name]
    size = np.dtype(storage).itemsize
    if type_.name == "BOOLEAN":

        @njit(inline="always")
        def write_truth(place: Any, row: int, value: Any) -> None:
            store(place[1] + row, np.uint8(value != 0), np.uint8)

        return Writer(_open_result, write_truth)
    if np.dtype(storage).kind == "f":

        @njit(inline="always")
        def write(place: Any, row: int, value: Any) -> None:
            store(place[1] + row * size, storage(value), storage)

        return Writer(_open_result, write)
    name = type_.name

    @njit
    def write_checked(place: Any, row: int, value: Any) -> None:
        if storage(value) != value:
            raise OverflowError("the result", value, "does not fit into", name)
        store(place[1] + row * size, storage(value), storage)

    return Writer(_open_result, write_checked)


def _sequence_writer(type_: SqlType) -> Writer:
    element = type_.element
    open_element, write_element = writer(element)
    storage = STORAGE.get(element.name)
    size = np.dtype(storage).itemsize if storage else 0

    def fill(child: int, start: int, values: Any) -> None:
        raise TypeError("for compiled code")

    @overload(fill, strict=False)
    def _fill(child: Any, start: Any, values: Any) -> Any:
        same = isinstance(values, types.Array) and values.layout == "C" and str(values.dtype) == np.dtype(storage).name
        if storage and same:
            return lambda child, start, values: copy_bytes(
                vector_data(child) + start * size, address_of(values), len(values) * size
            )

        def fill_one_by_one(child: int, start: int, values: Any) -> None:
            place = open_element(child)
            for index in range(len(values)):
                write_element(place, start + index, values[index])

        return fill_one_by_one

    if type_.name == "LIST":

        @njit
        def write_list(place: Any, row: int, values: Any) -> None:
            vector, entries = place
            start, length = list_size(vector), len(values)
            list_reserve(vector, start + length)
            list_set_size(vector, start + length)
            fill(list_child(vector), start, values)
            store(entries + row * 16, start, np.int64)
            store(entries + row * 16 + 8, np.int64(length), np.int64)

        return Writer(_open_result, write_list)
    width = type_.size

    @njit
    def write_array(place: Any, row: int, values: Any) -> None:
        if len(values) != width:
            raise ValueError("the result has", len(values), "elements, the declared array has", width)
        fill(memory.array_child(place[0]), row * width, values)

    return Writer(_open_nested, write_array)


def _struct_writer(type_: SqlType) -> Writer:
    scope: dict[str, Any] = {"struct_child": struct_child}
    for index, (_, child) in enumerate(type_.fields):
        scope[f"open{index}"], scope[f"write{index}"] = writer(child)
    count = range(len(type_.fields))
    opened = "".join(f"open{i}(struct_child(vector, {i})), " for i in count)
    lines = "".join(f"    write{i}(place[1][{i}], row, value[{i}])\n" for i in count)
    exec(f"def open_(vector):\n    return vector, ({opened})\ndef write(place, row, value):\n{lines}", scope)
    return Writer(njit(scope["open_"]), njit(scope["write"]))

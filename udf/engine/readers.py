"""How compiled code reads rows of DuckDB vectors.

Each SQL type has a *reader*, a pair of compiled functions: ``open(vector)`` gathers the addresses of a vector once per
chunk, ``read(column, row)`` makes the value of one row. Nested types combine the readers of their parts. What arrives
in compiled code:

    BOOLEAN bool - integers int64 (UBIGINT uint64; a HUGEINT must fit) - FLOAT, DOUBLE float64 - VARCHAR str -
    BLOB uint8 array - DATE days, TIMESTAMP microseconds since 1970 as int64 - LIST and ARRAY of numbers: a read-only
    NumPy view - other LISTs: a sequence with len and indexing - STRUCT: a named tuple

A NULL inside a value (an element of a list, a field of a struct) is an error that says where.
"""

from __future__ import annotations

import functools
import operator
from collections import namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from . import memory
from .memory import STORAGE, list_child, load, struct_child, vector_data, vector_validity, view
from .sqltypes import SqlType
from .strings import decode, string_bytes


class Reader(NamedTuple):
    """Compiled functions that read one SQL type; of lists of numbers also one that tells a NULL inside."""

    open: Callable[..., Any]
    read: Callable[..., Any]
    hole: Callable[..., bool] | None = None


@njit(inline="always")
def is_null(validity: int, row: int) -> bool:
    """Whether a validity mask (0: everything is valid) marks a row as NULL."""
    return validity != 0 and (load(validity + ((row >> 6) << 3), np.uint64) >> np.uint64(row & 63)) & np.uint64(1) == 0


@njit
def _open_flat(vector: int) -> tuple[int, int]:
    return vector_data(vector), vector_validity(vector)


@njit
def _array_length(vector: int) -> int:
    handle = memory.vector_type(vector)
    length = memory.type_array_size(handle)
    memory.release_type(handle)
    return length


@njit
def _first_null(validity: int, start: int, length: int) -> int:
    for index in range(length):
        if is_null(validity, start + index):
            return index
    return -1


@njit
def _refuse_null(validity: int, start: int, length: int, what: str) -> None:
    if validity != 0:
        at = _first_null(validity, start, length)
        if at >= 0:
            raise ValueError(what, "has a NULL at position", at + 1, "of", length)


def _flat_reader(type_: SqlType) -> Reader:
    storage = STORAGE[type_.name]
    size = np.dtype(storage).itemsize
    if type_.name == "BOOLEAN":
        return Reader(_open_flat, njit(lambda column, row: load(column[0] + row, np.uint8) != 0))
    wide = np.float64 if type_.name in ("FLOAT", "DOUBLE") else np.uint64 if type_.name == "UBIGINT" else np.int64
    return Reader(_open_flat, njit(lambda column, row: wide(load(column[0] + row * size, storage))))


@njit
def _read_hugeint(column: Any, row: int) -> int:
    low, high = load(column[0] + row * 16, np.int64), load(column[0] + row * 16 + 8, np.int64)
    if high != low >> 63:
        raise OverflowError("a HUGEINT value does not fit into 64 bits")
    return low


@njit
def _read_uhugeint(column: Any, row: int) -> int:
    low, high = load(column[0] + row * 16, np.uint64), load(column[0] + row * 16 + 8, np.uint64)
    if high != 0:
        raise OverflowError("a UHUGEINT value does not fit into 64 bits")
    return low


@njit
def list_extent(column: Any, row: int) -> tuple[int, int]:
    """Where the elements of a LIST's row stand in its child: (start, length)."""
    entry = column[0] + row * 16
    return load(entry, np.int64), load(entry + 8, np.int64)


@njit
def array_extent(column: Any, row: int) -> tuple[int, int]:
    """Where the elements of an ARRAY's row stand in its child: (start, length)."""
    return row * column[0], column[0]


def _sequence_reader(type_: SqlType, what: str) -> Reader:
    element = type_.element
    is_list = type_.name == "LIST"
    child_of, extent = (list_child, list_extent) if is_list else (memory.array_child, array_extent)
    child = reader(element, f"an element of {what}")
    open_child = child.open

    @njit
    def open_(vector: int) -> Any:
        child_vector = child_of(vector)
        place = vector_data(vector) if is_list else _array_length(vector)
        return place, vector_validity(vector), open_child(child_vector)

    if element.name in STORAGE and element.name != "BOOLEAN":
        storage = STORAGE[element.name]
        size = np.dtype(storage).itemsize

        @njit(forceinline=True)
        def read_numbers(column: Any, row: int) -> np.ndarray:
            start, length = extent(column, row)
            values, validity = column[2]
            _refuse_null(validity, start, length, what)
            return view(values + start * size, length, storage)

        @njit
        def has_hole(column: Any, row: int) -> bool:
            start, length = extent(column, row)
            return column[2][1] != 0 and _first_null(column[2][1], start, length) >= 0

        return Reader(open_, read_numbers, has_hole)

    @njit
    def read_values(column: Any, row: int) -> Any:
        start, length = extent(column, row)
        return make_sequence(column[2], start, length, child.read)

    return Reader(open_, read_values)


def _struct_reader(type_: SqlType, what: str) -> Reader:
    children = [reader(child, f"{what}.{name}") for name, child in type_.fields]
    record = namedtuple("Record", [name for name, _ in type_.fields], rename=True)  # type: ignore[misc]
    scope: dict[str, Any] = {"record": record, "struct_child": struct_child, "vector_validity": vector_validity}
    scope |= {"vector_data": vector_data, "refuse": _refuse_null_field}
    for index, (child, (name, _)) in enumerate(zip(children, type_.fields, strict=True)):
        scope |= {f"open{index}": child.open, f"read{index}": child.read, f"what{index}": f"{what}.{name}"}
    opened = ", ".join(f"open{i}(struct_child(vector, {i}))" for i in range(len(children)))
    checks = "\n    ".join(f"refuse(column[2][{i}][1], row, what{i})" for i in range(len(children)))
    values = ", ".join(f"read{i}(column[2][{i}], row)" for i in range(len(children)))
    source = (
        f"def open_(vector):\n    return 0, vector_validity(vector), ({opened},)\n"
        f"def read(column, row):\n    {checks}\n    return record({values})\n"
    )
    exec(source, scope)
    return Reader(njit(scope["open_"]), njit(scope["read"]))


@njit
def _refuse_null_field(validity: int, row: int, what: str) -> None:
    if is_null(validity, row):
        raise ValueError(what, "is NULL")


@functools.cache
def reader(type_: SqlType, what: str) -> Reader:
    """Compiled functions that read a SQL type; ``what`` names the value in errors."""
    if type_.name in STORAGE:
        return _flat_reader(type_)
    if type_.name in ("HUGEINT", "UHUGEINT"):
        return Reader(_open_flat, _read_hugeint if type_.name == "HUGEINT" else _read_uhugeint)
    if type_.name == "VARCHAR":
        return Reader(_open_flat, njit(lambda column, row: decode(string_bytes(column[0] + row * 16))))
    if type_.name == "BLOB":
        return Reader(_open_flat, njit(lambda column, row: string_bytes(column[0] + row * 16)))
    if type_.name in ("LIST", "ARRAY"):
        return _sequence_reader(type_, what)
    if type_.name == "STRUCT":
        return _struct_reader(type_, what)
    raise TypeError(f"{what}: compiled functions cannot read {type_}")


def row_reader(readers: list[Reader], nulls: bool, gap: int = -1, holes: bool = False) -> tuple[Any, Any, Any]:
    """Compiled functions over all arguments: open the columns of a chunk, test a row for NULLs, read a row.

    ``gap`` is the position of a column of the chunk that is no argument.
    With ``nulls`` a NULL arrives as ``None``; otherwise the caller skips rows in which ``has_null``: with ``holes``
    those too that have a NULL inside a list of numbers, which else is an error.
    """
    scope: dict[str, Any] = {"chunk_vector": memory.chunk_vector, "is_null": is_null}
    for index, each in enumerate(readers):
        scope[f"open{index}"] = each.open
        scope[f"read{index}"] = _optional(each) if nulls else each.read
    count = range(len(readers))
    places = [index + (0 <= gap <= index) for index in count]
    tests = [f"is_null(columns[{i}][1], row)" for i in count]
    for index, each in enumerate(readers):
        if holes and each.hole is not None:
            scope[f"hole{index}"] = each.hole
            tests.append(f"hole{index}(columns[{index}], row)")
    source = (
        f"def open_(chunk):\n    return ({''.join(f'open{i}(chunk_vector(chunk, {places[i]})), ' for i in count)})\n"
        f"def has_null(columns, row):\n    return {' or '.join(tests)}\n"
        f"def read(columns, row):\n    return ({''.join(f'read{i}(columns[{i}], row), ' for i in count)})\n"
    )
    exec(source, scope)
    return njit(scope["open_"]), njit(scope["has_null"], forceinline=True), njit(scope["read"], forceinline=True)


def _optional(each: Reader) -> Any:
    read = each.read

    @njit
    def value_or_none(column: Any, row: int) -> Any:
        if is_null(column[1], row):
            return None
        return read(column, row)

    return value_or_none


# ---------------------------------------------------------------------------------------------- sequences of values


class SequenceType(types.Type):  # type: ignore[misc]
    """A LIST whose elements are not plain numbers: ``len(values)`` and ``values[i]``, read on demand."""

    def __init__(self, column: Any, read: Any) -> None:
        self.column, self.read = column, read
        super().__init__(name=f"Sequence({column}, {read})")


@register_model(SequenceType)
class _SequenceModel(models.StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, fe_type: SequenceType) -> None:
        members = [("column", fe_type.column), ("start", types.int64), ("length", types.int64)]
        super().__init__(manager, fe_type, members)


@intrinsic
def make_sequence(typingctx: Any, column: Any, start: Any, length: Any, read: Any) -> Any:
    """Gather a child column and an extent into a sequence."""
    sequence = SequenceType(column, read)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = cgutils.create_struct_proxy(sequence)(context, builder)
        made.column, made.start, made.length = args[:3]
        return made._getvalue()

    return sequence(column, types.int64, types.int64, read), codegen


@intrinsic
def _sequence_parts(typingctx: Any, sequence: Any) -> Any:
    parts = types.Tuple((sequence.column, types.int64, types.int64))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = cgutils.create_struct_proxy(sequence)(context, builder, args[0])
        return context.make_tuple(builder, parts, (made.column, made.start, made.length))

    return parts(sequence), codegen


@overload(len, strict=False)
def _sequence_length(sequence: Any) -> Any:
    if isinstance(sequence, SequenceType):
        return lambda sequence: _sequence_parts(sequence)[2]
    return None


@overload(operator.getitem, strict=False)
def _sequence_item(sequence: Any, index: Any) -> Any:
    if not (isinstance(sequence, SequenceType) and isinstance(index, types.Integer)):
        return None
    read = sequence.read.dispatcher

    def item(sequence: Any, index: Any) -> Any:
        column, start, length = _sequence_parts(sequence)
        at = index + length if index < 0 else index
        if at < 0 or at >= length:
            raise IndexError("index", index, "is outside a list of length", length)
        if is_null(column[1], start + at):
            raise ValueError("a list has a NULL at position", at + 1, "of", length)
        return read(column, start + at)

    return item

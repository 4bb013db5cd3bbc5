"""The compiled half of options: the canonical form of a row's value, its hash, and reading a record.

Writing the canonical form depends on no function, so it is compiled once and called by name: `link`.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
from numba import njit, types

from .declaration import Parameter
from .memory import (
    address_of,
    array_child,
    copy_bytes,
    external,
    list_child,
    load,
    release_type,
    store,
    struct_child,
    type_array_size,
    vector_data,
    vector_type,
    vector_validity,
    view,
    writable_view,
)
from .options import CAPACITY, RECORD_SLOT
from .readers import is_null
from .sqltypes import SqlType
from .strings import decode as decode_text
from .strings import string_bytes

_type_id = external("duckdb_get_type_id", types.int32, 1)
_list_type_child = external("duckdb_list_type_child_type", types.int64, 1)
_array_type_child = external("duckdb_array_type_child_type", types.int64, 1)
_map_key = external("duckdb_map_type_key_type", types.int64, 1)
_map_value = external("duckdb_map_type_value_type", types.int64, 1)
_struct_count = external("duckdb_struct_type_child_count", types.int64, 1)
_struct_name = external("duckdb_struct_type_child_name", types.int64, 2)
_struct_type = external("duckdb_struct_type_child_type", types.int64, 2)
_decimal_scale = external("duckdb_decimal_scale", types.uint8, 1)
_decimal_storage = external("duckdb_decimal_internal_type", types.int32, 1)
_free = external("duckdb_free", types.void, 1)
_compare_bytes = external("memcmp", types.int32, 3)
options_record = external("ironlake_options", types.int64, 5)

#: Bytes of a value of each of DuckDB's type ids that has a fixed width.
_WIDTHS = np.zeros(64, np.int64)
for _id, _width in {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 2, 8: 4, 9: 8, 10: 4, 11: 8, 16: 16, 32: 16}.items():
    _WIDTHS[_id] = _width


@njit
def _put(out: np.ndarray, at: int, source: int, count: int) -> int:
    if at < 0 or at + count > len(out):
        return -1
    copy_bytes(address_of(out) + at, source, count)
    return at + count


@njit
def _put_array(out: np.ndarray, at: int, array: np.ndarray) -> int:
    return _put(out, at, address_of(array), array.nbytes)


@njit
def _put_count(out: np.ndarray, at: int, count: int) -> int:
    return _put_array(out, at, np.array([count]))


@njit
def _put_byte(out: np.ndarray, at: int, byte: int) -> int:
    if at < 0 or at >= len(out):
        return -1
    out[at] = byte
    return at + 1


@njit
def _put_name(out: np.ndarray, at: int, handle: int, index: int) -> int:
    name = _struct_name(handle, index)
    length = 0
    while load(name + length, np.uint8) != 0:
        length += 1
    at = _put(out, _put_count(out, at, length), name, length)
    _free(name)
    return at


@njit
def encode(vector, handle, row, out, at):  # type: ignore[no-untyped-def]
    """Append the canonical form of one value; answers the new length, or -1 if it is too long."""
    kind = _type_id(handle)
    if is_null(vector_validity(vector), row) or kind == 36:
        return _put_byte(out, at, 36)
    if kind == 19:
        storage = _decimal_storage(handle)
        width = _WIDTHS[storage]
        at = _put_byte(out, _put_byte(out, _put_byte(out, at, kind), _decimal_scale(handle)), width)
        return _put(out, at, vector_data(vector) + row * width, width)
    if kind == 26:  # a MAP is a list of (key, value)
        at = _put_byte(out, at, 24)
        start, count = (
            load(vector_data(vector) + row * 16, np.int64),
            load(vector_data(vector) + row * 16 + 8, np.int64),
        )
        at = _put_count(out, at, count)
        pairs, key, value = list_child(vector), _map_key(handle), _map_value(handle)
        words = np.array([107, 101, 121, 118, 97, 108, 117, 101], np.uint8)
        for index in range(start, start + count):
            at = _put_count(out, _put_byte(out, at, 25), 2)
            at = _put_array(out, _put_count(out, at, 3), words[:3])
            at = encode(struct_child(pairs, 0), key, index, out, at)
            at = _put_array(out, _put_count(out, at, 5), words[3:])
            at = encode(struct_child(pairs, 1), value, index, out, at)
        release_type(key)
        release_type(value)
        return at
    at = _put_byte(out, at, kind)
    if kind == 25:
        count = _struct_count(handle)
        at = _put_count(out, at, count)
        for index in range(count):
            at = _put_name(out, at, handle, index)
            child = _struct_type(handle, index)
            at = encode(struct_child(vector, index), child, row, out, at)
            release_type(child)
        return at
    if kind == 24 or kind == 33:
        if kind == 24:
            start = load(vector_data(vector) + row * 16, np.int64)
            count = load(vector_data(vector) + row * 16 + 8, np.int64)
            elements, child = list_child(vector), _list_type_child(handle)
        else:
            count = type_array_size(handle)
            start = row * count
            elements, child = array_child(vector), _array_type_child(handle)
        at = _put_count(out, at, count)
        for index in range(start, start + count):
            at = encode(elements, child, index, out, at)
        release_type(child)
        return at
    if kind == 17 or kind == 18:
        raw = string_bytes(vector_data(vector) + row * 16)
        return _put(out, _put_count(out, at, len(raw)), address_of(raw), len(raw))
    width = _WIDTHS[kind]
    if width == 0:
        return _put_count(out, at, 0)  # Python names the type that cannot be an option
    return _put(out, at, vector_data(vector) + row * width, width)


@njit
def _end_to_end(entries: int, count: int) -> bool:
    """Whether lists are as long as each other and stand one behind the other."""
    start, length = load(entries, np.int64), load(entries + 8, np.int64)
    for index in range(1, count):
        entry = entries + index * 16
        if load(entry, np.int64) != start + index * length or load(entry + 8, np.int64) != length:
            return False
    return True


@njit
def alike(vector, handle, one, other, count):  # type: ignore[no-untyped-def]
    """Whether so many values from ``one`` on are bit by bit those from ``other`` on; False tells nothing."""
    kind, validity, nulls = _type_id(handle), vector_validity(vector), False
    if kind == 36:
        return True
    if validity != 0:
        for index in range(count):
            null = is_null(validity, one + index)
            if null != is_null(validity, other + index):
                return False
            nulls = nulls or null
    if kind == 25:
        for index in range(_struct_count(handle)):
            child = _struct_type(handle, index)
            same = alike(struct_child(vector, index), child, one, other, count)
            release_type(child)
            if not same:
                return False
        return True
    data, width = vector_data(vector), _WIDTHS[kind]
    if kind == 19:
        width = _WIDTHS[_decimal_storage(handle)]
    elif kind == 17 or kind == 18 or kind == 24 or kind == 26:
        width = 16
    if width == 0:
        return False
    if _compare_bytes(data + one * width, data + other * width, count * width) == 0:
        return True
    if nulls:  # beneath a NULL there may be anything
        return False
    if kind == 17 or kind == 18:
        for index in range(count):
            mine, its = string_bytes(data + (one + index) * 16), string_bytes(data + (other + index) * 16)
            if len(mine) != len(its) or _compare_bytes(address_of(mine), address_of(its), len(mine)) != 0:
                return False
        return True
    if kind == 24:
        elements, child = list_child(vector), _list_type_child(handle)
        start, its, same = load(data + one * 16, np.int64), load(data + other * 16, np.int64), True
        if one < other and _end_to_end(data + one * 16, count + other - one):
            same = alike(elements, child, start, its, count * load(data + one * 16 + 8, np.int64))
            count = 0
        for index in range(count):
            at, its = data + (one + index) * 16, data + (other + index) * 16
            length = load(at + 8, np.int64)
            same = length == load(its + 8, np.int64) and alike(
                elements, child, load(at, np.int64), load(its, np.int64), length
            )
            if not same:
                break
        release_type(child)
        return same
    return False


def _token(out: np.ndarray, length: int) -> int:
    """FNV-1a, 64 bits; never 0."""
    digest = np.uint64(0xCBF29CE484222325)
    for index in range(length):
        digest = (digest ^ np.uint64(out[index])) * np.uint64(0x100000001B3)
    return np.int64(digest | np.uint64(1))


_token_of = njit(_token)


def _write_row(vector: int, row: int, content: int, facts: int) -> int:
    """Write the canonical form of a row to ``content``, and its length and token to ``facts``; 0 if it is too long."""
    out = writable_view(content, CAPACITY, np.uint8)
    handle = vector_type(vector)
    length = encode(vector, handle, row, out, np.int64(0))
    release_type(handle)
    if length < 0:
        return 0
    store(facts, length, np.int64)
    store(facts + 8, _token_of(out, length), np.int64)
    return 1


def _alike(vector: int, rows: int) -> int:
    """Whether all rows are the same bit by bit: each as the next one."""
    handle = vector_type(vector)
    same = alike(vector, handle, np.int64(0), np.int64(1), rows - 1)
    release_type(handle)
    return 1 if same else 0


write_row = external("ironlake_options_write_row", types.int64, 4)
rows_alike = external("ironlake_options_alike", types.int64, 2)


def record_reader(options: tuple[Parameter, ...]) -> Any:
    """A compiled function ``read(record)`` that gives the options as a tuple in declared order."""
    scope: dict[str, Any] = {}
    for index, option in enumerate(options):
        scope[f"read{index}"] = _slot_reader(option)
    values = "".join(f"read{i}(record + {8 + i * RECORD_SLOT}), " for i in range(len(options)))
    exec(f"def read(record):\n    return ({values})\n", scope)
    return njit(scope["read"])


def _slot_reader(option: Parameter) -> Any:
    value = _value_reader(option.types[0])
    type_ = option.types[0].name
    if (option.optional and type_ != "STRUCT") or (option.choices and type_ != "VARCHAR"):

        @njit
        def optional(slot: int) -> Any:
            return value(slot) if load(slot, np.int64) != 0 else None

        return optional
    return value


def _value_reader(type_: SqlType) -> Any:
    if type_.name in ("DOUBLE", "FLOAT"):
        return njit(lambda slot: load(slot + 8, np.float64))
    if type_.name == "BOOLEAN":
        return njit(lambda slot: load(slot + 8, np.int64) != 0)
    if type_.name == "VARCHAR":
        return njit(lambda slot: decode_text(view(load(slot + 8, np.int64), load(slot + 16, np.int64), np.uint8)))
    if type_.name == "STRUCT":
        return _record_slot_reader(type_)
    if type_.name == "LIST":
        dtype = np.float64 if type_.element.name in ("DOUBLE", "FLOAT") else np.int64
        return njit(lambda slot: view(load(slot + 8, np.int64), load(slot + 16, np.int64), dtype))
    return njit(lambda slot: load(slot + 8, np.int64))


def _record_slot_reader(type_: SqlType) -> Any:
    """A STRUCT option: its slot has the address of slots of its fields; in compiled code it is a named tuple."""
    names = [name for name, _ in type_.fields]
    scope: dict[str, Any] = {"record": namedtuple("Fields", names), "load": load, "int64": np.int64}  # type: ignore[misc]
    scope |= {f"read{index}": _value_reader(field) for index, (_, field) in enumerate(type_.fields)}
    values = "".join(f"read{index}(fields + {8 + index * RECORD_SLOT}), " for index in range(len(names)))
    exec(f"def read(slot):\n    fields = load(slot + 8, int64)\n    return record({values})\n", scope)
    return njit(scope["read"])


def callbacks() -> dict[str, tuple[Any, str]]:
    """What `options.link` compiles."""
    return {
        "ironlake_options_write_row": (_write_row, "int64(int64, int64, int64, int64)"),
        "ironlake_options_alike": (_alike, "int64(int64, int64)"),
    }

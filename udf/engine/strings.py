"""VARCHAR in compiled code: DuckDB's UTF-8 to Numba's ``str`` and back."""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.cpython.unicode import _codepoint_to_kind, _empty_string, _get_code_point, _set_code_point

from .memory import address_of, ascii_text, copy_bytes, load, store, vector_assign_string, view

#: Longest string that stands in a vector's slot itself.
_INLINE_BYTES = 12


@njit(inline="always")
def string_bytes(slot: int) -> np.ndarray:
    """The bytes of a DuckDB string: short ones stand in the slot itself, long ones behind a pointer."""
    length = np.int64(load(slot, np.uint32))
    if length <= _INLINE_BYTES:
        return view(slot + 4, length, np.uint8)
    return view(load(slot + 8, np.int64), length, np.uint8)


@njit
def write_bytes(vector: int, slots: int, row: int, address: int, length: int) -> None:
    """Write a string of bytes to a row of a vector, whose slots begin at an address."""
    if length > _INLINE_BYTES:
        vector_assign_string(vector, row, address, length)
        return
    slot = slots + row * 16
    store(slot, length, np.int64)
    store(slot + 8, 0, np.int64)
    copy_bytes(slot + 4, address, length)


@njit
def write_array(vector: int, slots: int, row: int, raw: np.ndarray) -> None:
    """The same of the bytes in an array.

    Being an argument keeps the array: a variable whose address is taken is freed after its last use by name.
    """
    write_bytes(vector, slots, row, address_of(raw), len(raw))


@njit
def decode(raw: np.ndarray) -> str:
    """Read UTF-8, which DuckDB guarantees to be valid. Pure ASCII is not copied: it stays where it is."""
    characters, widest = 0, 0
    for byte in raw:
        if byte & 0xC0 != 0x80:
            characters += 1
        widest = max(widest, byte)
    if widest < 0x80:
        return ascii_text(address_of(raw), len(raw))
    if widest < 0xC4:
        highest = 0xFF
    elif widest < 0xF0:
        highest = 0xFFFF
    else:
        highest = 0x10FFFF
    kind = _codepoint_to_kind(np.uint32(highest))
    text = _empty_string(kind, characters, 0)
    at = 0
    for index in range(characters):
        lead = np.uint32(raw[at])
        if lead < 0x80:
            point, extra = lead, 0
        elif lead < 0xE0:
            point, extra = lead & np.uint32(0x1F), 1
        elif lead < 0xF0:
            point, extra = lead & np.uint32(0x0F), 2
        else:
            point, extra = lead & np.uint32(0x07), 3
        for step in range(extra):
            point = (point << np.uint32(6)) | (np.uint32(raw[at + 1 + step]) & np.uint32(0x3F))
        _set_code_point(text, index, np.uint32(point))
        at += 1 + extra
    return text


@njit
def encode(text: str) -> np.ndarray:
    """Write UTF-8."""
    raw = np.empty(4 * len(text) + 1, np.uint8)
    at = 0
    for index in range(len(text)):
        point = _get_code_point(text, index)
        if point < 0x80:
            raw[at] = point
            at += 1
        elif point < 0x800:
            raw[at] = 0xC0 | (point >> 6)
            raw[at + 1] = 0x80 | (point & 0x3F)
            at += 2
        elif point < 0x10000:
            raw[at] = 0xE0 | (point >> 12)
            raw[at + 1] = 0x80 | ((point >> 6) & 0x3F)
            raw[at + 2] = 0x80 | (point & 0x3F)
            at += 3
        else:
            raw[at] = 0xF0 | (point >> 18)
            raw[at + 1] = 0x80 | ((point >> 12) & 0x3F)
            raw[at + 2] = 0x80 | ((point >> 6) & 0x3F)
            raw[at + 3] = 0x80 | (point & 0x3F)
            at += 4
    return raw[:at]

"""Compiled loops over keys: their hashes, their groups, and the order of rows by partition.

Numba takes longer to import than all else of RDDs: what needs this module imports it when it has something to compute.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_jit = numba.njit(nogil=True, cache=True, error_model="numpy")
_PRIME = (1 << 61) - 1
_EMPTY = -1


@_jit
def group_integers(keys: Any) -> Any:
    """The group of each key, and the keys of the groups, in the order in which they first come."""
    rows = len(keys)
    capacity = 16
    while capacity < 2 * rows:
        capacity *= 2
    mask = capacity - 1
    table = np.full(capacity, _EMPTY, np.int32)
    groups, first = np.empty(rows, np.int32), np.empty(rows, np.int64)
    count = 0
    for row in range(rows):
        key = keys[row]
        mixed = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)
        place = np.int64(mixed) & mask
        while True:
            found = table[place]
            if found == _EMPTY:
                table[place] = count
                first[count] = key
                groups[row] = count
                count += 1
                break
            if first[found] == key:
                groups[row] = found
                break
            place = (place + 1) & mask
    return groups, first[:count].copy()


@_jit
def hash_integers(keys: Any, partitions: int) -> Any:
    """The partition of each integer: Python's hash of it, of which the remainder counts."""
    parts = np.empty(len(keys), np.int32)
    for row in range(len(keys)):
        key = keys[row]
        if key >= 0:
            value = key % _PRIME
        elif key == -9223372036854775808:
            value = -4  # its size is 4 more than a multiple of the prime
        else:
            value = -((-key) % _PRIME)
        if value == -1:
            value = -2
        parts[row] = value % partitions
    return parts


@_jit
def hash_texts(offsets: Any, content: Any, partitions: int) -> Any:
    """The partition of each text by SipHash-1-3; -1 for texts that are not ASCII, whose bytes here are not Python's."""
    parts = np.empty(len(offsets) - 1, np.int32)
    for row in range(len(parts)):
        start, end = offsets[row], offsets[row + 1]
        ascii_only = True
        for place in range(start, end):
            if content[place] > 127:
                ascii_only = False
                break
        if not ascii_only:
            parts[row] = -1
            continue
        value = np.int64(0)
        if end > start:
            value = _siphash(content, start, end)
            if value == -1:
                value = np.int64(-2)
        parts[row] = value % partitions
    return parts


@_jit
def _siphash(content: Any, start: int, end: int) -> Any:
    v0, v1 = np.uint64(0x736F6D6570736575), np.uint64(0x646F72616E646F6D)
    v2, v3 = np.uint64(0x6C7967656E657261), np.uint64(0x7465646279746573)
    length = end - start
    words = length // 8
    for word in range(words + 1):
        value = np.uint64(0)
        base = start + 8 * word
        if word < words:
            for place in range(8):
                value |= np.uint64(content[base + place]) << np.uint64(8 * place)
        else:
            for place in range(length - 8 * words):
                value |= np.uint64(content[base + place]) << np.uint64(8 * place)
            value |= np.uint64(length & 255) << np.uint64(56)
        v3 ^= value
        v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
        v0 ^= value
    v2 ^= np.uint64(255)
    for _ in range(3):
        v0, v1, v2, v3 = _sipround(v0, v1, v2, v3)
    return np.int64(v0 ^ v1 ^ v2 ^ v3)


@_jit
def _sipround(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 = v0 + v1
    v2 = v2 + v3
    v1 = _rotated(v1, 13) ^ v0
    v3 = _rotated(v3, 16) ^ v2
    v0 = _rotated(v0, 32)
    v2 = v2 + v1
    v0 = v0 + v3
    v1 = _rotated(v1, 17) ^ v2
    v3 = _rotated(v3, 21) ^ v0
    v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


@_jit
def _rotated(value: Any, places: int) -> Any:
    return (value << np.uint64(places)) | (value >> np.uint64(64 - places))


@_jit
def order_by_part(parts: Any, partitions: int) -> Any:
    """The rows in the order of their partitions, those of one in their own; and where each partition begins."""
    starts = np.zeros(partitions + 1, np.int64)
    for row in range(len(parts)):
        starts[parts[row] + 1] += 1
    for part in range(partitions):
        starts[part + 1] += starts[part]
    filled = starts.copy()
    order = np.empty(len(parts), np.int64)
    for row in range(len(parts)):
        part = parts[row]
        order[filled[part]] = row
        filled[part] += 1
    return order, starts


@_jit
def order_integers(keys: Any) -> Any:
    """The rows in the order of their keys, equal ones in their own: by 11 bits at a time, the lowest first.

    Bits that all keys share are left out.
    """
    rows = len(keys)
    order = np.arange(rows)
    if rows < 2:
        return order
    low, high = keys.min(), keys.max()
    span = np.uint64(high) - np.uint64(low)
    bits = 0
    while bits < 64 and (span >> np.uint64(bits)) != 0:
        bits += 1
    offsets = np.empty(rows, np.uint64)
    for row in range(rows):
        offsets[row] = np.uint64(keys[row]) - np.uint64(low)
    other, moved = np.empty_like(order), np.empty_like(offsets)
    for shift in range(0, bits, 11):
        starts = np.zeros(2049, np.int64)
        for row in range(rows):
            starts[np.int64((offsets[row] >> np.uint64(shift)) & np.uint64(2047)) + 1] += 1
        for place in range(2048):
            starts[place + 1] += starts[place]
        for row in range(rows):
            digit = np.int64((offsets[row] >> np.uint64(shift)) & np.uint64(2047))
            place = starts[digit]
            starts[digit] += 1
            other[place], moved[place] = order[row], offsets[row]
        order, other = other, order
        offsets, moved = moved, offsets
    return order


@_jit
def split(offsets: Any, content: Any, separator: Any) -> Any:
    """Where the words of texts in UTF-8 begin and end, and how many each text has; without separator at white space.

    Texts from the first on that has a character which may be white space that is no ASCII are left out.
    """
    count = 0
    starts, ends = np.empty(0, np.int64), np.empty(0, np.int64)
    counts = np.zeros(len(offsets) - 1, np.int64)
    for is_counting in (True, False):
        if not is_counting:
            starts, ends = np.empty(count, np.int64), np.empty(count, np.int64)
        count = 0
        for row in range(len(counts)):
            before, begin = count, offsets[row]
            place, end = begin, offsets[row + 1]
            while place < end:
                byte = content[place]
                length = 0
                if len(separator):
                    if byte == separator[0] and place + len(separator) <= end:
                        length = len(separator)
                        for other in range(1, length):
                            if content[place + other] != separator[other]:
                                length = 0
                                break
                elif byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31:
                    length = 1
                elif byte == 0xC2 or byte == 0xE1 or byte == 0xE2 or byte == 0xE3:
                    return starts[:0], ends[:0], counts[:0]
                if length:
                    if len(separator) or place > begin:
                        if not is_counting:
                            starts[count], ends[count] = begin, place
                        count += 1
                    place += length
                    begin = place
                else:
                    place += 1
            if len(separator) or end > begin:
                if not is_counting:
                    starts[count], ends[count] = begin, end
                count += 1
            counts[row] = count - before
    return starts, ends, counts


@_jit
def gather(starts: Any, ends: Any, content: Any) -> Any:
    """Parts of bytes, one after the other, and where each begins."""
    offsets = np.zeros(len(starts) + 1, np.int32)
    for row in range(len(starts)):
        offsets[row + 1] = offsets[row] + ends[row] - starts[row]
    found = np.empty(offsets[len(starts)], np.uint8)
    for row in range(len(starts)):
        shift = offsets[row] - starts[row]
        for place in range(starts[row], ends[row]):
            found[place + shift] = content[place]
    return offsets, found


@_jit
def matches(left_order: Any, left_starts: Any, right_order: Any, right_starts: Any) -> Any:
    """The rows of both sides that make a pair, group by group."""
    groups = len(left_starts) - 1
    count = 0
    for group in range(groups):
        ours, theirs = left_starts[group + 1] - left_starts[group], right_starts[group + 1] - right_starts[group]
        count += ours * theirs
    left, right = np.empty(count, np.int64), np.empty(count, np.int64)
    place = 0
    for group in range(groups):
        for row in range(left_starts[group], left_starts[group + 1]):
            for match in range(right_starts[group], right_starts[group + 1]):
                left[place], right[place] = left_order[row], right_order[match]
                place += 1
    return left, right


@_jit
def sum_floats(values: Any, start: float) -> float:
    """The sum from left to right, as Python up to 3.11 has it."""
    total = start
    for row in range(len(values)):
        total += values[row]
    return total

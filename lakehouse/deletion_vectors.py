"""Deletion vectors: the rows of a data file that are deleted, as compressed bitmaps (Roaring).

A vector is a descriptor in the log: inline (``i``, Z85 text), in a file of the table (``u``, whose name is a UUID in
Z85 behind a folder), or at a path (``p``). In a file stand, from the descriptor's offset on, the size (big-endian), the
bitmap, and its CRC-32 (big-endian). The bitmap is a magic number, the number of buckets, and per bucket the high 32
bits of its rows and a 32-bit Roaring bitmap in the portable format: a cookie, keys and cardinalities of its
containers, and the containers, each sorted 16-bit numbers, 65,536 bits, or runs.

Source: Delta protocol, "Deletion Vector Format"; Roaring bitmap format specification, https://roaringbitmap.org.
"""

from __future__ import annotations

import uuid
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from .storage import Storage

_MAGIC = 1681511377
_FORMAT_VERSION = 1
#: Cookies: containers without runs, with runs; from so many containers on, the latter has their offsets, too.
_NO_RUNS, _RUNS, _OFFSETS_FROM = 0x303A, 0x303B, 4
#: Containers with more numbers than this are bitmaps.
_MOST_IN_ARRAY = 4096
_BITMAP_BYTES = 8192
_ALPHABET = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
#: Characters of a UUID in Z85.
_UUID_LENGTH = 20


class VectorError(ValueError):
    """A deletion vector that is damaged; rows must not come back, so it is never ignored."""


def deleted_rows(storage: Storage, vector: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The rows that a descriptor deletes, counted from 0, ascending.

    Raises
    ------
    VectorError
        The bitmap is damaged, or does not have as many rows as the descriptor says.
    FileNotFoundError
        The file is gone.
    """
    kind, text = vector["storageType"], vector["pathOrInlineDv"]
    if kind == "i":
        payload = z85_decode(text)[: vector["sizeInBytes"]]
    elif kind in ("u", "p"):
        location = storage.locate(vector_path(text) if kind == "u" else text)
        payload = _stored(storage.read(location), vector["offset"] or 0, vector["sizeInBytes"], location)
    else:
        raise VectorError(f"a deletion vector is stored as {kind!r}; expected 'i', 'u' or 'p'")
    rows = decode(payload)
    if len(rows) != vector["cardinality"]:
        raise VectorError(f"a deletion vector has {len(rows)} rows, its descriptor says {vector['cardinality']}")
    return rows


def vector_path(text: str) -> str:
    """The file of a vector that is stored by UUID, relative to the table: a folder may stand before the UUID."""
    folder, name = text[:-_UUID_LENGTH], uuid.UUID(bytes=z85_decode(text[-_UUID_LENGTH:]))
    return f"{folder}/deletion_vector_{name}.bin" if folder else f"deletion_vector_{name}.bin"


def _stored(content: bytes, offset: int, size: int, location: str) -> bytes:
    """The bitmap at an offset of a file."""
    if not content or content[0] != _FORMAT_VERSION:
        raise VectorError(f"the deletion vectors in {location!r} are of an unknown format")
    start = offset + 4
    payload = content[start : start + size]
    checksum = content[start + size : start + size + 4]
    if int.from_bytes(content[offset:start], "big") != size or len(checksum) < 4:
        raise VectorError(f"the deletion vector at {offset} of {location!r} has not the size of its descriptor")
    if zlib.crc32(payload) != int.from_bytes(checksum, "big"):
        raise VectorError(f"the deletion vector at {offset} of {location!r} is damaged: its checksum is wrong")
    return payload


# -------------------------------------------------------------------------------------------------------------- bitmaps


def decode(payload: bytes) -> np.ndarray[Any, Any]:
    """The rows of a bitmap.

    Raises
    ------
    VectorError
        The bitmap is damaged.
    """
    data = np.frombuffer(payload, np.uint8)
    count = _scan(data, np.empty(0, np.int64))
    if count < 0:
        raise VectorError("a deletion vector is damaged: it is no Roaring bitmap")
    rows = np.empty(count, np.int64)
    _scan(data, rows)
    return rows


@njit(cache=True)
def _number(data: Any, at: int, size: int) -> int:
    """A little-endian number; -1 beyond the end."""
    if at < 0 or at + size > len(data):
        return -1
    value = 0
    for index in range(size - 1, -1, -1):
        value = (value << 8) | data[at + index]
    return value


@njit(cache=True)
def _scan(data: Any, rows: Any) -> int:
    """How many rows a bitmap has, -1 if it is damaged; they are filled in where there is room for them."""
    if _number(data, 0, 4) != _MAGIC:
        return -1
    buckets, at, count = _number(data, 4, 8), 12, 0
    if buckets < 0:
        return -1
    for _ in range(buckets):
        high = _number(data, at, 4)
        cookie = _number(data, at + 4, 4)
        if high < 0 or cookie < 0:
            return -1
        at += 8
        runs = np.empty(0, np.uint8)
        if cookie & 0xFFFF == _RUNS:
            containers = (cookie >> 16) + 1
            runs = data[at : at + (containers + 7) // 8]
            if len(runs) < (containers + 7) // 8:
                return -1
            at += len(runs)
        elif cookie == _NO_RUNS:
            containers = _number(data, at, 4)
            at += 4
        else:
            return -1
        heads = at
        at += 4 * containers
        if len(runs) == 0 or containers >= _OFFSETS_FROM:
            at += 4 * containers  # the offsets of the containers, which follow each other anyway
        if containers < 0 or at > len(data):
            return -1
        for index in range(containers):
            base = (high << 32) | (_number(data, heads + 4 * index, 2) << 16)
            cardinality = _number(data, heads + 4 * index + 2, 2) + 1
            if len(runs) > 0 and runs[index >> 3] >> (index & 7) & 1:
                amount, at = _number(data, at, 2), at + 2
                if amount < 0:
                    return -1
                for _ in range(amount):
                    first, more = _number(data, at, 2), _number(data, at + 2, 2)
                    if first < 0 or more < 0:
                        return -1
                    at += 4
                    for low in range(first, first + more + 1):
                        if count < len(rows):
                            rows[count] = base + low
                        count += 1
            elif cardinality <= _MOST_IN_ARRAY:
                if at + 2 * cardinality > len(data):
                    return -1
                for place in range(cardinality):
                    if count < len(rows):
                        rows[count] = base + _number(data, at + 2 * place, 2)
                    count += 1
                at += 2 * cardinality
            else:
                if at + _BITMAP_BYTES > len(data):
                    return -1
                for byte in range(_BITMAP_BYTES):
                    bits = data[at + byte]
                    for bit in range(8):
                        if bits >> bit & 1:
                            if count < len(rows):
                                rows[count] = base + 8 * byte + bit
                            count += 1
                at += _BITMAP_BYTES
    return count


def encode(rows: np.ndarray[Any, Any]) -> bytes:
    """A bitmap of rows, ascending and different."""
    rows = np.asarray(rows, np.int64)
    parts = [_MAGIC.to_bytes(4, "little")]
    highs = np.unique(rows >> 32)
    parts.append(len(highs).to_bytes(8, "little"))
    for high in highs:
        parts += [int(high).to_bytes(4, "little"), _bucket(rows[rows >> 32 == high] & 0xFFFFFFFF)]
    return b"".join(parts)


def _bucket(rows: np.ndarray[Any, Any]) -> bytes:
    """A 32-bit Roaring bitmap without runs."""
    keys, starts = np.unique(rows >> 16, return_index=True)
    containers = [part & 0xFFFF for part in np.split(rows, starts[1:])]
    heads = np.column_stack([keys, [len(each) - 1 for each in containers]]).astype("<u2").tobytes()
    bodies = [_container(each) for each in containers]
    ends = np.cumsum([8 + 8 * len(keys), *[len(body) for body in bodies]])
    count = len(keys).to_bytes(4, "little")
    return _NO_RUNS.to_bytes(4, "little") + count + heads + ends[:-1].astype("<u4").tobytes() + b"".join(bodies)


def _container(rows: np.ndarray[Any, Any]) -> bytes:
    if len(rows) <= _MOST_IN_ARRAY:
        return rows.astype("<u2").tobytes()
    bits = np.zeros(8 * _BITMAP_BYTES, np.uint8)
    bits[rows] = 1
    return np.packbits(bits, bitorder="little").tobytes()


# ------------------------------------------------------------------------------------------------------------------ Z85


def z85_decode(text: str) -> bytes:
    """The bytes of a Z85 text: five characters are four bytes (ZeroMQ RFC 32).

    Raises
    ------
    VectorError
        The text is no Z85.
    """
    try:
        digits = [_VALUES[character] for character in text.encode("ascii")]
        groups = [digits[start : start + 5] for start in range(0, len(digits), 5)]
        return b"".join(
            sum(digit * 85 ** (4 - place) for place, digit in enumerate(group)).to_bytes(4, "big") for group in groups
        )
    except (KeyError, OverflowError, UnicodeEncodeError):
        raise VectorError(f"the text {text!r} of a deletion vector is no Z85") from None


def z85_encode(content: bytes) -> str:
    """Bytes, a multiple of four, as Z85 text."""
    words = [int.from_bytes(content[start : start + 4], "big") for start in range(0, len(content), 4)]
    return "".join(chr(_ALPHABET[word // 85 ** (4 - place) % 85]) for word in words for place in range(5))

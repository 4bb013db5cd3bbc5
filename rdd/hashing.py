"""Which partition a key belongs to: PySpark's hash, natively, so that it does not depend on PYTHONHASHSEED.

CPython hashes numbers by their value modulo 2^61 - 1 and texts by SipHash-1-3, with a key that is random for each
process unless PYTHONHASHSEED is set. PySpark's workers run with PYTHONHASHSEED=0, which makes that key zero.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

_MASK = (1 << 64) - 1


def portable_hash(x: Any) -> int:
    """The hash by which keys are spread over partitions; the same in every process.

    Parameters
    ----------
    x : hashable
        A key. Tuples are hashed by their items, None as 0, texts and bytes as with PYTHONHASHSEED=0.

    Returns
    -------
    int

    Examples
    --------
    >>> portable_hash(None), portable_hash((None, 1)) & 0xFFFFFFFF
    (0, 219750521)
    """
    type_: Any = type(x)
    if type_ is str:
        return _text_hash(x)
    if type_ is bytes:
        return _siphash(x)
    if x is None:
        return 0
    if isinstance(x, tuple):
        value = 0x345678
        for item in x:
            value ^= portable_hash(item)
            value *= 1000003
            value &= (1 << 63) - 1
        value ^= len(x)
        return -2 if value == -1 else value
    if isinstance(x, str):
        return portable_hash(str(x)) if type_.__hash__ is str.__hash__ else hash(x)
    return hash(x)


@lru_cache(maxsize=65_536)
def _text_hash(text: str) -> int:
    highest = max(text) if text else ""
    code = "latin-1" if highest < "\u0100" else "utf-16-le" if highest < "\U00010000" else "utf-32-le"
    return _siphash(text.encode(code, "surrogatepass"))


def _siphash(data: bytes) -> int:
    """SipHash-1-3 with a key of zeros, as CPython has it from 3.11 on; 0 for nothing, and never -1."""
    if not data:
        return 0
    v0, v1, v2, v3 = 0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573
    whole = len(data) & ~7
    words = [int.from_bytes(data[start : start + 8], "little") for start in range(0, whole, 8)]
    words.append((len(data) & 255) << 56 | int.from_bytes(data[whole:], "little"))
    for word in words:
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    v2 ^= 255
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    value = ctypes.c_int64(v0 ^ v1 ^ v2 ^ v3).value
    return -2 if value == -1 else value


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v2 = (v2 + v3) & _MASK
    v1 = _rotated(v1, 13) ^ v0
    v3 = _rotated(v3, 16) ^ v2
    v0 = _rotated(v0, 32)
    v2 = (v2 + v1) & _MASK
    v0 = (v0 + v3) & _MASK
    v1 = _rotated(v1, 17) ^ v2
    v3 = _rotated(v3, 21) ^ v0
    return v0, v1, _rotated(v2, 32), v3


def _rotated(value: int, places: int) -> int:
    return (value << places | value >> (64 - places)) & _MASK

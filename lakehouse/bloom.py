"""Bloom filters: whether a value may be among those of a file, in a few bits for each.

A filter is blocks of 256 bits, as those of Parquet are: half of a value's hash chooses the block, the other half a bit
in each of its eight words, so that a look-up reads one cache line.

Source: Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, JEA 14 (2009), section 3; Parquet
format, "Split Block Bloom Filters".
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]

_WORDS = 8
#: Odd numbers that spread a hash over the words of a block.
_SALTS = np.array(
    [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31], np.uint32
)


def made_of(hashes: Array, false_positive_rate: float) -> bytes:
    """The filter of the values with these hashes, of which so many others are taken for one of them."""
    hashes = np.unique(hashes)
    blocks = np.zeros((max(1, math.ceil(len(hashes) / _load(false_positive_rate))), _WORDS), np.uint32)
    _insert(hashes, blocks)
    return blocks.tobytes()


@functools.cache
def _load(false_positive_rate: float) -> float:
    """The values of a block on average: the number is Poisson's, and each sets one of the 32 bits of every word."""
    from scipy.optimize import brentq
    from scipy.stats import poisson

    counts = np.arange(1, 500)
    wrong = (1 - (31 / 32) ** counts) ** _WORDS

    def excess(load: float) -> float:
        return float(poisson.pmf(counts, load) @ wrong) - false_positive_rate

    return float(brentq(excess, 1e-6, 200)) if excess(200) > 0 else 200.0


def may_hold(content: bytes | memoryview, hash_: int) -> bool:
    """Whether the value with a hash may be one that a filter is made of."""
    blocks = np.frombuffer(content, np.uint32).reshape(-1, _WORDS)
    block = blocks[(hash_ >> 32) * len(blocks) >> 32]
    masks = np.uint32(1) << (np.uint32(hash_ & 0xFFFFFFFF) * _SALTS >> np.uint32(27))
    return bool((block & masks == masks).all())


def hashes_of(values: pa.Array) -> Array:
    """The hashes of whole numbers or texts, without those of NULLs."""
    import pyarrow as pa

    values = values.drop_null()
    hashes: Array
    if pa.types.is_integer(values.type):
        hashes = _mixed(values.cast(pa.int64()).to_numpy().view(np.uint64))
        return hashes
    binary = values.cast(pa.large_binary())
    _, offsets, data = binary.buffers()
    bounds = np.frombuffer(offsets, np.int64)[binary.offset : binary.offset + len(binary) + 1]
    hashes = _mixed_texts(bounds, np.frombuffer(data or b"", np.uint8))
    return hashes


@njit(cache=True)
def _mix(value: Any) -> Any:
    """The finishing step of the generator SplitMix64, after which every bit depends on all."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True)
def _mixed(values: Any) -> Any:
    hashes = np.empty(len(values), np.uint64)
    for row in range(len(values)):
        hashes[row] = _mix(values[row] + np.uint64(0x9E3779B97F4A7C15))
    return hashes


@njit(cache=True)
def _mixed_texts(bounds: Any, data: Any) -> Any:
    hashes = np.empty(len(bounds) - 1, np.uint64)
    for row in range(len(hashes)):
        start, stop = bounds[row], bounds[row + 1]
        found = _mix(np.uint64(stop - start) + np.uint64(0x9E3779B97F4A7C15))
        word, filled = np.uint64(0), 0
        for at in range(start, stop):
            word |= np.uint64(data[at]) << np.uint64(8 * filled)
            filled += 1
            if filled == 8 or at == stop - 1:
                found = _mix(found ^ word) + np.uint64(0x9E3779B97F4A7C15)
                word, filled = np.uint64(0), 0
        hashes[row] = found
    return hashes


@njit(cache=True)
def _insert(hashes: Any, blocks: Any) -> None:
    for hash_ in hashes:
        block = ((hash_ >> np.uint64(32)) * np.uint64(len(blocks))) >> np.uint64(32)
        low = np.uint32(hash_ & np.uint64(0xFFFFFFFF))
        for word in range(_WORDS):
            blocks[block, word] |= np.uint32(1) << (np.uint32(low * _SALTS[word]) >> np.uint32(27))

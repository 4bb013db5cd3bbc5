"""A hash table over the attributes of a conditional random field, which is part of the model.

Compiled code finds an attribute of a row in it without preparing anything, however large the model is. Each place of
the table is two numbers: the hash of an attribute, and its position, or -1 if the place is free. The places are a power
of 2, and at least half more than the attributes. An attribute stands at the place that the low bits of its hash tell,
or at the next free one. Attributes are told apart by the 64 bits of their hashes, so no text is looked at again: of a
million attributes, two have the same hash once in 37 million models.

Texts are hashed and compared as DuckDB keeps them, in slots of 16 bytes: the length, and behind it the UTF-8 and zeros
if that is no longer than 12 bytes, else its first 4 bytes and the address of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ironlake.udf.engine.memory import address_of, copy_bytes, external, load, prefetch_to_read, store
from ironlake.udf.engine.readers import is_null, list_extent

if TYPE_CHECKING:
    import pyarrow as pa

_SLOT_BYTES, _INLINE_BYTES = 16, 12

_compare = external("memcmp", types.int32, 3)


def hash_table(names: pa.Array) -> np.ndarray:
    """A hash table over different texts."""
    _, ends, content = names.cast("large_string").buffers()
    ends = np.frombuffer(ends, np.int64)[names.offset : names.offset + len(names) + 1]
    return _filled(np.frombuffer(content or b"", np.uint8), ends)


@njit(cache=True)
def _filled(content: Any, ends: Any) -> Any:
    """A hash table over texts that stand end to end."""
    count, places = len(ends) - 1, 1
    while 2 * places < 3 * count:
        places *= 2
    lookup, memory = np.full(2 * places, -1, np.int64), np.empty(_SLOT_BYTES, np.uint8)
    slot = address_of(memory)
    for position in range(count):
        length, text = ends[position + 1] - ends[position], address_of(content) + ends[position]
        memory[:] = 0
        store(slot, length, np.int64)
        if length <= _INLINE_BYTES:
            copy_bytes(slot + 4, text, length)
        else:
            copy_bytes(slot + 4, text, 4)
            store(slot + 8, text, np.int64)
        code = hash_of(slot)
        place = code & (places - 1)
        while lookup[2 * place + 1] >= 0:
            place = (place + 1) & (places - 1)
        lookup[2 * place], lookup[2 * place + 1] = code, position
    return lookup


@njit(forceinline=True)
def hash_of(slot: int) -> int:
    """The hash of the text in a slot: 64 bits, each of which depends on every bit of the text."""
    code = load(slot, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    if load(slot, np.uint32) <= _INLINE_BYTES:
        code = _mixed(code, load(slot + 8, np.uint64))
    else:
        length, text = np.int64(load(slot, np.uint32)), load(slot + 8, np.int64)
        for at in range(4, length - 8, 8):
            code = _mixed(code, load(text + at, np.uint64))
        code = _mixed(code, load(text + length - 8, np.uint64))  # part of it may be in the word before
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(code ^ (code >> np.uint64(31)))


@njit(forceinline=True)
def _mixed(code: Any, word: Any) -> Any:
    """The code of what came before and of eight more bytes; one to one in either (SplitMix64)."""
    return ((code ^ (code >> np.uint64(30))) + word) * np.uint64(0xBF58476D1CE4E5B9)


@njit
def same_text(slot: int, other: int) -> bool:
    """Whether two slots have the same text."""
    if load(slot, np.uint64) != load(other, np.uint64):
        return False
    rest, other_rest = load(slot + 8, np.int64), load(other + 8, np.int64)
    if rest == other_rest:
        return True
    length = np.int64(load(slot, np.uint32))
    return length > _INLINE_BYTES and _compare(rest, other_rest, length) == 0


@njit(forceinline=True)
def ask_for_place(lookup: Any, code: int) -> None:
    """Ask for the memory of the place of a hash."""
    prefetch_to_read(address_of(lookup) + 16 * (code & (len(lookup) // 2 - 1)))


@njit(forceinline=True)
def position_of(code: int, lookup: Any, count: int) -> int:
    """Which of so many texts has a hash, by the hash table over them; -1 if none does."""
    places = len(lookup) // 2
    place = code & (places - 1)
    for _ in range(places):
        position = lookup[2 * place + 1]
        if position < 0:
            return -1
        if lookup[2 * place] == code:
            if position >= count:
                raise ValueError("argument model has position", position, "in its lookup, but", count, "attributes")
            return position
        place = (place + 1) & (places - 1)
    return -1


@njit(forceinline=True)
def row_of(rows: Any, position: int, width: int) -> int:
    """The address of the numbers of one of the lists in a list, which must have so many."""
    column, start = _column_of(rows)
    if is_null(column[1], start + position):
        raise ValueError("argument model has no weights of attribute", position + 1)
    first, length = list_extent(column, start + position)
    if length != width:
        raise ValueError("argument model has", width, "labels, but", length, "weights of an attribute")
    values, validity = column[2]
    if validity != 0:
        for index in range(width):
            if is_null(validity, first + index):
                raise ValueError("argument model has a NULL among the weights of attribute", position + 1)
    return values + 8 * first


@njit
def slot_of(texts: Any, index: int) -> int:
    """The slot of an element, in range, of a list of texts; this makes no ``str`` of it."""
    (slots, validity), start = _column_of(texts)
    if is_null(validity, start + index):
        raise ValueError("a list has a NULL at position", index + 1, "of", len(texts))
    return slots + (start + index) * _SLOT_BYTES


@intrinsic
def _column_of(typingctx: Any, sequence: Any) -> Any:
    """The column that a list's elements stand in, and the row at which they start."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = cgutils.create_struct_proxy(sequence)(context, builder, args[0])
        return context.make_tuple(builder, signature.return_type, (made.column, made.start))

    return types.Tuple((sequence.column, types.int64))(sequence), codegen

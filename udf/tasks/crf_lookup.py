"""A hash table over the attributes of a conditional random field, which is part of the model.

Compiled code finds an attribute of a row in it without preparing anything, however large the model is. Each place of
the table has the position of an attribute, or -1; the places are a power of 2, and at least twice the attributes. An
attribute stands at the place that the low bits of its hash tell, or at the next free one.

Texts are hashed and compared as DuckDB keeps them, in slots of 16 bytes: the length, and behind it the UTF-8 and zeros
if that is no longer than 12 bytes, else its first 4 bytes and the address of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ironlake.udf.engine.memory import address_of, copy_bytes, external, load, store
from ironlake.udf.engine.readers import is_null

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
    while places < 2 * count:
        places *= 2
    lookup, memory = np.full(places, -1, np.int32), np.empty(_SLOT_BYTES, np.uint8)
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
        place = _place(slot, places)
        while lookup[place] >= 0:
            place = (place + 1) & (places - 1)
        lookup[place] = position
    return lookup


@njit
def _place(slot: int, places: int) -> int:
    """Where the text in a slot belongs in a hash table."""
    length = np.int64(load(slot, np.uint32))
    code = _mixed(np.uint64(0), load(slot, np.uint64))
    if length <= _INLINE_BYTES:
        code = _mixed(code, load(slot + 8, np.uint64))
    else:
        text = load(slot + 8, np.int64)
        for at in range(4, length - 8, 8):
            code = _mixed(code, load(text + at, np.uint64))
        code = _mixed(code, load(text + length - 8, np.uint64))  # part of it may be in the word before
    return np.int64(code & np.uint64(places - 1))


@njit
def _mixed(code: Any, word: Any) -> Any:
    """The hash code of what came before and eight more bytes: every bit changes about half of all (SplitMix64)."""
    code = (code ^ word) * np.uint64(0x9E3779B97F4A7C15)
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))


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


@njit
def position_of(slot: int, texts: Any, lookup: Any) -> int:
    """Which of the texts stands in a slot, by the hash table over them; -1 if none does."""
    places = len(lookup)
    place = _place(slot, places)
    for _ in range(places):
        position = lookup[place]
        if position < 0:
            return -1
        if position >= len(texts):
            raise ValueError("argument model has position", position, "in its lookup, but", len(texts), "attributes")
        if same_text(slot, slot_of(texts, position)):
            return position
        place = (place + 1) & (places - 1)
    return -1


@njit
def slot_of(texts: Any, index: int) -> int:
    """The slot of an element, in range, of a list of texts; this makes no ``str`` of it."""
    slots, validity, start = _parts(texts)
    if is_null(validity, start + index):
        raise ValueError("a list has a NULL at position", index + 1, "of", len(texts))
    return slots + (start + index) * _SLOT_BYTES


@intrinsic
def _parts(typingctx: Any, texts: Any) -> Any:
    """Where a list of texts lies: the addresses of all slots and of the validity mask, and the row it starts at."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        made = cgutils.create_struct_proxy(texts)(context, builder, args[0])
        slots, validity = cgutils.unpack_tuple(builder, made.column)
        return context.make_tuple(builder, signature.return_type, (slots, validity, made.start))

    return types.UniTuple(types.int64, 3)(texts), codegen

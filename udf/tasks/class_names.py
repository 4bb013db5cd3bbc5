"""Classes of an aggregate's rows: found as rows come, numbered in that order, sorted in the end.

A class has a key, by which rows find it: the label itself if it is an integer, else a hash of its text. The texts
stand end to end as UTF-8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from ironlake.udf.engine.memory import address_of, view
from ironlake.udf.engine.sqltypes import UTINYINT
from ironlake.udf.engine.strings import decode, encode

#: More classes than this are taken for a mistake, such as an identifier in place of a label.
MOST_CLASSES = 10_000
#: FNV-1a, 64 bits.
_OFFSET, _PRIME = 0xCBF29CE484222325, 0x100000001B3
#: Digits that surely fit into 64 bits.
_MOST_DIGITS = 18
_MINUS, _ZERO, _NINE = ord("-"), ord("0"), ord("9")


def key_of(label: Any) -> int:
    """The key of a class: an integer or a truth value itself, the hash of a text."""
    raise TypeError("key_of is for compiled code")


@overload(key_of, strict=False)
def _key_of(label: Any) -> Any:
    if not isinstance(label, types.UnicodeType):
        return lambda label: np.int64(label)

    def hashed(label: str) -> int:
        code = np.uint64(_OFFSET)
        for character in label:
            code = (code ^ np.uint64(ord(character))) * np.uint64(_PRIME)
        return np.int64(code)

    return hashed


def text_of(label: Any) -> str:
    """The name of a class, as SQL writes it."""
    raise TypeError("text_of is for compiled code")


@overload(text_of, strict=False)
def _text_of(label: Any) -> Any:
    if isinstance(label, types.UnicodeType):
        return lambda label: label
    if isinstance(label, types.Boolean):
        return lambda label: "true" if label else "false"
    return lambda label: str(label)


def tells_apart(label: Any) -> bool:
    """Whether keys of such labels are enough to know a class."""
    raise TypeError("tells_apart is for compiled code")


@overload(tells_apart, strict=False)
def _tells_apart(label: Any) -> Any:
    exact = not isinstance(label, types.UnicodeType)
    return lambda label: exact


class Classes:
    """The part of an aggregate's state that knows the classes."""

    keys: list[int]
    names: list[UTINYINT]  # UTF-8, end to end
    ends: list[int]  # of the names

    def class_name(self, index):
        """The text of a class."""
        start = self.ends[index - 1] if index > 0 else 0
        names = self.names[start : self.ends[index]]
        return decode(view(address_of(names), len(names), np.uint8))

    def class_index(self, label, key):
        """The number of a class, -1 where it is new."""
        keys = self.keys[:]
        for index in range(len(keys)):
            if keys[index] == key and (tells_apart(label) or self.class_name(index) == label):
                return index
        return -1

    def add_class(self, name, key):
        """Number a new class; gives how many there are now."""
        if len(self.keys) >= MOST_CLASSES:
            raise ValueError("the labels of a group are more than", MOST_CLASSES, "classes; is label the right column?")
        self.names.extend(encode(name))
        self.ends.append(len(self.names))
        self.keys.append(key)
        return len(self.keys)

    def sorted_classes(self):
        """The numbers of the classes in the order of their names: by value if all are integers, else by text."""
        count, integers = len(self.keys), True
        values = np.zeros(count, np.int64)
        for index in range(count):
            start = self.ends[index - 1] if index > 0 else 0
            whole, values[index] = integer_of(self.names[start : self.ends[index]])
            integers = integers and whole
        order = np.arange(count)
        for at in range(1, count):
            index, name, place = order[at], self.class_name(order[at]), at
            while place > 0:
                before = order[place - 1]
                if (values[before] <= values[index]) if integers else (self.class_name(before) <= name):
                    break
                order[place] = before
                place -= 1
            order[place] = index
        return order


@njit
def integer_of(raw: Any) -> tuple[bool, int]:
    """Whether a text is an integer as SQL writes it, and which."""
    start = 1 if len(raw) > 1 and raw[0] == _MINUS else 0
    digits = len(raw) - start
    if digits < 1 or digits > _MOST_DIGITS or (raw[start] == _ZERO and len(raw) > 1):
        return False, 0
    value = 0
    for index in range(start, len(raw)):
        if raw[index] < _ZERO or raw[index] > _NINE:
            return False, 0
        value = value * 10 + (np.int64(raw[index]) - _ZERO)
    return True, -value if start else value

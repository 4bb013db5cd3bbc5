"""Where the attributes of an aggregate's state lie in memory (see ``runtime.ll``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .declaration import DeclarationError, annotations_of
from .sqltypes import SqlType, single

HEADER_BYTES, ARRAY_BYTES = 16, 24

#: The types of numbers that a state holds, and their bytes.
NUMBERS = {
    "BOOLEAN": 1, "TINYINT": 1, "SMALLINT": 2, "INTEGER": 4, "BIGINT": 8, "UTINYINT": 1, "USMALLINT": 2,
    "UINTEGER": 4, "UBIGINT": 8, "FLOAT": 4, "DOUBLE": 8, "DATE": 4, "TIMESTAMP": 8, "TIMESTAMPTZ": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Attribute:
    """One attribute: the type of its numbers, whether it is a growable array, its place, its first value."""

    name: str
    number: SqlType
    is_array: bool
    offset: int
    default: Any


@dataclass(frozen=True)
class Layout:
    """The state of a class: attributes by name, how many are arrays, bytes in all."""

    attributes: dict[str, Attribute]
    arrays: int
    size: int

    @classmethod
    def of(cls, owner: type) -> Layout:
        """Place the annotated attributes of a class: arrays, then scalars from the widest to the narrowest.

        Raises
        ------
        DeclarationError
            If an attribute is neither a number nor an array of numbers.
        """
        hints = annotations_of(owner)
        typed = {name: _number(owner.__name__, name, hint) for name, hint in hints.items()}
        attributes, offset = {}, HEADER_BYTES
        for name, (number, is_array) in sorted(typed.items(), key=lambda item: -_bytes(*item[1])):
            attributes[name] = Attribute(name, number, is_array, offset, getattr(owner, name, None))
            offset += _bytes(number, is_array)
        return cls(attributes, sum(is_array for _, is_array in typed.values()), (offset + 7) // 8 * 8)


def _bytes(number: SqlType, is_array: bool) -> int:
    return ARRAY_BYTES if is_array else NUMBERS[number.name]


def _number(owner: str, name: str, hint: Any) -> tuple[SqlType, bool]:
    try:
        type_ = single(hint)
    except TypeError as error:
        raise DeclarationError(f"aggregate {owner}: attribute {name!r}: {error}") from None
    number = type_.child if type_.name == "LIST" else type_
    if number is None or number.name not in NUMBERS:
        raise DeclarationError(
            f"aggregate {owner}: attribute {name!r} is {type_}; a state holds numbers (float, int, bool) "
            "and arrays of numbers (list[float])"
        )
    return number, type_.name == "LIST"

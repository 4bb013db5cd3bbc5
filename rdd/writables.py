"""Hadoop's writables: how its files hold numbers, texts, bytes and maps, and which Python values these stand for.

Source: the classes of org.apache.hadoop.io of Hadoop 3, whose bytes are big-endian.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_PREFIX = "org.apache.hadoop.io."


class Reader:
    """Bytes that are read from front to back.

    Attributes
    ----------
    content : memoryview
        The bytes.
    place : int
        Where the next is.
    """

    def __init__(self, content: Any, place: int = 0) -> None:
        self.content, self.place = memoryview(content), place

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises
        ------
        ValueError
            There are not so many.
        """
        end = self.place + count
        if count < 0 or end > len(self.content):
            raise ValueError(f"the file ends within a record, at byte {self.place}")
        part = bytes(self.content[self.place : end])
        self.place = end
        return part

    def number(self, layout: str) -> Any:
        """The next number, of a layout of `struct`."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def variable(self) -> int:
        """The next integer of variable length: one byte, or one that says how many follow and the sign."""
        first: int = self.number(">b")
        if first >= -112:
            return first
        size = -first - 112 if first >= -120 else -first - 120
        value = int.from_bytes(self.take(size), "big")
        return value if first >= -120 else ~value

    def text(self) -> str:
        """The next text: its length in bytes of UTF-8, and these."""
        return self.take(self.variable()).decode("utf-8")


def variable(value: int) -> bytes:
    """An integer of variable length."""
    if -112 <= value <= 127:
        return struct.pack(">b", value)
    first, rest = (-112, value) if value >= 0 else (-120, ~value)
    content = rest.to_bytes((rest.bit_length() + 7) // 8, "big")
    return struct.pack(">b", first - len(content)) + content


def text(value: str) -> bytes:
    """A text: its length in bytes of UTF-8, and these."""
    content = value.encode("utf-8")
    return variable(len(content)) + content


@dataclass(frozen=True)
class Writable:
    """A class of writables.

    Attributes
    ----------
    name : str
        Its name, without the package.
    read, write : callable
        The Python value that comes next in some bytes; the bytes of a value.
    fits : callable
        Whether it holds a value exactly.
    number : int
        Its number in maps; 0 has none, and maps name it.
    """

    name: str
    read: Callable[[Reader], Any]
    write: Callable[[Any], bytes]
    fits: Callable[[Any], bool]
    number: int

    @property
    def full_name(self) -> str:
        """Its name with the package."""
        return _PREFIX + self.name


def _number(name: str, layout: str, type_: type, fits: Callable[[Any], bool], number: int) -> Writable:
    return Writable(
        name,
        lambda reader: reader.number(layout),
        lambda value: struct.pack(layout, value),
        lambda value: isinstance(value, type_) and not (type_ is int and isinstance(value, bool)) and fits(value),
        number,
    )


def _is_single(value: float) -> bool:
    if not math.isfinite(value):
        return True
    try:
        return bool(struct.unpack(">f", struct.pack(">f", value))[0] == value)
    except OverflowError:
        return False


def _read_bytes(reader: Reader) -> bytearray:
    return bytearray(reader.take(reader.number(">i")))


def _read_map(reader: Reader) -> dict[Any, Any]:
    numbered = {each.number: each for each in _WRITABLES if each.number}
    for _ in range(reader.number(">b")):
        number = reader.number(">b")
        numbered[number] = writable(reader.take(reader.number(">H")).decode("utf-8"))
    found = {}
    for _ in range(reader.number(">i")):
        key = _numbered(numbered, reader.number(">b")).read(reader)
        found[key] = _numbered(numbered, reader.number(">b")).read(reader)
    return found


def _numbered(numbered: dict[int, Writable], number: int) -> Writable:
    if number not in numbered:
        raise NotImplementedError(f"a MapWritable has a writable of number {number}, which cannot be read")
    return numbered[number]


def _write_map(value: dict[Any, Any]) -> bytes:
    named: dict[str, int] = {}
    content = struct.pack(">i", len(value))
    for pair in value.items():
        for each in pair:
            kind = writable_of(each)
            number = kind.number or named.setdefault(kind.full_name, len(named) + 1)
            content += struct.pack(">b", number) + kind.write(each)
    names = [(number, name.encode()) for name, number in named.items()]
    head = b"".join(struct.pack(">bH", number, len(name)) + name for number, name in names)
    return struct.pack(">b", len(named)) + head + content


_WRITABLES = (
    Writable("NullWritable", lambda _: None, lambda _: b"", lambda value: value is None, -119),
    _number("BooleanWritable", ">?", bool, lambda _: True, -126),
    _number("IntWritable", ">i", int, lambda value: -(2**31) <= value < 2**31, -123),
    _number("LongWritable", ">q", int, lambda value: -(2**63) <= value < 2**63, -122),
    _number("DoubleWritable", ">d", float, lambda _: True, 0),
    _number("FloatWritable", ">f", float, _is_single, -124),
    Writable("Text", Reader.text, text, lambda value: isinstance(value, str), -116),
    Writable(
        "BytesWritable", _read_bytes, lambda value: struct.pack(">i", len(value)) + bytes(value),
        lambda value: isinstance(value, bytes | bytearray), -125,
    ),
    Writable("MapWritable", _read_map, _write_map, lambda value: isinstance(value, dict), -121),
)  # fmt: skip


def writable(name: str) -> Writable:
    """The class of writables of a name.

    Raises
    ------
    NotImplementedError
        It is none that can be read and written without a JVM.
    """
    for each in _WRITABLES:
        if each.full_name == name:
            return each
    known = ", ".join(each.name for each in _WRITABLES)
    raise NotImplementedError(f"the class {name} needs a JVM; without one there are {_PREFIX}: {known}")


def writable_of(value: Any) -> Writable:
    """The class of writables that Spark stores a value as: the first that holds it exactly.

    Raises
    ------
    TypeError
        There is none.
    """
    for each in _WRITABLES:
        if each.fits(value):
            return each
    raise TypeError(f"Data of type {type(value).__name__} cannot be used: there is no writable for {value!r:.200}")


def written(kind: Writable, value: Any) -> bytes:
    """The bytes of a value in a file that has writables of one class.

    Raises
    ------
    TypeError
        The class does not hold it.
    """
    if isinstance(value, int) and kind.name in ("DoubleWritable", "FloatWritable") and float(value) == value:
        value = float(value)
    if not kind.fits(value):
        raise TypeError(f"{value!r:.200} is no {kind.name}, which the file has; name another class for all of it")
    return kind.write(value)


def java_text(value: Any) -> str:
    """A value as text, as Java writes it."""
    if value is None:
        return "(null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _java_float(value)
    if isinstance(value, bytes | bytearray):
        return value.hex(" ")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{java_text(key)}={java_text(each)}" for key, each in value.items()) + "}"
    return str(value)


def _java_float(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    mantissa, exponent = f"{value:.17e}".split("e")
    shortest = next(form for digits in range(1, 18) if float(form := f"{value:.{digits}e}") == value)
    mantissa, exponent = shortest.split("e")
    return f"{mantissa}E{int(exponent)}"

"""Options: the trailing constant STRUCT of a call, such as ``{'l2': 1e-4}``.

Compiled code only tells option values apart: it writes the value of a row in a canonical form and hashes it. A value
not seen before goes to Python once, is checked against the declaration, and becomes an immutable *record* in native
memory: its hash, then for every declared option (present, number or address, length). States point to records, so
options may differ from group to group (a grid of them joined to the data) but not inside a group.
"""

from __future__ import annotations

import ctypes
import decimal
import functools
import json
import struct
from typing import Any

import numpy as np
from llvmlite import binding as llvm

from . import machine
from .declaration import REQUIRED, Declaration, Parameter, closest
from .sqltypes import SqlType, to_arrow

RECORD_SLOT = 24
#: Most bytes of the canonical form of an options value.
CAPACITY = 1 << 16
_INTEGERS = {2: "b", 3: "h", 4: "i", 5: "q", 6: "B", 7: "H", 8: "I", 9: "Q"}


@functools.cache
def link() -> None:
    """Make the functions that write canonical forms visible to compiled code."""

    def build() -> dict[str, tuple[Any, str]]:
        from .option_codec import callbacks

        return callbacks()

    for symbol, address in machine.compile_functions(build, machine.fingerprint("options"), "options").items():
        llvm.add_symbol(symbol, address)


def decode(content: bytes) -> Any:
    """The Python value of a canonical form."""
    value, _ = _decode(content, 0)
    return value


def _decode(content: bytes, at: int) -> tuple[Any, int]:
    kind, at = content[at], at + 1
    if kind == 36:
        return None, at
    if kind == 1:
        return content[at] != 0, at + 1
    if kind in _INTEGERS or kind in (10, 11):
        code = "<" + (_INTEGERS.get(kind) or {10: "f", 11: "d"}[kind])
        return struct.unpack_from(code, content, at)[0], at + struct.calcsize(code)
    if kind in (16, 32):
        return int.from_bytes(content[at : at + 16], "little", signed=kind == 16), at + 16
    if kind == 19:
        scale, width = content[at], content[at + 1]
        number = int.from_bytes(content[at + 2 : at + 2 + width], "little", signed=True)
        return float(decimal.Decimal(number).scaleb(-scale)), at + 2 + width
    (count,), at = struct.unpack_from("<q", content, at), at + 8
    if kind in (17, 18):
        raw = content[at : at + count]
        return raw.decode() if kind == 17 else raw, at + count
    if kind in (24, 33):
        items = []
        for _ in range(count):
            item, at = _decode(content, at)
            items.append(item)
        return items, at
    if kind == 25:
        fields = {}
        for _ in range(count):
            (length,), at = struct.unpack_from("<q", content, at), at + 8
            name, at = content[at : at + length].decode(), at + length
            fields[name], at = _decode(content, at)
        return fields, at
    raise ValueError(f"a value of DuckDB's type number {kind} cannot be an option")


def as_mapping(value: Any) -> dict[str, Any]:
    """Options as a dict, from a STRUCT, a MAP, JSON text, or NULL for none.

    Raises
    ------
    ValueError
        If the value is none of these.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise ValueError(f"options must be a STRUCT such as {{'l2': 0.1}}, got the text {value!r}") from None
    if isinstance(value, list) and all(isinstance(item, dict) and set(item) == {"key", "value"} for item in value):
        value = {item["key"]: item["value"] for item in value}
    if not isinstance(value, dict):
        raise ValueError(f"options must be a STRUCT such as {{'l2': 0.1}}, got {value!r}")
    return value


def check(declaration: Declaration, given: dict[str, Any], what: str = "option") -> dict[str, Any]:
    """All options (or arguments, if that is what they are) of a call: the given ones, checked, and the defaults.

    Raises
    ------
    ValueError
        If a name is unknown, a value has the wrong type, or a required option is missing.
    """
    known = {option.name.lower(): option for option in declaration.options}
    result = {option.name: option.default for option in declaration.options}
    for name, value in given.items():
        option = known.get(name.lower())
        if option is None:
            raise ValueError(f"unknown {what} {name!r}{closest(name, known)}")
        result[option.name] = _checked(option, value, what)
    for name, value in result.items():
        if value is REQUIRED:
            raise ValueError(f"{what} {name!r} is missing; it has no default")
    return result


def _checked(option: Parameter, value: Any, what: str) -> Any:
    if value is None and (option.optional or option.default is None):
        return None
    if isinstance(value, str) and option.choices:
        if value not in option.choices:
            raise ValueError(f"{what} {option.name!r} is {value!r}{closest(value, option.choices)}")
        return value
    for type_ in option.types:
        converted = _convert(type_, value)
        if converted is not None:
            return converted
    wanted = " or ".join([*(repr(choice) for choice in option.choices), *_names(option)])
    raise ValueError(f"{what} {option.name!r} must be {wanted}, got {value!r}")


def _names(option: Parameter) -> list[str]:
    words = {"DOUBLE": "a number", "FLOAT": "a number", "BIGINT": "an integer", "INTEGER": "an integer"}
    words |= {"BOOLEAN": "true or false", "VARCHAR": "a text"}
    return [
        words.get(type_.name, str(type_)) for type_ in option.types if not (option.choices and type_.name == "VARCHAR")
    ]


def _convert(type_: SqlType, value: Any) -> Any:
    """The value as the option's type, or None if it is no such value."""
    number = isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool)
    if type_.name in ("DOUBLE", "FLOAT"):
        return float(value) if number else None
    if type_.name.endswith("INT") or type_.name == "INTEGER":
        fits = number and float(value).is_integer() and -(2**63) <= value < 2**63
        return int(value) if fits else None
    if type_.name == "BOOLEAN":
        return value if isinstance(value, bool) else None
    if type_.name == "VARCHAR":
        return value if isinstance(value, str) else None
    if type_.name == "LIST" and isinstance(value, list):
        items = [_convert(type_.element, item) for item in value]
        return None if any(item is None for item in items) else items
    if type_.name == "STRUCT" and isinstance(value, dict):
        fields = {name: _convert(field, value.get(name)) for name, field in type_.fields}
        return None if any(field is None for field in fields.values()) else fields
    if type_.name == "ANY":
        return value
    return _convert_by_arrow(type_, value)


def _convert_by_arrow(type_: SqlType, value: Any) -> Any:
    import pyarrow as pa

    try:
        return pa.scalar(value, to_arrow(type_)).as_py()
    except (ValueError, TypeError, NotImplementedError, OverflowError):
        return None


def compiled_value(option: Parameter, value: Any) -> Any:
    """What compiled code gets for an option: a text choice that stands beside a number arrives as ``None``."""
    if value is REQUIRED:
        return 0.0 if option.types[0].name in ("DOUBLE", "FLOAT") else 0
    if option.types[0].name in ("DOUBLE", "FLOAT") and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return None if isinstance(value, str) and option.choices and option.types[0].name != "VARCHAR" else value


def default_options(declaration: Declaration) -> dict[str, Any]:
    """The options of a call that gives none."""
    return check(declaration, {})


def default_values(options: tuple[Parameter, ...]) -> tuple[Any, ...]:
    """What compiled code gets when a call has no options."""
    values = (compiled_value(option, option.default) for option in options)
    return tuple(np.asarray(value, np.float64) if isinstance(value, list | tuple) else value for value in values)


class Records:
    """The option records of one declaration; they live as long as the process, as states point to them."""

    def __init__(self, declaration: Declaration) -> None:
        self._declaration = declaration
        self._records: dict[bytes, int] = {}
        self._values: dict[int, dict[str, Any]] = {}
        self._contents: dict[int, bytes] = {}
        self._memory: list[Any] = []

    def record(self, content: bytes, token: int) -> int:
        """The address of the record of a canonical form."""
        if content not in self._records:
            values = check(self._declaration, as_mapping(decode(content)))
            self._records[content] = self._pack(values, token)
            self._values[self._records[content]] = values
            self._contents[self._records[content]] = content
        return self._records[content]

    def defaults(self) -> int:
        """The address of the record of a call without options; 0 if some option has no default."""
        if any(option.required for option in self._declaration.options) or self._declaration.kind == "table":
            return 0
        return self._pack(default_options(self._declaration), 0)

    def content(self, record: int) -> bytes:
        """The canonical form of the options of a record; empty for that of a call without options."""
        return self._contents.get(record, b"")

    def values(self, record: int) -> dict[str, Any]:
        """The options of a record."""
        return self._values[record]

    def _pack(self, values: dict[str, Any], token: int) -> int:
        """Write a record; only an aggregate's compiled code reads more of it than the token."""
        options = self._declaration.options if self._declaration.kind == "aggregate" else ()
        typed = [(_list_type(option), compiled_value(option, values[option.name])) for option in options]
        return self._slots(typed, token)

    def _slots(self, values: list[tuple[SqlType, Any]], token: int = 0) -> int:
        """Write values in a row: the token, then for each (present, number or address, length)."""
        slots = np.zeros(1 + 3 * len(values), np.int64)
        slots[0] = token
        for index, (type_, value) in enumerate(values):
            if value is not None:
                slots[1 + 3 * index : 4 + 3 * index] = (1, *self._slot(type_, value))
            elif type_.name == "STRUCT":  # compiled code reads it anyway: zeros and empty lists
                slots[2 + 3 * index] = self._slots([(field, None) for _, field in type_.fields])
        self._memory.append(slots)
        return int(slots.ctypes.data)

    def _slot(self, type_: SqlType, value: Any) -> tuple[int, int]:
        if isinstance(value, float):
            return int(np.float64(value).view(np.int64)), 0
        if isinstance(value, bool | int):
            return int(value), 0
        if isinstance(value, dict):
            return self._slots([(field, value[name]) for name, field in type_.fields]), 0
        content = value.encode() if isinstance(value, str) else _array(type_, value)
        memory = ctypes.create_string_buffer(bytes(content), max(1, len(bytes(content))))
        self._memory.append(memory)
        return ctypes.addressof(memory), len(content)


def _list_type(option: Parameter) -> SqlType:
    """The type of an option's value where it takes memory: the LIST among its types."""
    return next((type_ for type_ in option.types if type_.name == "LIST"), option.types[0])


def _array(type_: SqlType, value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value, np.float64 if type_.element.name in ("DOUBLE", "FLOAT") else np.int64)

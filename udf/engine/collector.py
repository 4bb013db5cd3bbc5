"""How rows of any type are collected into growable arrays and become Arrow columns again.

Every value is taken apart into *leaves*: one array of validity bytes per type, and values (numbers), bytes and ends
(texts), or ends (lists) beside it. The same walk over the types makes the compiled code that appends a row, the code
that merges two states, and the Arrow columns.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .sqltypes import SqlType, list_of, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

#: Arrow's lists and texts count their elements and bytes in 32 bits.
MOST_ELEMENTS = 2**31 - 1
_OF_PARTS = ("VARCHAR", "BLOB", "LIST", "ARRAY", "STRUCT", "HUGEINT", "UHUGEINT")
_UNITS = {"DATE": "INTEGER", "TIMESTAMP": "BIGINT", "TIMESTAMPTZ": "BIGINT", "BOOLEAN": "UTINYINT"}


@dataclass
class Collector:
    """The walk over the argument types of a relation function.

    Attributes
    ----------
    arguments : types of the arguments.
    leaves : name -> number type of every growable array.
    append : lines of compiled code that append row ``row`` of ``columns`` to ``self``.
    ends : array of ends -> array whose length they count.
    """

    arguments: tuple[SqlType, ...]
    leaves: dict[str, SqlType] = field(default_factory=dict)
    append: list[str] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)

    @classmethod
    @functools.cache
    def of(cls, arguments: tuple[SqlType, ...]) -> Collector:
        """The collector of a list of argument types."""
        made = cls(arguments)
        for index, type_ in enumerate(arguments):
            made._walk(type_, f"a{index}", f"columns[{index}]", "row", 1)
        return made

    @functools.cached_property
    def state(self) -> type:
        """A class with one growable array per leaf."""
        return type("Rows", (), {"__annotations__": {name: list_of(number) for name, number in self.leaves.items()}})

    def _leaf(self, name: str, number: str) -> str:
        self.leaves[name] = SqlType(number)
        return f"self.{name}"

    def _walk(self, type_: SqlType, name: str, column: str, row: str, depth: int) -> None:
        def line(text: str, deeper: int = 0) -> None:
            self.append.append("    " * (depth + deeper) + text)

        line(f"{name}_null = is_null({column}[1], {row})")
        line(f"{self._leaf(f'{name}_valid', 'UTINYINT')}.append(0 if {name}_null else 1)")
        if type_.name in ("VARCHAR", "BLOB"):
            content, ends = self._leaf(f"{name}_bytes", "UTINYINT"), self._leaf(f"{name}_ends", "BIGINT")
            self.ends[f"{name}_ends"] = f"{name}_bytes"
            line(f"if not {name}_null:")
            line(f"{content}.extend(string_bytes({column}[0] + {row} * 16))", 1)
            line(f"{ends}.append(len({content}))")
        elif type_.name in ("LIST", "ARRAY"):
            ends = self._leaf(f"{name}_ends", "BIGINT")
            self.ends[f"{name}_ends"] = f"{name}i_valid"
            line(f"if not {name}_null:")
            extent = "list_extent" if type_.name == "LIST" else "array_extent"
            line(f"{name}_start, {name}_length = {extent}({column}, {row})", 1)
            self._walk_numbers(type_.element, name, f"{column}[2]", depth + 1)
            line(f"for {name}_at in range({name}_start, {name}_start + {name}_length):", 1)
            self._walk(type_.element, f"{name}i", f"{column}[2]", f"{name}_at", depth + 2)
            line(f"{ends}.append(len(self.{name}i_valid))")
        elif type_.name == "STRUCT":
            for index, (_, child) in enumerate(type_.fields):
                self._walk(child, f"{name}f{index}", f"{column}[2][{index}]", row, depth)
        elif type_.name in ("HUGEINT", "UHUGEINT"):
            values = self._leaf(f"{name}_values", "BIGINT")
            line(f"{values}.append(0 if {name}_null else load({column}[0] + {row} * 16, int64))")
            line(f"{values}.append(0 if {name}_null else load({column}[0] + {row} * 16 + 8, int64))")
        else:
            storage = _number(type_)
            values = self._leaf(f"{name}_values", _UNITS.get(type_.name, type_.name))
            line(f"if {name}_null:")
            line(f"{values}.append({storage.name}(0))", 1)
            line("else:")
            line(f"{values}.append(load({column}[0] + {row} * {storage.itemsize}, {storage.name}))", 1)

    def _walk_numbers(self, element: SqlType, name: str, column: str, depth: int) -> None:
        """Append the numbers of a list at once if none is NULL; what is left of the list is empty then."""
        if element.name in _OF_PARTS:
            return
        size = _number(element).itemsize
        valid, values = f"self.{name}i_valid", f"self.{name}i_values"
        self.append += [
            "    " * depth + text
            for text in (
                f"if {column}[1] == 0:",
                f"    {valid}.resize(len({valid}) + {name}_length)",
                f"    fill({valid}[len({valid}) - {name}_length :])",
                f"    {values}.resize(len({values}) + {name}_length)",
                f"    target = address_of({values}[len({values}) - {name}_length :])",
                f"    copy_bytes(target, {column}[0] + {name}_start * {size}, {name}_length * {size})",
                f"    {name}_length = 0",
            )
        ]

    def merge_source(self) -> str:
        """Compiled code that appends the rows of ``other`` to ``self``."""
        lines = ["def merge(self, other):"]
        lines += [f"    {ends}_base = len(self.{counted})" for ends, counted in self.ends.items()]
        for name in self.leaves:
            if name in self.ends:
                lines += [f"    for index in range(len(other.{name})):"]
                lines += [f"        self.{name}.append(other.{name}[index] + {name}_base)"]
            else:
                lines += [f"    self.{name}.extend(other.{name})"]
        return "\n".join(lines) + "\n"

    def append_source(self) -> str:
        """Compiled code that appends a row."""
        return "\n".join(["def append(self, columns, row):", *self.append]) + "\n"

    def columns(self, arrays: dict[str, np.ndarray[Any, Any]]) -> list[pa.Array]:
        """Arrow columns over the collected arrays."""
        return [_column(type_, f"a{index}", arrays) for index, type_ in enumerate(self.arguments)]


def _number(type_: SqlType) -> np.dtype[Any]:
    """What DuckDB keeps a value as that is a single number."""
    number: np.dtype[Any] = np.dtype(to_arrow(SqlType(_UNITS.get(type_.name, type_.name))).to_pandas_dtype())
    return number


def _column(type_: SqlType, name: str, arrays: dict[str, np.ndarray[Any, Any]]) -> pa.Array:
    import pyarrow as pa

    valid = arrays[f"{name}_valid"]
    mask = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    count = len(valid)
    if type_.name in ("VARCHAR", "BLOB", "LIST", "ARRAY"):
        offsets = _offsets(arrays[f"{name}_ends"])
        if type_.name in ("LIST", "ARRAY"):
            child = _column(type_.element, f"{name}i", arrays)
            return pa.ListArray.from_buffers(pa.list_(child.type), count, [mask, offsets], children=[child])
        return pa.Array.from_buffers(to_arrow(type_), count, [mask, offsets, pa.py_buffer(arrays[f"{name}_bytes"])])
    if type_.name == "STRUCT":
        children = [_column(child, f"{name}f{index}", arrays) for index, (_, child) in enumerate(type_.fields)]
        fields = [pa.field(label, child.type) for (label, _), child in zip(type_.fields, children, strict=True)]
        return pa.Array.from_buffers(pa.struct(fields), count, [mask], children=children)
    values = arrays[f"{name}_values"]
    if type_.name == "BOOLEAN":
        values = np.packbits(values, bitorder="little")
    arrow = pa.decimal128(38, 0) if type_.name.endswith("HUGEINT") else to_arrow(type_)
    return pa.Array.from_buffers(arrow, count, [mask, pa.py_buffer(values)])


def _offsets(ends: np.ndarray[Any, Any]) -> pa.Buffer:
    """The offsets of lists or texts that stand end to end."""
    import pyarrow as pa

    if len(ends) and ends[-1] > MOST_ELEMENTS:
        raise ValueError(f"the lists or texts of a group have {ends[-1]} elements or bytes, the most are 2**31 - 1")
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends
    return pa.py_buffer(offsets)

"""Aggregates in two stages: the states of a first process as BLOBs, which a second one merges and finishes.

For an aggregate or relation function ``f`` a database gets ``f__partial``, which takes what ``f`` takes and gives the
state as a BLOB, and ``f__merge_3``, which takes such BLOBs of the overload number 3 and gives the result of ``f``.
Grouping, casts and the choice of an overload are DuckDB's in both; the machine code is that of ``f``.

A BLOB is a header (`_HEAD`), the options in canonical form, the number of elements of each growable array, the scalars
of the state as they lie in memory, and the elements.
"""

from __future__ import annotations

import ctypes
import struct
import zlib
from ctypes import CFUNCTYPE, c_int64
from typing import Any

import numpy as np

from . import capi, extension, machine
from .collector import Collector
from .database import connect
from .declaration import Declaration
from .layout import ARRAY_BYTES, HEADER_BYTES, NUMBERS, Attribute, Layout
from .overload import Overload, at
from .sqltypes import SqlType

#: Number of the overload, checksum of what the BLOB's reader has to agree on, bytes and token of the options.
_HEAD = struct.Struct("<HIqq")
_BLOB = SqlType("BLOB")


class _Stage(Overload):
    """One stage of an overload: which one among all overloads of the function, and where its state has its arrays."""

    def __init__(self, declaration: Declaration, arguments: tuple[SqlType, ...], with_options: bool, number: int):
        super().__init__(declaration, arguments, with_options)
        self.number = number
        owner = Collector.of(arguments).state if declaration.kind == "relation" else declaration.body
        layout = Layout.of(owner)
        self.size = layout.size
        self.arrays: list[Attribute] = [each for each in layout.attributes.values() if each.is_array]
        self.scalars_at = HEADER_BYTES + ARRAY_BYTES * len(self.arrays)
        agreed = (declaration.name, repr(layout), [str(type_) for type_ in arguments], str(declaration.options))
        self.checksum = zlib.crc32(repr(agreed).encode())


class _Partial(_Stage):
    """The first stage: it takes in rows as the function does, and its result is the state."""

    @property
    def name(self) -> str:
        return f"{self.declaration.name}__partial"

    @property
    def result(self) -> SqlType:
        return _BLOB

    def machine_code(self) -> dict[str, int]:
        return {**super().machine_code(), "finalize": capi.address(_write_states)}

    def blob(self, state: int) -> bytes | None:
        """A state as bytes; None if it has seen no rows."""
        if not c_int64.from_address(state).value:
            return None
        record = c_int64.from_address(state + 8).value
        options, token = self.records.content(record), c_int64.from_address(record).value
        places = [(c_int64 * 2).from_address(state + array.offset) for array in self.arrays]
        return b"".join(
            (
                _HEAD.pack(self.number, self.checksum, len(options), token),
                options,
                struct.pack(f"<{len(places)}q", *(length for _, length in places)),
                ctypes.string_at(state + self.scalars_at, self.size - self.scalars_at),
                *(
                    ctypes.string_at(memory, length * NUMBERS[array.number.name])
                    for array, (memory, length) in zip(self.arrays, places, strict=True)
                    if length
                ),
            )
        )


class _Merge(_Stage):
    """The second stage: it takes states in, and its result is the function's."""

    @property
    def name(self) -> str:
        return f"{self.declaration.name}__merge_{self.number}"

    @property
    def all_arguments(self) -> tuple[SqlType, ...]:
        return (_BLOB,)

    def machine_code(self) -> dict[str, int]:
        return {**super().machine_code(), "update": capi.address(_merge_states)}

    def merge(self, info: int, content: bytes, target: int) -> None:
        """Merge the state that a BLOB holds into another.

        Raises
        ------
        ValueError
            The BLOB is not a state of this function, or one of another version of it.
        """
        buffer = np.frombuffer(content, np.uint8)
        source = np.zeros(self.size // 8, np.int64)
        self._lay_out(content, buffer.ctypes.data if len(buffer) else 0, source)
        runtime = machine.runtime()
        clone = CFUNCTYPE(c_int64, c_int64, c_int64)(runtime["ironlake_state_clone"])
        if not c_int64.from_address(target).value:
            cloned = clone(target, source.ctypes.data)
        else:
            own = np.zeros_like(source)  # the function may change what it merges, which the BLOB must not be
            cloned = clone(own.ctypes.data, source.ctypes.data)
            pointers = np.array([own.ctypes.data, target], np.int64)
            if cloned:
                combine = CFUNCTYPE(None, *[c_int64] * 5)(self.code["combine"])
                combine(self.address, info, pointers.ctypes.data, pointers.ctypes.data + 8, 1)
            CFUNCTYPE(None, c_int64, c_int64)(runtime["ironlake_destroy"])(pointers.ctypes.data, 1)
        if not cloned:
            raise MemoryError("no memory left to copy a state")

    def _lay_out(self, content: bytes, start: int, state: np.ndarray[Any, Any]) -> None:
        """Make a state of a BLOB, whose arrays lie in the BLOB."""
        known = len(content) >= _HEAD.size and _HEAD.unpack_from(content)[:2] == (self.number, self.checksum)
        if not known:
            raise ValueError("a partial state was made by another version of the function")
        _, _, length, token = _HEAD.unpack_from(content)
        place = _HEAD.size + length
        options = content[_HEAD.size : place]
        lengths = struct.unpack_from(f"<{len(self.arrays)}q", content, place)
        widths = [NUMBERS[array.number.name] for array in self.arrays]
        scalars = place + 8 * len(lengths)
        place = scalars + self.size - self.scalars_at
        if place + sum(map(int.__mul__, lengths, widths)) != len(content):
            raise ValueError("a partial state is damaged")
        state[:2] = self.address, self.records.record(options, token) if options else self.default_record
        state[self.scalars_at // 8 :] = np.frombuffer(content, np.int64, self.size // 8 - self.scalars_at // 8, scalars)
        for array, count, width in zip(self.arrays, lengths, widths, strict=True):
            if count:
                state[array.offset // 8 : array.offset // 8 + 3] = start + place, count, count * width
            place += count * width


@CFUNCTYPE(c_int64, *[c_int64] * 6)
def _write_states(address: int, info: int, states: int, result: int, count: int, offset: int) -> int:
    stage = at(address)
    try:
        import pyarrow as pa

        from .arrow import write_column

        assert isinstance(stage, _Partial)
        blobs = [stage.blob(state) for state in (c_int64 * count).from_address(states)]
        write_column(pa.array(blobs, pa.binary()), result, offset)
        return 1
    except BaseException as error:  # the C boundary
        stage.fail(info, error)
        return 0


@CFUNCTYPE(None, *[c_int64] * 4)
def _merge_states(address: int, info: int, chunk: int, states: int) -> None:
    stage = at(address)
    try:
        from .arrow import chunk_to_batch

        assert isinstance(stage, _Merge)
        blobs = chunk_to_batch(chunk, ["state"]).column(0).to_pylist()
        for blob, state in zip(blobs, (c_int64 * len(blobs)).from_address(states), strict=True):
            if blob is not None:
                stage.merge(info, blob, state)
    except BaseException as error:  # the C boundary
        stage.fail(info, error)


class Stages:
    """The functions of both stages in one database; they are registered when they are first asked for."""

    def __init__(self, cell: c_int64) -> None:
        self._cell = cell
        self._known: set[str] = set()

    def partial(self, declaration: Declaration) -> str:
        """The name of the function that gives states of an aggregate."""
        made = [_Partial(*each, number) for number, each in enumerate(_overloads(declaration))]
        return self._register(declaration, made)

    def merge(self, declaration: Declaration, state: bytes | None) -> str:
        """The name of the function that merges states like this one, or those of groups without rows.

        Raises
        ------
        ValueError
            The aggregate has no overload that makes such states.
        """
        overloads, number = _overloads(declaration), _HEAD.unpack_from(state)[0] if state else 0
        if number >= len(overloads):
            raise ValueError(f"{declaration.name}: a partial state was made by another version of the function")
        return self._register(declaration, [_Merge(*overloads[number], number)])

    def _register(self, declaration: Declaration, stages: list[_Partial] | list[_Merge]) -> str:
        name = stages[0].name
        if name not in self._known:
            with connect(self._cell) as connection:
                extension.register_set(connection, declaration, "aggregate", stages, extension.make_aggregate)
            self._known.add(name)
        return name


def _overloads(declaration: Declaration) -> list[tuple[Declaration, tuple[SqlType, ...], bool]]:
    return [
        (each, arguments, with_options)
        for each in (declaration, *declaration.others)
        for arguments, with_options in each.argument_lists()
    ]

"""The compiled callbacks of an aggregate overload: update a chunk, merge states, write results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numba import njit

from .collector import Collector
from .declaration import Declaration
from .layout import ARRAY_BYTES, HEADER_BYTES, Layout
from .memory import (
    address_of,
    chunk_size,
    chunk_vector,
    copy_bytes,
    guarded,
    load,
    prefetch,
    state_clone,
    store,
    zero_bytes,
)
from .options import CAPACITY, default_values
from .readers import array_extent, is_null, list_extent, reader, row_reader
from .sqltypes import SqlType
from .state import as_state, state_type
from .strings import string_bytes
from .writers import writer

_LINE = 64  # bytes of a cache line
#: Where the native record of an overload has the address of the default options' record.
_DEFAULTS = 48


class Steps(NamedTuple):
    """The compiled steps that the callbacks are made of.

    Attributes
    ----------
    open : columns of a chunk.
    skip : whether a row of the columns has a NULL that update must not see.
    skipped : what a state does about such a row, or None to leave the state alone.
    update : put a row of the columns into a state.
    fetch_ahead : ask for the memory of states some rows ahead.
    """

    open: Any
    skip: Any
    skipped: Any
    update: Any
    fetch_ahead: Any


def state_kernels(declaration: Declaration, layout: Layout) -> dict[str, tuple[Callable[..., int | None], str]]:
    """The callbacks of an aggregate class that all its overloads share: combine and finalize."""
    self_type, _, merge, finish = _behaviour(declaration)
    wake, _ = _wakes(declaration, layout, declaration.jit_flags, False)
    return {
        "combine": _combine_callback(merge, _fetch_ahead(layout.size, layout.arrays), self_type),
        "finalize": _finalize_callback(declaration, finish, wake, self_type, layout),
    }


def update_kernels(
    declaration: Declaration, layout: Layout, arguments: tuple[SqlType, ...], with_options: bool
) -> dict[str, tuple[Callable[..., int | None], str]]:
    """The callback of an overload that takes in rows, as a Python function for Numba, with its signature."""
    owner, settings = declaration.body, declaration.settings
    flags = declaration.jit_flags
    self_type, update, _, _ = _behaviour(declaration)
    names = [parameter.name for parameter in declaration.parameters]
    readers = [reader(type_, f"argument {name}") for type_, name in zip(arguments, names, strict=False)]
    gap = declaration.options_at if with_options else -1
    open_columns, has_null, read_row = row_reader(readers, settings["nulls"], gap, hasattr(owner, "skipped"))
    steps = Steps(
        open=open_columns,
        skip=njit(lambda columns, row: False) if settings["nulls"] else has_null,
        skipped=njit(owner.skipped, **flags) if hasattr(owner, "skipped") else None,
        update=njit(lambda self, columns, row: update(self, *read_row(columns, row)), forceinline=True),
        fetch_ahead=_fetch_ahead(layout.size, layout.arrays),
    )
    wakes = _wakes(declaration, layout, flags, with_options)
    return {"update": _update_callback(steps, wakes, self_type, gap)}


@functools.cache  # the overloads of a function share compiled methods
def _behaviour(declaration: Declaration) -> tuple[Any, Any, Any, Any]:
    """The type of ``self``, and update, merge and finish for compiled code."""
    owner, flags = declaration.body, declaration.jit_flags
    self_type = state_type(owner, Layout.of(owner), declaration.options, flags)
    update = njit(owner.update, forceinline=True, **flags)
    return self_type, update, njit(owner.merge, **flags), njit(owner.finish, **flags)


def collecting_kernels(
    collector: Collector, arguments: tuple[SqlType, ...], gap: int
) -> dict[str, tuple[Callable[..., int | None], str]]:
    """The callbacks of a relation function: they collect rows; finishing a group is Python's.

    ``gap`` is the position of the options among the columns, -1 if there are none.
    """
    layout = Layout.of(collector.state)
    self_type = state_type(collector.state, layout, (), {})
    readers = [reader(type_, "") for type_ in arguments]
    scope: dict[str, Any] = {
        "is_null": is_null, "load": load, "string_bytes": string_bytes, "list_extent": list_extent,
        "array_extent": array_extent, "address_of": address_of, "copy_bytes": copy_bytes, "fill": _fill,
    }  # fmt: skip
    scope |= {f"{kind}{bits}": getattr(np, f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
    scope |= {"float32": np.float32, "float64": np.float64}
    exec(collector.append_source() + collector.merge_source(), scope)
    fetch_ahead = _fetch_ahead(layout.size, layout.arrays)
    steps = Steps(
        open=row_reader(readers, True, gap)[0],
        skip=njit(lambda columns, row: False),
        skipped=None,
        update=njit(scope["append"]),
        fetch_ahead=fetch_ahead,
    )
    return {
        "update": _update_callback(steps, _wakes(None, layout, {}, gap >= 0), self_type, gap),
        "combine": _combine_callback(njit(scope["merge"]), fetch_ahead, self_type),
        "gather": (_gather, "void(int64, int64, int64, int64, int64, int64)"),
    }


@njit
def _fill(flags: Any) -> None:
    """Set flags."""
    for index in range(len(flags)):
        flags[index] = 1


def _gather(states: int, count: int, array: int, width: int, starts: int, target: int) -> None:
    """Put a growable array of many states end to end: first where each starts, then, given a target, the elements.

    ``array`` is its offset in a state, ``width`` the bytes of an element.
    """
    total = 0
    for index in range(count):
        place = load(states + 8 * index, np.int64) + array
        length = load(place + 8, np.int64)
        if target != 0:
            copy_bytes(target + total * width, load(place, np.int64), length * width)
        total += length
        store(starts + 8 * (index + 1), total, np.int64)


def _update_callback(steps: Steps, wakes: tuple[Any, Any], self_type: Any, gap: int) -> tuple[Callable[..., None], str]:
    wake, wake_with_record = wakes
    if wake_with_record is None:
        update_chunk = _update_without_options(steps, wake, self_type)
    else:
        update_chunk = _update_with_options(steps, wake_with_record, self_type, gap)

    def update_callback(address: int, info: int, chunk: int, states: int) -> None:
        guarded(update_chunk, (address, info, chunk, states), address, info)

    return update_callback, "void(int64, int64, int64, int64)"


def _combine_callback(merge: Any, fetch_ahead: Any, self_type: Any) -> tuple[Callable[..., None], str]:
    @njit
    def combine_states(sources: int, targets: int, count: int) -> None:
        for index in range(count):
            fetch_ahead(sources, index, count)
            fetch_ahead(targets, index, count)
            source, target = load(sources + 8 * index, np.int64), load(targets + 8 * index, np.int64)
            if load(source, np.int64) == 0:
                continue
            if load(target, np.int64) != 0:
                merge(as_state(target, self_type), as_state(source, self_type))
            elif state_clone(target, source) == 0:
                raise MemoryError("no memory left to copy a state")

    def combine_callback(address: int, info: int, sources: int, targets: int, count: int) -> None:
        guarded(combine_states, (sources, targets, count), address, info)

    return combine_callback, "void(int64, int64, int64, int64, int64)"


def _finalize_callback(
    declaration: Declaration, finish: Any, wake: Any, self_type: Any, layout: Layout
) -> tuple[Callable[..., int], str]:
    open_result, write = writer(cast(SqlType, declaration.result))
    finish_empty = declaration.settings["empty"]
    fetch_ahead = _fetch_ahead(layout.size, layout.arrays)

    @njit
    def finish_states(address: int, states: int, result: int, count: int, offset: int) -> None:
        place = open_result(result)
        for index in range(count):
            fetch_ahead(states, index, count)
            state = load(states + 8 * index, np.int64)
            self = as_state(state, self_type)
            if load(state, np.int64) == 0:
                if not finish_empty:
                    write(place, offset + index, None)
                    continue
                wake(self, state, address)
            write(place, offset + index, finish(self))

    def finalize_callback(address: int, info: int, states: int, result: int, count: int, offset: int) -> int:
        return guarded(finish_states, (address, states, result, count, offset), address, info)

    return finalize_callback, "int64(int64, int64, int64, int64, int64, int64)"


def _update_without_options(steps: Steps, wake: Any, self_type: Any) -> Any:
    open_columns, skip, skipped, update, fetch_ahead = steps
    ignore = skipped is None
    skipped = skipped or _nothing

    @njit
    def update_chunk(address: int, info: int, chunk: int, states: int) -> None:
        rows = chunk_size(chunk)
        columns = open_columns(chunk)
        grouped = load(states, np.int64) != load(states + 8 * (rows - 1), np.int64)
        for row in range(rows):
            if grouped:
                fetch_ahead(states, row, rows)
            skipping = skip(columns, row)
            if ignore and skipping:
                continue
            state = load(states + 8 * row, np.int64)
            self = as_state(state, self_type)
            if load(state, np.int64) == 0:
                wake(self, state, address)
            if skipping:
                skipped(self)
            else:
                update(self, columns, row)

    return update_chunk


def _update_with_options(steps: Steps, wake: Any, self_type: Any, gap: int) -> Any:
    open_columns, skip, skipped, update, fetch_ahead = steps
    ignore = skipped is None
    skipped = skipped or _nothing
    open_options, record_of = _options_functions(gap)

    @njit
    def update_chunk(address: int, info: int, chunk: int, states: int) -> None:
        rows = chunk_size(chunk)
        columns = open_columns(chunk)
        options = open_options(chunk, rows)
        constant, token, checked = options[1], options[3][1], 0
        grouped = load(states, np.int64) != load(states + 8 * (rows - 1), np.int64)
        for row in range(rows):
            if grouped:
                fetch_ahead(states, row, rows)
            skipping = skip(columns, row)
            if ignore and skipping:
                continue
            state = load(states + 8 * row, np.int64)
            self = as_state(state, self_type)
            if not (constant and (state == checked or _has_record(state, token))):
                record = record_of(options, address, info, state, row)
                if record == -1:
                    return  # Python has told DuckDB what is wrong with the options
                if load(state, np.int64) == 0:
                    wake(self, state, address, record)
                checked = state
            if skipping:
                skipped(self)
            else:
                update(self, columns, row)

    return update_chunk


@njit(forceinline=True)
def _has_record(state: int, token: int) -> bool:
    """Whether a state has seen a row, and options with this token."""
    return load(state, np.int64) != 0 and load(load(state + 8, np.int64), np.int64) == token


@functools.cache
def _fetch_ahead(size: int, arrays: int) -> Any:
    """A compiled function that asks for the memory of states some rows ahead: with many groups each is a cache miss."""
    last = min(size, 4 * _LINE) - 1
    arrays_end = HEADER_BYTES + ARRAY_BYTES * min(arrays, 2)

    @njit(forceinline=True)
    def fetch_ahead(states: int, row: int, rows: int) -> None:
        if row + 16 < rows:
            state = load(states + 8 * (row + 16), np.int64)
            for offset in range(0, last, _LINE):
                prefetch(state + offset)
            prefetch(state + last)
        if arrays > 0 and row + 8 < rows:
            state = load(states + 8 * (row + 8), np.int64)
            for offset in range(HEADER_BYTES, arrays_end, ARRAY_BYTES):
                memory = load(state + offset, np.int64)
                if memory != 0:
                    prefetch(memory)

    return fetch_ahead


@njit
def _nothing(self: Any) -> None:
    """What an aggregate without ``skipped`` does about a skipped row."""


def _options_functions(column: int) -> tuple[Any, Any]:
    """Compiled functions: look at a chunk's options once, and find the record of a row."""
    from .option_codec import options_record, rows_alike, write_row

    @njit
    def write(vector: int, row: int, content: Any, facts: Any) -> None:
        if write_row(vector, row, address_of(content), address_of(facts)) == 0:
            raise ValueError("the options are longer than 64 KiB")

    @njit
    def open_options(chunk: int, rows: int) -> Any:
        vector = chunk_vector(chunk, column)
        content = np.empty(CAPACITY, np.uint8)
        facts = np.zeros(4, np.int64)  # length, token, and the record last found for a token
        write(vector, 0, content, facts)
        return vector, rows_alike(vector, rows) != 0, content, facts

    @njit
    def record_of(options: Any, address: int, info: int, state: int, row: int) -> int:
        vector, alike, content, facts = options
        if not alike:
            write(vector, row, content, facts)
        if load(state, np.int64) != 0:
            record = load(state + 8, np.int64)
            if load(record, np.int64) != facts[1]:
                raise ValueError("the options differ inside one group; all rows of a group need the same options")
            return record
        if facts[2] != facts[1]:
            facts[3] = options_record(address, info, address_of(content), facts[0], facts[1])
            facts[2] = facts[1] if facts[3] != -1 else 0
        return facts[3]

    return open_options, record_of


def _assignments(layout: Layout) -> tuple[str, dict[str, Any]]:
    """Code that sets the default values of a state, and the values it refers to."""
    values = {name: each.default for name, each in layout.attributes.items() if each.default is not None}
    return "".join(f"    self.{name} = initial_{name}\n" for name in values), {
        f"initial_{k}": v for k, v in values.items()
    }


def _wakes(
    declaration: Declaration | None, layout: Layout, flags: dict[str, Any], with_options: bool
) -> tuple[Any, Any]:
    """Compiled functions that make an untouched state a fresh one: with default options, and with a record of some."""
    init = getattr(declaration.body, "init", None) if declaration is not None else None
    options = declaration.options if declaration is not None else ()
    scope = {f"default{index}": value for index, value in enumerate(default_values(options))}
    wake = _wake(layout, init, flags, ", ".join(scope), dict(scope))
    missing = [option.name for option in options if option.required]
    told = f"option {missing[0]!r} is missing; it has no default" if missing else ""

    def refuse(self: Any, state: int, address: int) -> None:
        raise ValueError(told)

    with_defaults = njit(
        refuse
        if missing
        else lambda self, state, address: wake(self, state, address, load(address + _DEFAULTS, np.int64))
    )
    if not with_options:
        return with_defaults, None
    if init is None:
        return with_defaults, wake
    from .option_codec import record_reader

    return with_defaults, _wake(layout, init, flags, "*read(record)", {"read": record_reader(options)})


def _wake(layout: Layout, init: Any, flags: dict[str, Any], values: str, scope: dict[str, Any]) -> Any:
    """Zeros, the declaration's address, the options' record, default values, ``init``."""
    scope |= {
        "zero_bytes": zero_bytes,
        "store": store,
        "int64": np.int64,
        "init": njit(init, **flags) if init else None,
    }
    assignments, initial = _assignments(layout)
    scope |= initial
    source = (
        "def wake(self, state, address, record):\n"
        f"    zero_bytes(state, {layout.size})\n"
        "    store(state, address, int64)\n"
        "    store(state + 8, record, int64)\n"
        f"{assignments}" + (f"    init(self, {values})\n" if init else "")
    )
    exec(source, scope)
    return njit(scope["wake"])

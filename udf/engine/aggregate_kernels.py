"""The compiled callbacks of an aggregate overload: update a chunk, merge states, write results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit

from .columns import reader, row_reader, writer
from .declaration import Declaration
from .layout import Layout
from .memory import address_of, chunk_size, chunk_vector, guarded, load, state_clone, store, vector_type, zero_bytes
from .options import default_values
from .sqltypes import SqlType
from .state import as_state, state_type


def kernels(
    declaration: Declaration, layout: Layout, arguments: tuple[SqlType, ...], with_options: bool
) -> dict[str, tuple[Callable[..., None], str]]:
    """The callbacks as Python functions for Numba, with their signatures."""
    owner, settings = declaration.body, declaration.settings
    flags = {name: settings[name] for name in ("fastmath", "boundscheck")}
    self_type = state_type(owner, layout, flags)
    update, merge, finish = (njit(getattr(owner, method), **flags) for method in ("update", "merge", "finish"))
    wake = _wake_with_defaults(declaration, layout, flags)
    update_chunk = (_update_with_options if with_options else _update_without_options)(
        declaration, layout, arguments, self_type, update, wake, flags
    )
    write = writer(cast(SqlType, declaration.result))
    finish_empty = settings["empty"]

    @njit
    def combine_states(sources: int, targets: int, count: int) -> None:
        for index in range(count):
            source, target = load(sources + 8 * index, np.int64), load(targets + 8 * index, np.int64)
            if load(source, np.int64) == 0:
                continue
            if load(target, np.int64) != 0:
                merge(as_state(target, self_type), as_state(source, self_type))
            elif state_clone(target, source) == 0:
                raise MemoryError("no memory left to copy a state")

    @njit
    def finish_states(address: int, states: int, result: int, count: int, offset: int) -> None:
        for index in range(count):
            state = load(states + 8 * index, np.int64)
            self = as_state(state, self_type)
            if load(state, np.int64) == 0:
                if not finish_empty:
                    write(result, offset + index, None)
                    continue
                wake(self, state, address)
            write(result, offset + index, finish(self))

    def update_callback(address: int, info: int, chunk: int, states: int) -> None:
        guarded(update_chunk, (address, info, chunk, states), address, info)

    def combine_callback(address: int, info: int, sources: int, targets: int, count: int) -> None:
        guarded(combine_states, (sources, targets, count), address, info)

    def finalize_callback(address: int, info: int, states: int, result: int, count: int, offset: int) -> None:
        guarded(finish_states, (address, states, result, count, offset), address, info)

    return {
        "update": (update_callback, "void(int64, int64, int64, int64)"),
        "combine": (combine_callback, "void(int64, int64, int64, int64, int64)"),
        "finalize": (finalize_callback, "void(int64, int64, int64, int64, int64, int64)"),
    }


def _row_functions(declaration: Declaration, arguments: tuple[SqlType, ...]) -> tuple[Any, Any, Any]:
    names = [parameter.name for parameter in declaration.parameters]
    readers = [reader(type_, f"argument {name}") for type_, name in zip(arguments, names, strict=False)]
    return row_reader(readers, nulls=declaration.settings["nulls"])


def _update_without_options(
    declaration: Declaration,
    layout: Layout,
    arguments: tuple[SqlType, ...],
    self_type: Any,
    update: Any,
    wake: Any,
    flags: dict[str, Any],
) -> Any:
    open_columns, has_null, read_row = _row_functions(declaration, arguments)
    skip_nulls = not declaration.settings["nulls"]

    @njit
    def update_chunk(address: int, info: int, chunk: int, states: int) -> None:
        columns = open_columns(chunk)
        for row in range(chunk_size(chunk)):
            if skip_nulls and has_null(columns, row):
                continue
            state = load(states + 8 * row, np.int64)
            self = as_state(state, self_type)
            if load(state, np.int64) == 0:
                wake(self, state, address)
            update(self, *read_row(columns, row))

    return update_chunk


def _update_with_options(
    declaration: Declaration,
    layout: Layout,
    arguments: tuple[SqlType, ...],
    self_type: Any,
    update: Any,
    wake: Any,
    flags: dict[str, Any],
) -> Any:
    open_columns, has_null, read_row = _row_functions(declaration, arguments)
    skip_nulls = not declaration.settings["nulls"]
    wake_with_record = _wake_with_record(declaration, layout, flags)
    open_options, record_of = _options_functions(len(arguments))

    @njit
    def update_chunk(address: int, info: int, chunk: int, states: int) -> None:
        rows = chunk_size(chunk)
        columns = open_columns(chunk)
        options = open_options(chunk, rows)
        for row in range(rows):
            if skip_nulls and has_null(columns, row):
                continue
            state = load(states + 8 * row, np.int64)
            self = as_state(state, self_type)
            record = record_of(options, address, info, state, row)
            if record == -1:
                return  # Python has told DuckDB what is wrong with the options
            if load(state, np.int64) == 0:
                wake_with_record(self, state, address, record)
            update(self, *read_row(columns, row))

    return update_chunk


def _options_functions(column: int) -> tuple[Any, Any]:
    """Compiled functions: look at a chunk's options once, and find the record of a row."""
    from .option_codec import CAPACITY, all_rows_alike, encode, options_record, release_type, token_of

    @njit
    def open_options(chunk: int, rows: int) -> Any:
        vector = chunk_vector(chunk, column)
        handle = vector_type(vector)
        content = np.empty(CAPACITY, np.uint8)
        alike = all_rows_alike(vector, handle, 0, rows)
        length = encode(vector, handle, 0, content, 0)
        release_type(handle)
        #              length, token, and the record last found for a token
        facts = np.array([length, token_of(content[:length]), 0, 0])
        return vector, alike, content, facts

    @njit
    def record_of(options: Any, address: int, info: int, state: int, row: int) -> int:
        vector, alike, content, facts = options
        if not alike:
            handle = vector_type(vector)
            facts[0] = encode(vector, handle, row, content, 0)
            facts[1] = token_of(content[: facts[0]])
            release_type(handle)
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


def _assignments(layout: Layout) -> str:
    attributes = [attribute for attribute in layout.attributes.values() if attribute.default is not None]
    return "".join(f"    self.{attribute.name} = {attribute.default!r}\n" for attribute in attributes)


def _wake(declaration: Declaration, layout: Layout, flags: dict[str, Any], values: str, scope: dict[str, Any]) -> Any:
    """A compiled function that makes an untouched state a fresh one: zeros, default values, ``init``."""
    scope |= {"zero_bytes": zero_bytes, "store": store, "int64": np.int64, "load": load}
    call = ""
    if hasattr(declaration.body, "init"):
        scope["init"] = njit(declaration.body.init, **flags)
        call = f"    init(self, {values})\n"
    source = (
        "def wake(self, state, address, record):\n"
        f"    zero_bytes(state, {layout.size})\n"
        "    store(state, address, int64)\n"
        "    store(state + 8, record, int64)\n"
        f"{_assignments(layout)}{call}"
    )
    exec(source, scope)
    return njit(scope["wake"])


def _wake_with_defaults(declaration: Declaration, layout: Layout, flags: dict[str, Any]) -> Any:
    scope = {f"default{index}": value for index, value in enumerate(default_values(declaration.options))}
    wake = _wake(declaration, layout, flags, ", ".join(scope), dict(scope))
    return njit(lambda self, state, address: wake(self, state, address, 0))


def _wake_with_record(declaration: Declaration, layout: Layout, flags: dict[str, Any]) -> Any:
    from .option_codec import record_reader

    return _wake(declaration, layout, flags, "*read(record)", {"read": record_reader(declaration.options)})

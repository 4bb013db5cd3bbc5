"""The relation kind: all rows of a group as Arrow columns into a plain Python function, one value out.

It is an aggregate whose state collects the rows: compiled code appends each argument to growable arrays laid out as
Arrow lays them out (values, validity, offsets, children), merging appends one state's arrays to another's, and
``finish`` is Python. DuckDB finishes up to 2,048 groups at a time; their arrays are put end to end and wrapped as Arrow
columns once, and the body gets the slice of each group in turn, or all groups that have the same options at once.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_int64
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from . import capi, machine
from .collector import MOST_ELEMENTS, Collector
from .declaration import Declaration, DeclarationError, Documentation, parameters_of, result_of
from .layout import NUMBERS, Layout
from .options import default_options
from .overload import Overload, at
from .sqltypes import SqlType, single, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

_gather = functools.cache(CFUNCTYPE(None, *[c_int64] * 6))
#: Stands for the options of a group that has seen no rows; no record has this address.
_NO_ROWS = -1


def declare(
    function: Callable[..., Any], *, name: str | None = None, form: Literal["group", "groups"] = "group"
) -> Declaration:
    """Read a relation function.

    Parameters
    ----------
    function : annotated column parameters arrive as pyarrow Arrays (NULLs included), keyword-only parameters are
        options; it returns a Python value of the declared result type, or None for NULL.
    name : SQL name; the function's own by default.
    form : what the function works on: the rows of one group, or of many. With ``groups`` an int64 array comes before
        the columns: group i has the rows from ``starts[i]`` to ``starts[i + 1]``; it returns as many values as there
        are groups, as a list or a pyarrow Array.

    Raises
    ------
    DeclarationError
        If a type is missing or there is no such form.
    """
    label = name or function.__name__
    if form not in ("group", "groups"):
        raise DeclarationError(f"relation {label}: form must be 'group' or 'groups', got {form!r}")
    columns, options = parameters_of(function, skip=int(form == "groups"))
    if not columns:
        raise DeclarationError(f"relation {label}: a relation function needs at least one column argument")
    try:
        result = single(result_of(function))
    except TypeError as error:
        raise DeclarationError(f"relation {label}: result: {error}") from None
    documentation = Documentation.of(function)
    return Declaration(label, "relation", columns, options, result, function, documentation, {"form": form})


def compile_overload(declaration: Declaration, arguments: tuple[SqlType, ...], with_options: bool) -> dict[str, int]:
    """Machine code that collects rows, and the Python callback that finishes groups."""
    collector = Collector.of(arguments)
    gap = declaration.options_at if with_options else -1
    key = machine.fingerprint("relation", repr(arguments), gap)

    def build() -> dict[str, tuple[Callable[..., int | None], str]]:
        from .aggregate_kernels import collecting_kernels

        return collecting_kernels(collector, arguments, gap)

    addresses = machine.compile_functions(build, key, declaration.name)
    layout = Layout.of(collector.state)
    return {**addresses, "finalize": capi.address(_finish), "arrays": layout.arrays, "size": layout.size}


@CFUNCTYPE(c_int64, c_int64, c_int64, c_int64, c_int64, c_int64, c_int64)
def _finish(address: int, info: int, states: int, result: int, count: int, offset: int) -> int:
    overload = at(address)
    try:
        from .arrow import write_column

        write_column(_results(overload, list((c_int64 * count).from_address(states))), result, offset)
        return 1
    except BaseException as error:  # the C boundary
        overload.fail(info, error)
        return 0


def _results(overload: Overload, states: list[int]) -> pa.Array:
    """The values of groups, a call of the body for those with the same options; a group without rows is NULL."""
    import pyarrow as pa

    by_record: dict[int, list[int]] = {}
    for index, state in enumerate(states):
        declaration, record = (c_int64 * 2).from_address(state)
        by_record.setdefault(record if declaration else _NO_ROWS, []).append(index)
    type_ = to_arrow(cast(SqlType, overload.declaration.result))
    parts = []
    for record, members in by_record.items():
        if record == _NO_ROWS:
            parts.append(pa.nulls(len(members), type_))
        else:
            parts.append(_values(overload, record, [states[index] for index in members], type_))
    if len(parts) == 1:
        return parts[0]
    places = np.argsort(np.concatenate([np.array(members) for members in by_record.values()]))
    return pa.concat_arrays(parts).take(pa.array(places))


def _values(overload: Overload, record: int, states: list[int], type_: pa.DataType) -> pa.Array:
    """The values of groups that have the same options, from the rows that their states collected."""
    import pyarrow as pa

    declaration = overload.declaration
    starts, longest, columns_of = _rows(overload, states)
    if longest > MOST_ELEMENTS and len(states) > 1:
        half = len(states) // 2
        return pa.concat_arrays([_values(overload, record, part, type_) for part in (states[:half], states[half:])])
    columns = columns_of()
    options = overload.records.values(record) if overload.with_options else default_options(declaration)
    if declaration.settings["form"] == "groups":
        values = declaration.body(starts, *columns, **options)
        if len(values) != len(states):
            raise ValueError(f"the function returned {len(values)} values for {len(states)} groups")
        return values.cast(type_) if isinstance(values, pa.Array) else _column(list(values), type_)
    made = []
    for start, end in itertools.pairwise(starts.tolist()):
        value = declaration.body(*(column.slice(start, end - start) for column in columns), **options)
        made.append(value._asdict() if hasattr(value, "_asdict") else value)
    return _column(made, type_)


def _column(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Values as an Arrow array; lists that are Arrow's already, in STRUCTs too, are put end to end, not taken apart."""
    import pyarrow as pa

    empty = pa.array([value is None for value in values])
    if pa.types.is_struct(type_) and all(value is None or isinstance(value, dict) for value in values):
        fields = [type_.field(index) for index in range(type_.num_fields)]
        given = [value or {} for value in values]
        children = [_column([value.get(each.name) for value in given], each.type) for each in fields]
        return pa.StructArray.from_arrays(children, fields=fields, mask=empty)
    lists = [value.values if isinstance(value, pa.ListScalar) else value for value in values]
    arrays = [value for value in lists if isinstance(value, pa.Array)]
    if not arrays or not pa.types.is_list(type_) or len(arrays) + empty.true_count < len(lists):
        return pa.array(values, type_)
    lengths = [0 if value is None else len(value) for value in lists]
    content = pa.concat_arrays(arrays).cast(type_.value_type)
    return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int32()), content, mask=empty)


def _rows(overload: Overload, states: list[int]) -> tuple[np.ndarray[Any, Any], int, Callable[[], list[pa.Array]]]:
    """The rows that states collected, end to end: where each state's start, the longest array, and all columns."""
    collector = Collector.of(overload.arguments)
    count, pointers = len(states), (c_int64 * len(states))(*states)
    attributes = Layout.of(collector.state).attributes
    starts = {name: np.zeros(count + 1, np.int64) for name in attributes}

    def gather(name: str, target: int) -> None:
        width, place = NUMBERS[attributes[name].number.name], attributes[name].offset
        _gather(overload.code["gather"])(
            ctypes.addressof(pointers), count, place, width, starts[name].ctypes.data, target
        )

    def columns() -> list[pa.Array]:
        arrays = {}
        for name, attribute in attributes.items():
            arrays[name] = np.empty(starts[name][-1], to_arrow(attribute.number).to_pandas_dtype())
            gather(name, arrays[name].ctypes.data)
        for ends, counted in collector.ends.items():
            arrays[ends] += np.repeat(starts[counted][:-1], np.diff(starts[ends]))
        return collector.columns(arrays)

    for name in attributes:
        gather(name, 0)
    return starts["a0_valid"], max(int(each[-1]) for each in starts.values()), columns

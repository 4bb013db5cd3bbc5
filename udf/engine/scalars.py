"""The scalar kind: compiled row by row, or Python over whole columns.

``form="rows"`` (the default) compiles the function with Numba and calls it for every row. ``form="numpy"`` and
``form="arrow"`` call it once per chunk with whole columns. A row with a NULL argument gives NULL without a call,
unless the function is declared with ``nulls=True``.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CFUNCTYPE, c_void_p
from typing import TYPE_CHECKING, Any, Literal, cast

from . import access, capi, machine
from .declaration import Declaration, DeclarationError, Documentation, parameters_of, result_of
from .options import check
from .overload import Overload, at
from .sqltypes import SqlType, single, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa


def declare(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    form: Literal["rows", "numpy", "arrow"] = "rows",
    nulls: bool = False,
    volatile: bool = False,
    overload: bool = False,
    fastmath: bool = False,
    boundscheck: bool = True,
) -> Declaration:
    """Read a scalar function.

    Parameters
    ----------
    function : with annotated parameters and result; keyword-only parameters are options (not with ``form="rows"``).
    name : SQL name; the function's own by default.
    form : what the function works on: one row (compiled), NumPy columns or Arrow columns.
    nulls : NULL arguments are passed on (as None, or inside Arrow columns).
    volatile : the result may differ between calls with the same arguments.
    overload : the function stands beside one of that name that was declared before, for other argument types.
    fastmath, boundscheck : Numba's flags for ``form="rows"``.

    Raises
    ------
    DeclarationError
        If a type is missing or the form cannot do what is asked.
    """
    columns, options = parameters_of(function)
    label = name or function.__name__
    if form not in ("rows", "numpy", "arrow"):
        raise DeclarationError(f"scalar {label}: form must be 'rows', 'numpy' or 'arrow', got {form!r}")
    if not columns:
        raise DeclarationError(f"scalar {label}: a scalar function needs at least one column argument")
    if options and form == "rows":
        raise DeclarationError(f"scalar {label}: options need form='numpy' or form='arrow'")
    try:
        result = single(result_of(function))
    except TypeError as error:
        raise DeclarationError(f"scalar {label}: result: {error}") from None
    settings = {
        "form": form, "nulls": nulls, "volatile": volatile, "overload": overload, "fastmath": fastmath,
        "boundscheck": boundscheck,
    }  # fmt: skip
    return Declaration(label, "scalar", columns, options, result, function, Documentation.of(function), settings)


def make_function(overload: Overload) -> int:
    """A C API scalar function for an overload."""
    declaration = overload.declaration
    function = capi.create_scalar_function()
    capi.scalar_function_set_name(function, declaration.name.encode())
    for type_ in overload.all_arguments:
        capi.scalar_function_add_parameter(function, capi.logical_type(type_))
    capi.scalar_function_set_return_type(function, capi.logical_type(cast(SqlType, declaration.result)))
    capi.scalar_function_set_special_handling(function)
    if declaration.settings["volatile"]:
        capi.scalar_function_set_volatile(function)
    capi.scalar_function_set_extra_info(function, overload.address, None)
    if declaration.settings["form"] == "rows":
        capi.scalar_function_set_bind(function, capi.address(_bind))
        capi.scalar_function_set_function(function, machine.runtime()["ironlake_scalar"])
    else:
        capi.scalar_function_set_bind(function, capi.address(_bind_access))
        capi.scalar_function_set_function(function, capi.address(_execute))
    return int(function)


@CFUNCTYPE(None, c_void_p)
def _bind(info: int) -> None:
    overload = at(capi.scalar_function_bind_get_extra_info(info))
    try:
        overload.compile()
    except BaseException as error:  # the C boundary
        capi.scalar_function_bind_set_error(info, overload.message(error))


#: What a bound call of a Python body keeps: whether it may reach files.
_DENIED, _ALLOWED = 1, 2


@CFUNCTYPE(None, c_void_p)
def _bind_access(info: int) -> None:
    overload = at(capi.scalar_function_bind_get_extra_info(info))
    try:
        allowed = access.is_allowed(info, capi.scalar_function_get_client_context)
        capi.scalar_function_set_bind_data(info, _ALLOWED if allowed else _DENIED, None)
    except BaseException as error:  # the C boundary
        capi.scalar_function_bind_set_error(info, overload.message(error))


def compile_overload(declaration: Declaration, arguments: tuple[SqlType, ...], with_options: bool) -> dict[str, int]:
    """Machine code of a row-wise scalar function."""
    key = machine.fingerprint(
        declaration.body, declaration.signature, repr(arguments), sorted(declaration.settings.items())
    )

    def build() -> dict[str, tuple[Callable[..., None], str]]:
        from .scalar_kernels import kernel

        return {"update": kernel(declaration, arguments)}

    return machine.compile_functions(build, key, declaration.name)


@CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
def _execute(info: int, chunk: int, result: int) -> None:
    overload = at(capi.scalar_function_get_extra_info(info))
    try:
        from .arrow import write_column

        with access.running(capi.scalar_function_get_bind_data(info) == _ALLOWED):
            write_column(_call(overload, chunk), result, 0)
    except BaseException as error:  # the C boundary
        overload.fail(info, error)


def _call(overload: Overload, chunk: int) -> pa.Array:
    """Call a whole-column function on a chunk, around its NULLs."""
    import pyarrow.compute as pc

    from .arrow import chunk_to_batch

    declaration = overload.declaration
    names = [parameter.name for parameter in declaration.parameters[: len(overload.arguments)]]
    if overload.with_options:
        names.insert(declaration.options_at, "options")
    batch = chunk_to_batch(chunk, names)
    columns = batch.columns
    options = _options(overload, columns.pop(declaration.options_at)) if overload.with_options else {}
    if declaration.settings["nulls"] or not any(column.null_count for column in columns):
        return _values(declaration, columns, options, batch.num_rows)
    valid = columns[0].is_valid()
    for column in columns[1:]:
        valid = pc.and_(valid, column.is_valid())
    kept = [column.filter(valid) for column in columns]
    values = _values(declaration, kept, options, len(kept[0]))
    ranks = pc.subtract(pc.cumulative_sum(valid.cast("int32")), 1)
    return values.take(pc.if_else(valid, ranks, None))


def _options(overload: Overload, column: pa.Array) -> dict[str, Any]:
    from .options import as_mapping

    if len(column) == 0:
        return {}
    given = column[0].as_py()
    if any(value.as_py() != given for value in column.slice(1)):
        raise ValueError("the options must be the same for all rows")
    return check(overload.declaration, as_mapping(given))


def _values(declaration: Declaration, columns: list[pa.Array], options: dict[str, Any], rows: int) -> pa.Array:
    import pyarrow as pa

    wanted = to_arrow(cast(SqlType, declaration.result))
    if rows == 0:
        return pa.array([], wanted)
    arguments = [_as_numpy(column) for column in columns] if declaration.settings["form"] == "numpy" else columns
    values = declaration.body(*arguments, **options)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    values = values.cast(wanted) if isinstance(values, pa.Array) else pa.array(values, wanted)
    if len(values) != rows:
        raise ValueError(f"the function returned {len(values)} values for {rows} rows")
    return values


def _as_numpy(column: pa.Array) -> Any:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False)

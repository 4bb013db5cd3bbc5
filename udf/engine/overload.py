"""One overload of a function: its native record, its machine code on demand, and its errors.

DuckDB hands every callback the address of the overload's record (``%declaration`` in ``runtime.ll``); through it the
native runtime finds machine code, and Python finds the overload to compile, to read options, or to name in an error.
"""

from __future__ import annotations

import ctypes
import functools
import re
from ctypes import CFUNCTYPE, c_int64, c_void_p, py_object
from typing import Any

from llvmlite import binding as llvm

from . import capi
from .declaration import Declaration
from .options import Records, link
from .sqltypes import SqlType

_overloads: dict[int, Overload] = {}


class _Record(ctypes.Structure):
    _fields_ = [(name, c_int64) for name in ("size", "arrays", "update", "combine", "finalize", "compile", "defaults")]


class Overload:
    """A function for one list of argument types.

    Attributes
    ----------
    declaration : the function.
    arguments : types of the column arguments.
    with_options : whether a STRUCT of options follows them.
    address : of the native record, DuckDB's extra info for the function.
    code : addresses of machine code by name, once it is in place.
    """

    def __init__(self, declaration: Declaration, arguments: tuple[SqlType, ...], with_options: bool) -> None:
        self.declaration, self.arguments, self.with_options = declaration, arguments, with_options
        self.records = Records(declaration)
        self.code: dict[str, int] = {}
        self._refusal: Exception | None = None
        self._record = _Record(compile=capi.address(_compile_callback))
        self.address = ctypes.addressof(self._record)
        _overloads[self.address] = self

    def looks_like(self, declaration: Declaration) -> bool:
        """Whether a new declaration of the function has the same kind and result."""
        return (self.declaration.kind, self.declaration.result) == (declaration.kind, declaration.result)

    def redeclare(self, declaration: Declaration) -> None:
        """Stand for a new declaration of the function, in all databases that know this overload.

        No query that uses the old one may be running.
        """
        self.declaration, self.records, self._refusal = declaration, Records(declaration), None
        self._record.size = 0

    @property
    def name(self) -> str:
        """The SQL name."""
        return self.declaration.name

    @property
    def result(self) -> SqlType:
        """The SQL type of the result."""
        assert self.declaration.result is not None
        return self.declaration.result

    @property
    def all_arguments(self) -> tuple[SqlType, ...]:
        """Argument types as DuckDB sees them, options included."""
        if not self.with_options:
            return self.arguments
        at = self.declaration.options_at
        return (*self.arguments[:at], SqlType("ANY"), *self.arguments[at:])

    @property
    def default_record(self) -> int:
        """The address of the record of a call without options; 0 if some option has no default."""
        return int(self._record.defaults)

    @property
    def compiled(self) -> bool:
        """Whether machine code is in place."""
        return bool(self._record.size)

    def compile(self) -> int:
        """Put machine code in place, from the cache or from Numba; answers the bytes of a state."""
        if self._refusal is not None:
            raise self._refusal
        if not self.compiled:
            self._record.defaults = self.records.defaults()
            if self.with_options and self.declaration.kind != "scalar":
                link()
            try:
                code = self.code = self.machine_code()
            except Exception as error:
                if _is_numbas(error):
                    self._refusal = error  # trying again would take as long and fail as well
                raise
            self._record.arrays = code.get("arrays", 0)
            for name in ("update", "combine", "finalize"):
                setattr(self._record, name, code.get(name, 0))
            self._record.size = code.get("size", 1)  # last: other threads look at it
        return int(self._record.size)

    def machine_code(self) -> dict[str, int]:
        """Addresses of the compiled callbacks of this kind of function."""
        if self.declaration.kind == "aggregate":
            from .aggregates import compile_overload
        elif self.declaration.kind == "relation":
            from .relations import compile_overload
        else:
            from .scalars import compile_overload
        return compile_overload(self.declaration, self.arguments, self.with_options)

    def message(self, error: BaseException) -> bytes:
        """What went wrong in a call of this function, as C text."""
        return f"{self.declaration.name}: {sentence(error)}".encode(errors="replace").replace(b"\0", b"")

    def fail(self, info: int, error: BaseException) -> None:
        """Tell DuckDB that a call of this function failed."""
        text = self.message(error)
        if self.declaration.kind in ("aggregate", "relation"):
            capi.aggregate_function_set_error(info, text)
        else:
            capi.scalar_function_set_error(info, text)


def at(address: int) -> Overload:
    """The overload of a native record."""
    return _overloads[address]


def _is_numbas(error: BaseException) -> bool:
    return type(error).__module__.startswith("numba.")


def sentence(error: BaseException) -> str:
    """What an exception says, as one sentence."""
    if _is_numbas(error):
        return _compile_error(error)
    words = " ".join(str(word) for word in error.args) or type(error).__name__
    known = isinstance(error, ValueError | TypeError | OverflowError | IndexError | MemoryError | RuntimeError)
    return words if known else f"{type(error).__name__}: {words}"


def _compile_error(error: BaseException) -> str:
    """What of Numba's message speaks of the user's code: the innermost reason, and the line it stands in."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    starts = [index for index, line in enumerate(lines) if line.startswith("Failed in nopython mode")]
    inner = lines[starts[-1] + 1 :] if starts else lines
    specific = [line.partition(": ")[2] for line in inner if re.match(r"\w*TypingError: ", line)]
    reason = re.sub(r"#\d+", "", (specific or inner or [type(error).__name__])[-1 if specific else 0])
    caret = next((index for index, line in enumerate(inner) if line == "^"), 0)
    shown = [line for line in inner[:caret] if line.startswith("File ")]
    known = shown and "udf/engine/" not in shown[0]
    place = f" in {shown[0].removeprefix('File ').rstrip(':')}: {inner[caret - 1]}" if known else ""
    return f"it cannot be compiled: {reason}{place}"


@CFUNCTYPE(c_int64, c_void_p, c_void_p)
def _compile_callback(address: int, info: int) -> int:
    overload = at(address)
    try:
        return overload.compile()
    except BaseException as error:  # the C boundary: everything becomes DuckDB's error
        overload.fail(info, error)
        return 16


@CFUNCTYPE(None, c_int64, c_int64, py_object)
def _report(address: int, info: int, error: Any) -> None:
    at(address).fail(info, error)


@CFUNCTYPE(c_int64, c_int64, c_int64, c_int64, c_int64, c_int64)
def _options(address: int, info: int, content: int, length: int, token: int) -> int:
    overload = at(address)
    try:
        return overload.records.record(ctypes.string_at(content, length), token)
    except BaseException as error:  # the C boundary
        overload.fail(info, error)
        return -1


@functools.cache
def install_symbols() -> None:
    """Make the Python callbacks visible to compiled code."""
    for name, callback in (("ironlake_report", _report), ("ironlake_options", _options)):
        llvm.add_symbol(name, capi.address(callback))

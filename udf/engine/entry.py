"""What DuckDB calls while it opens a database: the entry points of the static extension, and little else.

They are there as soon as the package is imported, which has to be quick; the engine, Numba and the files that declare
functions are imported when the first database is opened, or when somebody asks for a function.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_bool, c_char_p, c_int32, c_uint32, c_void_p
from typing import Any

from . import capi, supported


class _Descriptor(ctypes.Structure):
    """``duckdb_extension_descriptor``: how something linked into the process describes itself to DuckDB."""

    _fields_ = [
        ("version", c_uint32),
        ("set_error", c_void_p),
        ("internal", c_void_p),
        ("name", c_char_p),
        ("extension_version", c_char_p),
        ("api_version", c_char_p),
        ("entry_cpp", c_void_p),
        ("entry_capi_v1", c_void_p),
        ("entry_capi_v2", c_void_p),
        ("database_callback", c_void_p),
    ]


class Access(ctypes.Structure):
    """``duckdb_extension_access``: what DuckDB lends to an extension while it loads."""

    _fields_ = [
        ("set_error", CFUNCTYPE(None, c_void_p, c_char_p)),
        ("get_database", CFUNCTYPE(c_void_p, c_void_p)),
        ("get_api", c_void_p),
    ]


_opening = threading.local()
#: One thread imports what declares functions; others that open a database wait for it.
_completing = threading.RLock()
_declare: list[Callable[[], object]] = []
_is_complete = False


def install(declare: Callable[[], object]) -> None:
    """Make DuckDB load this extension into every database opened from now on.

    Parameters
    ----------
    declare : callable
        Imports all that declares functions; called once, when they are needed.

    Raises
    ------
    RuntimeError
        DuckDB has an extension of this name.
    """
    _declare.append(declare)
    extensions = [_describe]
    if supported.connections():
        extensions.insert(0, _describe_callback)
    if supported.filters():
        extensions.append(_describe_filters)
    for describe in extensions:
        if capi.register_static_extension(describe) != 0:
            raise RuntimeError("DuckDB refused the ironlake extension; is another copy of ironlake loaded?")


def complete() -> None:
    """Import all that declares functions, if that was not done."""
    global _is_complete
    with _completing:
        if _is_complete or not _declare:
            return
        declare = _declare.pop()  # asked again by what it imports, there is nothing to do
        try:
            declare()
            from . import extension

            extension.note_shipped()
        except BaseException:
            _declare.append(declare)
            raise
        _is_complete = True


def is_complete() -> bool:
    """Whether all functions of the package are declared: databases may be open, which know them."""
    return _is_complete


@CFUNCTYPE(c_bool, c_void_p, POINTER(Access))
def _load(info: int, access: Any) -> bool:
    instance = _opening.__dict__.pop("instance", 0)
    try:
        complete()
        from . import extension

        extension.load(access.contents.get_database(info), instance)
    except BaseException as error:  # the C boundary: DuckDB reports it to whoever opens the database
        access.contents.set_error(info, str(error).encode())
        return False
    return True


@CFUNCTYPE(None, c_void_p)
def _opens(instance: int) -> None:
    """DuckDB opens a database; on the same thread it loads the extension next."""
    _opening.instance = instance


@CFUNCTYPE(None, c_void_p)
def _load_filters(given: int) -> None:
    with contextlib.suppress(Exception):  # `_load` has told it
        complete()
        from . import filters

        filters.load(given)


@CFUNCTYPE(c_int32, POINTER(_Descriptor))
def _describe(pointer: Any) -> int:
    from ironlake import __version__

    descriptor = pointer.contents
    descriptor.version = 1  # of the layout
    descriptor.name, descriptor.extension_version = b"ironlake", __version__.encode()
    descriptor.api_version = b"v1.2.0"
    descriptor.entry_capi_v1 = capi.address(_load)
    return 0


@CFUNCTYPE(c_int32, POINTER(_Descriptor))
def _describe_callback(pointer: Any) -> int:
    descriptor = pointer.contents
    descriptor.version, descriptor.name = 2, b"ironlake_databases"
    descriptor.database_callback = capi.address(_opens)
    return 0


@CFUNCTYPE(c_int32, POINTER(_Descriptor))
def _describe_filters(pointer: Any) -> int:
    from ironlake import __version__

    descriptor = pointer.contents
    descriptor.version = 1
    descriptor.name, descriptor.extension_version = b"ironlake_filters", __version__.encode()
    descriptor.api_version, descriptor.entry_capi_v2 = b"v2.0.0", capi.address(_load_filters)
    return 0

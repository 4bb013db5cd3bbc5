"""Whether the database that runs a function lets it reach files.

A database opened with ``enable_external_access = false`` reads and writes no file for its users. A function that does
so on its own would be a way around that: it asks `check_external_access` first.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from ctypes import c_int, c_void_p

from . import capi

_SETTING = b"enable_external_access"
_running = threading.local()


def is_allowed(info: int, context_of: Callable[[int, object], None]) -> bool:
    """Whether the database of a call that is being bound has external access; ``context_of`` asks for its context."""
    context = c_void_p()
    context_of(info, ctypes.byref(context))
    try:
        value = capi.client_context_get_config_option(context, _SETTING, ctypes.byref(c_int()))
    finally:
        capi.destroy_client_context(ctypes.byref(context))
    allowed = bool(capi.get_bool(value))
    capi.destroy_value(ctypes.byref(c_void_p(value)))
    return allowed


@contextlib.contextmanager
def running(allowed: bool) -> Iterator[None]:
    """While a function runs: whether it may reach files."""
    before = getattr(_running, "allowed", True)
    _running.allowed = allowed
    try:
        yield
    finally:
        _running.allowed = before


def check_external_access(what: str) -> None:
    """Refuse to reach a file for a database that has no external access; outside of functions all is allowed.

    Raises
    ------
    PermissionError
        The database that runs the calling function was opened with ``enable_external_access = false``.
    """
    if not getattr(_running, "allowed", True):
        raise PermissionError(f"{what} cannot be reached: external access is disabled in this database")

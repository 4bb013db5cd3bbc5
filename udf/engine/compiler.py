"""Compile a callback, and everything it calls, to object code with one run of the optimiser.

Numba optimises, and turns into machine code, each function together with all functions below it, so code at the bottom
of a deep chain of calls is optimised once for every function above it. Here the functions below a callback stay as
they come from Numba's front end and are linked into the callback, which is optimised once, as a whole.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from llvmlite import binding as llvm
from numba import cfunc
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher


class ObjectCode(NamedTuple):
    """A C callback, not yet linked: its symbol, code, and the constants that exceptions in it refer to."""

    symbol: str
    code: bytes
    environments: list[tuple[str, list[Any]]]


def compile_callback(function: Callable[..., Any], signature: str) -> ObjectCode:
    """Compile a Python function and what it calls to the object code of a C callback."""
    with global_compiler_lock:
        with _front_end_only():
            callback: Any = cfunc(signature)(function)
        library = callback._library
        library._final_module = _with_recursion(library._final_module)
        library._optimize_final_module()
        module = library._final_module
        module.verify()
        missing = [item.name for item in module.functions if item.is_declaration and item.name.startswith("_ZN")]
        if missing:
            raise RuntimeError(f"a compiled function is not linked: {missing[0]}")
        used = {variable.name for variable in module.global_variables}
        kept = [(name, list(environment.consts)) for name, environment in _environments.items() if name in used]
        return ObjectCode(callback.native_name, library._codegen._tm.emit_object(module), kept)


#: What compiled functions refer to, by the name of the variable they find it in; callbacks share functions.
_environments: dict[str, Any] = {}


def _with_recursion(module: Any) -> Any:
    """Resolve the calls of functions to themselves, which Numba leaves to the moment of loading."""
    marks = [item.name for item in module.global_variables if item.name.startswith(_UNRESOLVED)]
    if not marks:
        return module
    text = str(module)
    for mark in marks:
        symbol = mark.removeprefix(_UNRESOLVED)
        if not any(item.name == symbol and not item.is_declaration for item in module.functions):
            raise RuntimeError(f"a recursive function calls itself with other types than it was called with: {symbol}")
        text = re.sub(
            rf'^(@"?{re.escape(mark)}"?) = external (?:local_unnamed_addr )?global ptr.*$',
            rf"\1 = internal constant ptr @{symbol}",
            text,
            flags=re.M,
        )
    return llvm.parse_assembly(text)


_UNRESOLVED = ".numba.unresolved$"


@contextlib.contextmanager
def _front_end_only() -> Iterator[None]:
    """Leave what is compiled in the block as linked, unoptimised modules without machine code.

    Functions of the user's own modules that were compiled on the way are forgotten at the end, since Python could call
    them; they are compiled anew when it does.
    """
    foreign: set[Any] = set()

    def finalize(library: Any) -> None:
        for linked in dict.fromkeys(library._linking_libraries):
            library._final_module.link_in(linked._get_module_for_linking(), preserve=True)
        library._finalized = True

    def add_overload(dispatcher: Any, compiled: Any) -> None:
        originals[3](dispatcher, compiled)
        if not (dispatcher.py_func.__module__ or "numba.").startswith(("numba.", "ironlake.")):
            foreign.add(dispatcher)

    def set_env(codegen: Any, name: str, environment: Any) -> None:
        _environments[name] = environment

    patches: list[tuple[type, str, Callable[..., Any]]] = [
        (JITCodeLibrary, "finalize", finalize),
        (JITCodeLibrary, "get_pointer_to_function", lambda library, name: library._ensure_finalized() or 0),
        (JITCPUCodegen, "set_env", set_env),
        (Dispatcher, "add_overload", add_overload),
    ]
    originals = [getattr(owner, name) for owner, name, _ in patches]
    for owner, name, patch in patches:
        setattr(owner, name, patch)
    try:
        yield
    finally:
        for (owner, name, _), original in zip(patches, originals, strict=True):
            setattr(owner, name, original)
        for dispatcher in foreign:
            dispatcher._reset_overloads()

"""Compile a callback, and everything it calls, to object code with one run of the optimiser.

Numba optimises, and turns into machine code, each function together with all functions below it, so code at the bottom
of a deep chain of calls is optimised once for every function above it. Here the functions below a callback stay as
they come from Numba's front end and are linked into the callback, which is optimised once, as a whole.
"""

from __future__ import annotations

import contextlib
import functools
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from llvmlite import binding as llvm
from numba import cfunc
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.dispatcher import Dispatcher
from numba.core.targetconfig import TargetConfig


class ObjectCode(NamedTuple):
    """A C callback, not yet linked: its symbol, code, and the constants that exceptions in it refer to."""

    symbol: str
    code: bytes
    environments: list[tuple[str, list[Any]]]


def compile_callback(function: Callable[..., Any], signature: str) -> ObjectCode:
    """Compile a Python function and what it calls to the object code of a C callback."""
    with global_compiler_lock:
        with _front_end_only(function.__qualname__):
            callback: Any = cfunc(signature)(function)
        library = callback._library
        _add_wrappers(library)
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


#: What adds a function's wrapper for C to a library, by the wrapper's name.
_wrappers: dict[str, Callable[[Any], None]] = {}


def _add_wrappers(library: Any) -> None:
    """Make the wrappers for C of functions that are used as values, such as those of a tuple."""
    names = [item.name for item in library._final_module.functions if item.is_declaration]
    for name in filter(_wrappers.__contains__, names):
        made = library._codegen.create_library(name)
        _wrappers[name](made)
        library._final_module.link_in(made._final_module)


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
def _front_end_only(callback: str) -> Iterator[None]:
    """Leave what is compiled in the block as linked modules without machine code, tidied one function at a time.

    Numba gives every function a wrapper for C and one for Python; here only the callback gets the one for C, and
    later each function that is used as a value.
    Python does not find such code where it calls one of the functions: it asks for the function to be compiled, and
    `_compile` then forgets the code that is none.
    """

    def tidy(library: Any, module: Any) -> None:
        module.data_layout = library._codegen._data_layout
        manager, builder = library._codegen._function_pass_manager()
        for function in module.functions:
            if not function.is_declaration:
                manager.run(function, builder)

    def create_cfunc_wrapper(context: Any, library: Any, description: Any, *call: Any) -> None:
        if description.qualname == callback:
            _numbas_cfunc_wrapper(context, library, description, *call)
        _wrappers[description.llvm_cfunc_wrapper_name] = lambda into: _numbas_cfunc_wrapper(
            context, into, description, *call
        )

    def finalize(library: Any) -> None:
        for linked in dict.fromkeys(library._linking_libraries):
            library._final_module.link_in(linked._get_module_for_linking(), preserve=True)
        library._finalized = True

    def add_overload(dispatcher: Any, compiled: Any) -> None:
        dispatcher.overloads[tuple(compiled.signature.args)] = compiled
        _without_code.add(dispatcher)

    def set_env(codegen: Any, name: str, environment: Any) -> None:
        _environments[name] = environment

    patches: list[tuple[type, str, Callable[..., Any]]] = [
        (CPUContext, "create_cfunc_wrapper", create_cfunc_wrapper),
        (CPUContext, "create_cpython_wrapper", lambda context, *call, **settings: None),
        (JITCodeLibrary, "_optimize_functions", tidy),
        (JITCodeLibrary, "finalize", finalize),
        (JITCodeLibrary, "get_pointer_to_function", lambda library, name: library._ensure_finalized() or 0),
        (JITCPUCodegen, "set_env", set_env),
        (Dispatcher, "add_overload", add_overload),
        (Dispatcher, "compile", _numbas_compile),
        (TargetConfig, "__eq__", _same_flags),
        (TargetConfig, "__hash__", lambda flags: _hash_of_flags(flags.__class__)),
    ]
    originals = [getattr(owner, name) for owner, name, _ in patches]
    for owner, name, patch in patches:
        setattr(owner, name, patch)
    try:
        yield
    finally:
        for (owner, name, _), original in zip(patches, originals, strict=True):
            setattr(owner, name, original)


def _same_flags(one: Any, other: Any) -> Any:
    """Numba's comparison, which every choice between overloads makes some dozen times; it reads all flags of both."""
    if type(one) is not type(other):
        return NotImplemented
    mine, its = one._values, other._values
    return mine == its or all(getattr(one, name) == getattr(other, name) for name in mine.keys() | its.keys())


_numbas_hash: Any = TargetConfig.__hash__


@functools.cache
def _hash_of_flags(kind: Any) -> int:
    """What Numba makes of flags, which is the same for all of a kind."""
    return int(_numbas_hash(kind()))


#: Functions of which some code has no machine code.
_without_code: weakref.WeakSet[Any] = weakref.WeakSet()
_numbas_compile = Dispatcher.compile
_numbas_cfunc_wrapper: Any = CPUContext.create_cfunc_wrapper


def _compile(dispatcher: Any, signature: Any) -> Any:
    """Numba's compile, after forgetting code that has no machine code."""
    if dispatcher in _without_code:
        _without_code.discard(dispatcher)
        dispatcher._reset_overloads()
    return _numbas_compile(dispatcher, signature)


_dispatchers: Any = Dispatcher
_dispatchers.compile = _compile

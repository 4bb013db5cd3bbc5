"""Machine code: the runtime that DuckDB calls, Numba functions compiled to addresses, and their cache on disk.

A compiled function is kept as object code under a key made of everything it was made from: the bytecode of the
user's class and of all functions it calls, the constants it refers to, the declaration, the versions of Numba and of
this engine, and the processor. A later process loads the object code and never starts Numba's compiler.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import binding as llvm

from . import capi

_lock = threading.RLock()
#: Seconds after which whoever waits for the compiler is told.
_PATIENCE = 1.0

#: The C functions that compiled code calls by name.
DUCKDB_SYMBOLS = frozenset(
    "duckdb_" + name
    for name in (
        "aggregate_function_get_extra_info", "scalar_function_get_extra_info", "free", "get_type_id",
        "data_chunk_get_size", "data_chunk_get_vector", "vector_get_data", "vector_get_validity",
        "vector_ensure_validity_writable", "vector_get_column_type", "unsafe_vector_assign_string_element_len",
        "list_vector_get_child", "list_vector_get_size", "list_vector_set_size", "list_vector_reserve",
        "array_vector_get_child", "struct_vector_get_child", "destroy_logical_type", "array_type_array_size",
        "list_type_child_type", "array_type_child_type", "map_type_key_type", "map_type_value_type",
        "struct_type_child_count", "struct_type_child_name", "struct_type_child_type", "decimal_scale",
        "decimal_internal_type",
    )
)  # fmt: skip


def cache_directory() -> Path | None:
    """Where compiled functions are kept: ``$IRONLAKE_CACHE_DIR`` (empty: nowhere), or the user's cache folder."""
    configured = os.environ.get("IRONLAKE_CACHE_DIR")
    if configured is not None:
        return Path(configured) if configured else None
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "ironlake"


@functools.cache
def runtime() -> dict[str, int]:
    """Compile ``runtime.ll``, make it and DuckDB's C API visible to compiled code, and give its addresses."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for symbol in DUCKDB_SYMBOLS:
        llvm.add_symbol(symbol, ctypes.cast(getattr(capi.library, symbol), ctypes.c_void_p).value)
    module = llvm.parse_assembly((Path(__file__).parent / "runtime.ll").read_text())
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    addresses = {
        function.name: engine.get_function_address(function.name)
        for function in module.functions
        if not function.is_declaration
    }
    for name, address in addresses.items():
        llvm.add_symbol(name, address)
    addresses["engine"] = keep(engine)
    addresses |= {name: engine.get_global_value_address(name) for name in _PINNED}
    return addresses


_kept: list[Any] = []


def keep(owner: Any) -> int:
    """Hold an object for the life of the process, as native code points into it."""
    _kept.append(owner)
    return id(owner)


_PINNED = ("ironlake_pinned_count", "ironlake_pinned_table")
_pinned: list[np.ndarray[Any, Any] | None] = []


def pin(array: np.ndarray[Any, Any]) -> int:
    """Make an array reachable for compiled code, where ``ironlake_pinned`` gives its address for this number.

    It stays in memory until it is unpinned, as a query may hold the number.
    """
    with _lock:
        number = len(_pinned)
        _pinned.append(array)
        if number & (number - 1) == 0:  # the table is full: the next has twice the room
            table = np.zeros(max(2 * number, 1), np.int64)
            table[:number] = [0 if each is None else each.ctypes.data for each in _pinned[:-1]]
            keep(table)
            ctypes.c_int64.from_address(runtime()[_PINNED[1]]).value = table.ctypes.data
        table_address = ctypes.c_int64.from_address(runtime()[_PINNED[1]]).value
        ctypes.c_int64.from_address(table_address + 8 * number).value = array.ctypes.data
        ctypes.c_int64.from_address(runtime()[_PINNED[0]]).value = number + 1
        return number


def unpin(number: int) -> None:
    """Let go of an array that no query needs any more; its number, which is not given again, leads to nothing."""
    with _lock:
        table_address = ctypes.c_int64.from_address(runtime()[_PINNED[1]]).value
        ctypes.c_int64.from_address(table_address + 8 * number).value = 0
        _pinned[number] = None


def live_arrays() -> int:
    """How many growable arrays of aggregate states are allocated in this process right now."""
    return int(ctypes.CFUNCTYPE(ctypes.c_int64)(runtime()["ironlake_count_live_arrays"])())


def compile_functions(build: Callable[[], dict[str, tuple[Any, str]]], key: bytes | None, what: str) -> dict[str, int]:
    """Addresses of C callbacks, from the cache or compiled now.

    Parameters
    ----------
    build : makes name -> (Python function, signature) when the cache has nothing; it may import Numba's compiler.
    key : what the functions are made from (see `fingerprint`), or None when that cannot be told and nothing is cached.
    what : is compiled, for whoever waits.
    """
    with _lock:
        runtime()
        path = _cache_path(key)
        if path is None:
            return _compile(build(), path, what)
        with contextlib.nullcontext() if path.exists() else _alone(path):
            if path.exists():
                try:
                    return _load(path)
                except (OSError, EOFError, pickle.UnpicklingError, RuntimeError, ValueError, KeyError):
                    path.unlink(missing_ok=True)
            return _compile(build(), path, what)


def _cache_path(key: bytes | None) -> Path | None:
    directory = cache_directory()
    if key is None or directory is None:
        return None
    return directory / f"{hashlib.sha256(_platform() + key).hexdigest()[:40]}.pickle"


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time compile an entry of the cache; those that waited find it there."""
    try:
        import fcntl

        file, place = _lock_file(path.parent), int(path.name[:7], 16)
        fcntl.lockf(file, fcntl.LOCK_EX, 1, place)
    except (ImportError, OSError):  # then some may compile what others do
        yield
        return
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, place)


@functools.cache
def _lock_file(directory: Path) -> int:
    """A file whose bytes stand for entries; it stays open, since closing it would end all locks of the process."""
    directory.mkdir(parents=True, exist_ok=True)
    return os.open(directory / "compiling.lock", os.O_RDWR | os.O_CREAT, 0o666)


@functools.cache
def _platform() -> bytes:
    import llvmlite
    import numba

    engine = b"".join(
        path.read_bytes() for path in sorted(Path(__file__).parent.iterdir()) if path.suffix in (".py", ".ll")
    )
    facts = (
        sys.version,
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        llvm.get_host_cpu_name(),
        str(llvm.get_host_cpu_features()),
    )
    return hashlib.sha256(repr(facts).encode() + engine).digest()


def _numba_symbols() -> Any:
    """Start as much of Numba as compiled code needs to run; gives its target context."""
    from numba.core.registry import cpu_target
    from numba.core.runtime import rtsys  # type: ignore[attr-defined]

    rtsys.initialize(cpu_target.target_context)
    return cpu_target.target_context


def _compile(functions: dict[str, tuple[Any, str]], path: Path | None, what: str) -> dict[str, int]:
    from .compiler import compile_callback

    _numba_symbols()
    told = threading.Timer(_PATIENCE, _tell, (what, path))
    told.daemon = True
    told.start()
    try:
        compiled = {name: compile_callback(function, signature) for name, (function, signature) in functions.items()}
    finally:
        told.cancel()
    if path is not None:
        with contextlib.suppress(pickle.PicklingError, TypeError, AttributeError):
            _store(path, pickle.dumps({name: tuple(code) for name, code in compiled.items()}))
    return {name: _link(*code) for name, code in compiled.items()}


def _tell(what: str, path: Path | None) -> None:
    """Say what takes so long to somebody at a terminal or a notebook."""
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        kept = "" if path is None else f"; it is kept in {path.parent}"
        print(f"ironlake: compiling {what}{kept}", file=sys.stderr, flush=True)


def _link(symbol: str, code: bytes, environments: list[tuple[str, list[Any]]]) -> int:
    """Put object code into this process; each gets an engine of its own, since symbols of two may be alike."""
    from numba.core.environment import Environment

    target = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    for name, constants in environments:
        environment = Environment({})
        environment.consts.extend(constants)
        slot = engine.get_global_value_address(name)
        if slot:
            ctypes.c_void_p.from_address(slot).value = keep(environment)
    keep(engine)
    return int(engine.get_function_address(symbol))


def _store(path: Path, content: bytes) -> None:
    """Write a cache entry whole or not at all; a folder that cannot be written only costs the next process time."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, int]:
    _numba_symbols()
    return {name: _link(*code) for name, code in pickle.loads(path.read_bytes()).items()}


#: CPython's Py_TPFLAGS_HEAPTYPE: not a type of the interpreter or of a C extension.
_MADE_BY_A_CLASS_STATEMENT = 1 << 9


class _UnknownError(Exception):
    """A value that machine code was made from cannot be told apart from others."""


def fingerprint(*parts: Any) -> bytes | None:
    """A digest of functions, classes and constants by content; None if some part has no telling content."""
    digest = hashlib.sha256()
    try:
        for part in parts:
            _digest(part, digest.update, set())
    except _UnknownError:
        return None
    return digest.digest()


def _digest(value: Any, update: Callable[[bytes], None], seen: set[int]) -> None:
    from numba.core.dispatcher import Dispatcher

    if isinstance(value, Dispatcher):
        _digest((value.targetoptions, value.py_func), update, seen)
    elif isinstance(value, types.FunctionType):
        if id(value) not in seen:
            seen.add(id(value))
            _digest((value.__code__, value.__defaults__, value.__kwdefaults__), update, seen)
            scope = {name: value.__globals__.get(name) for name in _names(value.__code__)}
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            _digest((sorted(scope), [scope[name] for name in sorted(scope)], cells), update, seen)
    elif isinstance(value, types.CodeType):
        update(value.co_code + repr((value.co_names, value.co_varnames)).encode())
        _digest(value.co_consts, update, seen)
    elif isinstance(value, type):
        update(value.__qualname__.encode())
        if issubclass(value, tuple):
            update(repr((getattr(value, "_fields", ()), vars(value).get("__annotations__"))).encode())
        elif id(value) not in seen and value.__flags__ & _MADE_BY_A_CLASS_STATEMENT:
            seen.add(id(value))
            _digest(value.__mro__[1:-1], update, seen)
            members = {name: item for name, item in vars(value).items() if not name.startswith("__")}
            _digest((sorted(members), [members[name] for name in sorted(members)]), update, seen)
            update(repr(vars(value).get("__annotations__")).encode())
    elif isinstance(value, types.ModuleType):
        update(f"{value.__name__} {getattr(value, '__version__', '')}".encode())
    elif isinstance(value, tuple | list):
        update(b"(")
        for item in value:
            _digest(item, update, seen)
    elif isinstance(value, set | frozenset):
        _digest(sorted(value, key=repr), update, seen)
    elif isinstance(value, dict):
        _digest(sorted(value.items(), key=repr), update, seen)
    elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
        update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    elif value is None or value is ... or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        update(f"{type(value).__name__} {value!r}".encode())
    elif isinstance(value, types.BuiltinFunctionType | np.ufunc) or type(value).__module__.startswith("numba"):
        update(repr(getattr(value, "__name__", value)).encode())
    else:
        content = getattr(value, "__fingerprint__", None)
        if content is None:
            raise _UnknownError
        update(content())


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names

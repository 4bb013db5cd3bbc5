"""What a build of DuckDB lets us do beyond version 1 of its C API."""

from __future__ import annotations

import _duckdb

from . import capi

#: DuckDB's constructor and destructor of connections, which it exports where it was linked so.
CONSTRUCTOR = "_ZN6duckdb10ConnectionC1ERNS_16DatabaseInstanceE"
DESTRUCTOR = "_ZN6duckdb10ConnectionD1Ev"
#: Releases of DuckDB whose version 2 is the one that `filters` describes.
_RELEASES = ("2.0.",)
#: What compiled code calls of version 2.
EXECUTION_SYMBOLS = (
    "scalar_function_exec_get_bind_data", "scalar_function_exec_get_arg", "scalar_function_exec_get_result",
    "scalar_function_exec_get_row_count", "vector_get_view", "vector_get_data_mutable",
)  # fmt: skip


def connections() -> bool:
    """Whether we can connect to a database by its address."""
    return all(hasattr(capi.library, symbol) for symbol in (CONSTRUCTOR, DESTRUCTOR))


def filters() -> bool:
    """Whether we are told the filters of a statement."""
    symbols = (*EXECUTION_SYMBOLS, "extension_register_table_function", "table_function_set_filter_pushdown_callback")
    return _duckdb.__version__.startswith(_RELEASES) and all(
        hasattr(capi.library, f"duckdb_v2_{symbol}") for symbol in symbols
    )

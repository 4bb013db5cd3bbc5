"""Bring up the engine as `import ironlake` does, in pytest and in the scripts that tests run as subprocesses."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

# A cache of its own: tests neither read old machine code nor write into the user's folder. Subprocesses inherit it.
os.environ.setdefault("IRONLAKE_CACHE_DIR", tempfile.mkdtemp(prefix="ironlake-test-cache-"))

try:
    import ironlake
except ImportError:
    sys.path.insert(0, str(HERE.parent.parent))
    import ironlake  # noqa: F401


def run_script(code: str, timeout: int = 240) -> subprocess.CompletedProcess:
    """Run Python code in a process of its own, so that a crash or a hang is a failing test and not the end of pytest.

    The code starts with the shared functions declared and ``con``, ``duckdb``, ``np``, ``pa``, ``engine`` at hand.
    """
    prelude = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import faulthandler; faulthandler.enable()\n"
        "import duckdb, gc, math, threading\n"
        "import numpy as np, pyarrow as pa\n"
        "import frontdoor\n"
        "from declared_functions import *\n"
        "from ironlake.udf import engine\n"
        "from ironlake.udf.engine import aggregate, scalar, relation, table\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=timeout, check=False
    )


def survives(code: str, timeout: int = 240) -> str:
    """Run Python code in a subprocess that must end well; gives its output."""
    done = run_script(code, timeout)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout

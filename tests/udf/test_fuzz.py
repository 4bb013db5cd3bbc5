"""Wrong calls in great number: every one ends in a result or in a DuckDB error, and nothing is left in memory."""

import subprocess
import sys

import pytest
from frontdoor import HERE


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzzed_calls(seed):
    done = subprocess.run(
        [sys.executable, HERE / "fuzz.py", "10000", str(seed)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    calls, raised, left = (int(word) for word in done.stdout.split() if word.isdigit())
    assert left == 0
    assert calls == 10000
    assert calls * 0.3 < raised < calls * 0.8, "calls that are all wrong or all right look into few corners"

"""Wrong calls in great number: every one ends in a result or in a DuckDB error, and nothing is left in memory."""

import subprocess
import sys

from frontdoor import HERE

#: Of each of two processes; `python tests/udf/fuzz.py 20000 SEED` looks further.
CALLS = 500


def test_fuzzed_calls():
    running = [
        subprocess.Popen(
            [sys.executable, HERE / "fuzz.py", str(CALLS), seed],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in "12"
    ]
    for process in running:
        output, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
        calls, raised, left = (int(word) for word in output.split() if word.isdigit())
        assert left == 0
        assert calls == CALLS
        assert calls * 0.3 < raised < calls * 0.8, "calls that are all wrong or all right look into few corners"

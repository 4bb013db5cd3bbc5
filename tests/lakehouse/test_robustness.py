"""Writers that die, and writers side by side, in small; the scripts say how to run them in full."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(("script", "size"), [("kill_writer.py", ["8"]), ("many_writers.py", ["4", "5"])])
def test_nothing_is_lost_and_nothing_torn(script, size):
    done = subprocess.run([sys.executable, HERE / script, *size, "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "0 lost, 0 torn" in done.stdout

"""Bars of stages, which only terminals show."""

import io
import sys
import threading

import pytest
from conftest import new_context
from disturbed import unharmed
from rich.console import Console

from ironlake.rdd import progress


def test_stages_of_a_job_have_bars(context_with) -> None:
    sc = context_with("local[2]")
    threads = set(threading.enumerate())
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100)
    sc._scheduler.showing = progress.Bars(patience=0.0, console=console)
    assert (
        unharmed(sc.parallelize([(place % 3, 1) for place in range(30)], 5)).reduceByKey(lambda a, b: a + b, 4).count()
        == 3
    )
    assert "stage 1 reduceByKey" in output.getvalue()
    assert "5/5" in output.getvalue()
    assert "4/4" in output.getvalue()
    assert output.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K\x1b[1A\x1b[2K")  # they are gone when the job is done
    for thread in set(threading.enumerate()) - threads:  # which were told to end
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("is_terminal", "setting", "expected"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_only_terminals_show_them(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, setting: bool, expected: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    sc = new_context("local[1]", spark__ui__showConsoleProgress=setting)
    sc.stop()
    assert isinstance(sc._scheduler.showing, progress.Bars) is expected

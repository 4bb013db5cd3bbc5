"""What a task's failure says: where it was, what the user's function was given, and whether to try again."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import cloudpickle

from .segments import MissingSegment
from .shuffle import FetchFailed
from .task import Assignment, KeptLost

_HERE = str(Path(__file__).parent)
#: Characters of an element that an error message shows.
_SHOWN = 200


class JobCancelled(Exception):
    """The job was cancelled while it ran."""


class WorkerLost(RuntimeError):
    """A worker process has ended while it ran a task, again and again."""


def is_lost_input(error: BaseException) -> bool:
    """Whether a task failed since something that another has left is gone; that is computed again."""
    return isinstance(error, FetchFailed | KeptLost | MissingSegment)


def is_final(error: BaseException) -> bool:
    """Whether it is of no use to try a task again."""
    wrong_call = isinstance(error, TypeError) and _user_frame(error.__traceback__) is None
    return is_lost_input(error) or wrong_call or isinstance(error, KeyboardInterrupt)


def with_place(error: BaseException, assignment: Assignment, remote: str = "") -> BaseException:
    """The error, with a note of where it happened."""
    if is_lost_input(error):
        return error
    note = f"in partition {assignment.split} of stage {assignment.stage_id}, attempt {assignment.attempt}"
    if (frame := _user_frame(error.__traceback__)) is not None and (element := _first_argument(frame)) is not None:
        note += f", for the element {element}"
    if not any(each.startswith("in partition ") for each in getattr(error, "__notes__", ())):
        error.add_note(note + (f"\n\nin the worker process:\n{remote}" if remote else ""))
    return error


def described(error: BaseException, assignment: Assignment) -> bytes:
    """A failed task's answer to the driver."""
    final = is_final(error)
    if not isinstance(error, Exception):  # such as SystemExit, which is meant for the worker, not for the driver
        error = RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
    remote = "".join(traceback.format_exception(error))
    with_place(error, assignment, remote)
    try:
        content: bytes = cloudpickle.dumps(("failed", error, final))
        pickle.loads(content)
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(remote)
        content = cloudpickle.dumps(("failed", plain, final))
    return content


def _user_frame(trace: TracebackType | None) -> Any:
    """The first frame of a traceback that is not ours: the call of the user's function."""
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_HERE):
            return trace.tb_frame
        trace = trace.tb_next
    return None


def _first_argument(frame: Any) -> str | None:
    code = frame.f_code
    if not code.co_argcount:
        return None
    try:
        text = repr(frame.f_locals.get(code.co_varnames[0]))
    except Exception:
        return None
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"

"""What a task's failure says: where it was, what the user's function was given, and whether to try again."""

from __future__ import annotations

import os
import pickle
import sysconfig
import traceback
from pathlib import Path
from types import FrameType, TracebackType

import cloudpickle

from .segments import MissingSegment
from .shuffle import FetchFailed
from .task import Assignment, KeptLost

#: Where our own functions are, and those of the standard library, which call the user's.
_HERE, _STANDARD = f"{Path(__file__).parent}{os.sep}", f"{sysconfig.get_paths()['stdlib']}{os.sep}"
#: What our own functions call what they have in hand.
_IN_HAND = ("key", "pair", "element")
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
    note += _in_hand(error.__traceback__)
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


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith((_HERE, "<frozen")) or (name.startswith(_STANDARD) and "site-packages" not in name)


def _user_frame(trace: TracebackType | None) -> FrameType | None:
    """The first frame of a traceback that is not ours: the call of the user's function."""
    while trace is not None:
        if not _is_ours(trace.tb_frame):
            return trace.tb_frame
        trace = trace.tb_next
    return None


def _in_hand(trace: TracebackType | None) -> str:
    """What the user's function was given, or ours had in hand, when it failed."""
    frame = _user_frame(trace)
    if frame is not None:
        code = frame.f_code
        given = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount] if name != "self"]
        if len(given) == 1 and not hasattr(given[0], "__next__"):
            return f", for the element {_shown(given[0])}"
        return f", for {_shown(given[0])} and {_shown(given[1])}" if len(given) == 2 else ""
    found = ""
    while trace is not None:  # the innermost that knows
        for name in _IN_HAND:
            if name in trace.tb_frame.f_locals:
                found = f", for the {name} {_shown(trace.tb_frame.f_locals[name])}"
                break
        trace = trace.tb_next
    return found


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"of type {type(value).__name__}, whose repr fails"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"

"""Variables that tasks add to and the driver reads."""

from __future__ import annotations

import copy
import threading
from typing import Any, Generic, TypeVar

from .running import running_task

T = TypeVar("T")


class AccumulatorParam(Generic[T]):
    """How values of a type are added up; subclasses say what zero is and how one is added to another."""

    def zero(self, value: T) -> T:
        """The zero of the kind of `value`."""
        raise NotImplementedError

    def addInPlace(self, value1: T, value2: T) -> T:
        """The sum of two values; the first may be changed."""
        raise NotImplementedError


class AddingAccumulatorParam(AccumulatorParam[Any]):
    """Values that ``+=`` adds up."""

    def __init__(self, zero_value: Any) -> None:
        self.zero_value = zero_value

    def zero(self, value: Any) -> Any:
        return copy.copy(self.zero_value)

    def addInPlace(self, value1: Any, value2: Any) -> Any:
        value1 += value2
        return value1


INTEGER, FLOAT, COMPLEX = AddingAccumulatorParam(0), AddingAccumulatorParam(0.0), AddingAccumulatorParam(0j)
_NUMBERS: dict[type, AddingAccumulatorParam] = {int: INTEGER, float: FLOAT, complex: COMPLEX}


class Accumulator(Generic[T]):
    """A variable that tasks add to with ``+=`` or `add`, and of which only the driver knows the value.

    What a task adds counts when the task succeeds. Actions count each partition once. Functions of transformations
    count again whenever their partition is computed again, unless the accumulator is made with ``exactly_once=True``:
    then what was added for a partition of an RDD counts the first time only.
    """

    def __init__(self, aid: int, value: T, accum_param: AccumulatorParam[T], exactly_once: bool = False) -> None:
        self.aid, self._value, self.accum_param, self.exactly_once = aid, value, accum_param, exactly_once
        self._lock = threading.Lock()
        self._counted: set[tuple[int | None, int]] = set()

    @property
    def value(self) -> T:
        """The sum so far; tasks cannot ask for it."""
        if running_task() is not None:
            raise RuntimeError("Accumulator.value cannot be accessed inside tasks")
        return self._value

    @value.setter
    def value(self, value: T) -> None:
        if running_task() is not None:
            raise RuntimeError("Accumulator.value cannot be accessed inside tasks")
        self._value = value

    def add(self, term: T) -> None:
        """Add to it."""
        with self._lock:
            self._value = self.accum_param.addInPlace(self._value, term)

    def __iadd__(self, term: T) -> Accumulator[T]:
        self.add(term)
        return self

    def count(self, update: T, node: int | None, split: int) -> None:
        """Count what a task added for a partition of a node."""
        if self.exactly_once:
            if (node, split) in self._counted:
                return
            self._counted.add((node, split))
        self.add(update)

    def __reduce__(self) -> tuple[Any, ...]:
        node = getattr(pickling, "node", None) if self.exactly_once else None
        return _in_task, (self.aid, node, self.accum_param.zero(self._value), self.accum_param)

    def __str__(self) -> str:
        return str(self._value)

    def __repr__(self) -> str:
        return f"Accumulator<id={self.aid}, value={self._value}>"


#: The node whose functions are being pickled.
pickling = threading.local()


class TaskAccumulator:
    """An accumulator as one task sees it: it can be added to."""

    def __init__(self, aid: int, zero: Any, accum_param: AccumulatorParam[Any]) -> None:
        self.aid, self.accum_param, self.sum = aid, accum_param, zero
        self.is_used = False

    @property
    def value(self) -> Any:
        """Not for tasks."""
        raise RuntimeError("Accumulator.value cannot be accessed inside tasks")

    def add(self, term: Any) -> None:
        """Add to it."""
        self.is_used = True
        self.sum = self.accum_param.addInPlace(self.sum, term)

    def __iadd__(self, term: Any) -> TaskAccumulator:
        self.add(term)
        return self


def _in_task(aid: int, node: int | None, zero: Any, accum_param: AccumulatorParam[Any]) -> TaskAccumulator:
    """The accumulator of the running task: functions of a task share one."""
    task = running_task()
    if task is None:
        return TaskAccumulator(aid, zero, accum_param)
    return task.accumulators.setdefault((aid, node), TaskAccumulator(aid, zero, accum_param))


def updates_of(accumulators: dict[tuple[int, int | None], TaskAccumulator]) -> dict[tuple[int, int | None], Any]:
    """What a task has added."""
    return {key: each.sum for key, each in accumulators.items() if each.is_used}


def accumulator_param(value: Any, accum_param: AccumulatorParam[Any] | None) -> AccumulatorParam[Any]:
    """How values like this one are added up.

    Raises
    ------
    TypeError
        It is no number, and nobody says how.
    """
    if accum_param is not None:
        return accum_param
    for type_, param in _NUMBERS.items():
        if isinstance(value, type_):
            return param
    raise TypeError(f"No default accumulator param for type {type(value)}")

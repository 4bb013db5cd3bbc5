"""Sorting and grouping more elements than a task may hold in memory: what is too much goes to files, in runs.

The order of what comes out, and the order in which values are put together, are those that there would be without.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .batches import Batch
from .running import running_task
from .segments import Section, SegmentWriter, read_section

#: Elements between looks at how much memory they take.
_CHUNK = 4096
#: Elements of a batch in a run: of each run one is in memory while they are merged.
_RUN_ROWS = 1024
#: Files over which groups are spread by the hashes of their keys, so that the groups of one fit into memory.
_PARTS = 16
#: Elements whose size is looked at, of many.
_SAMPLE = 32
#: How deep it is looked.
_DEPTH = 4

#: Puts elements into groups: a dictionary of keys to what there is of them.
Absorb = Callable[[dict[Any, Any], Iterable[Any]], None]


def size_of(things: Iterable[Any], count: int, depth: int = _DEPTH) -> int:
    """About how many bytes things take, from some of them evenly spread."""
    step = max(1, count // _SAMPLE)
    sampled = list(itertools.islice(things, 0, None, step))
    return sum(_size(each, depth) for each in sampled) * count // max(1, len(sampled))


def _size(thing: Any, depth: int) -> int:
    size = sys.getsizeof(thing)
    if depth and isinstance(thing, list | tuple | set | frozenset):
        return size + size_of(thing, len(thing), depth - 1)
    if depth and isinstance(thing, dict):
        return size + size_of(thing.items(), len(thing), depth - 1)
    return size


def in_order(elements: Iterable[Any], key: Callable[[Any], Any], reverse: bool) -> Iterable[Any]:
    """Elements as `sorted` would have them."""
    task = running_task()
    assert task is not None
    held: list[Any] = []
    runs: list[Section] = []
    size = 0
    iterator = iter(elements)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        held += chunk
        size += size_of(chunk, len(chunk))
        if size > task.assignment.memory:
            held.sort(key=key, reverse=reverse)
            runs.append(_spilled(held, size))
            held, size = [], 0
    held.sort(key=key, reverse=reverse)
    if not runs:
        return held
    return heapq.merge(*map(_elements, runs), held, key=key, reverse=reverse)


def by_key(streams: Iterable[tuple[Absorb, Iterable[Any]]]) -> Iterable[tuple[Any, Any]]:
    """Each key with what its pairs come to, keys as they first come.

    Parameters
    ----------
    streams : iterable of tuple
        Pairs, and what puts them into groups, one stream after the other.
    """
    task = running_task()
    assert task is not None
    groups: dict[Any, Any] = {}
    seen, look = 0, _CHUNK
    chunks = _chunks(streams)
    for _, absorb, chunk in chunks:
        absorb(groups, chunk)
        seen += len(chunk)
        if seen >= look:
            look = seen + max(seen // 4, _CHUNK)  # a look costs as much as there are groups
            size = size_of(groups.items(), len(groups))
            if size > task.assignment.memory:
                return _spread(groups, size, chunks)
    return groups.items()


def _chunks(streams: Iterable[tuple[Absorb, Iterable[Any]]]) -> Iterator[tuple[int, Absorb, list[Any]]]:
    for place, (absorb, stream) in enumerate(streams):
        iterator = iter(stream)
        while chunk := list(itertools.islice(iterator, _CHUNK)):
            yield place, absorb, chunk


def _spread(groups: dict[Any, Any], size: int, chunks: Iterator[tuple[int, Absorb, list[Any]]]) -> Iterator[Any]:
    """Go on with files: groups so far, and then pairs as they come, go to the file of their key's hash.

    A number for each group and pair keeps their order, so that the groups of all files can be merged.
    """
    numbers = itertools.count()
    absorbs: dict[int, Absorb] = {}
    parts: list[list[Section]] = [[] for _ in range(_PARTS)]
    held: list[list[Any]] = [[] for _ in range(_PARTS)]
    for key, group in groups.items():
        held[hash(key) % _PARTS].append((next(numbers), -1, (key, group)))
    groups.clear()
    _empty(held, parts, size)
    count = size = 0
    for place, absorb, chunk in chunks:
        absorbs[place] = absorb
        for pair in chunk:
            held[hash(pair[0]) % _PARTS].append((next(numbers), place, pair))
        count += len(chunk)
        size += size_of(chunk, len(chunk))
        task = running_task()
        if task is not None and size > task.assignment.memory:
            _empty(held, parts, size)
            size = 0
    _empty(held, parts, size)
    runs = [_grouped(part, absorbs) for part in parts if part]
    return ((key, group) for _, key, group in heapq.merge(*map(_elements, runs), key=lambda item: item[0]))


def _empty(held: list[list[Any]], parts: list[list[Section]], size: int) -> None:
    for place, entries in enumerate(held):
        if entries:
            parts[place].append(_spilled(entries, size // _PARTS))
            held[place] = []


def _grouped(part: list[Section], absorbs: dict[int, Absorb]) -> Section:
    """The groups of one file, with the numbers of their first pairs, as a run."""
    groups: dict[Any, Any] = {}
    first: dict[Any, int] = {}
    entries = itertools.chain.from_iterable(map(_elements, part))
    for place, same in itertools.groupby(entries, key=lambda entry: entry[1]):
        for chunk in iter(lambda same=same: list(itertools.islice(same, _CHUNK)), []):  # type: ignore[misc]
            for number, _, pair in chunk:
                first.setdefault(pair[0], number)
            pairs = [pair for _, _, pair in chunk]
            if place < 0:
                groups.update(pairs)
            else:
                absorbs[place](groups, pairs)
    found = [(first[key], key, group) for key, group in groups.items()]
    return _spilled(found, size_of(found, len(found)))


def _spilled(elements: list[Any], size: int) -> Section:
    """Elements in a file of the running task, which is removed when it ends."""
    task = running_task()
    assert task is not None
    path = task.spill_path()
    with SegmentWriter(path) as writer:
        section = writer.write(
            Batch.of(elements[start : start + _RUN_ROWS]) for start in range(0, len(elements), _RUN_ROWS)
        )
    task.metrics.spill_mem_bytes += size
    task.metrics.spill_disk_bytes += section.length
    return section


def _elements(run: Section) -> Iterator[Any]:
    for batch in read_section(run):
        yield from batch.objects()

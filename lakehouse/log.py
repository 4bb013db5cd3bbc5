"""The files of the transaction log of a Delta table, and which of them make up a version.

A commit is a file of JSON lines, each one action. A checkpoint is the state at a version, in Parquet (in one file, in
parts, or with its files' actions in *sidecars*) or in JSON lines; a compacted file stands for a range of commits. A
version is the newest complete checkpoint up to it and the commits behind that. What they add up to is in `replay`.

Source: the Delta transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md.
"""

from __future__ import annotations

import bisect
import datetime as dt
import json
import re
import warnings
from dataclasses import dataclass

from .storage import Storage

FOLDER = "_delta_log"
_HINT = "_last_checkpoint"
_COMMIT = re.compile(r"(\d{20})\.json")
_COMPACTED = re.compile(r"(\d{20})\.(\d{20})\.compacted\.json")
_CLASSIC = re.compile(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet")
_WITH_UUID = re.compile(r"(\d{20})\.checkpoint\.[0-9a-zA-Z-]{36}\.(?:json|parquet)")


class LogError(ValueError):
    """A log that cannot be read: with a gap, without a protocol, or damaged."""


class VersionError(LogError):
    """A version that a table does not have, or no longer."""


@dataclass(frozen=True)
class Segment:
    """The files of a log that make up a version.

    Attributes
    ----------
    version : int
        The version.
    checkpoint : int or None
        The version of the checkpoint, if there is one.
    checkpoint_files : tuple of str
        Its files.
    commits : tuple of str
        The commits behind it, compacted ones in place of those they stand for.
    timestamp : datetime
        When the last commit (or the checkpoint) was written, by the clock of the storage.
    """

    version: int
    checkpoint: int | None
    checkpoint_files: tuple[str, ...]
    commits: tuple[str, ...]
    timestamp: dt.datetime


class Log:
    """The files of a log, as they are now."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.commits: dict[int, str] = {}
        self._times: dict[str, dt.datetime] = {}
        self._compacted: list[tuple[int, int, str]] = []
        self._checkpoints: dict[int, list[tuple[str, ...]]] = {}
        parts: dict[tuple[int, int], dict[int, str]] = {}
        for entry in storage.entries(FOLDER):
            name = entry.name
            self._times[name] = entry.modified
            if found := _COMMIT.fullmatch(name):
                self.commits[int(found[1])] = name
            elif found := _COMPACTED.fullmatch(name):
                self._compacted.append((int(found[1]), int(found[2]), name))
            elif found := _WITH_UUID.fullmatch(name):
                self._checkpoints.setdefault(int(found[1]), []).append((name,))
            elif found := _CLASSIC.fullmatch(name):
                if found[2] is None:
                    self._checkpoints.setdefault(int(found[1]), []).append((name,))
                else:
                    parts.setdefault((int(found[1]), int(found[3])), {})[int(found[2])] = name
        for (version, count), named in parts.items():
            if sorted(named) == list(range(1, count + 1)):
                self._checkpoints.setdefault(version, []).append(tuple(named[part] for part in sorted(named)))

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a commit nor a checkpoint."""
        return not self.commits and not self._checkpoints

    @property
    def newest(self) -> int:
        """The newest version."""
        return max([*self.commits, *self._checkpoints])

    @property
    def oldest(self) -> int:
        """The oldest version that can still be rebuilt; -1 if none can."""
        start = self.newest
        if start not in self.commits:
            return start
        while start - 1 in self.commits:
            start -= 1
        starts = [version for version in self._checkpoints if version >= start - 1]
        return 0 if start == 0 else min(starts, default=-1)

    def version_at(self, time: dt.datetime) -> int:
        """The version that was the newest at a time.

        Raises
        ------
        VersionError
            There was none yet.
        """
        versions = [version for version in sorted(self.commits) if version >= self.oldest]
        place = bisect.bisect_right(versions, time, key=self.committed)
        if not place:
            first = f"; the first commit that is left is of {self.committed(versions[0])}" if versions else ""
            raise VersionError(f"has no version of {time}{first}")
        return versions[place - 1]

    def committed(self, version: int) -> dt.datetime:
        """When a version was committed: what its commit says, if it does, else when its file was written."""
        first = self.storage.read(self.storage.locate(f"{FOLDER}/{self.commits[version]}")).split(b"\n", 1)[0]
        found = re.search(rb'"inCommitTimestamp"\s*:\s*(\d+)', first)
        if found:
            return dt.datetime.fromtimestamp(int(found[1]) / 1000, dt.UTC)
        return self._times[self.commits[version]]

    def segment(self, version: int | None = None) -> Segment:
        """The files that make up a version, by default the newest.

        Raises
        ------
        VersionError
            There is no such version, or it was cleaned up.
        LogError
            A commit that it needs is missing.
        """
        newest = self.newest
        if version is None:
            version = newest
        elif not 0 <= version <= newest:
            raise VersionError(f"has no version {version}; available are {self.oldest} to {newest}")
        bases = [base for base in self._checkpoints if base <= version]
        base = max(bases, default=None)
        start = 0 if base is None else base + 1
        missing = next((each for each in range(start, version + 1) if each not in self.commits), None)
        if missing is not None:
            if base is None and missing == 0 and self.oldest >= 0:
                raise VersionError(f"has no version {version}; available are {self.oldest} to {newest}")
            raise LogError(f"the log has a gap: the commit of version {missing} is missing, version {version} needs it")
        files = () if base is None else self._checkpoints[base][0]
        commits = tuple(self._commits(start, version))
        last = self.commits.get(version) or files[0]
        return Segment(version, base, files, commits, self._times[last])

    def since(self, segment: Segment, version: int) -> tuple[str, ...] | None:
        """The commits that lead from one version to a later one; None if it is not the same log any more."""
        last = self.commits.get(segment.version)
        if last is None or self._times[last] != segment.timestamp:
            return None
        names = [self.commits.get(each) for each in range(segment.version + 1, version + 1)]
        return None if None in names else tuple(name for name in names if name)

    def check_hint(self) -> None:
        """Warn of a damaged hint at the newest checkpoint; here the listing tells of it, but others may need it."""
        if _HINT not in self._times:
            return
        location = self.storage.locate(f"{FOLDER}/{_HINT}")
        try:
            damaged = json.loads(self.storage.read(location))["version"] not in self._checkpoints
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            damaged = True
        if damaged:
            warnings.warn(
                f"the file {location!r} names no checkpoint of the table; it is not needed here, but other readers may "
                "fail, until a new checkpoint replaces it",
                stacklevel=2,
            )

    def _commits(self, start: int, stop: int) -> list[str]:
        """The files of some versions."""
        names = []
        while start <= stop:
            ranges = [(last, name) for first, last, name in self._compacted if first == start and last <= stop]
            last, name = max(ranges, default=(start, self.commits[start]))
            names.append(name)
            start = last + 1
        return names

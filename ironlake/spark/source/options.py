"""The options of the data source: texts that Spark hands over, checked and turned into values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from ironlake.lakehouse.storage import Storage

#: How the options of an object store begin.
STORAGE = "storage."
_KNOWN = {
    "read": {
        "version", "timestamp", "columns", "where", "push_filters", "partition_bytes", "change_feed", "from_version",
    },
    "stream": {
        "columns", "where", "partition_bytes", "change_feed", "from_version", "max_files_per_trigger",
        "max_bytes_per_trigger", "ignore_changes",
    },
    "write": {"partition_by", "where", "merge_schema", "if_exists"},
}  # fmt: skip
_CATALOG = (
    "Spark 4.3 drops the options of tables in its catalog; use CREATE TEMPORARY VIEW v USING ironlake OPTIONS (path "
    "'...') instead of CREATE TABLE"
)
_BOOLEANS = {"true": True, "false": False}
Value = TypeVar("Value")


class Options:
    """The options of a read, a write or a stream.

    Parameters
    ----------
    given : mapping of str to str
        All options by their names.
    where : str
        How errors begin.
    *kinds : {"read", "stream", "write"}
        What they may be for.

    Raises
    ------
    ValueError
        There is no path, or an option is not known.
    """

    def __init__(self, given: Mapping[str, str], where: str, *kinds: Literal["read", "stream", "write"]) -> None:
        self.given = {name.lower(): text for name, text in given.items()}
        self.where = where
        if "provider" in self.given:  # CREATE TABLE
            raise ValueError(f"{where}{_CATALOG}")
        if "path" not in self.given:
            raise ValueError(f"{where}there is no path; expected load(path) or save(path). {_CATALOG}")
        known = {"path"}.union(*(_KNOWN[kind] for kind in kinds))
        unknown = [name for name in self.given if name not in known and not name.startswith(STORAGE)]
        if unknown:
            raise ValueError(
                f"{where}there is no option {unknown[0]!r}; expected one of {', '.join(sorted(known))}, or one of "
                f"the object store such as {STORAGE}aws_region"
            )

    def storage(self) -> Storage:
        """Where the table is; options of an object store are used from now on in this process."""
        start = len(STORAGE)
        options = {name[start:]: text for name, text in self.given.items() if name.startswith(STORAGE)}
        return Storage.of(self.given["path"], self.where, options or None)

    def text(self, name: str) -> str | None:
        """An option as it is; None if it is not given."""
        return self.given.get(name)

    def number(self, name: str) -> int | None:
        """A whole number, from 0 on."""
        return self._parsed(name, _number, "a whole number from 0 on")

    def flag(self, name: str) -> bool:
        """True or false, which is the default."""
        return bool(self._parsed(name, lambda text: _BOOLEANS[text.strip().lower()], "true or false"))

    def names(self, name: str) -> list[str] | None:
        """Names of columns: separated by commas, or as a JSON list, where a comma can be part of a name."""
        return self._parsed(name, _names, "names separated by commas, or a JSON list of them")

    def _parsed(self, name: str, parse: Callable[[str], Value], expected: str) -> Value | None:
        text = self.given.get(name)
        if text is None:
            return None
        try:
            return parse(text)
        except (KeyError, ValueError):
            raise ValueError(f"{self.where}the option {name} is {text!r}; expected {expected}") from None


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _names(text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        return [name.strip() for name in text.split(",")]
    names: Any = json.loads(text)
    if not all(isinstance(name, str) for name in names):
        raise ValueError
    return list(names)

"""The clauses of a merge as SQL writes them: ``WHEN MATCHED AND ... THEN UPDATE SET ...``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .merge import Merge

_OPENING, _CLOSING = {"(", "[", "{", "CASE"}, {")", "]", "}", "END"}
#: When a clause counts, and how the methods of a merge call it; longer ones come first.
_FOUND = {
    ("NOT", "MATCHED", "BY", "SOURCE"): "when_not_matched_by_source",
    ("NOT", "MATCHED", "BY", "TARGET"): "when_not_matched",
    ("NOT", "MATCHED"): "when_not_matched",
    ("MATCHED",): "when_matched",
}


@dataclass(frozen=True)
class _Word:
    """A word of SQL: where it stands, and how many brackets are open around it."""

    text: str
    start: int
    end: int
    depth: int

    @property
    def key(self) -> str:
        """The word in capitals; nothing for one within brackets."""
        return self.text.upper() if self.depth == 0 else ""


def add_clauses(merge: Merge, text: str) -> Merge:
    """Add the clauses of a text to a merge.

    Raises
    ------
    ValueError
        The text is no sequence of clauses.
    """
    words = _words(text)
    starts = [at for at, word in enumerate(words) if word.key == "WHEN"]
    if not starts or starts[0]:
        raise ValueError(
            f"the clauses are {text!r}; expected a text such as 'WHEN MATCHED THEN UPDATE SET a = source.a'"
        )
    for start, stop in zip(starts, [*starts[1:], len(words)], strict=True):
        _add(merge, text, words[start + 1 : stop])
    return merge


def _words(text: str) -> list[_Word]:
    import duckdb

    tokens = duckdb.tokenize(text)
    stops = [start for start, _ in tokens[1:]] + [len(text)]
    words: list[_Word] = []
    depth = 0
    for (start, kind), stop in zip(tokens, stops, strict=False):
        if kind == duckdb.token_type.comment:
            continue
        word = text[start:stop].strip()
        depth -= word.upper() in _CLOSING
        words.append(_Word(word, start, start + len(word), depth))
        depth += word.upper() in _OPENING
    return words


def _add(merge: Merge, text: str, words: list[_Word]) -> None:
    """Add one clause, whose words stand behind WHEN."""
    told = text[words[0].start : words[-1].end] if words else ""
    wrong = ValueError(
        f"the clause 'WHEN {told}' is not valid; expected WHEN [NOT] MATCHED [BY SOURCE] [AND condition] THEN and one "
        "of DELETE, UPDATE [SET column = value, ...], INSERT [(column, ...) VALUES (value, ...)]"
    )
    keys = [word.key for word in words]
    found = next((each for each in _FOUND if tuple(keys[: len(each)]) == each), None)
    then = keys.index("THEN") if "THEN" in keys else None
    if found is None or then is None or then + 1 == len(words):
        raise wrong
    condition = None
    if then > len(found):
        if keys[len(found)] != "AND" or then == len(found) + 1:
            raise wrong
        condition = text[words[len(found)].end : words[then].start].strip()
    kind, rest = words[then + 1], words[then + 2 :]
    method = getattr(merge, f"{_FOUND[found]}_{kind.key.lower()}", None)
    if method is None or (kind.key == "DELETE" and rest):
        raise wrong
    if kind.key == "DELETE":
        method(condition=condition)
        return
    values = _values(text, kind.key, rest)
    if values is None and (rest and keys[then + 2 :] not in (["*"], ["SET", "*"])):
        raise wrong
    method(values, condition=condition)


def _values(text: str, kind: str, words: list[_Word]) -> dict[str, str] | None:
    """What a clause says of the columns; None if it takes those of the source, or says it wrongly."""
    keys = [word.key for word in words]
    if kind == "UPDATE" and keys[:1] == ["SET"]:
        parts = _split(words[1:], 0)
        if all(len(part) > 2 and part[1].text == "=" for part in parts):
            return {_name(part[0]): text[part[2].start : part[-1].end] for part in parts}
    if kind == "INSERT" and keys[:1] == ["("] and "VALUES" in keys:
        at = keys.index("VALUES")
        columns, values = _split(words[1 : at - 1], 1), _split(words[at + 2 : -1], 1)
        if len(columns) == len(values) and all(len(part) == 1 for part in columns) and all(values):
            told = [text[part[0].start : part[-1].end] for part in values]
            return {_name(part[0]): value for part, value in zip(columns, told, strict=True)}
    return None


def _split(words: list[_Word], depth: int) -> list[list[_Word]]:
    """The parts between commas."""
    parts: list[list[_Word]] = [[]]
    for word in words:
        if word.text == "," and word.depth == depth:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _name(word: _Word) -> str:
    return word.text[1:-1].replace('""', '"') if word.text.startswith('"') else word.text

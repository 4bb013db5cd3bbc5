"""The names in a lake: its tables, the schemas that they are in, and its views.

A table is the directory of its name below the lake's; one level of directories in between are schemas. A view is a file
of SQL, ``_ironlake/views/<name>.sql``.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Collection, Mapping
from contextlib import suppress

from .errors import telling
from .log import FOLDER, Log, VersionError
from .schema import quote_text
from .snapshot import instant, is_table, open_snapshot
from .storage import Entry, Storage

#: What a lake keeps of itself.
OWN_FOLDER = "_ironlake"
_VIEWS = f"{OWN_FOLDER}/views"
#: The schema of the tables that are directly in the lake.
MAIN = "main"
#: Names that DuckDB has given already.
_RESERVED = {MAIN, "information_schema", "memory", "pg_catalog", "system", "temp"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Catalog:
    """The tables and views of a lake, as they are now."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._texts: dict[Entry, str] = {}

    def tables(self) -> dict[str, Storage]:
        """Where each table is, by its name, ``sales`` or ``finance.sales``; sorted."""
        found = self.storage.map(self._inside, [name for name in self.storage.folders() if name != OWN_FOLDER])
        return dict(sorted((self.name(table), table) for tables in found for table in tables))

    def name(self, table: Storage) -> str:
        """What a table is called."""
        return self.storage.relative(table.root).replace("/", ".")

    def _inside(self, folder: str) -> list[Storage]:
        """The tables that a folder of the lake is or holds."""
        place = self.storage.at(folder)
        if place.has_files(FOLDER):
            return [place]
        if is_table(place) or folder.lower() in _RESERVED or folder[0] in "._":  # a table may have no commit yet
            return []
        return [place.at(name) for name in place.folders() if place.at(name).has_files(FOLDER)]

    def views(self) -> dict[str, str]:
        """The SQL of each view, by its name, sorted."""
        found = [entry for entry in self.storage.entries(_VIEWS) if entry.name.endswith(".sql")]
        texts: dict[Entry, str] = {}
        for entry in found:
            with suppress(FileNotFoundError):  # it was dropped since it was listed
                texts[entry] = self._texts.get(entry) or self._text(entry)
        self._texts = texts
        return dict(sorted((entry.name.removesuffix(".sql"), text) for entry, text in self._texts.items()))

    def _text(self, entry: Entry) -> str:
        return self.storage.read(self.storage.locate(entry.path)).decode()

    def table(self, name: str, told: str) -> Storage:
        """Where a table is; `told` starts the error message.

        Raises
        ------
        FileNotFoundError
            The lake has no such table.
        """
        tables = self.tables()
        if found := tables.get(_short(name)):
            return found
        if _short(name) in (views := self.views()):
            raise FileNotFoundError(f"{told}{name!r} is a view, not a table; query it with Lake.sql")
        raise FileNotFoundError(
            f"{told}the lake {self.storage.root!r} has no such table; {hint(str(name), [*tables, *views])}"
        )

    def place(self, name: str, told: str) -> Storage:
        """Where a table of a name is or would be.

        Raises
        ------
        ValueError
            The name is not valid, or taken by something else.
        """
        name = checked(name, told)
        if name in self.views():
            raise ValueError(f"{told}the lake has a view {name!r}; expected another name")
        tables = self.tables()
        if name not in tables:
            self._check_free(name, list(tables), told)
        return tables.get(name) or self.storage.at(name.replace(".", "/"))

    def create_view(self, name: str, query: str, replace: bool, told: str) -> None:
        """Keep the SQL of a view.

        Raises
        ------
        FileExistsError
            There is such a view, and it is not to be replaced.
        ValueError
            The name is not valid, or taken by a table.
        """
        name = checked(name, told)
        tables, views = self.tables(), self.views()
        if name in tables:
            raise ValueError(f"{told}the lake has a table {name!r}; expected another name")
        if name not in views:
            self._check_free(name, [*tables, *views], told)
        path, content = f"{_VIEWS}/{name}.sql", query.encode()
        if replace:
            self.storage.replace(path, content)
        elif name in views or not self.storage.create(path, content):
            raise FileExistsError(f"{told}the view exists; pass replace=True to change it")

    def drop_view(self, name: str, told: str) -> None:
        """Forget a view.

        Raises
        ------
        FileNotFoundError
            There is none.
        """
        name, views = _short(name), self.views()
        if name not in views:
            raise FileNotFoundError(f"{told}the lake has no such view; {hint(str(name), list(views), 'views')}")
        self.storage.remove([f"{_VIEWS}/{name}.sql"])

    def queries(self, versions: Mapping[str, int] | None = None) -> dict[tuple[str, str], str]:
        """The SQL of what SQL sees, by schema and name: the tables, at versions or the newest, and then the views."""
        found = {}
        for name, table in self.tables().items():
            if versions is None or name in versions:
                version = "NULL" if versions is None else versions[name]
                schema, _, last = self.storage.relative(table.root).rpartition("/")
                found[schema or MAIN, last] = f"FROM query(lake_view_sql({quote_text(table.root)}, {version}))"
        for name, query in self.views().items():
            schema, _, last = name.rpartition(".")
            found[schema or MAIN, last] = query
        return found

    def versions(self, when: dt.datetime | str | Mapping[str, int] | None, told: str) -> dict[str, int]:
        """The version of each table that there was at a time, or that a mapping says, and else is the newest.

        Raises
        ------
        FileNotFoundError
            The lake has no table that the mapping names.
        ValueError
            A table has no such version, or the text is no time.
        """
        tables = self.tables()
        time = None if when is None or isinstance(when, Mapping) else instant(when, told)
        chosen = {}
        if isinstance(when, Mapping):
            for name, version in when.items():
                table = self.table(name, told)
                chosen[self.name(table)] = open_snapshot(table, version, f"{told}{name!r}: ").version

        def find(name: str) -> int | None:
            if name in chosen:
                return chosen[name]
            log = Log(tables[name])
            if log.is_empty:
                return None
            with telling(f"{told}the table {name!r} "):
                try:
                    return log.newest if time is None else log.version_at(time)
                except VersionError:
                    return None

        found = zip(tables, self.storage.map(find, tables), strict=True)
        return {name: version for name, version in found if version is not None}

    def _check_free(self, name: str, names: list[str], told: str) -> None:
        """Refuse a new name that SQL does not tell apart from others, or of a schema that is a table."""
        schema = name.rpartition(".")[0]
        for other in names:
            if other.lower() == name.lower():
                raise ValueError(f"{told}the lake has a table {other!r}, and SQL does not tell the two names apart")
            theirs = other.rpartition(".")[0]
            if schema and other.lower() == schema.lower():
                raise ValueError(f"{told}{other!r} is a table, and no schema")
            if theirs.lower() == schema.lower() and theirs != schema:
                raise ValueError(f"{told}the lake has a schema {theirs!r}, and SQL does not tell the two names apart")
            if theirs.lower() == name.lower():
                raise ValueError(f"{told}{theirs!r} is a schema; expected another name")


def checked(name: str, told: str) -> str:
    """A name for a new table or view, without the schema ``main``.

    Raises
    ------
    ValueError
        The name is not valid.
    """
    short = _short(name)
    parts = short.split(".") if isinstance(short, str) else []
    if not (1 <= len(parts) <= 2 and all(map(_NAME.fullmatch, parts)) and parts[0] != OWN_FOLDER):
        raise ValueError(
            f"{told}the name is not valid; expected a letter or _, then letters, digits and _, and a schema of this "
            "form in front if need be, as in 'finance.sales'"
        )
    if len(parts) == 2 and parts[0].lower() in _RESERVED:
        raise ValueError(f"{told}the schema {parts[0]!r} is DuckDB's own; expected another name")
    return short


def _short(name: str) -> str:
    """A name without the schema ``main``."""
    return name.removeprefix(f"{MAIN}.") if isinstance(name, str) else name


def hint(name: str, names: Collection[str], kind: str = "tables") -> str:
    """What was meant instead of a name, or could have been."""
    last = name.rpartition(".")[2].lower()
    same = [each for each in names if each.rpartition(".")[2].lower() == last]
    close = same or difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"its {kind} are {', '.join(names) or '(none yet)'}"

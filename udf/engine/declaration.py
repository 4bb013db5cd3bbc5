"""What a declared function is: its name, kind, typed parameters, result and documentation."""

from __future__ import annotations

import builtins
import difflib
import inspect
import itertools
import re
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import numpy as np

from .sqltypes import SqlType, overloads

Kind = Literal["scalar", "aggregate", "relation", "table"]
REQUIRED = inspect.Parameter.empty


class DeclarationError(TypeError):
    """A function was declared in a way that cannot work."""


@dataclass(frozen=True)
class Parameter:
    """A column argument, or (keyword-only in Python, a field of the options STRUCT in SQL) an option.

    Attributes
    ----------
    types : the SQL types it accepts, in order of preference.
    default : value when the caller leaves it out, or REQUIRED.
    optional : whether NULL is a value of its own.
    choices : the accepted texts, when only some are.
    """

    name: str
    types: tuple[SqlType, ...]
    default: Any = REQUIRED
    optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        """Whether the caller must give it."""
        return self.default is REQUIRED

    def __str__(self) -> str:
        text = f"{self.name} {' | '.join(map(str, self.types))}"
        return text if self.required else f"{text} := {sql_literal(self.default)}"


@dataclass(frozen=True)
class Documentation:
    """A numpydoc docstring, taken apart."""

    text: str = ""
    description: str = ""
    source: str = ""
    example: str = ""

    @classmethod
    def of(cls, documented: Any) -> Documentation:
        """Read the docstring of a function or class."""
        text = inspect.getdoc(documented) or ""
        if isinstance(documented, type) and documented.__doc__ is None:
            text = ""
        titles = [(match.start(), match.end(), match[1]) for match in re.finditer(r"^(\w[\w ]*)\n-{3,}\n", text, re.M)]
        ends = [start for start, _, _ in titles[1:]] + [len(text)]
        sections = {title: text[end:stop].strip() for (_, end, title), stop in zip(titles, ends, strict=False)}
        summary = text[: titles[0][0]] if titles else text
        return cls(
            text=text,
            description=" ".join(summary.split()),
            source=" ".join(sections.get("References", "").split()),
            example=sections.get("Examples", ""),
        )

    def joined(self, other: Documentation) -> Documentation:
        """Both this and that of a function of the same name for other arguments."""
        text = f"{self.text}\n\n{other.text}"
        return Documentation(text, self.description, self.source, f"{self.example}\n{other.example}")

    def statements(self) -> list[str]:
        """The SQL statements of the examples."""
        return [statement.strip() for statement in self.example.split(";") if statement.strip()]


@dataclass(eq=False)
class Declaration:
    """A function declared once; every face (DuckDB, Python, catalog) is made from this."""

    name: str
    kind: Kind
    parameters: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    result: SqlType | None
    body: Any
    documentation: Documentation
    settings: dict[str, Any] = field(default_factory=dict)
    #: Functions of the same name for other argument types, with results of their own.
    others: list[Declaration] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", self.name):
            raise DeclarationError(f"{self.name!r} cannot name a SQL function: use lower-case letters, digits and _")

    def add(self, other: Declaration) -> None:
        """Let a function of the same name for other argument types stand beside this one."""
        self.others.append(other)
        self.documentation = self.documentation.joined(other.documentation)

    @property
    def jit_flags(self) -> dict[str, Any]:
        """How Numba is to compile the function."""
        fastmath = self.settings["fastmath"]
        flags = set(fastmath) if isinstance(fastmath, frozenset) else fastmath
        return {"fastmath": flags, "boundscheck": self.settings["boundscheck"]}

    @property
    def signature(self) -> str:
        """The function as a user reads it, such as ``f(x DOUBLE, k INTEGER := 3) -> DOUBLE``."""
        parts = [str(parameter) for parameter in self.parameters]
        if self.options:
            parts.insert(self.options_at, "{" + ", ".join(str(option) for option in self.options) + "}")
        own = f"{self.name}({', '.join(parts)}) -> {self.result or 'TABLE'}"
        return "; ".join([own, *(other.signature for other in self.others)])

    @property
    def options_at(self) -> int:
        """Where the options stand in a call: behind the required columns."""
        return sum(parameter.required for parameter in self.parameters)

    def argument_lists(self) -> Iterable[tuple[tuple[SqlType, ...], bool]]:
        """Every overload: the types of the column arguments, and whether an options STRUCT follows them.

        Options follow the required columns; further columns follow the options.
        """
        required = self.options_at
        for count in range(required, len(self.parameters) + 1):
            for types_ in itertools.product(*(parameter.types for parameter in self.parameters[:count])):
                if count == required or not self.options:
                    yield types_, False
                if self.options:
                    yield types_, True


def closest(name: str, known: Iterable[str]) -> str:
    """The second half of an error about a wrong name: the closest right one, or all of them."""
    known = list(known)
    match = difflib.get_close_matches(name.lower(), known, 1, 0.5)
    return f"; did you mean {match[0]!r}?" if match else f"; the valid ones are {', '.join(map(repr, known)) or 'none'}"


def sql_literal(value: Any) -> str:
    """A Python value as SQL text."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, list | tuple | np.ndarray):
        return "[" + ", ".join(map(sql_literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"'{key}': {sql_literal(item)}" for key, item in value.items()) + "}"
    return repr(value)


def parameters_of(
    function: Callable[..., Any], skip: int = 0, leave_out: str | None = None
) -> tuple[tuple[Parameter, ...], tuple[Parameter, ...]]:
    """Column parameters and (keyword-only) options of a Python function, without ``self`` and ``leave_out``.

    Raises
    ------
    DeclarationError
        If a parameter has no annotation, or one that stands for no SQL type.
    """
    hints = annotations_of(function)
    columns: list[Parameter] = []
    options: list[Parameter] = []
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        if parameter.name == leave_out:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise DeclarationError(f"{function.__qualname__}: *{parameter.name} cannot be called from SQL")
        if parameter.name not in hints:
            raise DeclarationError(
                f"{function.__qualname__}: parameter {parameter.name!r} needs a type, such as {parameter.name}: float"
            )
        made = _parameter(function.__qualname__, parameter, hints[parameter.name])
        (options if parameter.kind is parameter.KEYWORD_ONLY else columns).append(made)
    return tuple(columns), tuple(options)


def _parameter(owner: str, parameter: inspect.Parameter, hint: Any) -> Parameter:
    members = get_args(hint) if get_origin(hint) in (typing.Union, type(int | str)) else (hint,)
    optional = type(None) in members
    literals = [member for member in members if get_origin(member) is Literal]
    choices = tuple(str(choice) for literal in literals for choice in get_args(literal))
    others = [member for member in members if member is not type(None) and member not in literals]
    try:
        found = [type_ for member in others for type_ in overloads(member)]
    except TypeError as error:
        raise DeclarationError(f"{owner}: parameter {parameter.name!r}: {error}") from None
    if choices:
        found.append(SqlType("VARCHAR"))
    return Parameter(parameter.name, tuple(dict.fromkeys(found)), parameter.default, optional, choices)


def annotations_of(annotated: Any) -> dict[str, Any]:
    """The annotations of a function or class; a text that is not a Python expression is left as SQL text."""
    owners = reversed(annotated.__mro__) if isinstance(annotated, type) else [annotated]
    found = {}
    for owner in owners:
        scope = getattr(owner, "__globals__", None) or vars(sys.modules.get(owner.__module__, builtins))
        for name, hint in (
            vars(owner).get("__annotations__", {}).items()
            if isinstance(owner, type)
            else (owner.__annotations__.items())
        ):
            found[name] = _evaluated(hint, scope)
    return found


def _evaluated(hint: Any, scope: dict[str, Any]) -> Any:
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, scope)
    except (NameError, SyntaxError, TypeError, AttributeError):
        return hint.strip("\"'")


def result_of(function: Callable[..., Any]) -> Any:
    """The return annotation of a Python function.

    Raises
    ------
    DeclarationError
        If there is none.
    """
    hints = annotations_of(function)
    if "return" not in hints:
        raise DeclarationError(f"{function.__qualname__} needs a result type, such as -> float")
    return hints["return"]

"""The examples of the README, the guides, the docstrings and the folder of examples run as they stand."""

import ast
import multiprocessing
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

import ironlake
from ironlake import demo
from ironlake.catalog import reference_page

ROOT = Path(__file__).parent.parent
#: Without those that other tests declare.
OWN_FUNCTIONS = {
    name: function.declaration
    for name, function in ironlake.functions.items()
    if function.declaration.body.__module__.startswith("ironlake.")
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A working directory with the demo's lake, which some examples read."""
    directory = tmp_path_factory.mktemp("examples")
    demo.run(directory / "ironlake-demo", force=False, console=Console(quiet=True))
    return directory


@pytest.fixture(autouse=True)
def working_directory(directory, monkeypatch):
    monkeypatch.chdir(directory)
    duckdb.set_default_connection(duckdb.connect())


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and text of each code block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def in_a_process_of_its_own(function, *arguments) -> None:
    """A page declares functions, which must not replace those of other tests."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        process.submit(function, *arguments).result()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page):
    in_a_process_of_its_own(run_page, page)


def run_page(page: Path) -> None:
    names: dict[str, object] = {"__name__": page.stem}
    for language, text in blocks(page):
        if language == "python":
            run_python(text, names)
        elif language == "sql":
            run_sql(text)


def run_sql(text: str) -> None:
    for statement in duckdb.extract_statements(text):
        duckdb.execute(statement).fetchall()


def run_python(text: str, names: dict[str, object]) -> None:
    """Run a block; a statement with a literal in the comment behind it has to give that value."""
    lines = text.splitlines()
    for node in ast.parse(text).body:
        code = compile(ast.Module([node], []), "example", "exec")
        _, _, comment = lines[node.end_lineno - 1][node.end_col_offset :].partition("#")
        if not isinstance(node, ast.Expr) or not comment:
            exec(code, names)
            continue
        value = eval(compile(ast.Expression(node.value), "example", "eval"), names)
        if isinstance(value, duckdb.DuckDBPyRelation):
            [(value,)] = value.fetchall()
        expected = ast.literal_eval(comment.strip())
        assert value == (pytest.approx(expected) if isinstance(expected, float) else expected)


@pytest.mark.parametrize("name", sorted(OWN_FUNCTIONS))
def test_example_of_a_function(name):
    statements = duckdb.extract_statements(OWN_FUNCTIONS[name].documentation.example)
    assert statements, f"{name} has no example"
    for statement in statements:
        duckdb.execute(statement).fetchall()


@pytest.mark.parametrize("script", sorted((ROOT / "examples").iterdir()), ids=lambda script: script.name)
def test_example(script):
    if script.suffix == ".sql":
        in_a_process_of_its_own(run_sql, script.read_text(encoding="utf-8"))
    elif script.suffix == ".py":
        assert subprocess.run([sys.executable, script], check=True, stdout=subprocess.PIPE).stdout


def test_the_reference_is_current():
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page.strip() == reference_page().strip()


def test_links_of_the_readme_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGES[0].read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target

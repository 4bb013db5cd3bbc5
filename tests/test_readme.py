"""The examples of the README, the guides, the docstrings and the folder of examples run as they stand."""

import re
import subprocess
import sys
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
RUNNER = ROOT / "tests" / "run_page.py"
#: The reference is made from the docstrings, whose examples are run one by one; what needs Spark runs in tests/spark.
ELSEWHERE = {ROOT / "docs" / "reference.md", ROOT / "docs" / "spark.md", *(ROOT / "examples").glob("spark_*")}
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - ELSEWHERE)]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page):
    subprocess.run([sys.executable, RUNNER, page], check=True)


@pytest.mark.parametrize("name", sorted(OWN_FUNCTIONS))
def test_example_of_a_function(name):
    statements = duckdb.extract_statements(OWN_FUNCTIONS[name].documentation.example)
    assert statements, f"{name} has no example"
    for statement in statements:
        duckdb.execute(statement).fetchall()


@pytest.mark.parametrize(
    "script", sorted(set((ROOT / "examples").iterdir()) - ELSEWHERE), ids=lambda script: script.name
)
def test_example(script):
    command = [sys.executable, script] if script.suffix == ".py" else [sys.executable, RUNNER, script]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    assert done.stdout or script.suffix == ".sql"


def test_the_reference_is_current():
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page.strip() == reference_page().strip()


def test_links_of_the_readme_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGES[0].read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target

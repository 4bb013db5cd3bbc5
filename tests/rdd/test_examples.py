"""The examples in our own docstrings give what they show."""

import doctest
import importlib
import pkgutil

import duckdb
import pyarrow
import pytest

import ironlake
import ironlake.rdd
from ironlake.rdd import SparkContext


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = [
        name for _, name, is_package in pkgutil.iter_modules(ironlake.rdd.__path__, "ironlake.rdd.") if not is_package
    ]
    return [test for name in names for test in finder.find(importlib.import_module(name)) if test.examples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("examples")
    ironlake.open(path / "lake").write("sales", pyarrow.table({"item": ["fig", "kiwi"], "pieces": [7, 2]}))
    return path


@pytest.mark.parametrize("test", examples(), ids=lambda test: test.name)
def test_example(test, folder, monkeypatch):
    monkeypatch.chdir(folder)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    if any("SparkContext(" in each.source for each in test.examples):
        runner.run(test, clear_globs=False)
    else:
        with SparkContext("local[2]", "examples") as sc:
            test.globs.update(sc=sc, duckdb=duckdb, pyarrow=pyarrow)
            runner.run(test, clear_globs=False)
    assert runner.tries
    assert not runner.failures

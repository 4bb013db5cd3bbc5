"""The package's names, each imported when it is first used."""

import importlib

import pytest

from ironlake import rdd


def test_all_names_are_where_they_are_looked_for():
    assert set(rdd._MODULES) == set(rdd.__all__)
    for name in rdd.__all__:
        module = importlib.import_module(f"ironlake.rdd.{rdd._MODULES[name]}")
        assert getattr(rdd, name) is getattr(module, name)
    assert set(rdd.__all__) <= set(dir(rdd))


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="'SparkSession'"):
        rdd.SparkSession  # noqa: B018
    with pytest.raises(ImportError):
        from ironlake.rdd import SparkSession  # noqa: F401

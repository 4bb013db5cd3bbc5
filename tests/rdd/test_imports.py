"""The package's names, each imported when it is first used."""

import importlib
import subprocess
import sys

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


def test_small_jobs_need_no_heavy_library():
    program = (
        "import sys\n"
        "from ironlake.rdd import SparkContext\n"
        "with SparkContext('local[2]', 'small') as sc:\n"
        "    print(sc.parallelize([1, 2, 3, 4], 2).map(lambda x: (x % 2, x)).filter(lambda pair: pair[0]).collect())\n"
        "    print({'numpy', 'pyarrow', 'numba', 'duckdb', 'rich'} & set(sys.modules), sc._pool._workers)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.stdout.splitlines() == ["[(1, 1), (1, 3)]", "set() set()"], done.stderr
